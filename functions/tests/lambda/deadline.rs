//! Invocations that run out of time: they end before the platform would cut them, and others continue.

use std::time::Duration;

use duet_supabase::testing::EmptyDatabase;
use serde_json::json;

use super::turns::{gapless, installed, whole_log};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_hands_back_before_its_time_is_up_and_another_goes_on() {
    let database = EmptyDatabase::fresh().await;
    let (mut platform, ada) = installed(&database, |platform| {
        platform.set("DUET_MODELS__OFFLINE__PAUSE_MS", "100");
        // Longer than this test: only a run that was handed back can be claimed.
        platform.set("DUET_WORKER__LEASE_SECONDS", "600");
    })
    .await;
    platform.time_out("worker", Duration::from_secs(11));
    platform.time_out("stream", Duration::from_secs(7));
    platform.run("worker", 1);
    platform.run("stream", 1);
    let talk = ada.conversation().await;
    let said = ada.say(&talk, "count to 200").await;
    let run = said["run_id"].as_str().unwrap();

    // A stream ends cleanly before its own deadline, and resumes from its last id.
    let mut stream = ada.at(&platform.url("stream")).follow(run, None).await;
    let mut first = Vec::new();
    while let Some(event) = stream.next().await {
        first.push(event);
    }
    assert_ne!(
        first.last().unwrap().data["type"],
        "RUN_FINISHED",
        "the stream ended before the run"
    );
    assert!(first.last().unwrap().id.is_some(), "it ends with a whole event");
    let log = whole_log(&platform, &ada, run).await;
    gapless(&log);
    assert_eq!(log[..first.len()], first[..]);

    assert_eq!(
        ada.reply(&talk, run).await["status"],
        "interrupted",
        "a reply that was under way is kept as it was"
    );
    let rounds = platform.invoked();
    assert_eq!(
        rounds,
        [json!({"task": "drive", "round": 0}), json!({"task": "drive", "round": 1})]
    );
    let spare = platform.tightest();
    assert!(spare > Duration::ZERO, "it answered before its deadline");
}
