//! Nothing that people or models say, and no secret, gets into logs or metrics: a whole turn is run at the most talkative
//! level with marked texts everywhere, and every mark is looked for.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::http::Method;
use duet_api::{config::LogConfig, observability::logging};
use serde_json::json;

use crate::support::*;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_and_no_secret_reaches_logs_or_metrics() {
    let captured = Captured::default();
    let writer = captured.clone();
    let config = LogConfig {
        level: "trace".into(),
        ..LogConfig::default()
    };
    // The process's subscriber: other tests of this binary may be heard too, which only adds to what is looked through.
    tracing::subscriber::set_global_default(logging::subscriber(&config, move || writer.clone())).unwrap();

    let server = Server::start().await;
    let mut body = server.setup_body();
    body["password"] = json!("canary-password-0");
    body["display_name"] = json!("canary-name");
    let answer = server.send(json_request(Method::POST, "/v1/setup", &body)).await;
    let cookie = answer.cookie().unwrap();
    let session = answer.ok(201);
    let ada = Person {
        server: &server,
        proof: Proof::Cookie(cookie.clone()),
        user: session["user"]["id"].as_str().unwrap().to_owned(),
        workspace: session["workspaces"][0]["workspace"]["id"].as_str().unwrap().to_owned(),
    };
    let bad = json!({"email": "canary@example.org", "password": "canary-password-1"});
    server
        .send(json_request(Method::POST, "/v1/auth/sign-in", &bad))
        .await
        .problem(401, "wrong_sign_in");
    let token = ada.post("/v1/auth/token", json!({})).await.ok(200)["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let key = ada
        .post(
            "keys",
            json!({"name": "canary-key-name", "scopes": ["chat", "memory_read", "admin"]}),
        )
        .await
        .ok(201);
    let key = key["secret"].as_str().unwrap().to_owned();
    let agents = ada.get("agents").await.ok(200);
    let agent = agents["items"][0]["id"].as_str().unwrap();
    ada.send(
        Method::PATCH,
        &format!("agents/{agent}"),
        json!({"version": 1, "prompt": "canary-prompt"}),
    )
    .await
    .ok(200);
    ada.post("memories", json!({"text": "canary-memory about bears", "sensitive": true}))
        .await
        .ok(201);
    ada.post(
        "memories",
        json!({"text": "canary-memory about bears", "colour": "canary-field"}),
    )
    .await
    .problem(422, "invalid");
    let bearer = ada.bearing(&key);
    bearer.get("memories/search?q=canary-question").await.ok(200);
    ada.bearing(&token).get("conversations/search?q=canary-search").await.ok(200);
    ada.get("memories?cursor=canary-cursor").await;
    ada.get("/canary-path?canary-query=1").await.problem(404, "not_found");

    let conversation = ada.conversation().await;
    server.model.next(vec![
        Line::Say("canary-reply one "),
        Line::Call("remember", json!({"text": "canary-remembered", "kind": "fact"})),
        Line::Call("canary-tool", json!({"canary-argument": "canary-value"})),
    ]);
    server.model.next(vec![Line::Say("canary-reply two")]);
    let run = ada.say(&conversation, "canary-message about bears").await["run_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let stream = ada.stream(&run, 0).await;
    assert!(stream.contains("canary-reply two"), "the turn did not run: {stream}");

    let metrics = bearer.get("/metrics").await.text;
    assert!(metrics.contains("duet_http_requests_total"), "{metrics}");
    // The worker logs the end of a run after its reader has heard of it.
    let logged = async {
        loop {
            let logs = String::from_utf8_lossy(&captured.0.lock().unwrap()).into_owned();
            if logs.contains("answered") && logs.contains(&run) && logs.contains("ended") {
                return logs;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let logs = tokio::time::timeout(Duration::from_secs(60), logged)
        .await
        .expect("the logs were captured");
    let secret = cookie.split_once('=').unwrap().1;
    for (name, text) in [("logs", &logs), ("metrics", &metrics)] {
        for mark in ["canary", secret, &token, &key, "correct horse"] {
            if let Some(at) = text.find(mark) {
                let start = text[..at].rfind('\n').map_or(0, |line| line + 1);
                let line = text[start..].lines().next().unwrap_or_default();
                panic!("`{mark}` is in the {name}: {line}");
            }
        }
    }
}
