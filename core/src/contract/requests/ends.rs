//! How waiting ends otherwise than by a decision, and what the Inbox has besides requests.

use std::time::Duration;

use serde_json::json;

use super::{Asking, tea, yes};
use crate::{
    contract::{World, assert_refused},
    domain::{
        AgentEdit, Changed, Commit, Decider, Decision, EffectId, EventKind, InboxItem, InboxKind, Labels, MemoryEdit, NewMemory,
        NewRequest, PageRequest, Provenance, RedactionReceipt, Request, RequestKind, RequestState, RetryMode, RetryTurn,
        ReviewState, Role, RunEvent, RunOutcome, RunStatus, Taint, ToolOutput, ToolStatus, Visibility, VoidReason,
    },
    error::StoreError,
    ids::MemoryId,
    inbox,
    policy::Policy,
    refusal::{Named, Refusal},
};

/// An approval holds only as long as nothing that it was given for has changed.
pub async fn stale_approvals(world: &World) {
    // The run has read more since.
    let (mut asking, request) = Asking::waiting(world, &world.owner).await;
    world.decide(&world.owner, request, yes()).await.unwrap();
    asking.resumed().await;
    let read = RunEvent::ToolFinished {
        effect: EffectId { step: 1, index: 2 },
        status: ToolStatus::Succeeded,
        output: ToolOutput {
            labels: Labels::from_bits(1),
            ..ToolOutput::default()
        },
    };
    asking.commit(Commit::of(world.env.id(), vec![read.into()])).await.unwrap();
    assert_refused(asking.begin(request, &tea()).await, Refusal::ApprovalStale);

    // The agent has lost the tool.
    let (mut asking, request) = Asking::waiting(world, &world.owner).await;
    world.decide(&world.owner, request, yes()).await.unwrap();
    asking.resumed().await;
    let agent = world.companion(&world.owner).await;
    let edit = |tools| AgentEdit {
        tools: Some(tools),
        ..AgentEdit::default()
    };
    let fewer = agent.tools.iter().filter(|tool| *tool != "remember").cloned().collect();
    let agents = &world.stores.agents;
    let edited = agents
        .edit_agent(&world.owner, agent.id, agent.version, edit(fewer))
        .await
        .unwrap();
    assert_refused(asking.begin(request, &tea()).await, Refusal::ApprovalStale);
    agents
        .edit_agent(&world.owner, agent.id, edited.version, edit(agent.tools))
        .await
        .unwrap();
    asking.begin(request, &tea()).await.unwrap();

    // Who said yes for the owners is none any more.
    let mut asking = Asking::of(world, &world.owner).await;
    let for_owners = NewRequest {
        decider: Decider::Owner,
        ..asking.request(RequestKind::Approval, tea())
    };
    let request = asking.ask(for_owners).await.unwrap();
    let (workspaces, member) = (&world.stores.workspaces, world.member.user);
    workspaces.change_role(&world.owner, member, Role::Owner).await.unwrap();
    world.decide(&world.member, request, yes()).await.unwrap();
    workspaces.change_role(&world.owner, member, Role::Member).await.unwrap();
    assert_refused(asking.begin(request, &tea()).await, Refusal::ApprovalStale);
    workspaces.change_role(&world.owner, member, Role::Owner).await.unwrap();
    asking.begin(request, &tea()).await.unwrap();
    workspaces.change_role(&world.owner, member, Role::Member).await.unwrap();

    // Its time is over.
    let (mut asking, request) = Asking::waiting(world, &world.owner).await;
    world.decide(&world.owner, request, yes()).await.unwrap();
    asking.resumed().await;
    world.time.advance(Request::LASTS + Duration::from_secs(1));
    let late = asking.begin(request, &tea()).await;
    // Where leases have a time, that is over too.
    assert!(
        matches!(late, Err(StoreError::Conflict(Refusal::ApprovalStale) | StoreError::Stale(_))),
        "{late:?}"
    );
}

