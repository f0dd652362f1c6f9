//! [`crate::ports::RunLog`].

use std::{sync::Arc, time::Duration};

use futures::future::join_all;

use super::{World, Writes, assert_refused};
use crate::{
    domain::{
        Claim, Committed, EffectClass, EffectId, EventKind, HandBack, Labels, Locality, LogRange, MessageStatus, MessageTrace,
        ModelFailure, NewEvent, PageRequest, ProposedCall, Reply, RunEvent, RunOutcome, RunStatus, Settlement, StopReason,
        StoredEvent, ToolCall, ToolOutput, ToolStatus, Usage,
    },
    error::{StoreError, StoreResult},
    ports::ChainCheck,
    refusal::Refusal,
    run::{machine::Replay, turn::Turn},
};

fn delta(text: impl Into<String>) -> NewEvent {
    RunEvent::Delta {
        step: 1,
        text: text.into(),
    }
    .into()
}

fn finished(reply: Option<MessageStatus>) -> Vec<NewEvent> {
    let event = RunEvent::Finished {
        outcome: RunOutcome::Completed,
        reply,
        usage: Usage::default(),
        cost_micros: Some(7),
    };
    vec![event.into()]
}

fn ending(status: RunStatus, text: Option<&str>) -> Settlement {
    Settlement {
        status,
        reason: None,
        reply: text.map(|text| Reply {
            status: MessageStatus::Complete,
            text: text.into(),
            trace: MessageTrace::default(),
        }),
    }
}

async fn append(world: &World, claim: &Claim, after: u64, events: Vec<NewEvent>) -> StoreResult<Committed> {
    world
        .stores
        .run_log
        .append(claim.run.id, claim.lease, after, world.env.id(), events)
        .await
}

/// Appended events come back unchanged, in order, with the next numbers.
pub async fn appending(world: &World) {
    let claim = world.claimed().await;
    let output = ToolOutput {
        text: "ok: “ü”\u{1F600}\n".into(),
        ..ToolOutput::default()
    };
    let events = vec![
        delta("a"),
        RunEvent::ToolFinished {
            effect: EffectId::tool(1, 0),
            status: ToolStatus::Succeeded,
            output,
        }
        .into(),
        NewEvent {
            event: RunEvent::RetryDue { step: 1 },
            mentions: vec![world.env.id()],
        },
    ];
    let appended = append(world, &claim, 1, events.clone()).await.unwrap();
    assert!(appended.interleaved.is_empty());
    assert_eq!(appended.own.iter().map(|stored| stored.seq).collect::<Vec<_>>(), [2, 3, 4]);
    let page = world
        .stores
        .runs
        .events(&world.owner, claim.run.id, LogRange::whole(1, 10))
        .await
        .unwrap();
    assert_eq!(page.events, appended.own);
    let stored: Vec<_> = page.events.into_iter().map(|stored| stored.event.unwrap()).collect();
    assert_eq!(stored, events.into_iter().map(|event| event.event).collect::<Vec<_>>());
    let nothing = append(world, &claim, 4, Vec::new()).await.unwrap();
    assert!(nothing.own.is_empty() && nothing.interleaved.is_empty());
}

/// Sixteen writers on one run, some of whose transactions fail: numbers without gaps, in the order of the commits.
pub async fn many_writers(world: &World) {
    let claim = &world.claimed().await;
    let wrong = world.env.id();
    let writers = (0..16).map(|writer| async move {
        let mut seqs = Vec::new();
        for round in 0..20 {
            // One in ten carries a lease that was never issued: it must leave no trace.
            let lease = if (writer + round) % 10 == 0 { wrong } else { claim.lease };
            match world
                .stores
                .run_log
                .append(
                    claim.run.id,
                    lease,
                    1,
                    world.env.id(),
                    vec![delta(format!("{writer}/{round}"))],
                )
                .await
            {
                Ok(appended) => {
                    let own = &appended.own[0];
                    let before: Vec<u64> = appended.interleaved.iter().map(|stored| stored.seq).collect();
                    assert_eq!(before, (2..own.seq).collect::<Vec<_>>(), "all that came before is shown");
                    seqs.push(own.seq);
                }
                Err(error) => assert!(lease == wrong && error.refusal() == Some(&Refusal::LeaseLost), "{error}"),
            }
        }
        assert!(seqs.is_sorted(), "one writer's events keep their order");
        seqs.len()
    });
    let written: usize = join_all(writers).await.into_iter().sum();
    let page = world
        .stores
        .runs
        .events(&world.owner, claim.run.id, LogRange::whole(0, 1_000))
        .await
        .unwrap();
    let seqs: Vec<u64> = page.events.iter().map(|stored| stored.seq).collect();
    assert_eq!(seqs, (1..=written as u64 + 1).collect::<Vec<_>>());
    assert!(page.events.is_sorted_by_key(|stored| stored.at));
    assert!(matches!(
        world.stores.audit.verify(&world.owner).await.unwrap(),
        ChainCheck::Intact(_)
    ));
}

