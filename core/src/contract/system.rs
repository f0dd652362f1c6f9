//! [`crate::ports::SystemStore`], except for its memory part.

use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;

use super::{World, Writes, assert_refused};
use crate::{
    caller::Caller,
    domain::{
        AuditEntry, EffectId, EventHint, EventKind, HandBack, Hint, LeasePolicy, LogRange, NewTurn, PageRequest, RunEvent,
        RunStatus, Session, StopReason, ToolOutput, ToolStatus, Usage,
    },
    ids::RunId,
    refusal::Refusal,
};

/// The oldest run first; a run that is held is not claimed twice.
pub async fn claims(world: &World) {
    assert!(world.claim().await.is_none());
    let mut asked = Vec::new();
    for caller in [&world.owner, &world.stranger, &world.member] {
        let conversation = world.conversation(caller).await;
        asked.push(world.ask(caller, conversation.id, "Hello").await.run_id);
    }
    let mut claimed = Vec::new();
    while let Some(claim) = world.claim().await {
        assert_eq!(
            (claim.run.status, claim.run.attempt, claim.log.len()),
            (RunStatus::Running, 1, 1)
        );
        claimed.push(claim);
    }
    assert_eq!(claimed.iter().map(|claim| claim.run.id).collect::<Vec<_>>(), asked);
}

/// Twenty workers, seven runs: each run is claimed once.
pub async fn of_many_workers_one_claims(world: &World) {
    for _ in 0..7 {
        let conversation = world.conversation(&world.owner).await;
        world.ask(&world.owner, conversation.id, "Hello").await;
    }
    let claims = join_all((0..20).map(|_| world.claim())).await;
    let mut runs: Vec<_> = claims.iter().flatten().map(|claim| claim.run.id).collect();
    runs.sort();
    runs.dedup();
    assert_eq!(runs.len(), 7);
}

/// A run that crashes its workers is parked with a reason, and does not block others.
pub async fn parking(world: &World) {
    let policy = LeasePolicy {
        max_attempts: 3,
        ..LeasePolicy::default()
    };
    let claim = || world.stores.system.claim_run(policy, EventKind::ALL);
    let conversation = world.conversation(&world.owner).await;
    let poisoned = world.ask(&world.owner, conversation.id, "Boom").await;
    for attempt in 1..=3 {
        assert_eq!(claim().await.unwrap().expect("claimed").run.attempt, attempt);
        world.outlive_leases();
    }
    let other = world
        .ask(&world.owner, world.conversation(&world.owner).await.id, "Fine")
        .await;
    assert_eq!(claim().await.unwrap().expect("the other").run.id, other.run_id);
    let run = world.stores.runs.run(&world.owner, poisoned.run_id).await.unwrap().unwrap();
    assert_eq!(run.status, RunStatus::Parked);
    assert!(run.reason.is_some_and(|reason| !reason.is_empty()));
    let page = world
        .stores
        .runs
        .events(&world.owner, run.id, LogRange::whole(0, 100))
        .await
        .unwrap();
    assert!(page.ended, "a reader of the log sees the end");
    world.ask(&world.owner, conversation.id, "Again").await;
}

/// How many more claims without progress the run survives; the claims are lost one after the other.
async fn claims_left(world: &World, run: RunId) -> usize {
    let mut claims = 0;
    while let Some(claim) = world.claim().await {
        assert_eq!(claim.run.id, run);
        claims += 1;
        drop(claim);
        world.outlive_leases();
    }
    let run = world.stores.runs.run(&world.owner, run).await.unwrap().unwrap();
    assert_eq!(run.status, RunStatus::Parked);
    claims
}

