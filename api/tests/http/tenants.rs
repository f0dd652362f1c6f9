//! Workspaces never meet: what is another's looks like what is not there.

use axum::http::Method;
use serde_json::json;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_finds_nothing_in_anothers_workspace() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let eve = server.stranger("eve@example.org").await;
    let conversation = ada.conversation().await;
    let receipt = ada.say(&conversation, "The treasure lies under the oak.").await;
    let run = receipt["run_id"].as_str().unwrap().to_owned();
    ada.stream(&run, 0).await;
    let memory = ada
        .post("memories", json!({"text": "The treasure lies under the oak."}))
        .await
        .ok(201);
    let memory = memory["id"].as_str().unwrap();
    let message = receipt["message_id"].as_str().unwrap();

    // Into Ada's workspace: as if it were not there.
    let there = |path: &str| {
        format!("/v1/workspaces/{}/{path}", ada.workspace)
            .trim_end_matches('/')
            .to_owned()
    };
    let absent = format!("/v1/workspaces/{}/agents", server.state.env().uuid());
    let own_words = eve.get(&absent).await.problem(404, "not_found");
    for path in [
        "",
        "members",
        "agents",
        "soul",
        "soul/versions",
        "conversations",
        "conversations/search?q=oak",
        "memories",
        "memories/search?q=oak",
        "keys",
        "audit",
        "audit/verify",
        "inbox",
        "inbox/count",
        "requests",
        "policy",
        "policy/versions",
        "policy/why?tool=recall",
        "feed",
    ] {
        let words = eve.get(&there(path)).await.problem(404, "not_found");
        assert_eq!(words, own_words, "{path}");
    }
    // Ada's things under Eve's own workspace: not there either.
    for path in [
        format!("conversations/{conversation}"),
        format!("conversations/{conversation}/messages"),
        format!("conversations/{conversation}/runs"),
        format!("conversations/{conversation}/export"),
        format!("conversations/{conversation}/stream?message_id={message}"),
        format!("runs/{run}"),
        format!("runs/{run}/events"),
        format!("memories/{memory}"),
        format!("memories/{memory}/provenance"),
        format!("memories/{memory}/receipt"),
    ] {
        eve.get(&path).await.problem(404, "not_found");
        ada.get(&path.replace("/receipt", "")).await.ok_status();
    }
    let writes = [
        (
            Method::PATCH,
            format!("conversations/{conversation}"),
            json!({"title": "Mine"}),
        ),
        (
            Method::POST,
            format!("conversations/{conversation}/messages"),
            json!({"text": "Hello?"}),
        ),
        (
            Method::POST,
            format!("conversations/{conversation}/messages/{message}/retry"),
            json!({"mode": "restart"}),
        ),
        (Method::POST, format!("runs/{run}/cancel"), json!({})),
        (Method::POST, format!("runs/{run}/pause"), json!({})),
        (Method::POST, format!("runs/{run}/resume"), json!({})),
        (Method::PATCH, format!("memories/{memory}"), json!({"visibility": "shared"})),
        (Method::POST, format!("memories/{memory}/redact"), json!({})),
    ];
    for (method, path, body) in writes {
        eve.send(method, &path, body).await.problem(404, "not_found");
    }
    let hits = eve.get("memories/search?q=treasure").await.ok(200);
    assert_eq!(hits["items"], json!([]));
    assert_eq!(eve.get("conversations/search?q=treasure").await.ok(200)["items"], json!([]));
    assert_eq!(eve.get("memories").await.ok(200)["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_chats_but_does_not_do_what_owners_do() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let bob = server.stranger("bob@example.org").await;
    ada.lets_in(&bob).await;
    let bob = Person {
        workspace: ada.workspace.clone(),
        ..bob
    };
    let conversation = bob.conversation().await;
    bob.say(&conversation, "Hello").await;
    ada.get(&format!("conversations/{conversation}"))
        .await
        .problem(404, "not_found");
    let agents = bob.get("agents").await.ok(200);
    let agent = agents["items"][0]["id"].as_str().unwrap().to_owned();
    let refused = [
        (Method::PATCH, "".to_owned(), json!({"name": "Mine"})),
        (
            Method::PATCH,
            format!("agents/{agent}"),
            json!({"version": 1, "name": "Mine"}),
        ),
        (
            Method::PUT,
            "soul".into(),
            json!({"version": 1, "soul": {"identity": "", "personality": "", "style": "", "boundaries": ""}}),
        ),
        (Method::PUT, "policy".into(), json!({"from": 1, "rules": []})),
        (Method::POST, "keys".into(), json!({"name": "all", "scopes": ["admin"]})),
        (Method::GET, "audit".into(), json!({})),
        (Method::GET, "audit/verify".into(), json!({})),
    ];
    for (method, path, body) in refused {
        bob.send(method, &path, body).await.problem(403, "owners_only");
    }
    assert_eq!(bob.get("members").await.ok(200)["items"].as_array().unwrap().len(), 2);
}

impl Answer {
    /// The request went well, whatever the body is.
    #[track_caller]
    fn ok_status(self) {
        assert!(self.status.is_success(), "{} {}", self.status, self.text);
    }
}