/// A worker that was away for longer than its lease can no longer write, even if nobody has taken over.
pub async fn lost_leases(world: &World) {
    let log = &world.stores.run_log;
    let mut old = world.claimed().await;
    append(world, &old, 1, vec![delta("before")]).await.unwrap();
    world.time.advance(Duration::from_secs(20));
    assert_eq!(log.heartbeat(old.run.id, old.lease).await.unwrap(), 2);
    world.time.advance(Duration::from_secs(20));
    append(world, &old, 2, vec![delta("still")])
        .await
        .expect("a heartbeat prolongs");
    // The worker is lost: its hold is dropped, and its lease runs out where leases expire.
    old.hold = Arc::default();
    world.outlive_leases();
    let mut another = None;
    for claimed_by_another in [false, true] {
        if claimed_by_another {
            let new = world.claim().await.expect("an ended lease is free to take");
            assert_eq!((new.run.id, new.run.attempt), (old.run.id, 2));
            assert_ne!(new.lease, old.lease);
            assert_eq!(new.log.len(), 3);
            another = Some(new);
        }
        let stale = |error: Option<StoreError>| {
            assert_eq!(
                error.as_ref().and_then(StoreError::refusal),
                Some(&Refusal::LeaseLost),
                "{error:?}"
            )
        };
        stale(append(world, &old, 3, vec![delta("late")]).await.err());
        stale(log.heartbeat(old.run.id, old.lease).await.err());
        stale(
            log.settle(
                old.run.id,
                old.lease,
                3,
                world.env.id(),
                finished(Some(MessageStatus::Complete)),
                ending(RunStatus::Done, Some("late")),
            )
            .await
            .err(),
        );
        stale(log.hand_back(old.run.id, old.lease, HandBack::Leaving).await.err());
    }
    let page = world
        .stores
        .runs
        .events(&world.owner, old.run.id, LogRange::whole(0, 100))
        .await
        .unwrap();
    assert_eq!(page.events.len(), 3, "nothing late was written");
    let new = another.expect("a claim");
    append(world, &new, 3, vec![delta("on")]).await.unwrap();
}