/// Only claims without progress count: an effect's outcome resets the count; what a worker writes on the way to one does not.
pub async fn progress(world: &World) {
    let (log, most) = (&world.stores.run_log, LeasePolicy::default().max_attempts as usize);
    let fresh = world.claimed().await;
    log.hand_back(fresh.run.id, fresh.lease, HandBack::Stuck).await.unwrap();
    assert_eq!(
        claims_left(world, fresh.run.id).await,
        most - 1,
        "a worker that is stuck counts"
    );

    let begun = [
        RunEvent::Recovered { attempt: 2 },
        RunEvent::ModelCalled { step: 1, attempt: 1 },
        RunEvent::Delta {
            step: 1,
            text: "again".into(),
        },
        RunEvent::ToolStarted {
            effect: EffectId::tool(1, 0),
        },
    ];
    let closed = [
        RunEvent::ModelReplied {
            step: 1,
            text: String::new(),
            tool_calls: vec![],
            usage: Usage::default(),
            cost_micros: None,
            stop: StopReason::End,
        },
        RunEvent::RetryDue { step: 1 },
        RunEvent::ToolFinished {
            effect: EffectId::tool(1, 0),
            status: ToolStatus::Failed,
            output: ToolOutput::default(),
        },
    ];
    for (event, left) in begun
        .into_iter()
        .map(|event| (event, most - 2))
        .chain(closed.into_iter().map(|event| (event, most)))
    {
        let kind = event.kind();
        drop(world.claimed().await);
        world.outlive_leases();
        let claim = world.claim().await.expect("the second claim");
        let run = claim.run.id;
        log.append(run, claim.lease, 1, world.env.id(), vec![event.into()])
            .await
            .unwrap();
        drop(claim);
        world.outlive_leases();
        assert_eq!(claims_left(world, run).await, left, "{kind}");
    }
}

/// Workers that leave in an orderly way cost a run nothing, however many do.
pub async fn leaving(world: &World) {
    let mut claim = world.claimed().await;
    for round in 0..3 * LeasePolicy::default().max_attempts {
        let log = &world.stores.run_log;
        log.hand_back(claim.run.id, claim.lease, HandBack::Leaving).await.unwrap();
        claim = world.claim().await.unwrap_or_else(|| panic!("parked after {round} restarts"));
    }
    assert_eq!(claim.run.status, RunStatus::Running);
}

/// A worker that does not know a kind of event skips the runs that have it, at no cost to them, and claims the others.
pub async fn older_workers(world: &World) {
    let (log, system) = (&world.stores.run_log, &world.stores.system);
    let newer = world.claimed().await;
    let event = RunEvent::RetryDue { step: 1 };
    log.append(newer.run.id, newer.lease, 1, world.env.id(), vec![event.into()])
        .await
        .unwrap();
    log.hand_back(newer.run.id, newer.lease, HandBack::Leaving).await.unwrap();
    let plain = world
        .ask(&world.owner, world.conversation(&world.owner).await.id, "Hello")
        .await;
    let known: Vec<EventKind> = EventKind::ALL
        .iter()
        .copied()
        .filter(|kind| *kind != EventKind::Retry)
        .collect();
    let claim = || system.claim_run(LeasePolicy::default(), &known);
    let taken = claim().await.unwrap().expect("the other one");
    assert_eq!(taken.run.id, plain.run_id);
    for _ in 0..10 {
        assert!(claim().await.unwrap().is_none());
    }
    let claimed = world.claim().await.expect("for a worker that knows it");
    assert_eq!((claimed.run.id, claimed.run.attempt), (newer.run.id, 2));
}

/// Every append leaves a hint that reaches the feed, and readers of the feed can rely on the log.
pub async fn outbox(world: &World) {
    let conversation = world.conversation(&world.owner).await;
    let turn = world.turn(conversation.id, "Hello");
    let mut hints = world.stores.feed.subscribe(turn.run_id);
    let turn = world.stores.runs.start_turn(&world.owner, turn).await.unwrap();
    let run = world.stores.runs.cancel(&world.owner, turn.run_id).await.unwrap();
    // Hints may come late and batched, but the newest always comes.
    loop {
        let hint = hints.recv().await.expect("a hint");
        assert_eq!(hint.run, turn.run_id);
        if hint.last_seq == run.last_seq {
            break;
        }
    }
}

/// A hint is taken once, by the store's own relay or by another process; at most as many as asked for.
pub async fn taking_hints(world: &World) {
    let mut turns = BTreeSet::new();
    for caller in [&world.owner, &world.member, &world.stranger] {
        let conversation = world.conversation(caller).await;
        turns.insert(world.ask(caller, conversation.id, "Hello").await.run_id);
    }
    assert!(world.stores.system.take_outbox(0).await.unwrap().is_empty());
    let mut taken = BTreeSet::new();
    loop {
        let hints = world.stores.system.take_outbox(2).await.unwrap();
        assert!(hints.len() <= 2, "{hints:?}");
        if hints.is_empty() {
            break;
        }
        // Others are for pages and workers, and say nothing that could be taken twice.
        for hint in hints.into_iter().filter_map(of_run) {
            assert!(turns.contains(&hint.run) && hint.last_seq == 1, "{hint:?}");
            assert!(taken.insert(hint.run), "taken twice: {hint:?}");
        }
    }
}

