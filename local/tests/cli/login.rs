//! `duet login`: another home signs in at a running server, works there, and signs out.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::harness::{Browser, Done, Home, Served};

/// A server whose companion asks before it remembers.
fn asking() -> (Home, Served) {
    let home = Home::new();
    home.init();
    let mut policy = home.run(["policy", "show", "--json"]).json();
    let rule = json!({"category": "memory_write", "say": "ask"});
    policy["rules"].as_array_mut().unwrap().push(rule);
    home.run_with(["policy", "set", "-"], policy.to_string().as_bytes()).ok();
    let server = home.serve();
    (home, server)
}

/// A `duet login` that waits, and what it showed.
struct Waiting {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    codes: Value,
}

impl Waiting {
    fn begin(home: &Home, url: &str) -> Self {
        let mut command = home.command(["login", url, "--json", "--name", "duet on laptop"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let codes = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self { child, stdout, codes }
    }

    fn end(self) -> Done {
        let Self {
            mut child, mut stdout, ..
        } = self;
        let (mut out, mut err) = (String::new(), String::new());
        stdout.read_to_string(&mut out).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let code = child.wait().unwrap().code().unwrap_or(-1);
        Done { code, out, err }
    }
}

/// Signs this home in by a code that the owner confirms in a browser.
async fn log_in(home: &Home, server: &Served) -> Done {
    let waiting = Waiting::begin(home, &server.url);
    let browser = Browser::sign_in(&server.url).await;
    let answer = json!({"user_code": waiting.codes["user_code"]});
    let shown = browser
        .get(&format!("/v1/device/{}", waiting.codes["user_code"].as_str().unwrap()))
        .await;
    assert_eq!(shown["client"], "duet on laptop");
    browser.post("/v1/device/approve", &answer).await;
    tokio::task::spawn_blocking(|| waiting.end()).await.unwrap()
}

/// How the server answers whoever has this token.
async fn status_with(server: &Served, token: &str) -> u16 {
    let http = duet_api::http::client().unwrap();
    let asked = http.get(format!("{}/v1/auth/session", server.url)).bearer_auth(token);
    asked.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_home_signs_in_decides_without_a_password_and_signs_out() {
    let (remote, server) = asking();
    let home = Home::new();
    let done = log_in(&home, &server).await;
    assert_eq!(done.code, 0, "{}", done.err);
    let told: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(
        (&told["server"], &told["email"]),
        (&json!(server.url), &json!("ada@example.org"))
    );
    let kept = home.path().join("config/duet/logins/logins.json");
    let content = std::fs::read_to_string(&kept).unwrap();
    let file: Value = serde_json::from_str(&content).unwrap();
    let token = file["logins"][&server.url]["secret"]["token"].as_str().unwrap();
    assert!(token.starts_with("device_") && token.len() == 50, "{token}");
    assert!(!done.out.contains(token) && !done.err.contains(token) && !remote.log().contains(token));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&kept), mode(kept.parent().unwrap())), (0o600, 0o700));
    }

    let there = ["--server", server.url.as_str()];
    let run = |args: &[&str]| home.run(there.iter().chain(args));
    let asked = run(&["ask", "My sister is called Marta."]);
    assert_eq!(asked.code, 6, "out: {}\nerr: {}", asked.out, asked.err);
    let listed = run(&["inbox", "--kind", "approval", "--json"]).json();
    let id = listed[0]["request"]["id"].as_str().unwrap();
    // Nobody is at a terminal: the sign-in decides. On the machine of the server itself it takes the password.
    remote.run(["inbox", "approve", id]).refused(3, &["terminal"]);
    assert!(!run(&["inbox", "approve", id]).ok().trim().is_empty(), "the reply goes on");
    assert_eq!(run(&["memory", "list", "--json"]).json().as_array().unwrap().len(), 1);
    assert!(run(&["conversation", "list"]).ok().contains("Marta"));
    assert!(run(&["policy", "why", "remember"]).ok().contains("asks"));
    assert!(run(&["member", "list"]).ok().contains("ada@example.org"));
    run(&["audit", "verify"]).ok();
    // What takes a recent sign-in says where it is done.
    run(&["keys", "create", "mine", "--scope", "chat"]).refused(3, &["in the browser"]);
    run(&["member", "invite", "bea@example.org"]).refused(3, &["in the browser"]);

    // Without a name, commands stay with this machine's file, and some always do.
    home.run(["memory", "list"]).refused(4, &["no data file", "--server"]);
    run(&["serve"]).refused(2, &["this machine alone"]);
    run(&["--data", "x.db", "memory", "list"]).refused(2, &["not both"]);
    let by_name = |args: &[&str], server: &str| Done::from(home.command(args).env("DUET_SERVER", server).output().unwrap());
    by_name(&["memory", "list"], &server.url).ok();
    by_name(&["memory", "list"], "local").refused(4, &["no data file"]);
    home.run(["login", &server.url, "--default"]).ok();
    home.run(["memory", "list"]).ok();
    home.run(["--server", "local", "memory", "list"])
        .refused(4, &["no data file"]);
    let list = home.run(["login", "--list", "--json"]).json();
    assert_eq!((&list[0]["server"], &list[0]["default"]), (&json!(server.url), &json!(true)));
    assert!(!list.to_string().contains(token));
    home.run(["login", "--no-default"]).ok();
    home.run(["memory", "list"]).refused(4, &["no data file"]);
    // A file of this machine's own stays what commands mean.
    home.init();
    assert_eq!(home.run(["memory", "list", "--json"]).json(), json!([]));

    assert_eq!(status_with(&server, token).await, 200);
    home.run(["logout"]).ok();
    assert_eq!(status_with(&server, token).await, 401, "it ended there too");
    assert!(!std::fs::read_to_string(&kept).unwrap().contains(token));
    home.run(["logout"]).refused(4, &["nowhere"]);
    run(&["memory", "list"]).refused(3, &["duet login"]);
    assert_eq!(server.stop().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_was_ended_elsewhere_says_so() {
    let (_remote, server) = asking();
    let home = Home::new();
    log_in(&home, &server).await.ok();
    let browser = Browser::sign_in(&server.url).await;
    let ended = browser
        .request(reqwest::Method::POST, "/v1/auth/sign-out?everywhere=true", None)
        .await;
    assert!(ended.status().is_success());
    home.run(["--server", &server.url, "memory", "list"])
        .refused(3, &["not signed in", "duet login"]);
    let url = server.url.clone();
    assert_eq!(server.stop().code(), Some(0));
    home.run(["--server", &url, "memory", "list"])
        .refused(5, &["cannot be reached"]);
    let done = home.run(["logout", &url]);
    assert!(done.err.contains("forgotten here"), "{}", done.err);
    done.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_and_a_given_up_sign_in_leave_nothing() {
    let (_remote, server) = asking();
    let home = Home::new();
    let waiting = Waiting::begin(&home, &server.url);
    let browser = Browser::sign_in(&server.url).await;
    let code = json!({"user_code": waiting.codes["user_code"]});
    browser.post("/v1/device/deny", &code).await;
    let done = tokio::task::spawn_blocking(|| waiting.end()).await.unwrap();
    done.refused(3, &["refused it"]);
    #[cfg(unix)]
    {
        let waiting = Waiting::begin(&home, &server.url);
        let pid = waiting.child.id().to_string();
        let sent = std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert!(sent.success());
        let done = waiting.end();
        assert_eq!(done.code, 130, "{}", done.err);
        assert!(done.err.contains("Given up"), "{}", done.err);
    }
    assert_eq!(home.run(["login", "--list", "--json"]).json(), json!([]));
}

#[test]
fn addresses_that_cannot_be_signed_in_at() {
    let home = Home::new();
    for (url, words) in [
        ("http://duet.example", "not encrypted"),
        ("duet.example", "https://"),
        ("https://ada:x@duet.example", "https://"),
        ("https://duet.example/path", "https://"),
    ] {
        home.run(["login", url]).refused(2, &[words]);
        home.run(["--server", url, "memory", "list"]).refused(2, &[words]);
    }
    home.run(["login", "http://127.0.0.1:1"]).refused(5, &["cannot be reached"]);
    assert_eq!(home.run(["login"]).code, 2);
    home.run(["--server", "http://127.0.0.1:1", "memory", "list"])
        .refused(3, &["not signed in"]);
}

/// A server where Supabase Auth signs people in, as far as commands ask it: its access tokens expire at once, its refresh tokens work
/// once, and both are numbered.
async fn supabase() -> (String, Arc<AtomicU32>) {
    let turn = Arc::new(AtomicU32::new(0));
    let tokens = |number: u32| json!({"access_token": format!("access-{number}"), "token_type": "bearer", "expires_in": 1, "refresh_token": format!("refresh-{number}")});
    let session = {
        let turn = Arc::clone(&turn);
        move |headers: HeaderMap| async move {
            // An earlier one is good until it expires.
            let sent = headers.get("authorization").and_then(|sent| sent.to_str().ok());
            let number = sent.and_then(|sent| sent.strip_prefix("Bearer access-")?.parse::<u32>().ok());
            match number.is_some_and(|number| number <= turn.load(Ordering::SeqCst)) {
                true => (
                    StatusCode::OK,
                    Json(
                        json!({"user": {"email": "ada@example.org"}, "session": {"id": "x", "expires_at": "2030-01-01T00:00:00Z"}}),
                    ),
                ),
                false => (
                    StatusCode::UNAUTHORIZED,
                    Json(json!({"code": "not_signed_in", "detail": "Sign in first."})),
                ),
            }
        }
    };
    let refresh = {
        let turn = Arc::clone(&turn);
        move |Json(body): Json<Value>| async move {
            let here = turn.load(Ordering::SeqCst);
            if body["refresh_token"] != format!("refresh-{here}") {
                return (
                    StatusCode::UNAUTHORIZED,
                    Json(json!({"code": "not_signed_in", "detail": "Used."})),
                );
            }
            turn.store(here + 1, Ordering::SeqCst);
            (StatusCode::OK, Json(tokens(here + 1)))
        }
    };
    let sign_in = move |Json(body): Json<Value>| async move {
        match body == json!({"email": "ada@example.org", "password": "hunter22"}) {
            true => (StatusCode::OK, Json(json!({"tokens": tokens(0)}))),
            false => (
                StatusCode::UNAUTHORIZED,
                Json(json!({"code": "wrong_sign_in", "detail": "Wrong email or password."})),
            ),
        }
    };
    let router = Router::new()
        .route("/v1/config", get(|| async { Json(json!({"auth": {"mode": "supabase"}})) }))
        .route("/v1/auth/sign-in", post(sign_in))
        .route("/v1/auth/refresh", post(refresh))
        .route("/v1/auth/session", get(session))
        .route("/v1/auth/sign-out", post(|| async { StatusCode::NO_CONTENT }))
        .route("/v1/workspaces", get(|| async { Json(json!([{"workspace": {"id": "00000000-0000-7000-8000-000000000001", "name": "Home", "created_by": "00000000-0000-7000-8000-000000000002", "created_at": "2026-01-01T00:00:00Z"}, "role": "owner"}])) }))
        .route("/v1/workspaces/{ws}/memories", get(|| async { Json(json!({"items": []})) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, turn)
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn where_supabase_signs_people_in_the_password_is_asked_for_and_tokens_are_renewed() {
    let (url, turn) = supabase().await;
    let home = Home::new();
    home.run(["login", &url]).refused(3, &["terminal"]);
    home.run_typing_both(["login", &url], "ada@example.org\n", "wrong")
        .refused(3, &["Wrong email or password"]);
    let done = home.run_typing_both(["login", &url], "ada@example.org\n", "hunter22");
    assert!(
        done.err.contains("no device by a code") && done.err.contains("Signed in"),
        "{}",
        done.err
    );
    assert!(
        !done.err.contains("hunter22") && !done.err.contains("access-"),
        "{}",
        done.err
    );
    done.ok();
    // Each command renews what has expired; several at once wait for each other, because a refresh token works once.
    let several: Vec<Done> = std::thread::scope(|scope| {
        let begun: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| home.run(["--server", &url, "memory", "list", "--json"])))
            .collect();
        begun.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(
        several.iter().filter(|done| done.code == 0).count(),
        4,
        "{:?}",
        several.iter().map(|done| &done.err).collect::<Vec<_>>()
    );
    assert_eq!(turn.load(Ordering::SeqCst), 4);
    home.run(["logout"]).ok();
    assert_eq!(turn.load(Ordering::SeqCst), 5, "an expired token would sign nobody out");
    home.run(["--server", &url, "memory", "list"]).refused(3, &["duet login"]);
}
