//! Health, readiness, metrics, the description, and stopping.

use std::time::Duration;

use axum::http::Method;
use serde_json::json;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn health_readiness_and_the_description() {
    let server = Server::start().await;
    assert_eq!(server.send(request(Method::GET, "/health")).await.ok(200)["status"], "ok");
    let ready = async {
        while server.send(request(Method::GET, "/ready")).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(HANG, ready).await.expect("ready");
    let document = server.send(request(Method::GET, "/openapi.json")).await.ok(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            let problems = responses
                .values()
                .filter(|one| one["content"]["application/problem+json"].is_object())
                .count();
            assert!(problems > 3, "{method} {path} does not document its problems");
            assert!(
                operation["summary"].is_string() && operation["operationId"].is_string(),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_for_owners_keys_wherever_they_come_from() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let conversation = ada.conversation().await;
    let run = ada.say(&conversation, "Hello").await["run_id"].as_str().unwrap().to_owned();
    ada.stream(&run, 0).await;
    let made = ada
        .post("keys", json!({"name": "prometheus", "scopes": ["admin"]}))
        .await
        .ok(201);
    let scraper = ada.bearing(made["secret"].as_str().unwrap());
    let text = scraper.get("/metrics").await.text;
    for figure in [
        "duet_http_requests_total{",
        "duet_http_request_seconds_bucket{",
        "duet_runs_ended_total{status=\"done\"} 1",
        "duet_run_append_seconds_count",
        "duet_model_calls_total{",
        "duet_model_first_delta_seconds_count{provider=\"scripted\"} 1",
        "duet_streams_open 0",
    ] {
        assert!(text.contains(figure), "{figure} is not in:\n{text}");
    }
    assert!(!text.contains(&conversation), "routes are templates");

    // A proxy on this machine sends what it is sent, with or without a header that says so.
    server
        .send(request(Method::GET, "/metrics"))
        .await
        .problem(401, "not_signed_in");
    ada.get("/metrics").await.problem(403, "denied");
    for (scope, status) in [("chat", 403), ("admin", 200)] {
        let made = ada.post("keys", json!({"name": scope, "scopes": [scope]})).await.ok(201);
        let mut asked = request(Method::GET, "/metrics");
        ada.bearing(made["secret"].as_str().unwrap()).prove(&mut asked);
        assert_eq!(server.send_from([10, 0, 0, 1], asked).await.status, status);
    }
}

/// Asks until the server is as ready as that.
async fn ready(server: &Server, status: u16) -> Answer {
    let asked = async {
        loop {
            let answer = server.send(request(Method::GET, "/ready")).await;
            if answer.status == status {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked)
        .await
        .expect("it turns so")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_write_is_not_ready() {
    let server = Server::start().await;
    ready(&server, 200).await;
    // Whoever holds the file for writing keeps everybody else from it, as a full disk would.
    let file = server.file();
    file.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = ready(&server, 503).await;
    server.send(request(Method::GET, "/health")).await.ok(200);
    file.execute_batch("ROLLBACK").unwrap();
    answer.problem(503, "unavailable");
    ready(&server, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cache_keeps_what_the_api_answers() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let conversation = ada.conversation().await;
    let run = ada.say(&conversation, "Hello").await["run_id"].as_str().unwrap().to_owned();
    ada.stream(&run, 0).await;
    for path in [
        "/v1/config".to_owned(),
        "/v1/auth/session".into(),
        "/v1/workspaces".into(),
        "members".into(),
        "memories".into(),
        "memories/search?q=x".into(),
        format!("conversations/{conversation}/messages"),
        format!("conversations/{conversation}/export"),
        format!("runs/{run}/events"),
        "audit".into(),
        "keys".into(),
        "/openapi.json".into(),
        "/health".into(),
        "nothing".into(),
    ] {
        let answer = ada.get(&path).await;
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}: {}", answer.status);
    }
    let made = ada.post("memories", json!({"text": "Tea at four"})).await;
    assert_eq!(made.headers["cache-control"], "no-store");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_names_the_server_and_what_streams_carry() {
    let server = Server::start().await;
    let document = server.send(request(Method::GET, "/openapi.json")).await.ok(200);
    assert_eq!(document["servers"][0]["url"], "/");
    let look_up = &document["paths"]["/v1/invitations/lookup"]["post"]["responses"];
    assert!(look_up["404"]["content"]["application/problem+json"].is_object(), "{look_up}");
    let stream = &document["paths"]["/v1/workspaces/{workspace_id}/runs/{id}/events"]["get"]["responses"]["200"]["content"];
    assert_eq!(
        stream["text/event-stream"]["schema"]["items"]["$ref"],
        "#/components/schemas/StreamItem"
    );

    // What a real stream carries has that form.
    let ada = server.owner().await;
    let conversation = ada.conversation().await;
    server.model.next(vec![Line::Call("recall", json!({"query": "tea"}))]);
    let run = ada.say(&conversation, "Tea?").await["run_id"].as_str().unwrap().to_owned();
    let text = ada.stream(&run, 0).await;
    let mut items = 0;
    for frame in text
        .split("\n\n")
        .filter(|frame| !frame.is_empty() && !frame.starts_with(':'))
    {
        let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        let data: serde_json::Value = serde_json::from_str(field("data").unwrap()).unwrap();
        let id: Option<u64> = field("id").map(|id| id.parse().unwrap());
        let item = json!({"id": id, "event": field("event").unwrap(), "data": data});
        serde_json::from_value::<duet_api::events::shapes::StreamItem>(item).unwrap();
        items += 1;
    }
    assert!(items > 8, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_ends_its_streams_and_hands_back_its_runs() {
    let mut config = duet_api::config::Config::default();
    config.server.shutdown_grace_seconds = 0;
    let mut server = Server::with(config).await;
    let hold = std::sync::Arc::new(tokio::sync::Notify::new());
    server.model.next(vec![Line::Say("Half a "), Line::Hold(hold)]);
    let (begun, writes) = tokio::sync::oneshot::channel::<()>();
    let (run, reading) = {
        let ada = server.owner().await;
        let conversation = ada.conversation().await;
        let run = ada.say(&conversation, "Tell me everything").await["run_id"]
            .as_str()
            .unwrap()
            .to_owned();
        let mut asked = request(Method::GET, &ada.path(&format!("runs/{run}/events")));
        ada.prove(&mut asked);
        let router = server.router.clone();
        let reading = tokio::spawn(async move {
            let response = tower::ServiceExt::oneshot(router, asked).await.unwrap();
            let mut parts = response.into_body().into_data_stream();
            let mut text = String::new();
            let mut begun = Some(begun);
            while let Some(part) = futures::StreamExt::next(&mut parts).await {
                text.push_str(std::str::from_utf8(&part.unwrap()).unwrap());
                if text.contains("Half a ")
                    && let Some(begun) = begun.take()
                {
                    begun.send(()).unwrap();
                }
            }
            text
        });
        (run, reading)
    };
    tokio::time::timeout(HANG, writes).await.expect("the reply begins").unwrap();
    server.stop();
    let text = tokio::time::timeout(HANG, reading).await.expect("streams end").unwrap();
    assert!(text.contains("Half a "), "{text}");
    assert!(!text.contains("RUN_FINISHED"));
    let idle = async {
        while server.state.is_working() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(HANG, idle).await.expect("the driver stops");
    // The next start takes it up: the run is not lost.
    let claim = server
        .state
        .stores()
        .system
        .claim_run(duet_core::domain::LeasePolicy::default(), duet_core::domain::EventKind::ALL)
        .await
        .unwrap();
    assert_eq!(claim.expect("handed back").run.id.to_string(), run);
}
