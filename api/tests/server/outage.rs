//! Postgres is down when the server starts, restarts while it runs, and takes no writes for a while.

use std::time::Duration;

use duet_api::testing::Browser;
use duet_supabase::testing::{EmptyDatabase, OwnServer};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Program, Served};

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

/// Asks until the server is as ready as that.
async fn ready(server: &Served, status: StatusCode) -> Value {
    let browser = Browser::new(&server.url);
    let asked = async {
        loop {
            let answer = browser.request(Method::GET, "/ready", None).await.unwrap();
            if answer.status() == status {
                return answer.json().await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked)
        .await
        .expect("it turns so")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_over_a_read_only_database_is_not_ready() {
    let (database, beside) = (EmptyDatabase::fresh().await, EmptyDatabase::fresh().await);
    let duet = Program::of(&database);
    duet.migrate();
    let server = duet.serve();
    ready(&server, StatusCode::OK).await;
    // As after a failover, or where a provider stops writes to a full disk.
    let name = database.name();
    let cut =
        format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}' and usename = 'duet_worker'");
    let read_only = format!("alter database {name} set default_transaction_read_only = on; {cut}");
    beside.sql("supabase_admin", &read_only).await;
    let problem = ready(&server, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(problem["detail"].as_str().unwrap().contains("read-only"), "{problem}");
    let healthy = Browser::new(&server.url).request(Method::GET, "/health", None).await.unwrap();
    assert_eq!(healthy.status(), StatusCode::OK);
    let again = format!("alter database {name} reset default_transaction_read_only; {cut}");
    beside.sql("supabase_admin", &again).await;
    ready(&server, StatusCode::OK).await;
}
