//! What no adapter may mix up: two workspaces in one store, or agents and people.

use super::{World, assert_refused, memories::fact};
use crate::{
    domain::{
        AgentEdit, AuditOutcome, ConversationEdit, KeyScope, Label, LabelEdit, LogRange, NewApiKey, NewAuditEntry, PageRequest,
        RetryMode, RetryTurn, Role, RunStatus, Soul, TurnLimits,
    },
    error::{StoreError, StoreResult},
    refusal::Refusal,
};

/// Everything in one workspace is absent from the other: the answer is the same as for things that do not exist.
pub async fn two_workspaces_never_meet(world: &World) {
    let stores = &world.stores;
    let conversation = world.conversation(&world.owner).await;
    let turn = world.ask(&world.owner, conversation.id, "Ours alone").await;
    let companion = world.companion(&world.owner).await;
    let there = &world.stranger;

    assert!(
        stores
            .conversations
            .conversation(there, conversation.id)
            .await
            .unwrap()
            .is_none()
    );
    assert!(stores.agents.agent(there, companion.id).await.unwrap().is_none());
    assert!(stores.runs.run(there, turn.run_id).await.unwrap().is_none());
    assert!(
        stores
            .conversations
            .messages_by_id(there, &[turn.message_id])
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        stores
            .workspaces
            .members(there, PageRequest::first(10))
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    assert_eq!(stores.agents.agents(there).await.unwrap().len(), 2);

    let edit = AgentEdit {
        name: Some("Theirs".into()),
        ..AgentEdit::default()
    };
    let foreign = stores
        .agents
        .edit_agent(there, companion.id, 1, edit.clone())
        .await
        .unwrap_err();
    let absent = stores.agents.edit_agent(there, world.env.id(), 1, edit).await.unwrap_err();
    assert_eq!(foreign.to_string(), absent.to_string(), "a foreign agent looks like none");
    let rename = || ConversationEdit {
        title: Some("Theirs".into()),
        archived: None,
    };
    let foreign = stores.conversations.edit(there, conversation.id, rename()).await.unwrap_err();
    let absent = stores.conversations.edit(there, world.env.id(), rename()).await.unwrap_err();
    assert_eq!(foreign.to_string(), absent.to_string());
    let foreign = stores
        .conversations
        .create(there, world.env.id(), Some(companion.id), None)
        .await;
    assert!(
        matches!(foreign, Err(StoreError::NotFound(_))),
        "no conversation with a foreign agent"
    );

    // The same id in another workspace neither finds nor damages the first.
    let twin = stores.conversations.create(there, conversation.id, None, Some("Twin")).await;
    if let Ok(twin) = twin {
        assert_eq!(twin.workspace_id, there.workspace);
    }
    let ours = stores
        .conversations
        .conversation(&world.owner, conversation.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((ours.workspace_id, ours.active_run), (world.workspace.id, Some(turn.run_id)));
    assert_ne!(ours.title, "Twin");
}

/// Every method asked across the border answers as for an id that nothing has, and changes nothing.
pub async fn what_is_elsewhere_is_absent(world: &World) {
    let stores = &world.stores;
    let (here, there) = (&world.owner, &world.stranger);
    let conversation = world.conversation(here).await;
    let turn = world.ask(here, conversation.id, "Where is the harbour?").await;
    let key = NewApiKey {
        id: world.env.id(),
        name: "Laptop".into(),
        prefix: "duet_abc".into(),
        secret_hash: [7; 32],
        scopes: [KeyScope::Chat].into(),
        expires_at: None,
    };
    let key = stores.keys.create(here, key).await.unwrap();
    let invitation = stores
        .invitations
        .create(here, world.invitation(1, "dora@example.org"))
        .await
        .unwrap();
    stores.agents.write_soul(here, 1, Soul::starter("Ours")).await.unwrap();
    let log = stores.audit.entries(here, PageRequest::first(100)).await.unwrap().items;
    let page = || PageRequest::first(100);

    let looked = stores.conversations.messages(there, conversation.id, page()).await;
    alike(looked, stores.conversations.messages(there, world.env.id(), page()).await);
    let looked = stores.conversations.transcript(there, conversation.id, page()).await;
    alike(looked, stores.conversations.transcript(there, world.env.id(), page()).await);
    let looked = stores.runs.runs(there, conversation.id, page()).await;
    alike(looked, stores.runs.runs(there, world.env.id(), page()).await);
    let looked = stores.runs.events(there, turn.run_id, LogRange::whole(0, 10)).await;
    alike(
        looked,
        stores.runs.events(there, world.env.id(), LogRange::whole(0, 10)).await,
    );
    assert!(
        stores
            .conversations
            .list(there, false, page())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert!(
        stores
            .conversations
            .search(there, "harbour", page())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let prefix = conversation.id.to_string().parse().unwrap();
    assert!(stores.conversations.ids(there, prefix).await.unwrap().is_empty());
    assert!(stores.keys.list(there).await.unwrap().is_empty());
    assert!(stores.invitations.list(there, page()).await.unwrap().items.is_empty());
    assert!(stores.notices.list(there, page()).await.unwrap().items.is_empty());
    assert_eq!(stores.agents.soul(there).await.unwrap().version, 1);
    assert_eq!(stores.agents.soul_versions(there, page()).await.unwrap().items.len(), 1);
    let theirs = stores.audit.entries(there, page()).await.unwrap().items;
    assert!(theirs.iter().all(|entry| entry.workspace_id == there.workspace), "{theirs:?}");

    alike(
        stores.conversations.delete(there, conversation.id).await,
        stores.conversations.delete(there, world.env.id()).await,
    );
    let clear = || LabelEdit {
        clear: [Label::Integrity].into(),
    };
    alike(
        stores.conversations.clear_labels(there, turn.message_id, clear()).await,
        stores.conversations.clear_labels(there, world.env.id(), clear()).await,
    );
    alike(
        stores.runs.start_turn(there, world.turn(conversation.id, "Let me in")).await,
        stores.runs.start_turn(there, world.turn(world.env.id(), "Let me in")).await,
    );
    let retry = |message_id| RetryTurn {
        message_id,
        run_id: world.env.id(),
        reply_id: world.env.id(),
        mode: RetryMode::Restart,
        limits: TurnLimits::default(),
    };
    alike(
        stores.runs.retry_turn(there, retry(turn.message_id)).await,
        stores.runs.retry_turn(there, retry(world.env.id())).await,
    );
    alike(
        stores.runs.cancel(there, turn.run_id).await,
        stores.runs.cancel(there, world.env.id()).await,
    );
    alike(
        stores.keys.revoke(there, key.id).await,
        stores.keys.revoke(there, world.env.id()).await,
    );
    alike(
        stores.invitations.revoke(there, invitation.id).await,
        stores.invitations.revoke(there, world.env.id()).await,
    );
    alike(
        stores.workspaces.change_role(there, here.user, Role::Member).await,
        stores.workspaces.change_role(there, world.env.id(), Role::Member).await,
    );
    alike(
        stores.workspaces.remove_member(there, here.user).await,
        stores.workspaces.remove_member(there, world.env.id()).await,
    );

    let run = stores.runs.run(here, turn.run_id).await.unwrap().unwrap();
    assert_eq!((run.status, run.last_seq), (RunStatus::Queued, 1));
    assert_eq!(stores.keys.list(here).await.unwrap(), [key]);
    let open = stores.invitations.list(here, page()).await.unwrap().items;
    assert!(open.contains(&invitation), "{open:?}");
    let now = stores.audit.entries(here, page()).await.unwrap().items;
    assert_eq!(now, log, "nothing is on record here");
}

/// Both get the same answer.
fn alike<T: std::fmt::Debug>(foreign: StoreResult<T>, absent: StoreResult<T>) {
    match (foreign, absent) {
        (Err(foreign), Err(absent)) => assert_eq!(foreign.to_string(), absent.to_string()),
        (Ok(foreign), Ok(absent)) => assert_eq!(format!("{foreign:?}"), format!("{absent:?}")),
        (foreign, absent) => panic!("{foreign:?} for what is elsewhere, {absent:?} for what is nowhere"),
    }
}

/// Actions for people only are refused to an agent, even to one that acts for an owner.
pub async fn agents_do_not_do_what_people_do(world: &World) {
    let stores = &world.stores;
    let agent = world.agent_of(&world.owner).await;
    let conversation = world.conversation(&world.owner).await;
    let companion = world.companion(&world.owner).await;
    assert_refused(
        stores.agents.edit_agent(&agent, companion.id, 1, AgentEdit::default()).await,
        Refusal::PeopleOnly,
    );
    assert_refused(
        stores.agents.write_soul(&agent, 1, Soul::starter("Eve")).await,
        Refusal::PeopleOnly,
    );
    assert_refused(stores.workspaces.rename(&agent, "Mine").await, Refusal::PeopleOnly);
    assert_refused(
        stores
            .conversations
            .edit(
                &agent,
                conversation.id,
                ConversationEdit {
                    title: None,
                    archived: Some(true),
                },
            )
            .await,
        Refusal::PeopleOnly,
    );
    assert_refused(
        stores.runs.start_turn(&agent, world.turn(conversation.id, "Hello me")).await,
        Refusal::PeopleOnly,
    );
    let turn = world.ask(&world.owner, conversation.id, "Hello").await;
    assert_refused(stores.runs.cancel(&agent, turn.run_id).await, Refusal::PeopleOnly);
    assert_refused(stores.audit.verify(&agent).await, Refusal::PeopleOnly);
    let entry = NewAuditEntry {
        action: "x".into(),
        target: "y".into(),
        outcome: AuditOutcome::Done,
        details: serde_json::Value::Null,
    };
    let entry = stores.audit.append(&agent, entry).await.unwrap();
    assert_eq!(
        entry.agent_id,
        agent.agent.map(|acting| acting.agent),
        "the log says that an agent acted"
    );
}

/// An agent that is switched off in the middle of its run can no longer read or write: no message, no member's address, no memory.
/// Once switched on again, it reads as before.
pub async fn an_agent_that_was_switched_off_reaches_nothing(world: &World) {
    let stores = &world.stores;
    let (_claim, agent) = world.agent_at_work(&world.owner).await;
    let conversation = world.conversation(&world.owner).await;
    let turn = world.ask(&world.owner, conversation.id, "Ours alone").await;
    let known = stores
        .memories
        .remember(&world.owner, fact(&world.env, "The key is under the mat"), None)
        .await
        .unwrap();
    let reached = || async {
        let (first, page) = (PageRequest::first(10), || PageRequest::first(10));
        let mut reached = Vec::new();
        let mut note = |what: &'static str, found: Option<bool>| {
            if found == Some(true) {
                reached.push(what);
            }
        };
        let conversations = &stores.conversations;
        let one = conversations.conversation(&agent, conversation.id).await;
        note("conversation", one.ok().map(|found| found.is_some()));
        let listed = conversations.list(&agent, false, page()).await;
        note("conversations", listed.ok().map(|found| !found.items.is_empty()));
        let messages = conversations.messages(&agent, conversation.id, page()).await;
        note("messages", messages.ok().map(|found| !found.items.is_empty()));
        let by_id = conversations.messages_by_id(&agent, &[turn.message_id]).await;
        note("messages by id", by_id.ok().map(|found| !found.is_empty()));
        let hits = conversations.search(&agent, "alone", page()).await;
        note("search", hits.ok().map(|found| !found.items.is_empty()));
        note("workspace", stores.workspaces.workspace(&agent).await.ok().map(|_| true));
        let members = stores.workspaces.members(&agent, first).await;
        note("members", members.ok().map(|found| !found.items.is_empty()));
        note(
            "agents",
            stores.agents.agents(&agent).await.ok().map(|found| !found.is_empty()),
        );
        note("soul", stores.agents.soul(&agent).await.ok().map(|_| true));
        let run = stores.runs.run(&agent, turn.run_id).await;
        note("run", run.ok().map(|found| found.is_some()));
        let events = stores.runs.events(&agent, turn.run_id, LogRange::whole(0, 10)).await;
        note("events", events.ok().map(|found| !found.events.is_empty()));
        let memories = stores.memories.memories(&agent, &[known.id]).await;
        note("memory", memories.ok().map(|found| !found.is_empty()));
        let stored = stores.memories.remember(&agent, fact(&world.env, "It moved"), None).await;
        note("remember", stored.ok().map(|_| true));
        reached
    };
    let everything = reached().await;
    assert_eq!(everything.len(), 13, "{everything:?}");
    let companion = world.companion(&world.owner).await;
    let switch = |version: u32, active: bool| {
        let edit = AgentEdit {
            active: Some(active),
            ..AgentEdit::default()
        };
        stores.agents.edit_agent(&world.owner, companion.id, version, edit)
    };
    let version = companion.version;
    switch(version, false).await.unwrap();
    assert_eq!(reached().await, Vec::<&str>::new());
    switch(version + 1, true).await.unwrap();
    assert_eq!(reached().await, everything);
}