/// Changing the policy voids what was asked for or approved under the old one; the runs go on and are told so.
pub async fn a_new_policy_voids_approvals(world: &World) {
    let (mut open, asked) = Asking::waiting(world, &world.owner).await;
    let (mut given, approved) = Asking::waiting(world, &world.member).await;
    world.decide(&world.member, approved, yes()).await.unwrap();
    given.resumed().await;
    let policies = &world.stores.policies;
    policies.write_policy(&world.owner, 1, Policy::starter()).await.unwrap();
    for (caller, request) in [(&world.owner, asked), (&world.member, approved)] {
        assert_eq!(world.one(caller, request).await.state, RequestState::Voided);
    }
    assert_refused(
        world.decide(&world.owner, asked, yes()).await,
        Refusal::RequestDecided {
            state: RequestState::Voided,
        },
    );
    assert_refused(given.begin(approved, &tea()).await, Refusal::ApprovalStale);
    open.resumed().await;
    let last = open.claim.log.last().unwrap();
    assert!(
        matches!(
            &last.event,
            Some(RunEvent::Decided {
                decision: Decision::Voided {
                    because: VoidReason::PolicyChanged
                },
                by: None,
                ..
            })
        ),
        "{last:?}"
    );
    assert_eq!(
        given.kinds().await.last(),
        Some(&EventKind::Decided),
        "the worker hears of it"
    );
}

/// What somebody was asked, or said yes to, in another role is void: policy may want somebody else's word now.
pub async fn a_new_role_voids_approvals(world: &World) {
    let (mut asking, request) = Asking::waiting(world, &world.member).await;
    let workspaces = &world.stores.workspaces;
    workspaces
        .change_role(&world.owner, world.member.user, Role::Owner)
        .await
        .unwrap();
    assert_eq!(world.one(&world.member, request).await.state, RequestState::Voided);
    asking.resumed().await;
    let last = asking.claim.log.last().unwrap();
    let voided = matches!(
        &last.event,
        Some(RunEvent::Decided {
            decision: Decision::Voided {
                because: VoidReason::RoleChanged
            },
            ..
        })
    );
    assert!(voided, "{last:?}");
}

/// What a worker does for somebody, it does in the role that they have: a new role takes the run from it, and it is claimed anew.
pub async fn a_new_role_takes_runs_back(world: &World) {
    let mut asking = Asking::of(world, &world.member).await;
    let workspaces = &world.stores.workspaces;
    let (owner, member) = (&world.owner, world.member.user);
    workspaces.change_role(owner, member, Role::Owner).await.unwrap();
    let begins = RunEvent::ToolStarted { effect: super::CALL };
    for late in [
        asking.commit(Commit::of(world.env.id(), vec![begins.into()])).await,
        asking.ask(asking.request(RequestKind::Approval, tea())).await.map(drop),
    ] {
        assert!(matches!(late, Err(StoreError::Stale(_))), "{late:?}");
    }
    let claim = world.claim().await.expect("the run");
    assert_eq!((claim.run.id, claim.role), (asking.claim.run.id, Role::Owner));
    // The same role again takes nothing back.
    workspaces.change_role(owner, member, Role::Owner).await.unwrap();
    world.end(&claim, asking.last, None).await;
}

/// Nothing is asked under a policy that has been replaced meanwhile.
pub async fn asked_under_the_policy_in_force(world: &World) {
    let mut asking = Asking::of(world, &world.owner).await;
    let policies = &world.stores.policies;
    policies.write_policy(&world.owner, 1, Policy::starter()).await.unwrap();
    let refused = asking.ask(asking.request(RequestKind::Approval, tea())).await;
    assert_refused(refused, Refusal::ApprovalStale);
    assert_eq!(asking.kinds().await, [EventKind::Started], "nothing was written");
    assert_eq!(world.entries(&world.owner).await, []);
}

/// What nobody decides in time ends without an answer, and the run goes on.
pub async fn expiry(world: &World) {
    let (mut asking, request) = Asking::waiting(world, &world.owner).await;
    // A yes that no worker has used.
    let (mut given, unused) = Asking::waiting(world, &world.owner).await;
    world.decide(&world.owner, unused, yes()).await.unwrap();
    assert_eq!(world.stores.system.sweep().await.unwrap(), 0);
    world.time.advance(Request::LASTS + Duration::from_secs(1));
    // The sign-in has ended as well; it is the sweep that counts here.
    world.stores.system.sweep().await.unwrap();
    for late in [request, unused] {
        assert_eq!(world.one(&world.owner, late).await.state, RequestState::Expired);
    }
    asking.resumed().await;
    let last = asking.claim.log.last().unwrap();
    assert!(
        matches!(
            &last.event,
            Some(RunEvent::Decided {
                decision: Decision::Expired,
                by: None,
                ..
            })
        ),
        "{last:?}"
    );
    given.resumed().await;
    assert_refused(given.begin(unused, &tea()).await, Refusal::ApprovalStale);
}

