//! API keys: what each scope opens, and that nothing else does.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::*;

async fn key(ada: &Person<'_>, scopes: &[&str]) -> (String, String) {
    let made = ada.post("keys", json!({"name": "test", "scopes": scopes})).await.ok(201);
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("duet_") && secret.len() == 48, "{secret}");
    assert!(secret.starts_with(made["key"]["prefix"].as_str().unwrap()));
    (made["key"]["id"].as_str().unwrap().to_owned(), secret.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_what_its_scopes_say_and_nothing_else() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let id = server.state.env().uuid();
    let nobody = json!({});
    // What is asked, and the scope that it needs ("" = any key, "-" = no key will do).
    let table: Vec<(Method, String, Value, &str)> = vec![
        (Method::GET, "/v1/workspaces".into(), nobody.clone(), ""),
        (Method::GET, "".into(), nobody.clone(), ""),
        (Method::GET, "members".into(), nobody.clone(), ""),
        (Method::GET, "agents".into(), nobody.clone(), ""),
        (Method::GET, "soul".into(), nobody.clone(), ""),
        (Method::GET, "policy".into(), nobody.clone(), ""),
        (Method::GET, "policy/versions".into(), nobody.clone(), ""),
        (Method::GET, "policy/why?tool=recall".into(), nobody.clone(), ""),
        (Method::PUT, "policy".into(), json!({"from": 1, "rules": []}), "-"),
        (Method::GET, "inbox".into(), nobody.clone(), "-"),
        (Method::GET, "inbox/count".into(), nobody.clone(), "-"),
        (Method::GET, "requests".into(), nobody.clone(), "-"),
        (Method::GET, "requests/ids?prefix=0".into(), nobody.clone(), "-"),
        (Method::GET, format!("requests/{id}"), nobody.clone(), "-"),
        (
            Method::POST,
            format!("requests/{id}/decide"),
            json!({"decision": "dismiss"}),
            "-",
        ),
        (Method::GET, "feed".into(), nobody.clone(), "-"),
        (Method::GET, "conversations".into(), nobody.clone(), "chat"),
        (Method::POST, "conversations".into(), nobody.clone(), "chat"),
        (Method::GET, format!("conversations/{id}"), nobody.clone(), "chat"),
        (
            Method::POST,
            format!("conversations/{id}/messages"),
            json!({"text": "x"}),
            "chat",
        ),
        (Method::GET, format!("runs/{id}"), nobody.clone(), "chat"),
        (Method::GET, format!("runs/{id}/events"), nobody.clone(), "chat"),
        (Method::POST, format!("runs/{id}/cancel"), nobody.clone(), "chat"),
        (Method::POST, format!("runs/{id}/pause"), nobody.clone(), "chat"),
        (Method::POST, format!("runs/{id}/resume"), nobody.clone(), "chat"),
        (Method::GET, "memories".into(), nobody.clone(), "memory_read"),
        (Method::GET, "memories/search?q=x".into(), nobody.clone(), "memory_read"),
        (
            Method::GET,
            format!("memories/{id}/provenance"),
            nobody.clone(),
            "memory_read",
        ),
        (Method::POST, "memories".into(), json!({"text": "x"}), "memory_write"),
        (Method::PATCH, format!("memories/{id}"), nobody.clone(), "memory_write"),
        (Method::POST, format!("memories/{id}/redact"), nobody.clone(), "memory_write"),
        (
            Method::POST,
            format!("memories/{id}/labels"),
            json!({"clear": ["integrity"]}),
            "-",
        ),
        (
            Method::POST,
            format!("conversations/{id}/messages/{id}/labels"),
            json!({"clear": ["integrity"]}),
            "-",
        ),
        (Method::PATCH, "".into(), json!({"name": "Home"}), "admin"),
        (Method::PATCH, format!("agents/{id}"), json!({"version": 1}), "admin"),
        (Method::GET, "audit".into(), nobody.clone(), "admin"),
        (Method::GET, "keys".into(), nobody.clone(), "-"),
        (Method::POST, "keys".into(), json!({"name": "x", "scopes": ["chat"]}), "-"),
        (Method::DELETE, format!("keys/{id}"), nobody.clone(), "-"),
        (Method::GET, "/v1/auth/session".into(), nobody.clone(), "-"),
        (Method::POST, "/v1/auth/token".into(), nobody.clone(), "-"),
        (Method::POST, "/v1/auth/sign-out?everywhere=true".into(), nobody.clone(), "-"),
        (
            Method::POST,
            "/v1/workspaces".into(),
            json!({"name": "x", "companion_name": "y"}),
            "-",
        ),
    ];
    for scope in ["chat", "memory_read", "memory_write", "admin"] {
        let (_, secret) = key(&ada, &[scope]).await;
        let bearer = ada.bearing(&secret);
        for (method, path, body, needs) in &table {
            let answer = bearer.send(method.clone(), path, body.clone()).await;
            let opens = needs.is_empty() || *needs == scope;
            assert_eq!(
                answer.status != 403,
                opens,
                "{scope} {method} {path}: {} {}",
                answer.status,
                answer.text
            );
            assert_ne!(answer.status, 401);
            if !opens {
                answer.problem(403, "denied");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_its_own_workspace_only() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let other = ada
        .post("/v1/workspaces", json!({"name": "Work", "companion_name": "Max"}))
        .await
        .ok(201);
    let (_, secret) = key(&ada, &["chat", "memory_read", "memory_write", "admin"]).await;
    let bearer = ada.bearing(&secret);
    bearer.get("agents").await.ok(200);
    let elsewhere = Person {
        workspace: other["id"].as_str().unwrap().to_owned(),
        ..bearer.clone()
    };
    ada.get(&elsewhere.path("agents")).await.ok(200);
    elsewhere.get("agents").await.problem(404, "not_found");
    elsewhere
        .post("memories", json!({"text": "x"}))
        .await
        .problem(404, "not_found");
    let seen = bearer.get("/v1/workspaces").await.ok(200);
    assert_eq!(seen["items"].as_array().unwrap().len(), 1);
    assert_eq!(ada.get("/v1/workspaces").await.ok(200)["items"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_or_expired_key_is_refused_at_once_and_secrets_are_shown_once() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let (id, secret) = key(&ada, &["chat"]).await;
    let bearer = ada.bearing(&secret);
    bearer.get("conversations").await.ok(200);
    let listed = ada.get("keys").await;
    assert!(!listed.text.contains(&secret) && listed.text.contains(&id));
    ada.send(Method::DELETE, &format!("keys/{id}"), json!({})).await.ok(200);
    bearer.get("conversations").await.problem(401, "not_signed_in");
    ada.send(Method::DELETE, &format!("keys/{id}"), json!({})).await.ok(200);
    assert!(ada.get("keys").await.ok(200)["items"][0]["revoked_at"].is_string());

    let soon = server.state.env().now().plus(std::time::Duration::from_secs(3600));
    let made = ada
        .post("keys", json!({"name": "short", "scopes": ["chat"], "expires_at": soon}))
        .await
        .ok(201);
    let bearer = ada.bearing(made["secret"].as_str().unwrap());
    bearer.get("conversations").await.ok(200);
    server.expire("api_key", made["key"]["id"].as_str().unwrap());
    bearer.get("conversations").await.problem(401, "not_signed_in");

    // Keys are not mixed up with one another, and a changed one is none.
    let mut changed = secret.clone();
    changed.pop();
    for bad in [
        changed.as_str(),
        &format!("{secret}A"),
        &secret.to_uppercase(),
        &secret[5..],
        "duet_",
    ] {
        ada.bearing(bad).get("conversations").await.problem(401, "not_signed_in");
    }
    ada.post("keys", json!({"name": "none", "scopes": []}))
        .await
        .problem(422, "invalid");
    ada.post("keys", json!({"name": "odd", "scopes": ["everything"]}))
        .await
        .problem(422, "invalid");
    ada.post(
        "keys",
        json!({"name": "late", "scopes": ["chat"], "expires_at": "2020-01-01T00:00:00Z"}),
    )
    .await
    .problem(422, "invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_reads_by_no_way_what_its_scopes_do_not_open() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let conversation = ada.conversation().await;
    server
        .model
        .next(vec![Line::Call("remember", json!({"text": "Tea at four", "kind": "fact"}))]);
    let said = ada.say(&conversation, "A whole message about tea").await;
    ada.stream(said["run_id"].as_str().unwrap(), 0).await;
    let memories = ada.get("memories").await.ok(200);
    let memory = memories["items"][0]["id"].as_str().unwrap().to_owned();
    let whole = ada.get(&format!("memories/{memory}/provenance")).await.ok(200);
    assert!(
        whole["run"]["id"].is_string() && whole["conversation"]["title"].is_string(),
        "{whole}"
    );

    let (_, secret) = key(&ada, &["memory_read"]).await;
    let reader = ada.bearing(&secret);
    let answer = reader.get(&format!("memories/{memory}/provenance")).await;
    assert!(!answer.text.contains("A whole message"), "{}", answer.text);
    let answer = answer.ok(200);
    assert_eq!(answer["memory"]["text"], "Tea at four");
    for part in ["message", "conversation", "run"] {
        assert!(answer.get(part).is_none(), "{part}: {answer}");
    }
    let (_, secret) = key(&ada, &["memory_read", "chat"]).await;
    let both = ada.bearing(&secret).get(&format!("memories/{memory}/provenance")).await;
    assert_eq!(both.ok(200), whole);

    let (_, secret) = key(&ada, &["memory_write"]).await;
    let writer = ada.bearing(&secret);
    let path = format!("memories/{memory}");
    let edited = writer.send(Method::PATCH, &path, json!({})).await;
    let shared = writer.send(Method::PATCH, &path, json!({"visibility": "shared"})).await;
    let again = writer.post("memories", json!({"id": memory, "text": "Coffee"})).await;
    for answer in [edited, shared, again] {
        assert!(answer.status.is_success() && !answer.text.contains("Tea"), "{}", answer.text);
        let answer = answer.json();
        assert_eq!((&answer["id"], &answer["text"]), (&json!(memory), &json!("")));
        assert!(
            answer["provenance"].as_object().unwrap().values().all(Value::is_null),
            "{answer}"
        );
    }
    assert_eq!(
        ada.get(&path).await.ok(200)["visibility"],
        "shared",
        "it was written all the same"
    );
}
