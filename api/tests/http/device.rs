//! Devices that are signed in by a code: what they are told, who may let them in, and what their sign-in is good for.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::{Method, header};
use duet_api::config::Config;
use serde_json::{Value, json};

use crate::{
    requests::{rule, waiting},
    support::*,
};

async fn begin(server: &Server) -> Value {
    let body = json!({"client": "duet on ada-laptop"});
    let answer = server
        .send_from([203, 0, 113, 9], json_request(Method::POST, "/v1/device", &body))
        .await;
    answer.ok(200)
}

async fn ask(server: &Server, codes: &Value) -> Answer {
    let body = json!({"device_code": codes["device_code"]});
    server.send(json_request(Method::POST, "/v1/device/token", &body)).await
}

/// Lets the time pass that a device waits between two questions.
fn pause(server: &Server) {
    server.file().execute("UPDATE device_login SET asked_at = 1", []).unwrap();
}

fn code(codes: &Value) -> Value {
    json!({"user_code": codes["user_code"]})
}

fn page(codes: &Value) -> String {
    format!("/v1/device/{}", codes["user_code"].as_str().unwrap())
}

/// A device that this person lets in.
async fn let_in<'a>(person: &Person<'a>) -> Person<'a> {
    let codes = begin(person.server).await;
    person.post("/v1/device/approve", code(&codes)).await.ok(200);
    let token = ask(person.server, &codes).await.ok(200);
    person.bearing(token["access_token"].as_str().unwrap())
}

