//! What runs ask: the Inbox, who sees and who decides a request, and how the run goes on. Pausing, too.

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::*;

/// Adds a rule to the policy.
pub async fn rule(owner: &Person<'_>, rule: Value) {
    let policy = owner.get("policy").await.ok(200);
    let mut rules = policy["rules"].clone();
    rules.as_array_mut().unwrap().push(rule);
    let write = json!({"from": policy["version"], "rules": rules});
    owner.send(Method::PUT, "policy", write).await.ok(200);
}

/// Lets the companion ask something; the run, once it waits, and its request.
pub async fn waiting(person: &Person<'_>, lines: Vec<Line>) -> (String, Value) {
    person.server.model.next(lines);
    let conversation = person.conversation().await;
    let receipt = person.say(&conversation, "Go on.").await;
    let run = receipt["run_id"].as_str().unwrap().to_owned();
    person.stream(&run, 0).await;
    assert_eq!(person.get(&format!("runs/{run}")).await.ok(200)["status"], "waiting");
    let requests = person
        .get(&format!("requests?conversation_id={conversation}&open=true"))
        .await
        .ok(200);
    assert_eq!(requests["items"].as_array().unwrap().len(), 1, "{requests}");
    (run, requests["items"][0].clone())
}

fn remember() -> Line {
    Line::Call("remember", json!({"text": "Bruno is a bear", "kind": "fact"}))
}

fn question() -> Line {
    Line::Call(
        "ask_user",
        json!({"question": "When shall we meet?", "fields": [
            {"name": "day", "label": "The day", "kind": "date"},
            {"name": "place", "label": "Where", "kind": "choice", "options": ["here", "there"], "optional": true},
        ]}),
    )
}

