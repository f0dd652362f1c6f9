//! Turns of AG-UI clients: the input, its refusals, and the stream that answers it.

use serde_json::{Value, json};

use crate::support::*;

/// A run's id, as a client makes it.
const RUN: &str = "7b0c1e2a-4d5f-4a6b-8c9d-0e1f2a3b4c5d";

fn input(conversation: &str, text: &str) -> Value {
    json!({
        "threadId": conversation, "runId": RUN, "protocolVersion": "1.0",
        "state": {"page": 1}, "tools": [{"name": "alert", "description": "Shows a text."}],
        "context": [{"description": "The page", "value": "Home"}], "forwardedProps": {"theme": "dark"}, "resume": [],
        "messages": [
            {"id": "0", "role": "system", "content": "You are a pirate."},
            {"id": "1", "role": "assistant", "toolCalls": [], "newerField": 1},
            {"id": "2", "role": "user", "content": text},
        ],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_message_starts_a_turn_and_the_answer_is_its_stream() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let conversation = ada.conversation().await;
    let path = format!("conversations/{conversation}/agui");
    server.model.next(vec![Line::Say("Bruno is a good name.")]);
    let answer = ada.post(&path, input(&conversation, "My bear is called Bruno.")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let seen = objects(&answer.text);
    assert_eq!(seen[0]["type"], "RUN_STARTED");
    assert_eq!(seen[0]["threadId"], conversation);
    assert_eq!(seen[0]["runId"], RUN);
    assert_eq!(seen.last().unwrap()["outcome"], json!({"type": "success"}));
    assert_eq!(ada.stream(RUN, 0).await, answer.text);

    // Only what the person said was stored.
    let messages = ada.get(&format!("conversations/{conversation}/messages")).await.ok(200);
    let texts: Vec<&Value> = messages["items"].as_array().unwrap().iter().map(|one| &one["text"]).collect();
    assert_eq!(texts, ["Bruno is a good name.", "My bear is called Bruno."]);

    // The same run again is the same run, and its id stands for that text.
    let again = ada.post(&path, input(&conversation, "My bear is called Bruno.")).await;
    assert_eq!(again.text, answer.text);
    ada.post(&path, input(&conversation, "My bear is called Otto."))
        .await
        .problem(409, "key_reused");
    let messages = ada.get(&format!("conversations/{conversation}/messages")).await.ok(200);
    assert_eq!(messages["items"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_texts_of_parts_are_joined_and_other_parts_left_out() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let conversation = ada.conversation().await;
    server.model.next(vec![Line::Say("A bear.")]);
    let mut said = input(&conversation, "");
    said["messages"][2]["content"] = json!([
        {"type": "text", "text": "What is "},
        {"type": "image", "source": {"type": "url", "value": "https://example.org/bear.png"}},
        {"type": "text", "text": "this?"},
    ]);
    ada.post(&format!("conversations/{conversation}/agui"), said).await;
    let messages = ada.get(&format!("conversations/{conversation}/messages")).await.ok(200);
    assert_eq!(messages["items"][1]["text"], "What is this?");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_starts_no_turn_is_refused_before_the_stream() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let conversation = ada.conversation().await;
    let path = format!("conversations/{conversation}/agui");
    let good = input(&conversation, "Hello.");
    let with = |field: &str, value: Value| {
        let mut input = good.clone();
        input[field] = value;
        input
    };
    let saying = |message: Value| with("messages", json!([{"role": "user", "content": "Hello."}, message]));
    for (bad, status, code) in [
        (with("threadId", json!(RUN)), 422, "invalid"),
        (with("runId", json!("run-1")), 422, "invalid"),
        (
            with("resume", json!([{"interruptId": "1", "status": "resolved"}])),
            422,
            "invalid",
        ),
        (
            with(
                "resume",
                json!([{"interruptId": RUN, "status": "resolved", "payload": "yes"}]),
            ),
            422,
            "invalid",
        ),
        (
            with("resume", json!([{"interruptId": RUN, "status": "cancelled"}])),
            422,
            "invalid",
        ),
        (with("messages", json!([])), 422, "invalid"),
        (saying(json!({"role": "assistant", "content": "Hello."})), 422, "invalid"),
        (
            saying(json!({"role": "tool", "toolCallId": "1", "content": "done"})),
            422,
            "invalid",
        ),
        (saying(json!({"role": "user"})), 422, "invalid"),
        (saying(json!({"role": "user", "content": " "})), 422, "message_empty"),
        (
            saying(json!({"role": "user", "content": [{"type": "image"}]})),
            422,
            "message_empty",
        ),
        (
            saying(json!({"role": "user", "content": "x".repeat(64 * 1024 + 1)})),
            413,
            "message_length",
        ),
    ] {
        let shown = bad.to_string().chars().take(200).collect::<String>();
        let answer = ada.post(&path, bad).await;
        assert_eq!(answer.status, status, "{shown}: {}", answer.text);
        answer.problem(status, code);
    }
    ada.post(&format!("conversations/{RUN}/agui"), with("threadId", json!(RUN)))
        .await
        .problem(404, "not_found");
    let messages = ada.get(&format!("conversations/{conversation}/messages")).await.ok(200);
    assert_eq!(messages["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_another_run_is_taken() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let conversation = ada.conversation().await;
    let receipt = ada.say(&conversation, "Hello.").await;
    ada.stream(receipt["run_id"].as_str().unwrap(), 0).await;
    let mut taken = input(&conversation, "Hello again.");
    taken["runId"] = receipt["run_id"].clone();
    let answer = ada.post(&format!("conversations/{conversation}/agui"), taken).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_waits_for_is_decided_and_the_run_goes_on_in_the_same_answer() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let policy = ada.get("policy").await.ok(200);
    let mut rules = policy["rules"].clone();
    rules
        .as_array_mut()
        .unwrap()
        .push(json!({"category": "memory_write", "say": "ask"}));
    ada.send(
        axum::http::Method::PUT,
        "policy",
        json!({"from": policy["version"], "rules": rules}),
    )
    .await
    .ok(200);
    let conversation = ada.conversation().await;
    let path = format!("conversations/{conversation}/agui");
    server.model.next(vec![
        Line::Say("I ask first."),
        Line::Call("remember", json!({"text": "Bruno is a bear", "kind": "fact"})),
        Line::Call("ask_user", json!({"question": "Which colour?"})),
    ]);
    let answer = ada.post(&path, input(&conversation, "My bear is called Bruno.")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let seen = objects(&answer.text);
    let outcome = &seen.last().unwrap()["outcome"];
    assert_eq!(outcome["type"], "interrupt", "{outcome}");
    let interrupts = outcome["interrupts"].as_array().unwrap();
    let of = |reason: &str| interrupts.iter().find(|one| one["reason"] == reason).unwrap().clone();
    let (approval, question) = (of("approval"), of("question"));
    assert_eq!(
        approval["metadata"]["duet"],
        json!({"request": approval["id"], "kind": "approval"})
    );

    let mut resumed = input(&conversation, "ignored");
    resumed["runId"] = json!(server.state.env().uuid());
    resumed["resume"] = json!([
        {
            "interruptId": approval["id"], "status": "resolved",
            "payload": {"approved": true, "editedArgs": {"text": "Bruno is a brown bear", "kind": "fact"}},
        },
        {
            "interruptId": question["id"], "status": "resolved",
            "payload": {"decision": "respond", "answers": {"answer": "Brown"}},
        },
    ]);
    // A key reads the stream, but decides nothing.
    let key = ada.post("keys", json!({"name": "chat", "scopes": ["chat"]})).await.ok(201);
    ada.bearing(key["secret"].as_str().unwrap())
        .post(&path, resumed.clone())
        .await
        .problem(403, "denied");
    // Where one answer cannot be taken, none is.
    for (at, payload) in [
        (0, json!({"approved": true, "editedArgs": {"text": "", "kind": "fact"}})),
        (1, json!({"decision": "respond", "answers": {"color": "Brown"}})),
        (1, json!({"decision": "approve"})),
    ] {
        let mut unfit = resumed.clone();
        unfit["resume"][at]["payload"] = payload;
        let answer = ada.post(&path, unfit).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
    }
    let mut twice = resumed.clone();
    twice["resume"][1] = twice["resume"][0].clone();
    ada.post(&path, twice).await.problem(422, "invalid");
    assert_eq!(ada.get("inbox/count").await.ok(200), json!({"waiting": 2}));
    server.model.next(vec![Line::Say("Noted.")]);
    let answer = ada.post(&path, resumed.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let seen = objects(&answer.text);
    assert_eq!(seen[0]["type"], "RUN_STARTED");
    assert_eq!(seen[0]["runId"], format!("{RUN}:2"));
    assert_eq!(seen[0]["parentRunId"], RUN);
    let results: Vec<&Value> = seen.iter().filter(|object| object["type"] == "TOOL_CALL_RESULT").collect();
    let calls: std::collections::BTreeSet<&str> = results.iter().map(|one| one["toolCallId"].as_str().unwrap()).collect();
    let expected = [&approval, &question].map(|one| one["toolCallId"].as_str().unwrap());
    assert_eq!(calls, expected.into());
    assert_eq!(seen.last().unwrap()["outcome"], json!({"type": "success"}));
    let memories = ada.get("memories").await.ok(200);
    assert_eq!(memories["items"][0]["text"], "Bruno is a brown bear");

    // Sent again, it is answered with the same.
    let again = ada.post(&path, resumed).await;
    assert_eq!(again.text, answer.text);
    let messages = ada.get(&format!("conversations/{conversation}/messages")).await.ok(200);
    let texts: Vec<&Value> = messages["items"].as_array().unwrap().iter().map(|one| &one["text"]).collect();
    assert_eq!(texts, ["Noted.", "I ask first.", "My bear is called Bruno."]);
}
