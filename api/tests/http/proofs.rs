//! What a proof of identity is good for: which cookie counts, what an access token does not make, what a recent sign-in makes, and how often
//! one may try.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::{Method, Request, header};
use duet_api::config::Config;
use serde_json::json;

use crate::support::*;

fn sign_in(email: &str, password: &str) -> Request<axum::body::Body> {
    json_request(
        Method::POST,
        "/v1/auth/sign-in",
        &json!({"email": email, "password": password}),
    )
}

fn behind_tls() -> Config {
    let mut config = Config::default();
    config.server.public_url = Some("https://duet.example".into());
    config.server.allowed_origins = vec!["https://other.example".into()];
    config
}

/// The session cookie, with what a page of the server under TLS sends along.
fn with_cookie(mut asked: Request<axum::body::Body>, cookie: &str, origin: Option<&str>) -> Request<axum::body::Body> {
    let headers = asked.headers_mut();
    headers.insert(header::HOST, "duet.example".parse().unwrap());
    headers.insert(header::COOKIE, cookie.parse().unwrap());
    headers.insert("x-duet-csrf", "1".parse().unwrap());
    if let Some(origin) = origin {
        headers.insert(header::ORIGIN, origin.parse().unwrap());
    }
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn under_tls_only_the_host_cookie_counts_and_a_tossed_one_changes_nothing() {
    let server = Server::with(behind_tls()).await;
    let mut set_up = json_request(Method::POST, "/v1/setup", &server.setup_body());
    set_up
        .headers_mut()
        .insert(header::ORIGIN, "https://duet.example".parse().unwrap());
    let answer = server.send(set_up).await;
    let own = answer.cookie().unwrap();
    answer.ok(201);
    let secret = own.strip_prefix("__Host-duet_session=").unwrap();
    // A sign-in of the attacker's, whose cookie any page of the same site can toss.
    server.stranger_cookie("eve@example.org").await;
    let tossed = server.stranger_cookie("mallory@example.org").await;
    let tossed = tossed.strip_prefix("__Host-").unwrap();
    for (cookies, email) in [
        (own.clone(), Some(EMAIL)),
        (format!("{own}; {tossed}"), Some(EMAIL)),
        (format!("{tossed}; {own}"), Some(EMAIL)),
        (format!("{tossed}; {tossed}; {own}"), Some(EMAIL)),
        (tossed.to_owned(), None),
        (format!("duet_session={secret}"), None),
    ] {
        let answer = server
            .send(with_cookie(request(Method::GET, "/v1/auth/session"), &cookies, None))
            .await;
        match email {
            Some(email) => assert_eq!(answer.ok(200)["user"]["email"], email, "{cookies}"),
            None => drop(answer.problem(401, "not_signed_in")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_tls_a_page_without_it_writes_nothing() {
    let server = Server::with(behind_tls()).await;
    let answer = server
        .send(json_request(Method::POST, "/v1/setup", &server.setup_body()))
        .await;
    let own = answer.cookie().unwrap();
    answer.ok(201);
    for (origin, host, written) in [
        ("https://duet.example", "duet.example", true),
        ("https://other.example", "duet.example", true),
        ("http://duet.example", "duet.example", false),
        ("http://duet.example:443", "duet.example:443", false),
        ("http://127.0.0.1:4470", "127.0.0.1:4470", false),
        ("http://localhost:4470", "localhost:4470", false),
    ] {
        let mut asked = json_request(Method::POST, "/v1/auth/token", &json!({}));
        asked = with_cookie(asked, &own, Some(origin));
        asked.headers_mut().insert(header::HOST, host.parse().unwrap());
        let answer = server.send(asked).await;
        match written {
            true => drop(answer.ok(200)),
            false => drop(answer.problem(403, "denied")),
        }
        let mut signing_in = sign_in(EMAIL, PASSWORD);
        signing_in.headers_mut().insert(header::HOST, host.parse().unwrap());
        signing_in.headers_mut().insert(header::ORIGIN, origin.parse().unwrap());
        assert_eq!(server.send(signing_in).await.status == 200, written, "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_makes_nothing_that_outlives_it() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let token = ada.post("/v1/auth/token", json!({})).await.ok(200);
    let bearer = ada.bearing(token["access_token"].as_str().unwrap());
    bearer.get("/v1/auth/session").await.ok(200);
    bearer.post("conversations", json!({})).await.ok(201);
    let key = json!({"name": "mine", "scopes": ["chat", "admin"]});
    for (path, body) in [
        ("/v1/auth/token", json!({})),
        ("keys", key.clone()),
        ("invitations", json!({"email": "eve@example.org", "role": "owner"})),
    ] {
        let detail = bearer.post(path, body).await.problem(403, "denied");
        assert!(detail.contains("session cookie"), "{path}: {detail}");
    }
    assert_eq!(ada.get("keys").await.ok(200)["items"], json!([]));
    ada.post("keys", key).await.ok(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_by_a_recent_sign_in() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let key = || json!({"name": "cli", "scopes": ["chat"]});
    ada.post("keys", key()).await.ok(201);
    // The same sign-in sixteen minutes later.
    let file = server.file();
    let earlier = file
        .execute("UPDATE session SET created_at = created_at - 16 * 60 * 1000", [])
        .unwrap();
    assert_eq!(earlier, 1);
    ada.get("/v1/auth/session").await.ok(200);
    ada.get("keys").await.ok(200);
    let detail = ada.post("keys", key()).await.problem(403, "sign_in_again");
    assert!(detail.contains("sign in again"), "{detail}");
    let again = server.send(sign_in(EMAIL, PASSWORD)).await;
    let fresh = Person {
        proof: Proof::Cookie(again.cookie().unwrap()),
        ..ada.clone()
    };
    fresh.post("keys", key()).await.ok(201);
    // The sign-in that a server keeps for the commands of its machine counts at any time, and only the one that it keeps now.
    let session = ada.get("/v1/auth/session").await.ok(200)["session"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    server.state.vouch_for(session.parse().unwrap());
    ada.post("keys", key()).await.ok(201);
    server.state.vouch_for(server.state.env().id());
    ada.post("keys", key()).await.problem(403, "sign_in_again");
}

/// Whoever has an older sign-in of somebody else makes themselves no lasting access by it: nobody is invited, nobody made an owner.
#[tokio::test(flavor = "multi_thread")]
async fn others_are_let_in_by_a_recent_sign_in() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let bob = server.stranger("bob@example.org").await;
    ada.lets_in(&bob).await;
    let bobs = format!("members/{}", bob.user);
    let guest = || json!({"email": "eve@example.org"});
    let aged = server
        .file()
        .execute("UPDATE session SET created_at = created_at - 16 * 60 * 1000", [])
        .unwrap();
    assert_eq!(aged, 2);
    let role = async |person: &Person<'_>, role: &str| person.send(Method::PATCH, &bobs, json!({"role": role})).await;
    ada.post("invitations", guest()).await.problem(403, "sign_in_again");
    role(&ada, "owner").await.problem(403, "sign_in_again");
    assert_eq!(ada.get("invitations").await.ok(200)["items"].as_array().unwrap().len(), 1);

    let again = server.send(sign_in(EMAIL, PASSWORD)).await;
    let fresh = Person {
        proof: Proof::Cookie(again.cookie().unwrap()),
        ..ada.clone()
    };
    let token = fresh.post("/v1/auth/token", json!({})).await.ok(200);
    let bearer = fresh.bearing(token["access_token"].as_str().unwrap());
    role(&bearer, "owner").await.problem(403, "denied");
    fresh.post("invitations", guest()).await.ok(201);
    assert_eq!(role(&fresh, "owner").await.ok(200)["role"], "owner");
    // What takes access away waits for nothing.
    assert_eq!(role(&ada, "member").await.ok(200)["role"], "member");
    let session = ada.get("/v1/auth/session").await.ok(200)["session"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    server.state.vouch_for(session.parse().unwrap());
    assert_eq!(role(&ada, "owner").await.ok(200)["role"], "owner");
    ada.post("invitations", guest()).await.ok(201);
}

fn of_one_64(host: u64) -> IpAddr {
    Ipv6Addr::from_bits((0x2001_0db8_0001_0002_u128 << 64) | u128::from(host)).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_one_64_are_one_place() {
    // Few, so that none comes back while the test runs.
    let mut config = Config::default();
    config.limits.sign_in_per_minute = 2;
    config.limits.sign_in_per_address_per_minute = 4;
    config.limits.invitations_per_minute = 2;
    let server = Server::with(config).await;
    server.owner().await;
    let tried = async |from: u64, email: &str| {
        let answer = server.send_from(of_one_64(from), sign_in(email, "wrong password")).await;
        answer.status.as_u16()
    };
    for (host, status) in [401, 401, 429].into_iter().enumerate() {
        assert_eq!(tried(host as u64, "bob@example.org").await, status, "of one account");
    }
    for (host, status) in [401, 429, 429].into_iter().enumerate() {
        let email = format!("person-{host}@example.org");
        assert_eq!(tried(10 + host as u64, &email).await, status, "of all accounts");
    }
    let elsewhere = IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 1, 3, 0, 0, 0, 1));
    server.send_from(elsewhere, sign_in(EMAIL, PASSWORD)).await.ok(200);
    // The same for the other things that may be tried.
    for (host, status) in [404, 404, 429].into_iter().enumerate() {
        let asked = json_request(Method::POST, "/v1/invitations/lookup", &json!({"token": "guessed"}));
        let answer = server.send_from(of_one_64(20 + host as u64), asked).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spread_attack_on_an_account_is_slowed_and_locks_nobody_out() {
    let mut config = Config::default();
    config.limits.sign_in_per_account_per_hour = 5;
    let server = Server::with(config).await;
    server.owner().await;
    let browser = server.send_from([198, 51, 100, 7], sign_in(EMAIL, PASSWORD)).await;
    let mark = browser
        .headers
        .get_all(header::SET_COOKIE)
        .iter()
        .nth(1)
        .unwrap()
        .to_str()
        .unwrap();
    let mark = mark.split(';').next().unwrap().to_owned();
    assert!(mark.starts_with("duet_device="), "{mark}");

    // An attempt from each of many addresses.
    let mut passed = 0;
    for host in 0..20 {
        let answer = server.send_from([203, 0, 113, host], sign_in(EMAIL, "wrong password")).await;
        passed += usize::from(answer.status == 401);
    }
    assert_eq!(passed, 4, "an hour's worth, less the one of the browser that was new then");
    // Whoever is known from a place, or by their browser wherever it is, signs in all the same.
    server.send_from([198, 51, 100, 7], sign_in(EMAIL, PASSWORD)).await.ok(200);
    server.send(sign_in(EMAIL, PASSWORD)).await.ok(200);
    let known = |mark: &str| {
        let mut asked = sign_in(EMAIL, PASSWORD);
        asked.headers_mut().insert(header::COOKIE, mark.parse().unwrap());
        asked
    };
    server.send_from([192, 0, 2, 50], known(&mark)).await.ok(200);
    // A mark is of one person, and made here.
    server
        .send_from([192, 0, 2, 51], known("duet_device=AAAA.AAAA"))
        .await
        .problem(429, "too_many_requests");
    server
        .send_from([203, 0, 113, 200], sign_in(EMAIL, PASSWORD))
        .await
        .problem(429, "too_many_requests");
    // Other accounts are as before.
    server
        .send_from([203, 0, 113, 201], sign_in("bob@example.org", "wrong password"))
        .await
        .problem(401, "wrong_sign_in");
}