/// A run that waits is stopped at once, with its requests; nothing can be decided afterwards. One that a worker holds is told, and its
/// requests are void at once as well.
pub async fn stopping(world: &World) {
    let (asking, request) = Asking::waiting(world, &world.owner).await;
    let ended = world.stores.runs.cancel(&world.owner, asking.claim.run.id).await.unwrap();
    assert_eq!(ended.status, RunStatus::Cancelled);
    let log = asking.log().await;
    let Some(RunEvent::Finished {
        outcome,
        usage,
        cost_micros,
        ..
    }) = &log.last().unwrap().event
    else {
        panic!("{log:?}")
    };
    assert_eq!(
        (outcome, usage.input_tokens, *cost_micros),
        (&RunOutcome::Cancelled, 7, Some(3))
    );
    assert_refused(
        world.decide(&world.owner, request, yes()).await,
        Refusal::RequestDecided {
            state: RequestState::Voided,
        },
    );
    assert!(world.claim().await.is_none());
    assert_eq!(world.stores.runs.cancel(&world.owner, ended.id).await.unwrap(), ended);

    let (mut asking, request) = Asking::waiting(world, &world.owner).await;
    world.decide(&world.owner, request, yes()).await.unwrap();
    asking.resumed().await;
    let told = world.stores.runs.cancel(&world.owner, asking.claim.run.id).await.unwrap();
    assert_eq!(told.status, RunStatus::Running);
    assert_refused(asking.begin(request, &tea()).await, Refusal::ApprovalStale);
}

/// What may have happened is asked about even after its run has ended; the answer is kept.
pub async fn reviews_outlive_their_run(world: &World) {
    let mut asking = Asking::of(world, &world.owner).await;
    let review = asking.ask(asking.request(RequestKind::Review, tea())).await.unwrap();
    world.end(&asking.claim, asking.last, None).await;
    assert_eq!(world.entries(&world.owner).await.len(), 1);
    let decided = world.decide(&world.owner, review, Decision::Happened).await.unwrap();
    assert_eq!(decided.state, RequestState::Answered);
    assert_eq!(world.entries(&world.owner).await, []);
    assert_eq!(asking.run().await.status, RunStatus::Done);
    assert_eq!(
        asking.kinds().await.last(),
        Some(&EventKind::Asked),
        "an ended log stays as it is"
    );
}

/// A run pauses and goes on as its person says.
pub async fn pausing(world: &World) {
    let runs = &world.stores.runs;
    let mut asking = Asking::of(world, &world.owner).await;
    let run = asking.claim.run.id;
    runs.pause(&world.owner, run, true).await.unwrap();
    runs.pause(&world.owner, run, true).await.unwrap();
    assert_eq!(asking.kinds().await, [EventKind::Started, EventKind::Pause], "once");
    for other in [&world.member, &world.stranger] {
        let refused = runs.pause(other, run, false).await;
        assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
    }
    let agent = world.agent_of(&world.owner).await;
    assert_refused(runs.pause(&agent, run, false).await, Refusal::PeopleOnly);
    asking.last = 2;
    asking.commit(asking.suspension(None)).await.unwrap();
    assert!(world.claim().await.is_none());
    let resumed = runs.pause(&world.owner, run, false).await.unwrap();
    assert_eq!(resumed.status, RunStatus::Queued);
    asking.resumed().await;
    world.end(&asking.claim, asking.last, None).await;
    assert_refused(runs.pause(&world.owner, run, true).await, Refusal::RunEnded);
}

/// Answering a message again ends the run that still waits for a decision about it, and hides all that it had said.
pub async fn answering_again(world: &World) {
    let (asking, request) = Asking::waiting(world, &world.owner).await;
    let retry = |mode, reply_id| RetryTurn {
        message_id: asking.claim.run.message_id,
        run_id: world.env.id(),
        reply_id,
        mode,
        limits: crate::domain::TurnLimits::default(),
    };
    let runs = &world.stores.runs;
    for (refused, refusal) in [
        (retry(RetryMode::Continue, world.env.id()), Refusal::NothingToContinue),
        (
            retry(RetryMode::Restart, asking.claim.run.message_id),
            Refusal::IdTaken { what: Named::Reply },
        ),
    ] {
        assert_refused(runs.retry_turn(&world.owner, refused).await, refusal);
        assert_eq!(asking.run().await.status, RunStatus::Waiting, "a refusal changes nothing");
    }
    runs.retry_turn(&world.owner, retry(RetryMode::Restart, world.env.id()))
        .await
        .unwrap();
    assert_eq!(asking.run().await.status, RunStatus::Cancelled);
    assert_eq!(world.one(&world.owner, request).await.state, RequestState::Voided);
    let said = world
        .stores
        .conversations
        .messages(&world.owner, asking.conversation(), PageRequest::first(9))
        .await
        .unwrap();
    assert_eq!(said.items.len(), 1);
}

