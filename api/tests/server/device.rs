//! A device is let in across server processes on one Postgres: it asks at one, is confirmed at another, and signed out everywhere.

use std::time::Duration;

use duet_api::testing::Browser;
use duet_supabase::testing::EmptyDatabase;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::Program;

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_let_in_by_another_process() {
    let database = EmptyDatabase::fresh().await;
    let duet = Program::of(&database);
    let token = duet.migrate();
    let (first, second) = (duet.serve(), duet.serve());
    let mut ada = Browser::new(&second.url);
    ada.set_up(&token).await;
    let nobody = Browser::new(&first.url);
    let codes = nobody.post("/v1/device", &json!({"client": "duet on ada-laptop"})).await;
    let question = json!({"device_code": codes["device_code"]});
    let asked = async || -> (u16, Value) {
        let answer = nobody
            .request(Method::POST, "/v1/device/token", Some(&question))
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    };
    let (status, pending) = asked().await;
    assert_eq!((status, &pending["code"]), (409, &json!("authorization_pending")));
    let answer = json!({"user_code": codes["user_code"]});
    assert_eq!(ada.post("/v1/device/approve", &answer).await["state"], "approved");
    let granted = loop {
        let (status, answer) = asked().await;
        match answer["code"].as_str() {
            Some("slow_down") => tokio::time::sleep(Duration::from_secs(6)).await,
            _ => break (status, answer),
        }
    };
    let (status, granted) = granted;
    assert_eq!(status, 200, "{granted}");
    let (status, again) = asked().await;
    assert_eq!((status, &again["code"]), (409, &json!("expired_token")));

    let http = duet_api::http::client().unwrap();
    let secret = granted["access_token"].as_str().unwrap();
    let status = async |method: Method, path: &str, body: Value| {
        let asked = http.request(method, format!("{}{path}", first.url)).bearer_auth(secret);
        asked.json(&body).send().await.unwrap().status().as_u16()
    };
    assert_eq!(status(Method::GET, "/v1/auth/session", json!({})).await, 200);
    let keys = format!("/v1/workspaces/{}/keys", ada.workspace);
    let key = json!({"name": "mine", "scopes": ["chat"]});
    assert_eq!(status(Method::POST, &keys, key).await, 403);
    let ended = ada
        .request(Method::POST, "/v1/auth/sign-out?everywhere=true", None)
        .await
        .unwrap();
    assert_eq!(ended.status(), 204);
    assert_eq!(status(Method::GET, "/v1/auth/session", json!({})).await, 401);
}
