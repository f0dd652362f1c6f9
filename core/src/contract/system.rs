//! [`crate::ports::SystemStore`], but for its memory part.

use std::time::Duration;

use futures::future::join_all;

use super::World;
use crate::{
    domain::{LeasePolicy, NewTurn, RunStatus, Session},
    error::StoreError,
};

/// The oldest run first; one that is held is not given twice.
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
        assert!(claim.lease_until > world.env.now());
        claimed.push(claim.run.id);
    }
    assert_eq!(claimed, asked);
}

/// Twenty workers, seven runs: each run once.
pub async fn of_many_workers_one_claims(world: &World) {
    for _ in 0..7 {
        let conversation = world.conversation(&world.owner).await;
        world.ask(&world.owner, conversation.id, "Hello").await;
    }
    let claims = join_all((0..20).map(|_| world.claim())).await;
    let mut runs: Vec<_> = claims.into_iter().flatten().map(|claim| claim.run.id).collect();
    runs.sort();
    runs.dedup();
    assert_eq!(runs.len(), 7);
}

/// A run that brings its workers down is parked with a reason, and does not keep others waiting.
pub async fn parking(world: &World) {
    let policy = LeasePolicy {
        max_attempts: 3,
        ..LeasePolicy::default()
    };
    let claim = || world.stores.system.claim_run(policy);
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
    let page = world.stores.runs.events(&world.owner, run.id, 0, 100).await.unwrap();
    assert!(page.ended, "a reader of the log sees the end");
    world.ask(&world.owner, conversation.id, "Again").await;
}

/// Every append leaves a hint; the feed gets it, and readers of the feed can rely on the log.
pub async fn outbox(world: &World) {
    let conversation = world.conversation(&world.owner).await;
    let turn = world.turn(conversation.id, "Hello");
    let mut hints = world.stores.feed.subscribe(turn.run_id);
    let turn = world.stores.runs.start_turn(&world.owner, turn).await.unwrap();
    world.stores.runs.cancel(&world.owner, turn.run_id).await.unwrap();
    // Hints may come late and together, but the newest comes.
    loop {
        let hint = hints.recv().await.expect("a hint");
        assert_eq!(hint.run, turn.run_id);
        if hint.last_seq == 2 {
            break;
        }
    }
}

/// What has expired is swept.
pub async fn sweeping(world: &World) {
    let now = world.env.now();
    let session = Session {
        id: world.env.id(),
        user_id: world.owner.user,
        created_at: now,
        expires_at: now.plus(Duration::from_secs(60)),
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
    assert!(
        matches!(again, Err(StoreError::Conflict(_))),
        "the key is forgotten; the conversation is still busy: {again:?}"
    );
}