/// A run asks a bounded number of things at a time, and so do all runs of a person, also where the answer was yes and nothing has
/// come of it yet. Whether something happened is asked in any case.
pub async fn requests_are_bounded(world: &World) {
    let mut asking = Asking::of(world, &world.owner).await;
    for _ in 0..Request::MOST_OPEN {
        let request = asking.ask(asking.request(RequestKind::Approval, tea())).await.unwrap();
        world.decide(&world.owner, request, yes()).await.unwrap();
    }
    let (newest, most) = (asking.run().await.last_seq, Request::MOST_OPEN);
    let refused = asking.ask(asking.request(RequestKind::Approval, tea())).await;
    assert_refused(refused, Refusal::TooManyRequests { most });
    assert_eq!(asking.run().await.last_seq, newest, "nothing was written");

    let most = Request::MOST_OPEN_OF_PERSON;
    // A run that is let go would be claimed again.
    let mut held = vec![asking];
    for nth in Request::MOST_OPEN..most {
        if nth % Request::MOST_OPEN == 0 {
            held.push(Asking::of(world, &world.owner).await);
        }
        let asking = held.last_mut().expect("a run");
        asking.ask(asking.request(RequestKind::Approval, tea())).await.unwrap();
    }
    let mut one_more = Asking::of(world, &world.owner).await;
    let refused = one_more.ask(one_more.request(RequestKind::Approval, tea())).await;
    assert_refused(refused, Refusal::TooManyRequests { most });
    one_more.ask(one_more.request(RequestKind::Review, tea())).await.unwrap();
    let mut others = Asking::of(world, &world.member).await;
    others.ask(others.request(RequestKind::Approval, tea())).await.unwrap();
}

/// Whoever leaves takes their waiting runs with them, and what was redacted or deleted is gone from requests too.
pub async fn the_end_of_what_waits(world: &World) {
    // A conversation is deleted, and with it what may have happened in it.
    let mut asking = Asking::of(world, &world.owner).await;
    let conversations = &world.stores.conversations;
    let request = asking.ask(asking.request(RequestKind::Approval, tea())).await.unwrap();
    let review = asking.ask(asking.request(RequestKind::Review, tea())).await.unwrap();
    asking.commit(asking.suspension(Some("May I?"))).await.unwrap();
    conversations.delete(&world.owner, asking.conversation()).await.unwrap();
    for gone in [request, review] {
        let left = world.one(&world.owner, gone).await;
        assert_eq!(
            (left.state, left.arguments, left.why.as_str()),
            (RequestState::Voided, None, "")
        );
    }
    assert_eq!(world.entries(&world.owner).await, []);

    // What the run had read is redacted.
    let memory = crate::contract::memories::fact(&world.env, "A secret about tea.");
    let memory = world.stores.memories.remember(&world.owner, memory, None).await.unwrap();
    let mut asking = Asking::of(world, &world.owner).await;
    let request = asking
        .ask(asking.request(RequestKind::Approval, json!({"text": "secret tea"})))
        .await
        .unwrap();
    let known = crate::domain::NewEvent {
        event: RunEvent::RetryDue { step: 1 },
        mentions: vec![memory.id],
    };
    asking.commit(Commit::of(world.env.id(), vec![known])).await.unwrap();
    asking.commit(asking.suspension(Some("I know of a secret."))).await.unwrap();
    let receipt = redacted(world, memory.id).await;
    let count = |place: &str| receipt.removed.iter().find(|from| from.place == place).map(|from| from.count);
    assert_eq!((count("requests"), count("replies")), (Some(1), Some(1)));
    assert_eq!(asking.run().await.status, RunStatus::Cancelled);
    assert_eq!(world.one(&world.owner, request).await.arguments, None);
    let said = conversations
        .messages(&world.owner, asking.conversation(), PageRequest::first(9))
        .await
        .unwrap();
    assert!(said.items.iter().all(|message| !message.text.contains("secret")), "{said:?}");

    // A member leaves.
    let (asking, request) = Asking::waiting(world, &world.member).await;
    world
        .stores
        .workspaces
        .remove_member(&world.owner, world.member.user)
        .await
        .unwrap();
    assert!(world.claim().await.is_none());
    let refused = world.decide(&world.member, request, yes()).await;
    assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
    drop(asking);
}

