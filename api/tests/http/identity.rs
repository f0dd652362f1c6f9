//! Set-up, signing in and out, cookies, cross-site requests, access tokens, rates.

use axum::http::{Method, header};
use duet_api::config::Config;
use serde_json::{Value, json};

use crate::support::*;

fn sign_in(email: &str, password: &str) -> axum::http::Request<axum::body::Body> {
    json_request(
        Method::POST,
        "/v1/auth/sign-in",
        &json!({"email": email, "password": password}),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_person_becomes_the_owner_and_nobody_after() {
    let server = Server::start().await;
    let info = server.send(request(Method::GET, "/v1/config")).await.ok(200);
    assert_eq!(info["setup_needed"], true);
    assert_eq!(info["mode"], "local");

    let mut wrong = server.setup_body();
    wrong["token"] = json!("0000-0000-0000-0000-0000");
    server
        .send(json_request(Method::POST, "/v1/setup", &wrong))
        .await
        .problem(403, "wrong_setup_token");
    let check = |token: &Value| json_request(Method::POST, "/v1/setup/token", &json!({ "token": token }));
    server.send(check(&wrong["token"])).await.problem(403, "wrong_setup_token");
    let right = server.setup_body();
    server.send(check(&right["token"])).await.ok(204);
    for (field, value) in [
        ("email", "nobody"),
        ("password", "short"),
        ("display_name", " "),
        ("workspace_name", ""),
        ("companion_name", "\n"),
    ] {
        let mut bad = server.setup_body();
        bad[field] = json!(value);
        let answer = server
            .send_from([10, 0, 0, field.len() as u8], json_request(Method::POST, "/v1/setup", &bad))
            .await;
        answer.problem(422, "invalid");
    }

    let ada = server.owner().await;
    let session = ada.get("/v1/auth/session").await.ok(200);
    assert_eq!(session["user"]["email"], EMAIL);
    assert_eq!(session["workspaces"][0]["role"], "owner");
    assert!(!session.to_string().contains("argon2"));
    server
        .send(json_request(Method::POST, "/v1/setup", &server.setup_body()))
        .await
        .problem(409, "set_up");
    server.send(check(&right["token"])).await.problem(409, "set_up");
    let info = server.send(request(Method::GET, "/v1/config")).await.ok(200);
    assert_eq!(info["setup_needed"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_attempts_are_limited_and_may_be_repeated_later() {
    let mut config = Config::default();
    config.limits.setup_per_minute = 2;
    let server = Server::with(config).await;
    let mut wrong = server.setup_body();
    wrong["token"] = json!("0000-0000-0000-0000-0000");
    // Two in a row; one more now and then, where this machine is so slow that their time comes back meanwhile.
    let mut refused = 0;
    loop {
        let answer = server.send(json_request(Method::POST, "/v1/setup", &wrong)).await;
        if answer.status == 429 {
            answer.problem(429, "too_many_requests");
            break;
        }
        answer.problem(403, "wrong_setup_token");
        refused += 1;
        assert!(refused < 100, "nothing limits the attempts");
    }
    assert!(refused >= 2, "{refused}");
    // Whoever only asks about a token is counted with those who use one.
    let asked = json!({ "token": wrong["token"] });
    let mut refused = 0;
    loop {
        let answer = server.send(json_request(Method::POST, "/v1/setup/token", &asked)).await;
        if answer.status == 429 {
            answer.problem(429, "too_many_requests");
            break;
        }
        refused += 1;
        assert!(refused < 100, "nothing limits the questions");
    }
    // Another address is not locked out by the first.
    server
        .send_from([10, 0, 0, 1], json_request(Method::POST, "/v1/setup", &server.setup_body()))
        .await
        .ok(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_is_limited_and_tells_nothing_of_accounts() {
    let mut config = Config::default();
    config.limits.sign_in_per_minute = 3;
    let server = Server::with(config).await;
    server.owner().await;
    let known = server
        .send(sign_in(EMAIL, "wrong password"))
        .await
        .problem(401, "wrong_sign_in");
    let unknown = server
        .send(sign_in("bob@example.org", "wrong password"))
        .await
        .problem(401, "wrong_sign_in");
    assert_eq!(known, unknown);
    assert!(server.send(sign_in("  ADA@Example.org ", PASSWORD)).await.ok(200)["user"]["id"].is_string());
    server
        .send(sign_in(EMAIL, "wrong password"))
        .await
        .problem(401, "wrong_sign_in");
    let detail = server.send(sign_in(EMAIL, PASSWORD)).await.problem(429, "too_many_requests");
    assert!(detail.contains("Try again in"), "{detail}");
    // The limit is of the pair: neither other people nor other addresses are shut out.
    server
        .send(sign_in("bob@example.org", "wrong password"))
        .await
        .problem(401, "wrong_sign_in");
    server.send_from([10, 0, 0, 9], sign_in(EMAIL, PASSWORD)).await.ok(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_has_its_flags() {
    let server = Server::start().await;
    server.owner().await;
    let answer = server.send(sign_in(EMAIL, PASSWORD)).await;
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("duet_session="), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict"),
        "{cookie}"
    );
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");

    let mut config = Config::default();
    config.server.public_url = Some("https://duet.example".into());
    let server = Server::with(config).await;
    let answer = server
        .send(json_request(Method::POST, "/v1/setup", &server.setup_body()))
        .await;
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("__Host-duet_session="), "{cookie}");
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
    assert!(!cookie.contains("Domain"));
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_by_cookie_need_the_proofs_of_an_own_page() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let Proof::Cookie(cookie) = ada.proof.clone() else {
        unreachable!()
    };
    let own = "http://127.0.0.1:4470";
    // csrf header, Origin, Sec-Fetch-Site → whether the write happens.
    let table: &[(Option<&str>, Option<&str>, Option<&str>, bool)] = &[
        (Some("1"), Some(own), None, true),
        (Some("1"), Some(own), Some("same-origin"), true),
        (Some("1"), None, Some("same-origin"), true),
        (None, Some(own), Some("same-origin"), false),
        (Some("0"), Some(own), None, false),
        (Some(""), Some(own), None, false),
        (Some("1"), None, None, false),
        (Some("1"), None, Some("same-site"), false),
        (Some("1"), None, Some("cross-site"), false),
        (Some("1"), None, Some("none"), false),
        (Some("1"), Some("null"), None, false),
        (Some("1"), Some(""), None, false),
        (Some("1"), Some("http://evil.example"), None, false),
        (Some("1"), Some("http://evil.example"), Some("same-origin"), false),
        (Some("1"), Some("http://127.0.0.1:4471"), None, false),
        (Some("1"), Some("http://localhost:4470"), None, false),
        (Some("1"), Some("https://127.0.0.1:4470"), None, false),
        (Some("1"), Some("http://127.0.0.1:4470.evil.example"), None, false),
        (None, None, None, false),
    ];
    for (csrf, origin, site, expected) in table {
        let mut request = json_request(Method::POST, &ada.path("conversations"), &json!({}));
        let headers = request.headers_mut();
        headers.insert(header::COOKIE, cookie.parse().unwrap());
        for (name, value) in [("x-duet-csrf", csrf), ("origin", origin), ("sec-fetch-site", site)] {
            if let Some(value) = value {
                headers.insert(name, value.parse().unwrap());
            }
        }
        let answer = server.send(request).await;
        match expected {
            true => drop(answer.ok(201)),
            false => drop(answer.problem(403, "denied")),
        }
    }
    // Reading needs none of them; a bearer needs none either.
    let mut read = request(Method::GET, "/v1/auth/session");
    read.headers_mut().insert(header::COOKIE, cookie.parse().unwrap());
    server.send(read).await.ok(200);
    // A page of another site cannot sign a browser in as somebody else.
    let mut foreign = sign_in(EMAIL, PASSWORD);
    foreign
        .headers_mut()
        .insert(header::ORIGIN, "http://evil.example".parse().unwrap());
    server.send(foreign).await.problem(403, "denied");
    let mut foreign = sign_in(EMAIL, PASSWORD);
    foreign.headers_mut().insert("sec-fetch-site", "cross-site".parse().unwrap());
    server.send(foreign).await.problem(403, "denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebound_host_name_is_refused_before_anything_else() {
    let server = Server::start().await;
    for (host, allowed) in [
        ("localhost:4470", true),
        ("[::1]:4470", true),
        ("evil.example:4470", false),
        ("192.168.0.7", false),
    ] {
        let mut asked = request(Method::GET, "/v1/config");
        asked.headers_mut().insert(header::HOST, host.parse().unwrap());
        let answer = server.send(asked).await;
        match allowed {
            true => drop(answer.ok(200)),
            false => drop(answer.problem(403, "denied")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cookie_and_bearer_together_are_refused() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let token = ada.post("/v1/auth/token", json!({})).await.ok(200)["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut both = request(Method::GET, "/v1/auth/session");
    ada.prove(&mut both);
    ada.bearing(&token).prove(&mut both);
    server.send(both).await.problem(400, "invalid_request");
    let mut twice = request(Method::GET, "/v1/auth/session");
    for _ in 0..2 {
        twice
            .headers_mut()
            .append(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    }
    server.send(twice).await.problem(400, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_acts_for_the_person_until_they_sign_out() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let answer = ada.post("/v1/auth/token", json!({})).await.ok(200);
    assert_eq!(answer["token_type"], "bearer");
    assert_eq!(answer["expires_in"], 900);
    let token = answer["access_token"].as_str().unwrap();
    let bearer = ada.bearing(token);
    bearer.get("/v1/auth/session").await.ok(200);
    bearer.post("conversations", json!({})).await.ok(201);

    // Whatever else may stand in the header.
    for value in [
        "Bearer",
        "Bearer ",
        "Basic YWRhOnB3",
        "Bearer  two",
        "Token x",
        "duet_abc",
        "Bearer duet_",
        "Bearer duet_AAAA",
        "Bearer null",
        "Bearer undefined",
        "Bearer a.b.c",
        "Bearer ..",
        "Bearer \u{e9}",
    ] {
        let mut asked = request(Method::GET, "/v1/auth/session");
        asked.headers_mut().insert(
            header::AUTHORIZATION,
            axum::http::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
        let answer = server.send(asked).await;
        assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer realm=\"duet\"");
        answer.problem(401, "not_signed_in");
    }
    // The scheme's case does not matter; the session's own secret is no bearer token.
    let mut lower = request(Method::GET, "/v1/auth/session");
    lower
        .headers_mut()
        .insert(header::AUTHORIZATION, format!("bearer {token}").parse().unwrap());
    server.send(lower).await.ok(200);
    let Proof::Cookie(cookie) = &ada.proof else { unreachable!() };
    ada.bearing(cookie.split_once('=').unwrap().1)
        .get("/v1/auth/session")
        .await
        .problem(401, "not_signed_in");

    ada.post("/v1/auth/sign-out", json!({})).await.ok(204);
    ada.get("/v1/auth/session").await.problem(401, "not_signed_in");
    bearer.get("/v1/auth/session").await.problem(401, "not_signed_in");
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_everywhere_ends_all_sign_ins_and_their_tokens() {
    let server = Server::start().await;
    let phone = server.owner().await;
    let answer = server.send(sign_in(EMAIL, PASSWORD)).await;
    let laptop = Person {
        proof: Proof::Cookie(answer.cookie().unwrap()),
        ..phone.clone()
    };
    let token = laptop.post("/v1/auth/token", json!({})).await.ok(200)["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let key = laptop.post("keys", json!({"name": "cli", "scopes": ["chat"]})).await.ok(201)["secret"]
        .as_str()
        .unwrap()
        .to_owned();
    // One signs out: the other stays.
    let third = server.send(sign_in(EMAIL, PASSWORD)).await;
    let third = Person {
        proof: Proof::Cookie(third.cookie().unwrap()),
        ..phone.clone()
    };
    third.post("/v1/auth/sign-out", json!({})).await.ok(204);
    laptop.get("/v1/auth/session").await.ok(200);

    let answer = phone.post("/v1/auth/sign-out?everywhere=true", json!({})).await;
    assert!(answer.headers[header::SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    answer.ok(204);
    for gone in [&phone, &laptop, &phone.bearing(&token)] {
        gone.get("/v1/auth/session").await.problem(401, "not_signed_in");
    }
    // Keys are no sign-ins: they are revoked one by one.
    phone.bearing(&key).get("conversations").await.ok(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_sign_in_is_none() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let now = server.state.env().now();
    let session = duet_core::domain::Session {
        id: server.state.env().id(),
        user_id: ada.user.parse().unwrap(),
        created_at: now,
        expires_at: now.plus(std::time::Duration::from_secs(3600)),
        by_device: false,
        by_machine: false,
    };
    let secret = duet_api::auth::secret::random(server.state.env());
    let hash = duet_api::auth::secret::hash(&secret);
    let id = session.id.to_string();
    server.state.stores().accounts.create_session(session, hash).await.unwrap();
    let short = Person {
        proof: Proof::Cookie(format!("duet_session={secret}")),
        ..ada.clone()
    };
    short.get("/v1/auth/session").await.ok(200);
    let token = short.post("/v1/auth/token", json!({})).await.ok(200)["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    server.expire("session", &id);
    let detail = short.get("/v1/auth/session").await.problem(401, "not_signed_in");
    assert!(detail.contains("Sign in"), "{detail}");
    ada.bearing(&token)
        .get("/v1/auth/session")
        .await
        .problem(401, "not_signed_in");
    ada.get("/v1/auth/session").await.ok(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_people_with_the_setup_token_one_becomes_the_owner() {
    let mut config = Config::default();
    config.limits.setup_per_minute = 1_000;
    let server = Server::with(config).await;
    let attempts = (0..50).map(|number| {
        let mut body = server.setup_body();
        body["email"] = json!(format!("person-{number}@example.org"));
        server.send(json_request(Method::POST, "/v1/setup", &body))
    });
    let answers = futures::future::join_all(attempts).await;
    let won = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(won, 1);
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        assert!([403, 409].contains(&answer.status.as_u16()), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_private_is_answered_without_a_sign_in() {
    let server = Server::start().await;
    let ada = server.owner().await;
    let document = serde_json::to_value(duet_api::openapi::document()).unwrap();
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let open = operation["security"]
                .as_array()
                .is_some_and(|security| security.iter().any(|one| one == &json!({})));
            if open {
                continue;
            }
            let path = path
                .replace("{workspace_id}", &ada.workspace)
                .replace("{id}", &ada.user)
                .replace("{message_id}", &ada.user);
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = server.send(json_request(method.clone(), &path, &json!({}))).await;
            assert_eq!(answer.status, 401, "{method} {path}: {}", answer.text);
            answer.problem(401, "not_signed_in");
            asked += 1;
        }
    }
    assert!(asked > 30, "{asked}");
}
