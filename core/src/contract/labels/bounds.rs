//! What the stores themselves enforce, whatever an agent claims about itself and about what it writes.

use super::{answered, local_only, untrusted};
use crate::{
    caller::Caller,
    contract::{
        World, Writes, assert_refused,
        memories::{fact, vector},
    },
    domain::{
        Bar, Claim, EffectId, Egress, Labels, Locality, LogRange, MemoryFilter, MessageStatus, NewMemory, PageRequest,
        RecallMode, RecallQuery, ReviewState, RunEvent, Taint, ToolOutput, ToolStatus, Visibility,
    },
    error::StoreError,
    refusal::{Named, Refusal},
};

/// An active run that has read text with these labels, and its agent.
async fn at_work(world: &World, read: Labels) -> (Claim, Caller) {
    let claim = world.claimed().await;
    let result = RunEvent::ToolFinished {
        effect: EffectId::tool(1, 0),
        status: ToolStatus::Succeeded,
        output: ToolOutput {
            labels: read,
            ..ToolOutput::default()
        },
    };
    let log = &world.stores.run_log;
    log.append(claim.run.id, claim.lease, 1, world.env.id(), vec![result.into()])
        .await
        .unwrap();
    let agent = world.agent_in(&world.owner, claim.run.id).await;
    (claim, agent)
}

/// An agent that calls its text trusted, open and shared still writes with the labels of its run.
pub async fn an_agent_writes_no_better_than_its_run(world: &World) {
    let memories = &world.stores.memories;
    let others = Labels {
        others: true,
        ..Labels::default()
    };
    let claimed = || fact(&world.env, "Pay to 999");
    // A run whose claim is dropped is claimed again.
    let mut held = Vec::new();
    for (read, visibility, egress, review) in [
        (Labels::default(), Visibility::Shared, Egress::Any, ReviewState::Accepted),
        (untrusted(), Visibility::Shared, Egress::Any, ReviewState::Proposed),
        (local_only(), Visibility::Shared, Egress::LocalOnly, ReviewState::Accepted),
        (others, Visibility::Private, Egress::Any, ReviewState::Accepted),
        (
            untrusted().join(local_only()).join(others),
            Visibility::Private,
            Egress::LocalOnly,
            ReviewState::Proposed,
        ),
    ] {
        let (claim, agent) = at_work(world, read).await;
        held.push(claim);
        let stored = memories.remember(&agent, claimed(), None).await.unwrap();
        assert_eq!(
            (stored.visibility, stored.egress, stored.review),
            (visibility, egress, review),
            "{read:?}"
        );
        assert_eq!(stored.taint, read.integrity);
    }
    let sensitive = Labels {
        sensitive: true,
        ..local_only()
    };
    let (_claim, agent) = at_work(world, sensitive).await;
    assert_refused(memories.remember(&agent, claimed(), None).await, Refusal::RunSensitive);
    let sealed = NewMemory {
        sensitive: true,
        ..claimed()
    };
    assert!(memories.remember(&agent, sealed, None).await.unwrap().sensitive);
}

/// An agent writes only in an active run of its own.
pub async fn an_agent_writes_in_its_run_alone(world: &World) {
    let memories = &world.stores.memories;
    let (claim, agent) = at_work(world, Labels::default()).await;
    memories.remember(&agent, fact(&world.env, "In its run"), None).await.unwrap();
    let elsewhere = [
        world.agent_of(&world.owner).await,
        world.agent_in(&world.member, claim.run.id).await,
    ];
    for agent in elsewhere {
        assert_refused(
            memories.remember(&agent, fact(&world.env, "In no run"), None).await,
            Refusal::RunOver,
        );
    }
    world.end(&claim, 2, None).await;
    assert_refused(
        memories.remember(&agent, fact(&world.env, "Too late"), None).await,
        Refusal::RunOver,
    );
}

/// The stores give an agent with a remote model no local-only text: it sees that a message exists, and not even that of a memory.
pub async fn an_agent_elsewhere_reads_what_may_leave(world: &World) {
    let memories = &world.stores.memories;
    let hidden = NewMemory {
        egress: Egress::LocalOnly,
        ..fact(&world.env, "The quince vault")
    };
    let embedding = Some(vector("m", &[1.0, 0.0]));
    let hidden = memories.remember(&world.owner, hidden, embedding.clone()).await.unwrap();
    let open = memories
        .remember(&world.owner, fact(&world.env, "The quince cellar"), embedding.clone())
        .await
        .unwrap();
    let conversation = world.conversation(&world.owner).await;
    let receipt = answered(world, conversation.id, local_only(), MessageStatus::Complete, "A quince").await;
    let (_claim, here) = at_work(world, Labels::default()).await;
    let mut elsewhere = here.clone();
    if let Some(acting) = &mut elsewhere.agent {
        acting.locality = Locality::Remote;
    }
    let conversations = &world.stores.conversations;
    for (agent, text, found) in [(&here, "A quince", 2), (&elsewhere, "", 1)] {
        let ids = [receipt.message_id, receipt.reply_id];
        let by_id = conversations.messages_by_id(agent, &ids).await.unwrap();
        let page = conversations
            .messages(agent, conversation.id, PageRequest::first(9))
            .await
            .unwrap()
            .items;
        assert_eq!(page.iter().rev().collect::<Vec<_>>(), by_id.iter().collect::<Vec<_>>());
        assert_eq!(by_id.iter().map(|message| message.id).collect::<Vec<_>>(), ids);
        assert_eq!((by_id[1].text.as_str(), by_id[1].labels), (text, local_only()));
        let newest = conversations
            .messages(agent, conversation.id, PageRequest::first(1))
            .await
            .unwrap();
        assert_eq!((newest.items[0].id, newest.items.len()), (receipt.reply_id, 1));
        assert!(newest.next_cursor.is_some());
        let hits = conversations
            .search(agent, "quince", PageRequest::first(9))
            .await
            .unwrap()
            .items;
        assert_eq!(hits.len(), found - 1, "its own words are found, and those alone");

        let ids = |all: Vec<crate::domain::Memory>| all.into_iter().map(|memory| memory.id).collect::<Vec<_>>();
        let both = [open.id, hidden.id];
        let seen = if found == 2 { both.to_vec() } else { vec![open.id] };
        assert_eq!(ids(memories.memories(agent, &both).await.unwrap()), seen);
        let listed = memories
            .list(agent, MemoryFilter::default(), PageRequest::first(9))
            .await
            .unwrap()
            .items;
        assert_eq!(ids(listed), seen);
        for mode in RecallMode::ALL {
            let query = RecallQuery {
                text: "quince".into(),
                embedding: embedding.clone(),
                mode: *mode,
                limit: 9,
                domains: None,
                // No matter what it asks for.
                locality: Locality::Local,
                bar: Bar::NONE,
                now: world.env.now(),
            };
            let answer = memories.recall(agent, query).await.unwrap();
            assert_eq!(answer.items.len(), seen.len(), "{mode}");
        }
    }
    let run = receipt.run_id;
    assert!(world.stores.runs.events(&here, run, LogRange::whole(0, 9)).await.is_ok());
    assert!(matches!(
        world.stores.runs.events(&elsewhere, run, LogRange::whole(0, 9)).await,
        Err(StoreError::NotFound(_))
    ));
    let taken = NewMemory {
        id: hidden.id,
        taint: Taint::Trusted,
        ..fact(&world.env, "What is it?")
    };
    let told = memories.remember(&elsewhere, taken, None).await;
    // A taken id reveals no text.
    assert_refused(told, Refusal::IdTaken { what: Named::Memory });
}