async fn redacted(world: &World, memory: MemoryId) -> RedactionReceipt {
    world
        .stores
        .memories
        .redact(&world.owner, memory, world.env.id())
        .await
        .unwrap()
}

/// Proposed memories wait in the Inbox of whoever reviews them, together with requests, in one order.
pub async fn proposals_wait_too(world: &World) {
    let (_, request) = Asking::waiting(world, &world.owner).await;
    let (_claim, agent) = world.agent_at_work(&world.owner).await;
    let run = agent.agent.as_ref().unwrap();
    let proposal = NewMemory {
        taint: Taint::Untrusted,
        provenance: Provenance {
            run_id: Some(run.run),
            agent_id: Some(run.agent),
            user_id: Some(world.owner.user),
            ..Provenance::default()
        },
        ..crate::contract::memories::fact(&world.env, "Tea is bad, says a page.")
    };
    let memory = world.stores.memories.remember(&agent, proposal, None).await.unwrap();
    assert_eq!(memory.review, ReviewState::Proposed);
    let items = world.entries(&world.owner).await;
    let ids: Vec<String> = items
        .iter()
        .map(|item| match item {
            InboxItem::Request { request } => request.id.to_string(),
            InboxItem::Memory { memory } => memory.id.to_string(),
        })
        .collect();
    assert_eq!(ids, [memory.id.to_string(), request.to_string()]);
    let only = |kind| inbox::page(&world.stores, &world.owner, Some(kind), PageRequest::first(5));
    assert_eq!(only(InboxKind::Memory).await.unwrap().items.len(), 1);
    assert_eq!(only(InboxKind::Question).await.unwrap().items, []);
    let first = inbox::page(&world.stores, &world.owner, None, PageRequest::first(1))
        .await
        .unwrap();
    let next = PageRequest {
        cursor: first.next_cursor,
        limit: 1,
    };
    let second = inbox::page(&world.stores, &world.owner, None, next).await.unwrap();
    assert_eq!([first.items, second.items].concat(), items);
    let accept = MemoryEdit {
        review: Some(ReviewState::Accepted),
        ..MemoryEdit::default()
    };
    world.stores.memories.edit(&world.owner, memory.id, accept).await.unwrap();
    assert_eq!(world.entries(&world.owner).await.len(), 1);
}

/// Whoever looks at the Inbox hears when it changes, and workers hear when a run goes on.
pub async fn hints_of_what_waits(world: &World) {
    let mut people = world.stores.feed.people(world.owner.workspace);
    let deliver = || async { world.stores.system.take_outbox(100).await.unwrap() };
    let (asking, request) = Asking::waiting(world, &world.owner).await;
    deliver().await;
    world.stores.feed.queued().notified().await;
    world.decide(&world.owner, request, yes()).await.unwrap();
    deliver().await;
    world.stores.feed.queued().notified().await;
    // A member would replace what the owner has shared.
    let memories = &world.stores.memories;
    let shared = |text| NewMemory {
        visibility: Visibility::Shared,
        ..crate::contract::memories::fact(&world.env, text)
    };
    let old = memories
        .remember(&world.owner, shared("Tea is served at four."), None)
        .await
        .unwrap();
    let proposal = NewMemory {
        supersedes: Some(old.id),
        ..shared("Tea is served at five.")
    };
    let proposal = memories.remember(&world.member, proposal, None).await.unwrap();
    assert_eq!(proposal.review, ReviewState::Proposed);
    deliver().await;
    // The question and its answer, and the proposal; the start, the wait and the end of the wait. A hint may come twice.
    let (mut inbox, mut runs) = (0, 0);
    while inbox < 3 || runs < 3 {
        let hint = people.recv().await.unwrap();
        assert_eq!(hint.workspace, world.owner.workspace);
        if hint.user != world.owner.user {
            continue;
        }
        match hint.changed {
            Changed::Inbox => inbox += 1,
            Changed::Runs => runs += 1,
        }
    }
    drop(asking);
}