fn decide(request: &Value) -> String {
    format!("requests/{}/decide", request["id"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_waits_in_the_inbox_and_its_answer_lets_the_run_go_on() {
    let server = Server::start().await;
    let ada = server.owner().await;
    assert_eq!(ada.get("inbox").await.ok(200), json!({"items": [], "waiting": 0}));
    let (run, request) = waiting(&ada, vec![Line::Say("One moment."), question()]).await;
    assert_eq!(request["kind"], "question");
    assert_eq!(request["state"], "open");
    assert_eq!(request["arguments"]["question"], "When shall we meet?");
    let seen = objects(&ada.stream(&run, 0).await);
    let last = seen.last().unwrap();
    assert_eq!(last["outcome"]["interrupts"][0]["id"], request["id"]);
    assert_eq!(last["metadata"]["duet"]["outcome"], "waiting");
    let asked = seen.iter().find(|object| object["name"] == "asked").unwrap();
    assert_eq!(asked["value"]["request"], request["id"]);

    let inbox = ada.get("inbox").await.ok(200);
    assert_eq!(
        inbox,
        json!({"items": [{"item": "request", "request": request}], "waiting": 1})
    );
    assert_eq!(
        ada.get("inbox?kind=approval").await.ok(200),
        json!({"items": [], "waiting": 1})
    );
    assert_eq!(ada.get("inbox?kind=question").await.ok(200), inbox);
    assert_eq!(ada.get("inbox/count").await.ok(200), json!({"waiting": 1}));
    let path = format!("requests/{}", request["id"].as_str().unwrap());
    assert_eq!(ada.get(&path).await.ok(200), request);
    let found = ada
        .get(&format!("requests/ids?prefix={}", &request["id"].as_str().unwrap()[..13]))
        .await
        .ok(200);
    assert_eq!(found, json!({"items": [request["id"]]}));

    for (wrong, status, code) in [
        (json!({"decision": "approve"}), 422, "decision_unfit"),
        (json!({"decision": "expired"}), 422, "decision_unfit"),
        (json!({"decision": "respond", "answers": {}}), 422, "answer_missing"),
        (json!({"decision": "respond", "answers": {"day": "soon"}}), 422, "answer_form"),
        (
            json!({"decision": "respond", "answers": {"day": "2026-05-09", "hour": 3}}),
            422,
            "answer_unknown",
        ),
        (json!({"decision": "perhaps"}), 422, "invalid"),
    ] {
        ada.post(&decide(&request), wrong).await.problem(status, code);
    }

    server.model.next(vec![Line::Say("See you on the 9th.")]);
    let answer = json!({"decision": "respond", "answers": {"day": "2026-05-09"}});
    let decided = ada.post(&decide(&request), answer.clone()).await.ok(200);
    assert_eq!(decided["state"], "answered");
    assert_eq!(decided["decision"], answer);
    assert_eq!(decided["decided_by"], ada.user.as_str());
    let seen = objects(&ada.stream(&run, 0).await);
    assert_eq!(seen.last().unwrap()["metadata"]["duet"]["outcome"], "completed");
    let result = seen.iter().find(|object| object["type"] == "TOOL_CALL_RESULT").unwrap();
    assert!(result["content"].as_str().unwrap().contains("2026-05-09"), "{result}");
    assert_eq!(ada.get("inbox/count").await.ok(200), json!({"waiting": 0}));

    // The same again is no other decision; another one comes too late.
    assert_eq!(ada.post(&decide(&request), answer).await.ok(200), decided);
    ada.post(&decide(&request), json!({"decision": "dismiss"}))
        .await
        .problem(409, "request_decided");
    let conversation = request["conversation_id"].as_str().unwrap();
    let messages = ada.get(&format!("conversations/{conversation}/messages")).await.ok(200);
    let texts: Vec<&Value> = messages["items"].as_array().unwrap().iter().map(|one| &one["text"]).collect();
    assert_eq!(texts, ["See you on the 9th.", "One moment.", "Go on."]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_call_is_made_once_with_what_was_approved() {
    let server = Server::start().await;
    let ada = server.owner().await;
    rule(
        &ada,
        json!({"category": "memory_write", "say": "ask", "why": "Memories are read first."}),
    )
    .await;
    let (run, request) = waiting(&ada, vec![remember()]).await;
    assert_eq!(request["kind"], "approval");
    assert_eq!(request["why"], "Memories are read first.");
    assert_eq!(request["policy_version"], 2);
    assert_eq!(ada.get("memories").await.ok(200)["items"], json!([]));
    let edited = json!({"text": "Bruno is a brown bear", "kind": "fact"});
    ada.post(&decide(&request), json!({"decision": "approve", "arguments": "brown"}))
        .await
        .problem(422, "arguments_form");
    let unfit = json!({"text": "Bruno is a brown bear", "kind": "nonsense"});
    ada.post(&decide(&request), json!({"decision": "approve", "arguments": unfit}))
        .await
        .problem(422, "invalid");
    let empty = json!({"text": " ", "kind": "fact"});
    ada.post(&decide(&request), json!({"decision": "approve", "arguments": empty}))
        .await
        .problem(422, "invalid");
    ada.post(&decide(&request), json!({"decision": "approve", "arguments": edited}))
        .await
        .ok(200);
    let seen = objects(&ada.stream(&run, 0).await);
    let names: Vec<&str> = seen.iter().filter_map(|object| object["name"].as_str()).collect();
    assert!(
        names.windows(3).any(|three| three == ["decided", "resumed", "tool_started"]),
        "{names:?}"
    );
    let starts = seen.iter().filter(|object| object["type"] == "TOOL_CALL_START").count();
    assert_eq!(starts, 1, "it is the same call");
    let memories = ada.get("memories").await.ok(200);
    assert_eq!(memories["items"].as_array().unwrap().len(), 1);
    assert_eq!(memories["items"][0]["text"], "Bruno is a brown bear");
    assert!(
        ada.get(&format!("requests/{}", request["id"].as_str().unwrap()))
            .await
            .ok(200)["used_at"]
            .is_string()
    );

    // A refused one is not made, and the agent hears why.
    let (run, request) = waiting(&ada, vec![remember()]).await;
    ada.post(&decide(&request), json!({"decision": "reject", "reason": "It is a secret."}))
        .await
        .ok(200);
    let seen = objects(&ada.stream(&run, 0).await);
    let result = seen.iter().find(|object| object["type"] == "TOOL_CALL_RESULT").unwrap();
    assert_eq!(result["metadata"]["duet"]["status"], "refused");
    assert!(result["content"].as_str().unwrap().contains("It is a secret."), "{result}");
    assert_eq!(ada.get("memories").await.ok(200)["items"].as_array().unwrap().len(), 1);
    assert_eq!(ada.get("audit").await.ok(200)["items"][0]["action"], "request.decide");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_person_decides_by_a_sign_in_of_their_own() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let bob = server.stranger("bob@example.org").await;
    ada.lets_in(&bob).await;
    let bob = Person {
        workspace: ada.workspace.clone(),
        ..bob
    };
    let (run, request) = waiting(&bob, vec![question()]).await;
    let answer = json!({"decision": "respond", "answers": {"day": "2026-05-09"}});

    // Not somebody else, not even an owner: it is not there for them.
    ada.post(&decide(&request), answer.clone()).await.problem(404, "not_found");
    ada.get(&format!("requests/{}", request["id"].as_str().unwrap()))
        .await
        .problem(404, "not_found");
    assert_eq!(ada.get("inbox").await.ok(200), json!({"items": [], "waiting": 0}));
    assert_eq!(ada.get("requests").await.ok(200), json!({"items": []}));

    // Not a key of theirs, and not the sign-in that a server keeps for commands.
    let key = bob
        .post(
            "keys",
            json!({"name": "all", "scopes": ["chat", "memory_read", "memory_write"]}),
        )
        .await
        .ok(201);
    bob.bearing(key["secret"].as_str().unwrap())
        .post(&decide(&request), answer.clone())
        .await
        .problem(403, "denied");
    let session = bob.get("/v1/auth/session").await.ok(200);
    server
        .state
        .vouch_for(session["session"]["id"].as_str().unwrap().parse().unwrap());
    let token = bob.post("/v1/auth/token", json!({})).await.ok(200);
    let program = bob.bearing(token["access_token"].as_str().unwrap());
    for kept in [&bob, &program] {
        let words = kept.post(&decide(&request), answer.clone()).await.problem(403, "denied");
        assert!(words.contains("own sign-in"), "{words}");
    }
    // Nor by one that the server has kept before.
    server.state.vouch_for(server.state.env().id());
    bob.post(&decide(&request), answer.clone()).await.problem(403, "denied");

    // An access token made from one of their own is fine.
    let sign_in = json!({"email": "bob@example.org", "password": PASSWORD});
    let signed_in = server.send(json_request(Method::POST, "/v1/auth/sign-in", &sign_in)).await;
    let again = Person {
        proof: Proof::Cookie(signed_in.cookie().unwrap()),
        ..bob.clone()
    };
    let token = again.post("/v1/auth/token", json!({})).await.ok(200);
    again
        .bearing(token["access_token"].as_str().unwrap())
        .post(&decide(&request), answer)
        .await
        .ok(200);
    bob.stream(&run, 0).await;
    assert_eq!(bob.get(&format!("runs/{run}")).await.ok(200)["status"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_decides_what_waits_for_owners_and_sees_no_conversation() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let bob = server.stranger("bob@example.org").await;
    ada.lets_in(&bob).await;
    let bob = Person {
        workspace: ada.workspace.clone(),
        ..bob
    };
    rule(
        &ada,
        json!({"category": "memory_write", "role": "member", "say": "ask", "decider": "owner"}),
    )
    .await;
    let (run, request) = waiting(&bob, vec![remember()]).await;
    assert_eq!(request["decider"], "owner");
    assert_eq!(bob.get("inbox/count").await.ok(200), json!({"waiting": 0}));
    bob.post(&decide(&request), json!({"decision": "approve"}))
        .await
        .problem(403, "not_decider");
    let inbox = ada.get("inbox").await.ok(200);
    assert_eq!(inbox["waiting"], 1);
    let seen = &inbox["items"][0]["request"];
    assert_eq!(seen["id"], request["id"]);
    assert_eq!(seen["conversation_id"], Value::Null);
    ada.post(&decide(&request), json!({"decision": "approve"})).await.ok(200);
    let stream = objects(&bob.stream(&run, 0).await);
    let decided = stream.iter().find(|object| object["name"] == "decided").unwrap();
    assert_eq!(decided["value"]["by"], ada.user.as_str());
    assert_eq!(bob.get("memories").await.ok(200)["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn proposed_memories_are_in_the_inbox_too() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let bob = server.stranger("bob@example.org").await;
    ada.lets_in(&bob).await;
    let bob = Person {
        workspace: ada.workspace.clone(),
        ..bob
    };
    let shared = ada
        .post(
            "memories",
            json!({"text": "The boiler is serviced in May", "visibility": "shared"}),
        )
        .await
        .ok(201);
    let proposed = bob
        .post(
            "memories",
            json!({"text": "The boiler is serviced in June", "visibility": "shared", "supersedes": shared["id"]}),
        )
        .await
        .ok(201);
    assert_eq!(proposed["review"], "proposed");
    let inbox = ada.get("inbox?kind=memory").await.ok(200);
    assert_eq!(inbox["items"][0]["item"], "memory");
    assert_eq!(inbox["items"][0]["memory"]["id"], proposed["id"]);
    assert_eq!(inbox["waiting"], 1);
    let path = format!("memories/{}", proposed["id"].as_str().unwrap());
    ada.send(Method::PATCH, &path, json!({"review": "accepted"})).await.ok(200);
    assert_eq!(ada.get("inbox/count").await.ok(200), json!({"waiting": 0}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_run_waits_and_a_resumed_one_answers() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let conversation = ada.conversation().await;
    server
        .model
        .next(vec![Line::Say("Once upon"), Line::Hold(Arc::new(Notify::new()))]);
    let receipt = ada.say(&conversation, "A story, please").await;
    let run = receipt["run_id"].as_str().unwrap().to_owned();
    let begun = async {
        // Started, context, called, the first words: paused any earlier, the model would not have been asked yet.
        while ada.get(&format!("runs/{run}")).await.ok(200)["last_seq"].as_u64() < Some(4) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(HANG, begun).await.expect("the model speaks");
    ada.post(&format!("runs/{run}/pause"), json!({})).await.ok(202);
    let seen = objects(&ada.stream(&run, 0).await);
    let last = seen.last().unwrap();
    assert_eq!(last["outcome"], json!({"type": "cancelled"}), "it asks for nothing");
    assert_eq!(last["metadata"]["duet"]["outcome"], "paused");
    let paused = ada.post(&format!("runs/{run}/pause"), json!({})).await.ok(202);
    assert_eq!(paused["status"], "waiting");

    server.model.next(vec![Line::Say("Once upon a time.")]);
    ada.post(&format!("runs/{run}/resume"), json!({})).await.ok(202);
    let seen = objects(&ada.stream(&run, 0).await);
    assert_eq!(seen.last().unwrap()["metadata"]["duet"]["outcome"], "completed");
    let messages = ada.get(&format!("conversations/{conversation}/messages")).await.ok(200);
    assert_eq!(messages["items"][0]["text"], "Once upon a time.");
    for path in ["pause", "resume"] {
        ada.post(&format!("runs/{run}/{path}"), json!({}))
            .await
            .problem(409, "run_ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_takes_its_request_along() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let (run, request) = waiting(&ada, vec![question()]).await;
    ada.post(&format!("runs/{run}/cancel"), json!({})).await.ok(202);
    let seen = objects(&ada.stream(&run, 0).await);
    assert_eq!(seen.last().unwrap()["metadata"]["duet"]["outcome"], "cancelled");
    assert_eq!(ada.get("inbox/count").await.ok(200), json!({"waiting": 0}));
    ada.post(&decide(&request), json!({"decision": "dismiss"}))
        .await
        .problem(409, "request_decided");
}
