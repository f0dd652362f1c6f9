//! Clearing labels: a person's word about a text of theirs.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::*;

fn labels(integrity: &str, egress: &str) -> Value {
    json!({"integrity": integrity, "egress": egress, "sensitive": false, "others": false})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_clears_labels_of_what_they_see() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let eve = server.stranger("eve@example.org").await;
    let memory = ada
        .post("memories", json!({"text": "The account is 999", "egress": "local_only"}))
        .await
        .ok(201);
    // As a tool brings it in.
    server
        .file()
        .execute("UPDATE memory_content SET taint = 'untrusted'", [])
        .unwrap();
    let conversation = ada.conversation().await;
    server.model.next(vec![Line::Call("recall", json!({"query": "account"}))]);
    let said = ada.say(&conversation, "Where do I pay?").await;
    ada.stream(said["run_id"].as_str().unwrap(), 0).await;
    let messages = format!("conversations/{conversation}/messages");
    let mut reply = ada.get(&messages).await.ok(200)["items"][0].clone();
    assert_eq!(reply["labels"], labels("untrusted", "local_only"));

    let of_reply = format!("{messages}/{}/labels", reply["id"].as_str().unwrap());
    let of_memory = format!("memories/{}/labels", memory["id"].as_str().unwrap());
    for path in [&of_reply, &of_memory] {
        for (wrong, code) in [
            (json!({}), "invalid"),
            (json!({"clear": []}), "no_label"),
            (json!({"clear": ["taint"]}), "invalid"),
            (json!({"clear": ["integrity"], "egress": "local_only"}), "invalid"),
        ] {
            ada.post(path, wrong).await.problem(422, code);
        }
        let theirs = eve.post(&ada.path(path), json!({"clear": ["integrity"]})).await;
        theirs.problem(404, "not_found");
    }
    ada.post(&of_memory, json!({"clear": ["others"]}))
        .await
        .problem(422, "no_label_of_memory");
    let elsewhere = of_reply.replace(&conversation, &ada.conversation().await);
    ada.post(&elsewhere, json!({"clear": ["integrity"]}))
        .await
        .problem(404, "not_found");

    let cleared = ada.post(&of_reply, json!({"clear": ["integrity", "others"]})).await.ok(200);
    reply["labels"] = labels("trusted", "local_only");
    assert_eq!(cleared, reply);
    assert_eq!(ada.get(&messages).await.ok(200)["items"][0], reply);
    let cleared = ada.post(&of_memory, json!({"clear": ["integrity", "egress"]})).await.ok(200);
    assert_eq!(cleared, {
        let mut open = memory.clone();
        open["egress"] = json!("any");
        open
    });
    let audit = ada.get("audit").await.ok(200);
    let actions: Vec<(&Value, &Value)> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .take(2)
        .map(|entry| (&entry["action"], &entry["details"]))
        .collect();
    assert_eq!(
        actions,
        [
            (&json!("memory.clear_label"), &json!({"labels": ["integrity", "egress"]})),
            (&json!("message.clear_label"), &json!({"labels": ["integrity"]})),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_being_answered_keeps_its_labels() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let conversation = ada.conversation().await;
    let until = Arc::new(Notify::new());
    server.model.next(vec![Line::Hold(until.clone()), Line::Say("Well.")]);
    let said = ada.say(&conversation, "Wait").await;
    let path = format!(
        "conversations/{conversation}/messages/{}/labels",
        said["message_id"].as_str().unwrap()
    );
    ada.post(&path, json!({"clear": ["integrity"]}))
        .await
        .problem(409, "reply_active");
    until.notify_one();
    ada.stream(said["run_id"].as_str().unwrap(), 0).await;
    ada.post(&path, json!({"clear": ["integrity"]})).await.ok(200);
}
