//! Postgres restarts while functions run.

use std::time::Duration;

use duet_supabase::testing::{EmptyDatabase, OwnServer};

use super::turns::{gapless, installed, whole_log};

#[tokio::test(flavor = "multi_thread")]
async fn postgres_may_restart_in_the_middle_of_a_run() {
    let mut postgres = OwnServer::start();
    let database = EmptyDatabase::on(postgres.url()).await;
    let (mut platform, ada) = installed(&database, |platform| platform.set("DUET_MODELS__OFFLINE__PAUSE_MS", "60")).await;
    platform.run("stream", 1);
    platform.run("worker", 1);
    let talk = ada.conversation().await;
    let said = ada.say(&talk, "count to 100").await;
    let run = said["run_id"].as_str().unwrap();
    let mut stream = ada.at(&platform.url("stream")).follow(run, None).await;
    for _ in 0..8 {
        stream.next().await.expect("the reply has begun");
    }
    postgres.stop();
    tokio::time::sleep(Duration::from_secs(1)).await;
    postgres.start_again();
    while stream.next().await.is_some() {}
    // Whatever the worker made of it, the recurring schedule finds what is left.
    let log = {
        let log = whole_log(&platform, &ada, run);
        tokio::pin!(log);
        loop {
            tokio::select! {
                log = &mut log => break log,
                () = tokio::time::sleep(Duration::from_secs(1)) => platform.schedule(),
            }
        }
    };
    gapless(&log);
    let status = ada.reply(&talk, run).await["status"].clone();
    assert!(status == "complete" || status == "interrupted", "{status}");
    let next = ada.say(&talk, "Hello again.").await;
    let run = next["run_id"].as_str().unwrap();
    gapless(&whole_log(&platform, &ada, run).await);
    assert_eq!(ada.reply(&talk, run).await["status"], "complete");
}
