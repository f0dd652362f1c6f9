//! The policy: who reads and who writes it, what it makes of a tool, and what a change does to what was asked before.

use axum::http::Method;
use serde_json::{Value, json};

use crate::{
    requests::{rule, waiting},
    support::*,
};

#[tokio::test(flavor = "multi_thread")]
async fn owners_write_the_next_version_and_everybody_reads() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let first = ada.get("policy").await.ok(200);
    assert_eq!(first["version"], 1);
    assert_eq!(first["author"], ada.user.as_str());
    assert_eq!(first["rules"].as_array().unwrap().len(), 4);
    let rules =
        json!([{"category": "memory_read", "say": "allow"}, {"category": "memory_write", "tool": "remember", "say": "ask"}]);
    let write = |from: u32, rules: Value| ada.send(Method::PUT, "policy", json!({"from": from, "rules": rules}));
    let second = write(1, rules.clone()).await.ok(200);
    assert_eq!(second["version"], 2);
    assert_eq!(second["rules"], rules);
    assert_eq!(ada.get("policy").await.ok(200), second);
    let versions = ada.get("policy/versions").await.ok(200);
    assert_eq!(versions, json!({"items": [second, first]}));
    let page = ada.get("policy/versions?limit=1").await.ok(200);
    assert!(page["next_cursor"].is_string());

    write(1, rules.clone()).await.problem(412, "policy_changed");
    let odd = json!([{"category": "memory_read", "say": "allow", "decider": "owner"}]);
    write(2, odd).await.problem(422, "policy_form");
    write(2, json!(vec![json!({"category": "memory_read", "say": "allow"}); 201]))
        .await
        .problem(422, "policy_length");
    write(2, json!([{"category": "everything", "say": "allow"}]))
        .await
        .problem(422, "invalid");
    write(2, json!([{"category": "memory_read", "say": "allow", "when": "always"}]))
        .await
        .problem(422, "invalid");
    assert_eq!(ada.get("policy").await.ok(200)["version"], 2);
    assert_eq!(ada.get("audit").await.ok(200)["items"][0]["action"], "policy.write");

    let bob = server.stranger("bob@example.org").await;
    ada.lets_in(&bob).await;
    let bob = Person {
        workspace: ada.workspace.clone(),
        ..bob
    };
    assert_eq!(bob.get("policy").await.ok(200)["version"], 2);
    bob.send(Method::PUT, "policy", json!({"from": 2, "rules": []}))
        .await
        .problem(403, "owners_only");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_names_the_rule_that_decides() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let allowed = ada.get("policy/why?tool=remember").await.ok(200);
    assert_eq!(
        allowed,
        json!({"decision": "allow", "rule": {"index": 1, "rule": {"category": "memory_write", "say": "allow"}}, "version": 1})
    );
    let strict =
        json!({"category": "memory_write", "role": "member", "say": "ask", "decider": "owner", "why": "An owner reads along."});
    rule(&ada, strict.clone()).await;
    assert_eq!(ada.get("policy/why?tool=remember").await.ok(200)["decision"], "allow");
    assert_eq!(
        ada.get("policy/why?tool=remember&role=member").await.ok(200),
        json!({
            "decision": "ask", "decider": "owner", "why": "An owner reads along.", "rule": {"index": 4, "rule": strict}, "version": 2
        })
    );
    ada.send(Method::PUT, "policy", json!({"from": 2, "rules": []})).await.ok(200);
    let denied = ada.get("policy/why?tool=recall").await.ok(200);
    assert_eq!(denied["decision"], "deny");
    assert!(denied.get("rule").is_none(), "{denied}");

    let agents = ada.get("agents").await.ok(200);
    let agent = agents["items"][0]["id"].as_str().unwrap();
    ada.get(&format!("policy/why?tool=recall&agent_id={agent}")).await.ok(200);
    let nobody = server.state.env().uuid();
    ada.get(&format!("policy/why?tool=recall&agent_id={nobody}"))
        .await
        .problem(404, "not_found");
    let words = ada.get("policy/why?tool=fly").await.problem(404, "not_found");
    assert!(words.contains("`fly`") && words.contains("`recall`"), "{words}");
    ada.get("policy/why").await.problem(400, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_voids_what_was_asked_under_the_policy_before() {
    let server = Server::start().await;
    let ada = server.owner().await;
    rule(&ada, json!({"category": "memory_write", "say": "ask"})).await;
    let (run, request) = waiting(&ada, vec![Line::Call("remember", json!({"text": "x", "kind": "fact"}))]).await;
    rule(&ada, json!({"category": "memory_read", "say": "ask"})).await;
    let seen = objects(&ada.stream(&run, 0).await);
    let decided = seen.iter().find(|object| object["name"] == "decided").unwrap();
    assert_eq!(decided["value"]["decision"], "voided");
    assert_eq!(seen.last().unwrap()["metadata"]["duet"]["outcome"], "completed");
    let request = ada
        .get(&format!("requests/{}", request["id"].as_str().unwrap()))
        .await
        .ok(200);
    assert_eq!(request["state"], "voided");
    assert_eq!(ada.get("memories").await.ok(200)["items"], json!([]));
}
