//! Talking: a turn from the message to the stored reply, its stream, stop, retry, idempotency.

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::*;

fn text_of(objects: &[Value]) -> String {
    let deltas = objects.iter().filter(|object| object["type"] == "TEXT_MESSAGE_CONTENT");
    deltas.map(|object| object["delta"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_stored_streamed_and_found_again() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let conversation = ada.conversation().await;
    server.model.next(vec![
        Line::Say("Noted. "),
        Line::Call("remember", json!({"text": "Ada's bear is called Bruno", "kind": "fact"})),
    ]);
    server.model.next(vec![Line::Say("Bruno is a good name.")]);
    let receipt = ada.say(&conversation, "My bear is called Bruno.").await;
    let run = receipt["run_id"].as_str().unwrap();
    let stream = ada.stream(run, 0).await;
    let seen = objects(&stream);
    assert_eq!(seen[0]["type"], "RUN_STARTED");
    assert_eq!(text_of(&seen), "Noted. \n\nBruno is a good name.");
    let result = seen
        .iter()
        .find(|object| object["type"] == "TOOL_CALL_RESULT")
        .expect("a tool was called");
    assert_eq!(result["metadata"]["duet"]["status"], "succeeded", "{result}");
    let last = seen.last().unwrap();
    assert_eq!(last["type"], "RUN_FINISHED");
    assert_eq!(last["metadata"]["duet"]["outcome"], "completed");
    assert_eq!(last["metadata"]["duet"]["message_id"], receipt["reply_id"]);

    // The same stream by the message, resumed by either means, and as a page.
    let by_message = format!(
        "conversations/{conversation}/stream?message_id={}",
        receipt["message_id"].as_str().unwrap()
    );
    assert_eq!(ada.get(&by_message).await.text, stream);
    let ended = ada.get(&format!("runs/{run}")).await.ok(200);
    assert_eq!(ended["status"], "done");
    let last_seq = ended["last_seq"].as_u64().unwrap();
    for after in 0..=last_seq {
        let rest = ada.stream(run, after).await;
        assert!(stream.ends_with(&rest), "after {after}");
        let mut asked = request(Method::GET, &ada.path(&format!("runs/{run}/events?after=0")));
        ada.prove(&mut asked);
        asked
            .headers_mut()
            .insert("last-event-id", after.to_string().parse().unwrap());
        assert_eq!(server.send(asked).await.text, rest);
    }
    ada.get(&format!("runs/{run}/events?after={}", last_seq + 1))
        .await
        .problem(422, "no_such_event");
    let mut page = request(Method::GET, &ada.path(&format!("runs/{run}/events?after=2")));
    ada.prove(&mut page);
    page.headers_mut().insert("accept", "application/json".parse().unwrap());
    let page = server.send(page).await.ok(200);
    assert_eq!(page["ended"], true);
    assert_eq!(page["last_seq"], last_seq);
    assert_eq!(page["events"][0]["seq"], 3);

    let messages = ada.get(&format!("conversations/{conversation}/messages")).await.ok(200);
    assert_eq!(messages["items"][0]["text"], "Noted. \n\nBruno is a good name.");
    assert_eq!(messages["items"][0]["status"], "complete");
    assert_eq!(messages["items"][1]["text"], "My bear is called Bruno.");
    let remembered = messages["items"][0]["trace"]["remembered"][0]
        .as_str()
        .expect("a memory was written")
        .to_owned();
    let why = ada.get(&format!("memories/{remembered}/provenance")).await.ok(200);
    assert_eq!(why["conversation"]["id"], conversation.as_str());
    assert_eq!(why["run"]["id"], run);
    let hits = ada.get("memories/search?q=bear%20Bruno").await.ok(200);
    assert_eq!(hits["items"][0]["memory"]["id"], remembered.as_str());
    assert_eq!(hits["mode"], "fts");

    let file = ada.get(&format!("conversations/{conversation}/export")).await;
    assert!(file.headers["content-disposition"].to_str().unwrap().contains(".md"));
    assert!(file.text.contains("My bear is called Bruno.") && file.text.contains("Bruno is a good name."));
    let at = messages["items"][0]["created_at"].as_str().unwrap();
    let heading = format!("\n## Juno, {} {} UTC\n", &at[..10], &at[11..16]);
    assert!(file.text.contains(&heading), "{heading:?} is not in {}", file.text);
    let file = ada
        .get(&format!("conversations/{conversation}/export?format=json"))
        .await
        .ok(200);
    assert_eq!(file["messages"][0]["role"], "user");
    assert_eq!(ada.get("audit/verify").await.ok(200)["intact"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn provenance_tells_what_a_memory_took_the_place_of_newest_first() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let mut ids: Vec<String> = Vec::new();
    for town in ["Bonn", "Mainz", "Trier"] {
        let mut memory = json!({"text": format!("Ben lives in {town}")});
        if let Some(last) = ids.last() {
            memory["supersedes"] = json!(last);
        }
        let stored = ada.post("memories", memory).await.ok(201);
        ids.push(stored["id"].as_str().unwrap().to_owned());
        ada.post("memories", json!({"text": format!("{town} is a town")}))
            .await
            .ok(201);
    }
    let told = |why: &Value| -> Vec<String> {
        let superseded = why["superseded"].as_array().unwrap();
        superseded
            .iter()
            .map(|memory| memory["text"].as_str().unwrap().to_owned())
            .collect()
    };
    for (id, expected) in ids.iter().zip([
        vec![],
        vec!["Ben lives in Bonn"],
        vec!["Ben lives in Mainz", "Ben lives in Bonn"],
    ]) {
        assert_eq!(told(&ada.get(&format!("memories/{id}/provenance")).await.ok(200)), expected);
    }
    let audit = ada.get("audit").await.ok(200);
    assert_eq!(audit["items"][1]["action"], "memory.create");
    assert_eq!(audit["items"][1]["target"], format!("memory:{}", ids[2]));
    assert!(!audit.to_string().contains("Trier"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_stream_shows_text_as_it_comes_and_stop_keeps_it() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let conversation = ada.conversation().await;
    server
        .model
        .next(vec![Line::Say("Once upon a time"), Line::Hold(Arc::new(Notify::new()))]);
    let receipt = ada.say(&conversation, "A story, please").await;
    let run = receipt["run_id"].as_str().unwrap().to_owned();

    // Another message while it answers: the person has to wait or stop it.
    let busy = ada
        .post(&format!("conversations/{conversation}/messages"), json!({"text": "Hello?"}))
        .await;
    busy.problem(409, "reply_active");

    let mut asked = request(Method::GET, &ada.path(&format!("runs/{run}/events")));
    ada.prove(&mut asked);
    let response = tower::ServiceExt::oneshot(server.router.clone(), asked).await.unwrap();
    let mut body = response.into_body().into_data_stream();
    let mut seen = String::new();
    let first = async {
        while !seen.contains("Once upon a time") {
            let chunk = futures::StreamExt::next(&mut body)
                .await
                .expect("the stream is open")
                .unwrap();
            seen.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    tokio::time::timeout(HANG, first)
        .await
        .expect("text arrives while the model is still at it");

    ada.post(&format!("runs/{run}/cancel"), json!({})).await.ok(202);
    let rest = async {
        while let Some(chunk) = futures::StreamExt::next(&mut body).await {
            seen.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    };
    tokio::time::timeout(HANG, rest).await.expect("a stopped run ends its stream");
    let last = objects(&seen).pop().unwrap();
    assert_eq!(last["metadata"]["duet"]["outcome"], "cancelled");
    assert_eq!(last["metadata"]["duet"]["status"], "stopped");
    ada.post(&format!("runs/{run}/cancel"), json!({})).await.ok(202);

    // It goes on from there.
    server.model.next(vec![Line::Say(" there was a bear.")]);
    let message = receipt["message_id"].as_str().unwrap();
    let again = ada
        .post(
            &format!("conversations/{conversation}/messages/{message}/retry"),
            json!({"mode": "continue"}),
        )
        .await
        .ok(202);
    let seen = objects(&ada.stream(again["run_id"].as_str().unwrap(), 0).await);
    assert_eq!(text_of(&seen), "Once upon a time there was a bear.");
    let messages = ada.get(&format!("conversations/{conversation}/messages")).await.ok(200);
    assert_eq!(messages["items"].as_array().unwrap().len(), 2);
    assert_eq!(messages["items"][0]["text"], "Once upon a time there was a bear.");
    ada.post(
        &format!("conversations/{conversation}/messages/{message}/retry"),
        json!({"mode": "continue"}),
    )
    .await
    .problem(409, "nothing_to_continue");
}

/// What was said stays, whatever is said instead, and can be shown again.
#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_a_tree() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let conversation = ada.conversation().await;
    let path = format!("conversations/{conversation}/messages");
    let say = async |body: Value, answer: &'static str| {
        server.model.next(vec![Line::Say(answer)]);
        let receipt = ada.post(&path, body).await.ok(202);
        ada.stream(receipt["run_id"].as_str().unwrap(), 0).await;
        receipt
    };
    let shown = async || {
        let messages = ada.get(&path).await.ok(200);
        let texts = messages["items"].as_array().unwrap().iter().rev();
        texts.map(|one| one["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = say(json!({"text": "One?"}), "One.").await;
    let second = say(json!({"text": "Two?"}), "Two.").await;
    let anew = say(json!({"text": "Three?", "instead": second["message_id"]}), "Three.").await;
    assert_eq!(shown().await, ["One?", "One.", "Three?", "Three."]);
    let messages = ada.get(&path).await.ok(200);
    let siblings = &messages["items"][1]["siblings"];
    assert_eq!(
        *siblings,
        json!({"nth": 2, "of": 2, "previous": second["message_id"], "next": null})
    );
    assert_eq!(messages["items"][0]["answers_id"], anew["message_id"]);
    let branch = say(json!({"text": "Four?", "after": first["reply_id"]}), "Four.").await;
    assert_eq!(shown().await, ["One?", "One.", "Four?", "Four."]);

    server.model.next(vec![Line::Say("Four, again.")]);
    let retry = format!("{path}/{}/retry", branch["message_id"].as_str().unwrap());
    let again = ada.post(&retry, json!({"mode": "restart"})).await.ok(202);
    ada.stream(again["run_id"].as_str().unwrap(), 0).await;
    assert_eq!(shown().await, ["One?", "One.", "Four?", "Four, again."]);

    let show = |message: &Value| format!("{path}/{}/show", message.as_str().unwrap());
    let conversation = ada.post(&show(&second["message_id"]), json!({})).await.ok(200);
    assert_eq!(conversation["head_id"], second["reply_id"]);
    assert_eq!(shown().await, ["One?", "One.", "Two?", "Two."]);
    let found = ada.get("conversations/search?q=Four").await.ok(200);
    assert!(
        found["items"].as_array().unwrap().iter().all(|hit| hit["aside"] == true),
        "{found}"
    );

    let other = ada.conversation().await;
    for (body, code) in [
        (
            json!({"text": "x", "after": first["message_id"], "instead": first["message_id"]}),
            "two_places",
        ),
        (json!({"text": "x", "instead": first["reply_id"]}), "not_your_message"),
        (json!({"text": "x", "after": server.state.env().uuid()}), "no_such_place"),
    ] {
        ada.post(&path, body).await.problem(422, code);
    }
    let elsewhere = format!(
        "conversations/{other}/messages/{}/show",
        first["message_id"].as_str().unwrap()
    );
    ada.post(&elsewhere, json!({})).await.problem(422, "no_such_place");
}

/// The first words are shown at once; what follows closely is gathered.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_words_do_not_wait_for_company() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let conversation = ada.conversation().await;
    server
        .model
        .next(vec![Line::Say("One "), Line::Say("two "), Line::Say("three.")]);
    let receipt = ada.say(&conversation, "Count.").await;
    let seen = objects(&ada.stream(receipt["run_id"].as_str().unwrap(), 0).await);
    assert_eq!(text_of(&seen), "One two three.");
    let deltas: Vec<&Value> = seen
        .iter()
        .filter(|object| object["type"] == "TEXT_MESSAGE_CONTENT")
        .collect();
    assert_eq!(deltas[0]["delta"], "One ");
    assert!(deltas.len() < 4, "{deltas:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_answered_once() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let conversation = ada.conversation().await;
    let send = |key: &str, text: &str| {
        let mut asked = json_request(
            Method::POST,
            &ada.path(&format!("conversations/{conversation}/messages")),
            &json!({"text": text}),
        );
        ada.prove(&mut asked);
        asked.headers_mut().insert("idempotency-key", key.parse().unwrap());
        server.send(asked)
    };
    let first = send("k-1", "Hello").await.ok(202);
    assert_eq!(send("k-1", "Hello").await.ok(202), first);
    send("k-1", "Something else").await.problem(409, "key_reused");
    ada.stream(first["run_id"].as_str().unwrap(), 0).await;
    assert_eq!(send("k-1", "Hello").await.ok(202), first);
    for bad in ["", "with space", &"x".repeat(201)] {
        send(bad, "Hello").await.problem(400, "invalid_request");
    }
    let messages = ada.get(&format!("conversations/{conversation}/messages")).await.ok(200);
    assert_eq!(messages["items"].as_array().unwrap().len(), 2);
    let path = format!("conversations/{conversation}/messages");
    ada.post(&path, json!({"text": "x".repeat(64 * 1024 + 1)}))
        .await
        .problem(413, "message_length");
    ada.post(&path, json!({"text": "  "})).await.problem(422, "message_empty");
    let nowhere = format!("conversations/{}/messages", server.state.env().uuid());
    ada.post(&nowhere, json!({"text": "Hello"})).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_open_streams_and_there_are_only_so_many() {
    let mut config = duet_api::config::Config::default();
    config.limits.streams_per_person = 1;
    let server = Server::with(config).await;
    let ada = server.owner().await;
    let conversation = ada.conversation().await;
    server.model.next(vec![Line::Hold(Arc::new(Notify::new()))]);
    let run = ada.say(&conversation, "Hello").await["run_id"].as_str().unwrap().to_owned();
    let mut asked = request(Method::GET, &ada.path(&format!("runs/{run}/events")));
    ada.prove(&mut asked);
    let response = tower::ServiceExt::oneshot(server.router.clone(), asked).await.unwrap();
    assert_eq!(response.status(), 200);
    ada.get(&format!("runs/{run}/events")).await.problem(429, "too_many_requests");
    ada.post("/v1/auth/sign-out?everywhere=true", json!({})).await.ok(204);
    let whole = axum::body::to_bytes(response.into_body(), 1 << 20);
    tokio::time::timeout(HANG, whole).await.expect("the stream ends").unwrap();
}