/// The end: last event, status and reply together; nothing follows.
pub async fn settling(world: &World) {
    let claim = world.claimed().await;
    append(world, &claim, 1, vec![delta("Hi.")]).await.unwrap();
    let trace = MessageTrace {
        model: "script/one".into(),
        cost_micros: Some(7),
        ..MessageTrace::default()
    };
    let mut settlement = ending(RunStatus::Done, Some("Hi."));
    settlement.reply = settlement.reply.map(|reply| Reply {
        trace: trace.clone(),
        ..reply
    });
    let settled = world
        .stores
        .run_log
        .settle(
            claim.run.id,
            claim.lease,
            2,
            world.env.id(),
            finished(Some(MessageStatus::Complete)),
            settlement,
        )
        .await
        .unwrap();
    assert_eq!(settled.own.iter().map(|stored| stored.seq).collect::<Vec<_>>(), [3]);
    let run = world
        .stores
        .runs
        .run(&world.owner, claim.run.id)
        .await
        .unwrap()
        .expect("the run");
    assert_eq!((run.status, run.last_seq), (RunStatus::Done, 3));
    let page = world
        .stores
        .runs
        .events(&world.owner, run.id, LogRange::whole(0, 10))
        .await
        .unwrap();
    assert!(page.ended && page.events.len() == 3);
    let messages = world
        .stores
        .conversations
        .messages(&world.owner, run.conversation_id, PageRequest::first(10))
        .await
        .unwrap()
        .items;
    assert_eq!(
        (messages[0].id, messages[0].text.as_str(), messages[0].ordinal),
        (run.reply_id, "Hi.", 2)
    );
    assert_eq!(
        (messages[0].trace.as_ref(), messages[0].agent_id),
        (Some(&trace), Some(run.agent_id))
    );
    assert_refused(append(world, &claim, 3, vec![delta("more")]).await, Refusal::LeaseLost);
    let conversation = world
        .stores
        .conversations
        .conversation(&world.owner, run.conversation_id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(conversation.active_run, None);
    world.ask(&world.owner, conversation.id, "Next").await;

    let claim = world.claim().await.unwrap();
    let failed = Settlement {
        reason: Some("No model.".into()),
        ..ending(RunStatus::Failed, None)
    };
    world
        .stores
        .run_log
        .settle(claim.run.id, claim.lease, 1, world.env.id(), finished(None), failed)
        .await
        .unwrap();
    let run = world
        .stores
        .runs
        .run(&world.owner, claim.run.id)
        .await
        .unwrap()
        .expect("the run");
    assert_eq!((run.status, run.reason.as_deref()), (RunStatus::Failed, Some("No model.")));
    let messages = world
        .stores
        .conversations
        .messages(&world.owner, run.conversation_id, PageRequest::first(10))
        .await
        .unwrap();
    assert_eq!(messages.items.len(), 3, "no reply, nothing half-written");
}

/// A person cancels between a worker's writes: the worker sees it before it can settle.
pub async fn interleaving(world: &World) {
    let claim = world.claimed().await;
    world.stores.runs.cancel(&world.owner, claim.run.id).await.unwrap();
    let early = world
        .stores
        .run_log
        .settle(
            claim.run.id,
            claim.lease,
            1,
            world.env.id(),
            finished(Some(MessageStatus::Complete)),
            ending(RunStatus::Done, Some("x")),
        )
        .await;
    assert_refused(early, Refusal::LogGrew);
    let appended = append(world, &claim, 1, Vec::new()).await.expect("the lease is intact");
    assert!(
        matches!(&appended.interleaved[..], [stored] if matches!(stored.event, Some(RunEvent::CancelRequested { by }) if by == world.owner.user))
    );
    world
        .stores
        .run_log
        .settle(
            claim.run.id,
            claim.lease,
            2,
            world.env.id(),
            finished(None),
            ending(RunStatus::Cancelled, None),
        )
        .await
        .unwrap();
}

/// A run that was handed back can be claimed at once.
pub async fn handing_back(world: &World) {
    let first = world.claimed().await;
    assert!(world.claim().await.is_none());
    world
        .stores
        .run_log
        .hand_back(first.run.id, first.lease, HandBack::Leaving)
        .await
        .unwrap();
    let second = world.claim().await.expect("free again");
    assert_eq!((second.run.id, second.run.attempt), (first.run.id, 2));
    assert_refused(append(world, &first, 1, vec![delta("late")]).await, Refusal::LeaseLost);
}

/// A write whose answer was lost is repeated under its commit: it is stored once, and the answer is the first one.
pub async fn repeating(world: &World) {
    let log = &world.stores.run_log;
    let claim = world.claimed().await;
    let (run, lease) = (claim.run.id, claim.lease);
    let write = world.env.id();
    let events = vec![delta("a"), delta("b")];
    world.stores.runs.cancel(&world.owner, run).await.unwrap();
    let first = log.append(run, lease, 1, write, events.clone()).await.unwrap();
    let seqs = |appended: &Committed| {
        let seq = |stored: &StoredEvent| stored.seq;
        (
            appended.interleaved.iter().map(seq).collect::<Vec<_>>(),
            appended.own.iter().map(seq).collect::<Vec<_>>(),
        )
    };
    assert_eq!(seqs(&first), (vec![2], vec![3, 4]));
    for _ in 0..3 {
        let again = log.append(run, lease, 1, write, events.clone()).await.unwrap();
        assert_eq!((again.interleaved, again.own), (first.interleaved.clone(), first.own.clone()));
    }
    let next = log.append(run, lease, 4, world.env.id(), vec![delta("c")]).await.unwrap();
    assert_eq!(seqs(&next), (vec![], vec![5]), "another write is another one");

    let end = world.env.id();
    let ended = log
        .settle(
            run,
            lease,
            5,
            end,
            finished(Some(MessageStatus::Complete)),
            ending(RunStatus::Done, Some("abc")),
        )
        .await
        .unwrap();
    let again = log
        .settle(
            run,
            lease,
            5,
            end,
            finished(Some(MessageStatus::Complete)),
            ending(RunStatus::Done, Some("abc")),
        )
        .await
        .unwrap();
    assert_eq!((again.interleaved, again.own), (ended.interleaved, ended.own));
    let other = log
        .settle(
            run,
            lease,
            6,
            world.env.id(),
            finished(Some(MessageStatus::Complete)),
            ending(RunStatus::Done, Some("abc")),
        )
        .await;
    assert_refused(other, Refusal::LeaseLost);
    let page = world
        .stores
        .runs
        .events(&world.owner, run, LogRange::whole(0, 100))
        .await
        .unwrap();
    assert_eq!((page.events.len(), page.ended), (6, true));
    let messages = world
        .stores
        .conversations
        .messages(&world.owner, claim.run.conversation_id, PageRequest::first(10))
        .await
        .unwrap();
    assert_eq!(messages.items.len(), 2, "one reply");
    assert!(matches!(
        world.stores.audit.verify(&world.owner).await.unwrap(),
        ChainCheck::Intact(_)
    ));
}

/// Only the holder of the run can repeat a write: once another worker has the run, or nobody, the lease is lost.
pub async fn repeating_under_a_lost_lease(world: &World) {
    let log = &world.stores.run_log;
    let mut old = world.claimed().await;
    let (run, write) = (old.run.id, world.env.id());
    log.append(run, old.lease, 1, write, vec![delta("a")]).await.unwrap();
    old.hold = Arc::default();
    world.outlive_leases();
    let new = world.claim().await.expect("an ended lease is free to take");
    assert_eq!(new.run.id, run);
    let repeated = || async {
        let appended = log.append(run, old.lease, 1, write, vec![delta("a")]).await;
        assert_refused(appended, Refusal::LeaseLost);
        let settled = log
            .settle(run, old.lease, 1, write, finished(None), ending(RunStatus::Done, None))
            .await;
        assert_refused(settled, Refusal::LeaseLost);
    };
    repeated().await;
    // Handed back, the run has no lease; its newest write is still the first worker's.
    log.hand_back(run, new.lease, HandBack::Leaving).await.unwrap();
    repeated().await;
    let page = world
        .stores
        .runs
        .events(&world.owner, run, LogRange::whole(0, 10))
        .await
        .unwrap();
    assert_eq!(page.events.len(), 2);
}

/// Steps of a run that was claimed and has its first event: a failed attempt and a whole one, a tool, and the beginning of another.
fn two_steps() -> Vec<RunEvent> {
    let delta = |step, text: &str| RunEvent::Delta { step, text: text.into() };
    let effect = EffectId::tool(1, 0);
    let call = ToolCall {
        id: "c".into(),
        name: "recall".into(),
        arguments: serde_json::json!({}),
    };
    let class = EffectClass::Repeatable;
    vec![
        RunEvent::Context {
            model: "script/one".parse().expect("a model's name"),
            locality: Locality::Local,
            history: vec![],
            recalled: vec![],
            text_only_recall: false,
            labels: Labels::default(),
        },
        RunEvent::ModelCalled { step: 1, attempt: 1 },
        delta(1, "Lost "),
        RunEvent::ModelFailed {
            step: 1,
            attempt: 1,
            failure: ModelFailure::Busy,
            message: "It is busy.".into(),
            retry_after_ms: None,
        },
        RunEvent::RetryDue { step: 1 },
        RunEvent::ModelCalled { step: 1, attempt: 2 },
        delta(1, "Let me "),
        delta(1, "see."),
        RunEvent::ModelReplied {
            step: 1,
            text: "Let me see.".into(),
            tool_calls: vec![ProposedCall { call, class }],
            usage: Usage::default(),
            cost_micros: None,
            stop: StopReason::ToolUse,
        },
        RunEvent::ToolStarted { effect },
        RunEvent::ToolFinished {
            effect,
            status: ToolStatus::Succeeded,
            output: ToolOutput::default(),
        },
        RunEvent::ModelCalled { step: 2, attempt: 1 },
        delta(2, "It is "),
        delta(2, "so."),
    ]
}

/// A brief reader gets everything but the deltas before the newest reply that it asked for, page by page, and folds it to the same
/// state; so does a worker that claims the run.
pub async fn brief_logs(world: &World) {
    let claim = world.claimed().await;
    let (run, log) = (claim.run.id, &world.stores.run_log);
    let events = two_steps().into_iter().map(NewEvent::from).collect();
    log.append(run, claim.lease, 1, world.env.id(), events).await.unwrap();
    let read = async |range: LogRange| world.stores.runs.events(&world.owner, run, range).await.unwrap().events;
    let whole = read(LogRange::whole(0, 100)).await;
    let reply = whole
        .iter()
        .find(|stored| stored.kind == EventKind::Reply)
        .expect("a reply")
        .seq;
    for closed_by in [0, reply - 1, reply, reply + 1, u64::MAX] {
        let closed = if closed_by >= reply { reply } else { 0 };
        let expected: Vec<StoredEvent> = whole
            .iter()
            .filter(|stored| stored.kind != EventKind::Delta || stored.seq > closed)
            .cloned()
            .collect();
        for limit in [1, 2, 100] {
            let mut brief: Vec<StoredEvent> = Vec::new();
            loop {
                let after = brief.last().map_or(0, |stored| stored.seq);
                let page = read(LogRange { after, limit, closed_by }).await;
                assert!(page.len() <= limit);
                if page.is_empty() {
                    break;
                }
                brief.extend(page);
            }
            assert_eq!(brief, expected, "closed by {closed_by}, {limit} at once");
        }
    }
    log.hand_back(run, claim.lease, HandBack::Leaving).await.unwrap();
    drop(claim);
    let again = world.claim().await.expect("the run");
    assert_eq!(again.log, read(LogRange::brief(0, 100)).await);
    assert_eq!(again.log.iter().filter(|stored| stored.kind == EventKind::Delta).count(), 2);
    assert_eq!(Replay::<Turn>::of(&again.log), Replay::<Turn>::of(&whole));
}
