//! A person's feed: hints that something of theirs has changed, and of nobody else's.

use std::time::Duration;

use axum::{body::BodyDataStream, http::Method};
use futures::StreamExt;
use serde_json::json;
use tower::ServiceExt;

use crate::{requests::waiting, support::*};

const RUNS: &str = "event: changed\ndata: {\"changed\":\"runs\"}\n\n";
const INBOX: &str = "event: changed\ndata: {\"changed\":\"inbox\"}\n\n";

async fn open(person: &Person<'_>) -> BodyDataStream {
    let mut asked = request(Method::GET, &person.path("feed"));
    person.prove(&mut asked);
    let response = person.server.router.clone().oneshot(asked).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut feed = response.into_body().into_data_stream();
    assert_eq!(
        next(&mut feed).await.unwrap(),
        format!("{RUNS}{INBOX}"),
        "it begins with everything"
    );
    feed
}

async fn next(feed: &mut BodyDataStream) -> Option<String> {
    let chunk = tokio::time::timeout(HANG, feed.next()).await.expect("something comes");
    chunk.map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap())
}

/// Reads until this was said.
async fn until(feed: &mut BodyDataStream, said: &str) {
    while !next(feed).await.expect("the feed goes on").contains(said) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_a_person_of_their_runs_and_their_inbox() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let bob = server.stranger("bob@example.org").await;
    ada.lets_in(&bob).await;
    let bob = Person {
        workspace: ada.workspace.clone(),
        ..bob
    };
    let (mut of_ada, mut of_bob) = (open(&ada).await, open(&bob).await);
    let (_, request) = waiting(&ada, vec![Line::Call("ask_user", json!({"question": "Which?"}))]).await;
    until(&mut of_ada, INBOX).await;
    ada.post(
        &format!("requests/{}/decide", request["id"].as_str().unwrap()),
        json!({"decision": "dismiss"}),
    )
    .await
    .ok(200);
    until(&mut of_ada, RUNS).await;
    let quiet = tokio::time::timeout(Duration::from_secs(1), of_bob.next()).await;
    assert!(quiet.is_err(), "Bob hears of Ada: {quiet:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_the_membership_and_with_the_server_and_counts_as_a_stream() {
    let mut config = duet_api::config::Config::default();
    config.limits.streams_per_person = 1;
    let mut server = Server::with(config).await;
    let mut feed = {
        let ada = server.owner().await;
        let bob = server.stranger("bob@example.org").await;
        ada.lets_in(&bob).await;
        let bob = Person {
            workspace: ada.workspace.clone(),
            ..bob
        };
        let mut of_bob = open(&bob).await;
        bob.get("feed").await.problem(429, "too_many_requests");
        ada.send(Method::DELETE, &format!("members/{}", bob.user), json!({}))
            .await
            .ok(204);
        while next(&mut of_bob).await.is_some() {}
        open(&ada).await
    };
    server.stop();
    while next(&mut feed).await.is_some() {}
}
