//! A conversation as a file, in pages, and gone.

use axum::{
    body::{Body, Bytes},
    extract::ConnectInfo,
    http::Method,
};
use duet_core::domain::PageRequest;
use futures::StreamExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::*;

/// A conversation whose messages together are several pages.
async fn long_conversation(server: &Server, ada: &Person<'_>) -> (String, usize) {
    const TURNS: usize = 20;
    const SAID: usize = 60_000;
    let conversation = ada.conversation().await;
    for turn in 0..TURNS {
        server.model.next(vec![Line::Say("Heard.")]);
        let receipt = ada.say(&conversation, &format!("{turn} {}", "x".repeat(SAID))).await;
        ada.stream(receipt["run_id"].as_str().unwrap(), 0).await;
    }
    (conversation, 2 * TURNS)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_conversation_is_exported_in_parts_and_listed_in_pages() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let (conversation, count) = long_conversation(&server, &ada).await;
    for format in ["json", "markdown"] {
        let mut asked = request(
            Method::GET,
            &ada.path(&format!("conversations/{conversation}/export?format={format}")),
        );
        ada.prove(&mut asked);
        let here: std::net::SocketAddr = ([127, 0, 0, 1], 50_000).into();
        asked.extensions_mut().insert(ConnectInfo(here));
        let answer = server.router.clone().oneshot(asked).await.unwrap();
        assert_eq!(answer.status(), 200);
        let parts = parts(answer.into_body()).await;
        assert!(parts.len() > 1, "in parts");
        let longest = parts.iter().map(Bytes::len).max().unwrap();
        assert!(longest < PageRequest::MAX_BYTES * 2, "no part is the whole: {longest}");
        let whole = parts.concat();
        match format {
            "json" => {
                let file: Value = serde_json::from_slice(&whole).unwrap();
                assert_eq!(file["conversation"]["id"], conversation.as_str());
                let messages = file["messages"].as_array().unwrap();
                let ordinals: Vec<u64> = messages.iter().map(|message| message["ordinal"].as_u64().unwrap()).collect();
                assert_eq!(ordinals, (1..=count as u64).collect::<Vec<_>>(), "each once, oldest first");
            }
            _ => assert_eq!(String::from_utf8(whole).unwrap().matches("\n## ").count(), count),
        }
    }

    let mut path = format!("conversations/{conversation}/messages?limit=200");
    let mut seen = 0;
    let mut pages = 0;
    loop {
        let answer = ada.get(&path).await;
        assert!(
            answer.text.len() < PageRequest::MAX_BYTES * 2,
            "a page is bounded: {}",
            answer.text.len()
        );
        let page = answer.ok(200);
        seen += page["items"].as_array().unwrap().len();
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("conversations/{conversation}/messages?limit=200&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!((seen, pages), (count, 2));
}

async fn parts(body: Body) -> Vec<Bytes> {
    body.into_data_stream().map(Result::unwrap).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_conversation_is_gone_and_what_came_from_it_says_so() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let eve = server.stranger("eve@example.org").await;
    let conversation = ada.conversation().await;
    server.model.next(vec![Line::Call(
        "remember",
        json!({"text": "Ada's bear is called Bruno", "kind": "fact"}),
    )]);
    server.model.next(vec![Line::Say("Bruno it is.")]);
    let receipt = ada.say(&conversation, "My bear is called Bruno.").await;
    ada.stream(receipt["run_id"].as_str().unwrap(), 0).await;
    let path = format!("conversations/{conversation}");
    let memory = ada.get("memories").await.ok(200)["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let why = ada.get(&format!("memories/{memory}/provenance")).await.ok(200);
    assert_eq!(
        (&why["conversation"]["id"], &why["conversation_deleted"]),
        (&json!(conversation), &json!(false))
    );

    let ids = ada
        .get(&format!("conversations/ids?prefix={}", &conversation[..30]))
        .await
        .ok(200);
    assert_eq!(ids, json!({"items": [conversation]}));
    ada.get("conversations/ids?prefix=last").await.problem(422, "id_prefix");
    assert_eq!(ada.get("conversations/ids?prefix=77").await.ok(200), json!({"items": []}));
    assert_eq!(
        ada.get(&format!("memories/ids?prefix={memory}")).await.ok(200),
        json!({"items": [memory]})
    );

    eve.send(Method::DELETE, &path, Value::Null).await.problem(404, "not_found");
    ada.send(Method::DELETE, &path, Value::Null).await.ok(204);
    ada.get(&path).await.problem(404, "not_found");
    ada.get(&format!("{path}/messages")).await.problem(404, "not_found");
    ada.get(&format!("{path}/export")).await.problem(404, "not_found");
    ada.send(Method::DELETE, &path, Value::Null).await.problem(404, "not_found");
    assert_eq!(ada.get("conversations/search?q=Bruno").await.ok(200)["items"], json!([]));
    let why = ada.get(&format!("memories/{memory}/provenance")).await.ok(200);
    assert_eq!(why["memory"]["text"], "Ada's bear is called Bruno");
    assert_eq!(why["conversation_deleted"], true);
    assert!(why["conversation"].is_null() && why["message"].is_null());
    assert_eq!(ada.get("audit/verify").await.ok(200)["intact"], true);
}
