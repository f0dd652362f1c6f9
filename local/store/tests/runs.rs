//! Runs in the file: its lock makes leases independent of time, and damage to one run affects only that run.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod on_file;

use std::time::Duration;

use duet_core::{
    StoreError,
    contract::{World, Writes},
    domain::{HandBack, LogRange, NewEvent, RunEvent, RunStatus},
    ids::Id,
};
use rusqlite::params;

use self::on_file::fresh;

fn delta(text: &str) -> NewEvent {
    RunEvent::Delta {
        step: 1,
        text: text.into(),
    }
    .into()
}

/// When a laptop sleeps or a clock is set, a run's worker still has it, and nobody takes it away.
#[tokio::test(flavor = "multi_thread")]
async fn no_step_of_the_clock_ends_a_lease() {
    let file = fresh().await;
    let world = World::new(&file).await;
    let claim = world.claimed().await;
    let log = &world.stores.run_log;
    let mut last = 1;
    let hour = Duration::from_secs(3_600);
    for step in [hour, hour * 24 * 365] {
        world.time.advance(step);
        assert!(world.claim().await.is_none(), "taken from a worker that lives");
        let appended = log
            .append(claim.run.id, claim.lease, last, world.env.id(), vec![delta("on")])
            .await
            .unwrap();
        last = appended.own[0].seq;
        assert_eq!(log.heartbeat(claim.run.id, claim.lease).await.unwrap(), last);
    }
    world.time.set(1);
    log.append(claim.run.id, claim.lease, last, world.env.id(), vec![delta("back")])
        .await
        .unwrap();
    // When the claim is dropped, the run is free at once: no clock has to run for that.
    let (run, lease) = (claim.run.id, claim.lease);
    drop(claim);
    let next = world.claim().await.expect("free again");
    assert_eq!(next.run.id, run);
    let late = log.append(run, lease, last, world.env.id(), vec![delta("late")]).await;
    assert!(matches!(late, Err(StoreError::Stale(_))), "{late:?}");
}

/// A run that cannot be read ends with its reason and keeps nobody waiting; the readable part of its log is shown.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_cannot_be_read_is_parked_alone() {
    const SPOILS: [&str; 4] = [
        "UPDATE run_event_payload SET payload = 'no json' WHERE run_id = ?1 AND seq = 1",
        "UPDATE run_event_payload SET payload = '{\"type\":\"unheard_of\"}' WHERE run_id = ?1 AND seq = 2",
        "UPDATE run SET agent_id = x'00' WHERE id = ?1",
        "UPDATE run SET last_hash = x'00' WHERE id = ?1",
    ];
    for spoil in SPOILS {
        let file = fresh().await;
        let world = World::new(&file).await;
        let conversation = world.conversation(&world.owner).await;
        let spoiled = world.ask(&world.owner, conversation.id, "Hello").await;
        // A second event, and nobody holds the run.
        let (claim, log) = (world.claim().await.expect("the run"), &world.stores.run_log);
        log.append(spoiled.run_id, claim.lease, 1, world.env.id(), vec![delta("on")])
            .await
            .unwrap();
        log.hand_back(spoiled.run_id, claim.lease, HandBack::Leaving).await.unwrap();
        drop(claim);
        let conn = file.past_the_stores();
        conn.execute_batch("PRAGMA foreign_keys = off; DROP TRIGGER run_event_payload_fixed")
            .unwrap();
        assert_eq!(conn.execute(spoil, params![spoiled.run_id.uuid().into_bytes()]).unwrap(), 1);
        let fine = world
            .ask(&world.owner, world.conversation(&world.owner).await.id, "Hello")
            .await;
        let claim = world.claim().await.expect("the run behind it");
        assert_eq!(claim.run.id, fine.run_id, "{spoil}");
        assert!(world.claim().await.is_none());
        let (status, reason): (String, String) = conn
            .query_row(
                "SELECT status, reason FROM run WHERE id = ?1",
                params![spoiled.run_id.uuid().into_bytes()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        assert_eq!(status, RunStatus::Parked.as_str());
        assert!(reason.contains("cannot be read"), "{reason}");
        if spoil.contains("payload") {
            let page = world
                .stores
                .runs
                .events(&world.owner, spoiled.run_id, LogRange::whole(0, 10))
                .await
                .unwrap();
            assert_eq!((page.events.len(), page.ended), (3, true), "{spoil}");
            assert_eq!(
                page.events.iter().filter(|stored| stored.event.is_none()).count(),
                1,
                "{spoil}"
            );
        }
        world.ask(&world.owner, conversation.id, "Once more").await;
    }
}
