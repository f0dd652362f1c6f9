//! Postgres is down when the server starts, and restarts while it runs.

use std::time::Duration;

use duet_api::testing::Browser;
use duet_supabase::testing::{EmptyDatabase, OwnServer};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::Program;

#[tokio::test(flavor = "multi_thread")]
async fn postgres_may_stop_and_start_again() {
    let mut postgres = OwnServer::start();
    let database = EmptyDatabase::on(postgres.url()).await;
    let duet = Program::of(&database).with("DUET_MODELS__OFFLINE__PAUSE_MS", "60");
    let token = duet.migrate();
    postgres.stop();
    for command in [&["serve"][..], &["check"], &["migrate"]] {
        duet.run(command)
            .refused(5, &["cannot be reached", "Check that it runs", &database.address()]);
    }

    postgres.start_again();
    let server = duet.serve();
    let mut ada = Browser::new(&server.url);
    ada.set_up(&token).await;
    let talk = ada.conversation().await;
    let said = ada.say(&talk, "count to 100").await;
    let run = said["run_id"].as_str().unwrap();
    let mut stream = ada.follow(run, None).await;
    for _ in 0..8 {
        stream.next().await.expect("the reply has begun");
    }

    // Down in the middle of a reply: requests are refused in a sentence, and the process stays.
    postgres.stop();
    let refused = ada
        .request(Method::POST, "{ws}/conversations", Some(&json!({})))
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    let problem: Value = refused.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("database"), "{problem}");
    let health = ada.request(Method::GET, "/health", None).await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
    tokio::time::sleep(Duration::from_secs(1)).await;
    postgres.start_again();

    // What was under way comes to its end, and its log is whole.
    let reply = ada.reply(&talk, run).await;
    assert!(reply["status"] == "complete" || reply["status"] == "interrupted", "{reply}");
    let events = ada.events(run, 0).await;
    let ids: Vec<u64> = events.iter().filter_map(|event| event.id).collect();
    assert_eq!(ids, (ids[0]..=*ids.last().unwrap()).collect::<Vec<_>>());
    let next = ada.say(&talk, "Hello again.").await;
    let answer = ada.reply(&talk, next["run_id"].as_str().unwrap()).await;
    assert_eq!(answer["status"], "complete", "{answer}");
    assert_eq!(server.stop().await.code(), Some(0));
}