async fn again<'a>(person: &Person<'a>, email: &str) -> Person<'a> {
    let body = json!({"email": email, "password": PASSWORD});
    let answer = person
        .server
        .send(json_request(Method::POST, "/v1/auth/sign-in", &body))
        .await;
    Person {
        proof: Proof::Cookie(answer.cookie().unwrap()),
        ..person.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_let_in_once_and_decides_like_its_person() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let codes = begin(&server).await;
    assert_eq!((&codes["expires_in"], &codes["interval"]), (&json!(600), &json!(5)));
    assert_eq!(codes["device_code"].as_str().unwrap().len(), 43);
    let user_code = codes["user_code"].as_str().unwrap();
    assert_eq!(user_code.len(), 9);
    assert_eq!(codes["verification_uri"], "http://127.0.0.1:4470/device");
    assert_eq!(
        codes["verification_uri_complete"],
        format!("http://127.0.0.1:4470/device#code={user_code}")
    );
    ask(&server, &codes).await.problem(409, "authorization_pending");
    // However slow this machine is: it has just asked.
    let later = server.state.env().now().millis() + 60_000;
    server
        .file()
        .execute("UPDATE device_login SET asked_at = ?1", [later])
        .unwrap();
    ask(&server, &codes).await.problem(409, "slow_down");

    let shown = ada.get(&page(&codes)).await.ok(200);
    assert_eq!(
        (&shown["client"], &shown["address"], &shown["state"]),
        (&json!("duet on ada-laptop"), &json!("203.0.113.9"), &json!("waiting"))
    );
    assert!(!shown.to_string().contains(codes["device_code"].as_str().unwrap()));
    let lower = user_code.to_lowercase().replace('-', " ");
    let approved = ada.post("/v1/device/approve", json!({"user_code": lower})).await.ok(200);
    assert_eq!(approved["state"], "approved");
    ada.post("/v1/device/approve", code(&codes)).await.ok(200);
    ada.post("/v1/device/deny", code(&codes)).await.problem(409, "device_decided");

    pause(&server);
    let answers = futures::future::join_all((0..8).map(|_| ask(&server, &codes))).await;
    let (mut tokens, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!(tokens.len(), 1, "two questions at once give one sign-in");
    for answer in refused {
        answer.problem(409, "expired_token");
    }
    let answer = tokens.remove(0);
    assert!(answer.cookie().is_none(), "no page gets a sign-in by asking");
    let token = answer.ok(200);
    assert_eq!(
        (&token["token_type"], &token["expires_in"]),
        (&json!("bearer"), &json!(30 * 86_400))
    );
    ask(&server, &codes).await.problem(409, "expired_token");
    assert_eq!(ada.get(&page(&codes)).await.ok(200)["state"], "used");
    assert_eq!(
        server
            .file()
            .query_row("SELECT count(*) FROM session WHERE by_device = 1", [], |row| row
                .get::<_, i64>(0)),
        Ok(1)
    );

    let device = ada.bearing(token["access_token"].as_str().unwrap());
    assert_eq!(device.get("/v1/auth/session").await.ok(200)["user"]["email"], EMAIL);
    rule(&ada, json!({"category": "memory_write", "say": "ask"})).await;
    let asking = Line::Call("remember", json!({"text": "Bruno is a bear", "kind": "fact"}));
    let (run, request) = waiting(&device, vec![asking]).await;
    let path = format!("requests/{}/decide", request["id"].as_str().unwrap());
    device.post(&path, json!({"decision": "approve"})).await.ok(200);
    device.stream(&run, 0).await;
    assert_eq!(device.get(&format!("runs/{run}")).await.ok(200)["status"], "done");
    assert_eq!(device.get("memories").await.ok(200)["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_devices_sign_in_is_never_recent_and_ends_with_the_others() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let device = let_in(&ada).await;
    let codes = begin(&server).await;
    device
        .post("/v1/device/approve", code(&codes))
        .await
        .problem(403, "sign_in_again");
    for (path, body) in [
        ("keys", json!({"name": "mine", "scopes": ["chat"]})),
        ("invitations", json!({"email": "eve@example.org"})),
    ] {
        device.post(path, body).await.problem(403, "sign_in_again");
    }
    let policy = ada.get("policy").await.ok(200);
    device
        .send(Method::PUT, "policy", json!({"from": policy["version"], "rules": []}))
        .await
        .problem(403, "sign_in_again");
    // Its secret is no cookie: no page can be made to send it.
    let Proof::Bearer(secret) = &device.proof else {
        panic!("a bearer")
    };
    let planted = Person {
        proof: Proof::Cookie(format!("duet_session={secret}")),
        ..ada.clone()
    };
    planted.get("/v1/auth/session").await.problem(401, "not_signed_in");
    // The secret of a browser's is no bearer.
    let Proof::Cookie(cookie) = &ada.proof else {
        panic!("a cookie")
    };
    let browsers = ada.bearing(cookie.split_once('=').unwrap().1);
    browsers.get("/v1/auth/session").await.problem(401, "not_signed_in");

    let other = let_in(&ada).await;
    other.post("/v1/auth/sign-out", json!({})).await.ok(204);
    other.get("/v1/auth/session").await.problem(401, "not_signed_in");
    device.get("/v1/auth/session").await.ok(200);
    let codes = begin(&server).await;
    ada.post("/v1/device/approve", code(&codes)).await.ok(200);
    ada.post("/v1/auth/sign-out?everywhere=true", json!({})).await.ok(204);
    device.get("/v1/auth/session").await.problem(401, "not_signed_in");
    ask(&server, &codes).await.problem(409, "expired_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_somebody_who_just_typed_their_password_lets_a_device_in() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let codes = begin(&server).await;
    let key = ada
        .post(
            "keys",
            json!({"name": "all", "scopes": ["chat", "memory_read", "memory_write", "admin"]}),
        )
        .await;
    let key = ada.bearing(key.ok(201)["secret"].as_str().unwrap());
    let token = ada.post("/v1/auth/token", json!({})).await.ok(200);
    let token = ada.bearing(token["access_token"].as_str().unwrap());
    let kept = again(&ada, EMAIL).await;
    let session = kept.get("/v1/auth/session").await.ok(200);
    server
        .state
        .vouch_for(session["session"]["id"].as_str().unwrap().parse().unwrap());
    for path in ["/v1/device/approve", "/v1/device/deny"] {
        for who in [&key, &token, &kept] {
            who.post(path, code(&codes)).await.problem(403, "denied");
        }
        let nobody = server.send(json_request(Method::POST, path, &code(&codes))).await;
        nobody.problem(401, "not_signed_in");
    }
    key.get(&page(&codes)).await.problem(403, "denied");
    server
        .send(request(Method::GET, &page(&codes)))
        .await
        .problem(401, "not_signed_in");
    // A page of another site has neither the header nor the origin.
    let mut forged = json_request(Method::POST, "/v1/device/approve", &code(&codes));
    ada.prove(&mut forged);
    forged
        .headers_mut()
        .insert(header::ORIGIN, "http://evil.example".parse().unwrap());
    server.send(forged).await.problem(403, "denied");

    let bob = server.stranger("bob@example.org").await;
    server
        .file()
        .execute("UPDATE session SET created_at = created_at - 16 * 60000", [])
        .unwrap();
    bob.post("/v1/device/approve", code(&codes))
        .await
        .problem(403, "sign_in_again");
    let bob = again(&bob, "bob@example.org").await;
    bob.post("/v1/device/approve", code(&codes)).await.ok(200);
    // Whoever comes second is not told who came first, and changes nothing.
    let ada = again(&ada, EMAIL).await;
    for path in ["/v1/device/approve", "/v1/device/deny"] {
        ada.post(path, code(&codes)).await.problem(409, "device_decided");
    }
    let shown = ada.get(&page(&codes)).await.ok(200);
    assert_eq!(shown["state"], "approved");
    assert!(!shown.to_string().contains(&bob.user), "{shown}");
    let token = ask(&server, &codes).await.ok(200);
    let device = bob.bearing(token["access_token"].as_str().unwrap());
    assert_eq!(
        device.get("/v1/auth/session").await.ok(200)["user"]["email"],
        "bob@example.org"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_expired_and_unknown_codes() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let refused = begin(&server).await;
    // Saying no takes no recent sign-in.
    server
        .file()
        .execute("UPDATE session SET created_at = created_at - 16 * 60000", [])
        .unwrap();
    for _ in 0..2 {
        assert_eq!(ada.post("/v1/device/deny", code(&refused)).await.ok(200)["state"], "denied");
    }
    ask(&server, &refused).await.problem(403, "access_denied");

    let ada = again(&ada, EMAIL).await;
    let late = begin(&server).await;
    ada.post("/v1/device/approve", code(&late)).await.ok(200);
    server
        .file()
        .execute(
            "UPDATE device_login SET expires_at = expires_at - 600001, created_at = created_at - 600001",
            [],
        )
        .unwrap();
    ask(&server, &late).await.problem(409, "expired_token");
    assert_eq!(ada.get(&page(&late)).await.ok(200)["state"], "expired");
    let detail = ada.post("/v1/device/deny", code(&late)).await.problem(409, "device_decided");
    assert!(detail.contains("expired already"), "{detail}");

    for unknown in ["BCDF-GHJK", "x", "%00", "..%2f..", "BCDF-GHJK-BCDF"] {
        ada.get(&format!("/v1/device/{unknown}")).await.problem(404, "not_found");
    }
    let unknown = json!({"user_code": "BCDF-GHJK"});
    ada.post("/v1/device/approve", unknown).await.problem(404, "not_found");
    ask(&server, &json!({"device_code": "guessed"}))
        .await
        .problem(409, "expired_token");
    // The code that a person reads is not the secret that a device keeps, and the other way round.
    let codes = begin(&server).await;
    let swapped = json!({"device_code": codes["user_code"], "user_code": codes["device_code"]});
    ask(&server, &swapped).await.problem(409, "expired_token");
    ada.post("/v1/device/approve", code(&swapped)).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_code_is_kept_but_hashes() {
    let server = Server::start().await;
    server.owner().await;
    let codes = begin(&server).await;
    let kept: String = server
        .file()
        .query_row(
            "SELECT hex(device_hash) || hex(user_hash) || client || address FROM device_login",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let letters = codes["user_code"].as_str().unwrap().replace('-', "");
    let hash = hex::encode_upper(duet_api::auth::secret::hash(&letters));
    assert!(kept.contains(&hash) && !kept.contains(&letters), "{kept}");
    for client in [json!(""), json!("a\u{202e}b"), json!("x".repeat(81)), json!("<b>")] {
        let answer = server
            .send(json_request(Method::POST, "/v1/device", &json!({"client": client})))
            .await;
        answer.problem(422, "device_name");
    }
    let mut foreign = json_request(
        Method::POST,
        "/v1/device/token",
        &json!({"device_code": codes["device_code"]}),
    );
    foreign.headers_mut().insert("sec-fetch-site", "cross-site".parse().unwrap());
    server.send(foreign).await.problem(403, "denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn beginning_asking_and_guessing_are_limited() {
    let mut config = Config::default();
    config.limits.devices_per_minute = 2;
    config.limits.device_questions_per_minute = 3;
    config.limits.device_codes_per_minute = 4;
    let server = Server::with(config).await;
    let ada = server.owner().await;
    let of_one_64 = |host: u64| IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8_0001_0002_u128 << 64) | u128::from(host)));
    let mut codes = Value::Null;
    for (host, status) in [200, 200, 429].into_iter().enumerate() {
        let asked = json_request(Method::POST, "/v1/device", &json!({"client": "duet"}));
        let answer = server.send_from(of_one_64(host as u64), asked).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        if status == 200 {
            codes = answer.json();
        }
    }
    for (host, status) in [409, 409, 409, 429].into_iter().enumerate() {
        let asked = json_request(Method::POST, "/v1/device/token", &json!({"device_code": "guessed"}));
        let answer = server.send_from(of_one_64(10 + host as u64), asked).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    // Wrong codes count, whatever they are tried for; the right one comes too late then.
    ada.get("/v1/device/BCDF-GHJK").await.problem(404, "not_found");
    ada.get("/v1/device/x").await.problem(404, "not_found");
    for path in ["/v1/device/approve", "/v1/device/deny"] {
        let wrong = json!({"user_code": "BCDF-GHJK"});
        ada.post(path, wrong).await.problem(404, "not_found");
    }
    ada.post("/v1/device/approve", code(&codes))
        .await
        .problem(429, "too_many_requests");
    // Somebody else's tries are their own.
    let bob = server.stranger("bob@example.org").await;
    bob.get(&page(&codes)).await.ok(200);
}