fn of_run(hint: Hint) -> Option<EventHint> {
    match hint {
        Hint::Run(hint) => Some(hint),
        Hint::Person(_) | Hint::Queued => None,
    }
}

/// Expired rows are swept.
pub async fn sweeping(world: &World) {
    let now = world.env.now();
    let session = Session {
        id: world.env.id(),
        user_id: world.owner.user,
        created_at: now,
        expires_at: now.plus(Duration::from_secs(60)),
        by_device: false,
        by_machine: false,
    };
    world.stores.accounts.create_session(session, [5; 32]).await.unwrap();
    let conversation = world.conversation(&world.owner).await;
    let keyed = |text: &str| NewTurn {
        idempotency_key: Some("k".into()),
        ..world.turn(conversation.id, text)
    };
    let first = world.stores.runs.start_turn(&world.owner, keyed("Hello")).await.unwrap();
    assert_eq!(world.stores.system.sweep().await.unwrap(), 0);
    world.time.advance(Duration::from_secs(23 * 3600));
    world.stores.system.sweep().await.unwrap();
    assert_eq!(
        world.stores.runs.start_turn(&world.owner, keyed("Hello")).await.unwrap(),
        first,
        "keys hold for a day"
    );
    world.time.advance(Duration::from_secs(25 * 3600));
    assert!(world.stores.system.sweep().await.unwrap() > 0);
    assert_eq!(world.stores.system.sweep().await.unwrap(), 0);
    let again = world.stores.runs.start_turn(&world.owner, keyed("Hello")).await;
    // The key is forgotten; the conversation is still busy.
    assert_refused(again, Refusal::ReplyActive);
}

/// A writable store proves it, as often as asked.
pub async fn a_store_that_takes_writes_says_so(world: &World) {
    for _ in 0..3 {
        world.stores.system.prove_writable().await.unwrap();
    }
}

/// Every workspace's audit head is its newest entry; a recorded head matches this log, and no other.
pub async fn audit_heads(world: &World) {
    let (system, audit) = (&world.stores.system, &world.stores.audit);
    let newest = async |caller: &Caller| {
        let page = audit.entries(caller, PageRequest::first(1)).await.unwrap();
        page.items.into_iter().next().expect("an entry")
    };
    world.stores.workspaces.rename(&world.owner, "Anchored").await.unwrap();
    let heads = system.audit_heads(None, 100).await.unwrap();
    assert!(heads.iter().map(|head| head.workspace_id).is_sorted());
    for caller in [&world.owner, &world.stranger] {
        let head = heads
            .iter()
            .find(|head| head.workspace_id == caller.workspace)
            .expect("a head");
        let entry = newest(caller).await;
        assert_eq!(
            (head.seq, &head.hash, head.owner),
            (entry.seq, &entry.chain_hash, caller.user)
        );
    }
    let first = system.audit_heads(None, 1).await.unwrap();
    let rest = system.audit_heads(Some(first[0].workspace_id), 100).await.unwrap();
    assert_eq!([first, rest].concat(), heads, "page by page");

    let anchor = heads
        .iter()
        .find(|head| head.workspace_id == world.owner.workspace)
        .expect("a head");
    let borne_out = |log: &[AuditEntry]| {
        log.iter()
            .any(|entry| (entry.seq, &entry.chain_hash) == (anchor.seq, &anchor.hash))
    };
    world.stores.workspaces.rename(&world.owner, "Anchored again").await.unwrap();
    let log = audit.entries(&world.owner, PageRequest::first(200)).await.unwrap().items;
    assert!(borne_out(&log), "the log has grown");
    assert!(!borne_out(&log[2..]), "its end was cut off");
    let other = audit.entries(&world.stranger, PageRequest::first(200)).await.unwrap().items;
    assert!(!borne_out(&other), "another log");
}
