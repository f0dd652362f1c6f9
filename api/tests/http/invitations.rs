//! How people come into a workspace, and how they leave it.

use std::{sync::Arc, time::Duration};

use axum::http::Method;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::*;

/// Invites an address; the answer.
async fn invited(owner: &Person<'_>, email: &str) -> Value {
    owner.post("invitations", json!({ "email": email })).await.ok(201)
}

/// Accepts as a signed-in person.
async fn accept(person: &Person<'_>, invitation: &Value) -> Answer {
    person
        .post("/v1/invitations/accept", json!({"token": invitation["token"]}))
        .await
}

async fn open(server: &Server, path: &str, body: Value) -> Answer {
    server.send(json_request(Method::POST, path, &body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_without_an_account_makes_one_and_is_in() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let made = invited(&ada, " Bob@Example.org ").await;
    assert_eq!(made["invitation"]["email"], "bob@example.org");
    assert_eq!(made["invitation"]["status"], "open");
    assert_eq!(made["invitation"]["role"], "member");
    let token = made["token"].as_str().unwrap();
    assert_eq!(token.len(), 43);
    let link = made["link"].as_str().unwrap();
    assert!(
        link.starts_with("http://") && link.ends_with(&format!("/invite#token={token}")),
        "{link}"
    );

    let about = open(&server, "/v1/invitations/lookup", json!({ "token": token }))
        .await
        .ok(200);
    assert_eq!(about["email"], "bob@example.org");
    assert_eq!(about["has_account"], false);
    assert!(about.get("token_hash").is_none() && about["workspace_name"].is_string() && about["invited_by"].is_string());

    let accept = |body: Value| open(&server, "/v1/invitations/accept", body);
    accept(json!({ "token": token })).await.problem(401, "not_signed_in");
    accept(json!({ "token": token, "display_name": "Bob", "password": "short" }))
        .await
        .problem(422, "invalid");
    accept(json!({ "token": token, "display_name": "", "password": PASSWORD }))
        .await
        .problem(422, "invalid");
    let answer = accept(json!({ "token": token, "display_name": "Bob", "password": PASSWORD })).await;
    let cookie = answer.cookie().expect("accepting signs in");
    let membership = answer.ok(201);
    assert_eq!(
        (&membership["role"], &membership["workspace"]["id"]),
        (&json!("member"), &json!(ada.workspace))
    );
    let again = accept(json!({ "token": token, "display_name": "Eve", "password": PASSWORD })).await;
    assert!(again.problem(409, "invitation_used").contains("used"));
    assert!(
        open(&server, "/v1/invitations/lookup", json!({ "token": token }))
            .await
            .problem(409, "invitation_used")
            .contains("used")
    );

    let session = open(
        &server,
        "/v1/auth/sign-in",
        json!({"email": "bob@example.org", "password": PASSWORD}),
    )
    .await
    .ok(200);
    let bob = Person {
        server: &server,
        proof: Proof::Cookie(cookie),
        user: session["user"]["id"].as_str().unwrap().to_owned(),
        workspace: ada.workspace.clone(),
    };
    let conversation = bob.conversation().await;
    bob.say(&conversation, "Hello").await;
    let members = ada.get("members").await.ok(200);
    let names: Vec<&str> = members["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| member["display_name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 2);
    assert_eq!(names[1], "Bob");
    let audit = ada.get("audit").await.ok(200).to_string();
    assert!(
        audit.contains("invitation.accept") && !audit.contains("bob@"),
        "the log has no address"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_for_one_address_and_one_time() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let bob = server.stranger("bob@example.org").await;
    let eve = server.stranger("eve@example.org").await;
    let first = invited(&ada, "bob@example.org").await;
    let second = invited(&ada, "bob@example.org").await;
    assert!(
        accept(&bob, &first)
            .await
            .problem(409, "invitation_revoked")
            .contains("revoked")
    );
    assert!(
        accept(&eve, &second)
            .await
            .problem(403, "email_differs")
            .contains("a different email address")
    );
    let newcomer = json!({"token": second["token"], "display_name": "Eve", "password": PASSWORD});
    assert!(
        open(&server, "/v1/invitations/accept", newcomer)
            .await
            .problem(409, "account_exists")
            .contains("Sign in")
    );
    // Neither a key nor a page of another site.
    let key = bob.post("keys", json!({"name": "k", "scopes": ["chat"]})).await.ok(201);
    let by_key = bob.bearing(key["secret"].as_str().unwrap());
    accept(&by_key, &second).await.problem(403, "denied");
    let mut foreign = json_request(Method::POST, "/v1/invitations/lookup", &json!({"token": second["token"]}));
    foreign
        .headers_mut()
        .insert("origin", "https://evil.example".parse().unwrap());
    server.send(foreign).await.problem(403, "denied");
    let mut bare = json_request(Method::POST, "/v1/invitations/accept", &json!({"token": second["token"]}));
    bob.prove(&mut bare);
    bare.headers_mut().remove("x-duet-csrf");
    server.send(bare).await.problem(403, "denied");

    let membership = accept(&bob, &second).await.ok(200);
    assert_eq!(membership["workspace"]["id"], json!(ada.workspace));
    assert!(accept(&bob, &second).await.problem(409, "invitation_used").contains("used"));

    let listed = ada.get("invitations").await.ok(200);
    let states: Vec<&str> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["status"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["accepted", "revoked"]);
    assert!(!listed.to_string().contains("token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_alone_invite_revoke_and_remove() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let bob = server.stranger("bob@example.org").await;
    ada.lets_in(&bob).await;
    let bob = Person {
        workspace: ada.workspace.clone(),
        ..bob
    };
    let made = invited(&ada, "carl@example.org").await;
    let id = made["invitation"]["id"].as_str().unwrap();
    bob.post("invitations", json!({"email": "d@example.org"}))
        .await
        .problem(403, "owners_only");
    bob.get("invitations").await.problem(403, "owners_only");
    bob.send(Method::DELETE, &format!("invitations/{id}"), json!({}))
        .await
        .problem(403, "owners_only");
    bob.send(Method::DELETE, &format!("members/{}", ada.user), json!({}))
        .await
        .problem(403, "owners_only");
    bob.send(Method::PATCH, &format!("members/{}", bob.user), json!({"role": "owner"}))
        .await
        .problem(403, "owners_only");
    for (body, field) in [
        (json!({"email": "nobody"}), "email"),
        (json!({"email": "a@b", "expires_in_hours": 0}), "expires_in_hours"),
        (json!({"email": "a@b", "expires_in_hours": 721}), "expires_in_hours"),
    ] {
        assert!(ada.post("invitations", body).await.problem(422, "invalid").contains(field));
    }
    assert!(
        ada.post("invitations", json!({"email": "BOB@example.org"}))
            .await
            .problem(409, "already_member")
            .contains("member")
    );
    let revoked = ada
        .send(Method::DELETE, &format!("invitations/{id}"), json!({}))
        .await
        .ok(200);
    assert_eq!(revoked["status"], "revoked");
    let gone = open(&server, "/v1/invitations/lookup", json!({"token": made["token"]})).await;
    assert!(gone.problem(409, "invitation_revoked").contains("revoked"));
    let unknown = open(&server, "/v1/invitations/lookup", json!({"token": "nothing"})).await;
    unknown.problem(404, "not_found");

    // The last owner stays; with another one they may go.
    assert!(
        ada.post("leave", json!({}))
            .await
            .problem(409, "last_owner")
            .contains("owner")
    );
    ada.send(Method::PATCH, &format!("members/{}", ada.user), json!({"role": "member"}))
        .await
        .problem(409, "last_owner");
    let promoted = ada
        .send(Method::PATCH, &format!("members/{}", bob.user), json!({"role": "owner"}))
        .await
        .ok(200);
    assert_eq!(promoted["role"], "owner");
    assert_eq!(ada.post("leave", json!({})).await.status, 204);
    ada.get("members").await.problem(404, "not_found");
    assert_eq!(bob.get("members").await.ok(200)["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_members_stream_and_key_end() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let bob = server.stranger("bob@example.org").await;
    ada.lets_in(&bob).await;
    let bob = Person {
        workspace: ada.workspace.clone(),
        ..bob
    };
    let key = bob.post("keys", json!({"name": "k", "scopes": ["chat"]})).await.ok(201);
    let by_key = bob.bearing(key["secret"].as_str().unwrap());
    by_key.get("members").await.ok(200);
    let conversation = bob.conversation().await;
    // A reply that would go on for ever.
    let never = Arc::new(Notify::new());
    server.model.next(vec![Line::Say("Once upon a time"), Line::Hold(never)]);
    let receipt = bob.say(&conversation, "Tell me a story").await;
    let run = receipt["run_id"].as_str().unwrap().to_owned();
    let (removed, gone) = tokio::sync::oneshot::channel();
    let stream = async {
        let read = bob.stream(&run, 0);
        tokio::pin!(read);
        tokio::select! {
            text = &mut read => panic!("the stream ended by itself: {text}"),
            outcome = gone => outcome.unwrap(),
        }
        tokio::time::timeout(HANG, read).await.expect("the stream ends")
    };
    let remove = async {
        // Its first words are in the log, and so in the stream: started, context, model, words.
        let path = format!("runs/{run}");
        while bob.get(&path).await.ok(200)["last_seq"].as_u64() < Some(4) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Counted from the request: the stream may well end before its answer is there.
        removed.send(()).unwrap();
        let answer = ada.send(Method::DELETE, &format!("members/{}", bob.user), json!({})).await;
        assert_eq!(answer.status, 204, "{}", answer.text);
    };
    let (text, ()) = tokio::join!(stream, remove);
    assert!(text.contains("Once upon a time"), "{text}");
    bob.get(&format!("runs/{run}/events")).await.problem(404, "not_found");
    by_key.get("members").await.problem(401, "not_signed_in");
    bob.get("/v1/auth/session").await.ok(200);
    ada.get(&format!("runs/{run}")).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_cannot_be_tried_at_will() {
    let server = Server::start().await;
    let ada = server.owner().await;
    // Twenty in a row; more where this machine is so slow that their time comes back meanwhile.
    let attempt = |path: &str| {
        let request = json_request(Method::POST, &format!("/v1/invitations/{path}"), &json!({"token": "guess"}));
        server.send_from([10, 9, 9, 9], request)
    };
    let mut refused = 0;
    loop {
        let answer = attempt("lookup").await;
        if answer.status == 429 {
            answer.problem(429, "too_many_requests");
            if attempt("accept").await.status == 429 {
                break;
            }
        } else {
            answer.problem(404, "not_found");
        }
        refused += 1;
        assert!(refused < 400, "nothing limits the attempts");
    }
    assert!(refused >= 20, "{refused}");
    let token = invited(&ada, "bob@example.org").await["token"].clone();
    let request = json_request(Method::POST, "/v1/invitations/lookup", &json!({ "token": token }));
    server.send_from([10, 9, 9, 8], request).await.ok(200);
}
