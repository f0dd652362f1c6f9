//! Whatever is wrong with a request, the answer is a problem that says what to do.

use axum::{
    body::Body,
    http::{Method, header},
};
use serde_json::json;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn bad_bodies_and_addresses_are_problems() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let path = ada.path("memories");
    let send = |kind: Option<&'static str>, body: Vec<u8>| {
        let mut asked = request(Method::POST, &path);
        if let Some(kind) = kind {
            asked.headers_mut().insert(header::CONTENT_TYPE, kind.parse().unwrap());
        }
        ada.prove(&mut asked);
        *asked.body_mut() = Body::from(body);
        server.send(asked)
    };
    let json_type = Some("application/json");
    send(None, b"{\"text\":\"x\"}".to_vec())
        .await
        .problem(415, "unsupported_media_type");
    send(Some("text/plain"), b"{\"text\":\"x\"}".to_vec())
        .await
        .problem(415, "unsupported_media_type");
    send(Some("application/x-www-form-urlencoded"), b"text=x".to_vec())
        .await
        .problem(415, "unsupported_media_type");
    send(json_type, b"".to_vec()).await.problem(400, "invalid_request");
    send(json_type, b"{\"text\":".to_vec()).await.problem(400, "invalid_request");
    send(json_type, b"{\"text\":\"\xff\xfe\"}".to_vec())
        .await
        .problem(400, "invalid_request");
    send(json_type, b"[]".to_vec()).await.problem(422, "invalid");
    send(json_type, b"{}".to_vec()).await.problem(422, "invalid");
    send(json_type, b"{\"text\":7}".to_vec()).await.problem(422, "invalid");
    let detail = send(json_type, b"{\"text\":\"x\",\"colour\":\"red\"}".to_vec())
        .await
        .problem(422, "invalid");
    assert!(detail.contains("colour"), "{detail}");
    send(json_type, b"{\"text\":\"\"}".to_vec())
        .await
        .problem(422, "memory_empty");
    send(json_type, json!({"text": "x".repeat(17 * 1024)}).to_string().into_bytes())
        .await
        .problem(413, "memory_length");
    let detail = send(json_type, vec![b' '; 1024 * 1024 + 1]).await.problem(413, "too_large");
    assert!(detail.contains("1048576"), "{detail}");

    for address in [
        "/v1",
        "/v1/nothing",
        "/v1/workspaces/not-an-id/agents",
        "/nowhere",
        "/v1/workspaces//agents",
    ] {
        ada.get(address).await.problem(404, "not_found");
    }
    for (method, address) in [
        (Method::PUT, "/v1/config"),
        (Method::DELETE, "/health"),
        (Method::PATCH, "/v1/auth/sign-in"),
    ] {
        ada.send(method, address, json!({})).await.problem(405, "method_not_allowed");
    }
    ada.get("conversations?limit=0").await.problem(422, "invalid");
    ada.get("conversations?limit=201").await.problem(422, "invalid");
    ada.get("conversations?limit=many").await.problem(400, "invalid_request");
    ada.get("conversations?colour=red").await.problem(400, "invalid_request");
    ada.get("memories/search?q=x&limit=101").await.problem(422, "invalid");
    ada.get("memories/search").await.problem(400, "invalid_request");
    let answer = ada.get("conversations?cursor=nonsense").await;
    assert!(
        answer.status.is_client_error() || answer.status.is_success(),
        "{}",
        answer.text
    );
    assert!(!answer.status.is_server_error());
    let answer = ada.get("/v1/config").await;
    assert!(answer.headers.contains_key("x-request-id"));
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_edits_unknown_models_and_bad_agents_are_refused() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let agents = ada.get("agents").await.ok(200);
    let agent = &agents["items"][0];
    let path = format!("agents/{}", agent["id"].as_str().unwrap());
    let edited = ada
        .send(
            Method::PATCH,
            &path,
            json!({"version": 1, "name": "Juno", "model": "scripted/two"}),
        )
        .await
        .ok(200);
    assert_eq!(edited["version"], 2);
    assert_eq!(edited["model"], "scripted/two");
    ada.send(Method::PATCH, &path, json!({"version": 1, "name": "Late"}))
        .await
        .problem(412, "agent_changed");
    let kept = ada
        .send(Method::PATCH, &path, json!({"version": 2, "name": "Juno II"}))
        .await
        .ok(200);
    assert_eq!(kept["model"], "scripted/two");
    let back = ada
        .send(Method::PATCH, &path, json!({"version": 3, "model": null}))
        .await
        .ok(200);
    assert_eq!(back["model"], json!(null));
    let detail = ada
        .send(Method::PATCH, &path, json!({"version": 4, "model": "nobody/none"}))
        .await
        .problem(422, "invalid");
    assert!(detail.contains("models.providers"), "{detail}");
    ada.send(Method::PATCH, &path, json!({"version": 4, "model": "nonsense"}))
        .await
        .problem(422, "invalid");
    ada.send(Method::PATCH, &path, json!({"version": 4, "name": " "}))
        .await
        .problem(422, "name_length");

    let soul = ada.get("soul").await.ok(200);
    let mut text = soul["soul"].clone();
    text["style"] = json!("Short.");
    ada.send(Method::PUT, "soul", json!({"version": 1, "soul": text}))
        .await
        .ok(200);
    ada.send(Method::PUT, "soul", json!({"version": 1, "soul": text}))
        .await
        .problem(412, "soul_changed");
    assert_eq!(ada.get("soul/versions").await.ok(200)["items"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_problem_with_its_request_id() {
    let server = Server::start().await;
    let web = axum::Router::new().fallback(|| async {
        if true {
            panic!("on purpose");
        }
    });
    let router = duet_api::router::router(server.state.clone(), Some(web));
    let response = tower::ServiceExt::oneshot(router, request(Method::GET, "/boom"))
        .await
        .unwrap();
    assert_eq!(response.status(), 500);
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["code"], "internal");
    assert_eq!(problem["instance"], format!("urn:uuid:{id}"));
    assert!(!problem.to_string().contains("on purpose"));
}
