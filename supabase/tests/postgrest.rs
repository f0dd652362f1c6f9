//! The transport over the Data API, against an HTTP server of the test's own that is slow, down, wrong or rude.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod gateway;

use std::{
    io::Write,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use duet_core::{
    Clock, Env, Random, StoreError, Timestamp,
    domain::MemoryScopes,
    ids::{AgentId, Id, RunId, UserId, WorkspaceId},
};
use duet_supabase::rpc::{AgentIdentity, Call, Identity, PostgrestRpc, PostgrestSettings, Rpc};
use gateway::{Act, Gateway, answer};
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use uuid::Uuid;

const KEY: &str = "sb_publishable_R0TtenApple";

/// A clock that records waits instead of waiting, and perhaps does something more.
struct Waits {
    asked: Mutex<Vec<Duration>>,
    then: Box<dyn Fn(usize) + Send + Sync>,
}

#[async_trait]
impl Clock for Waits {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_790_000_000_000)
    }
    async fn sleep(&self, duration: Duration) {
        let tried = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(duration);
            asked.len()
        };
        (self.then)(tried);
        tokio::task::yield_now().await;
    }
}

impl Random for Waits {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(255);
    }
}

/// A transport to an address, and its recorded waits.
struct Scene {
    rpc: PostgrestRpc,
    waits: Arc<Waits>,
}

impl Scene {
    fn at(address: SocketAddr) -> Self {
        Self::with(address, |_| {})
    }

    fn with(address: SocketAddr, then: impl Fn(usize) + Send + Sync + 'static) -> Self {
        Self::within(PATIENT, address, then)
    }

    fn within(timeout: Duration, address: SocketAddr, then: impl Fn(usize) + Send + Sync + 'static) -> Self {
        let waits = Arc::new(Waits {
            asked: Mutex::default(),
            then: Box::new(then),
        });
        let settings = settings(address, timeout);
        Self {
            rpc: PostgrestRpc::new(settings, Env::new(waits.clone(), waits.clone())).unwrap(),
            waits,
        }
    }

    async fn call(&self, call: &Call) -> Result<Value, StoreError> {
        self.rpc.call(&person(), call).await
    }

    fn waited(&self) -> Vec<Duration> {
        self.waits.asked.lock().unwrap().clone()
    }
}

/// The timeout of a call where slowness is not under test.
const PATIENT: Duration = Duration::from_secs(60);

fn settings(address: SocketAddr, timeout: Duration) -> PostgrestSettings {
    let _ = rustls::crypto::ring::default_provider().install_default();
    #[expect(clippy::disallowed_methods, reason = "this is the test's one client")]
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none());
    PostgrestSettings {
        url: format!("http://{address}/project").parse().unwrap(),
        publishable_key: KEY.into(),
        timeout,
        client: client.build().unwrap(),
    }
}

fn user() -> UserId {
    UserId::from_uuid(Uuid::from_u128(7))
}

fn token() -> String {
    let claims = json!({"sub": user(), "role": "authenticated", "exp": 1});
    format!("e30.{}.c2VjcmV0", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn person() -> Identity {
    Identity::Person {
        user: user(),
        access_token: Some(token().into()),
    }
}

fn reading() -> Call {
    Call::repeatable("run_list").to("list runs")
}

fn writing() -> Call {
    Call::new("run_start_turn").to("ask")
}

fn sentence(outcome: Result<Value, StoreError>) -> String {
    let said = outcome.unwrap_err().to_string();
    assert!(said.ends_with('.'), "{said}");
    said
}

/// A port of this test's own on which nothing listens: connections are refused.
fn closed() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[tokio::test]
async fn a_call_is_one_request_with_the_persons_own_token() {
    let gateway = Gateway::acting([answer(200, r#"{"ok":[1]}"#)]).await;
    let call = writing()
        .arg("p_id", Uuid::from_u128(1))
        .arg("p_text", "said \"so\"")
        .arg("p_none", None::<i32>)
        .arg("p_seq", 5_000_000_000_i64)
        .arg("p_yes", true)
        .arg("p_hash", [0xab; 32])
        .arg("p_at", Timestamp::from_millis(0))
        .arg("p_more", json!({"a": [null]}))
        .arg("p_ids", vec![Uuid::from_u128(2)])
        .arg("p_words", vec!["x".to_owned()]);
    assert_eq!(Scene::at(gateway.address).call(&call).await.unwrap(), json!({"ok": [1]}));
    let [request] = &gateway.seen()[..] else {
        panic!("{:?}", gateway.seen())
    };
    assert_eq!(request.line, "POST /project/rest/v1/rpc/run_start_turn HTTP/1.1");
    let expected = [
        ("accept", "application/json".to_owned()),
        ("apikey", KEY.to_owned()),
        ("authorization", format!("Bearer {}", token())),
        ("content-length", request.headers["content-length"].clone()),
        ("content-profile", "public".to_owned()),
        ("content-type", "application/json".to_owned()),
        ("host", gateway.address.to_string()),
        ("x-client-info", concat!("duet/", env!("CARGO_PKG_VERSION")).to_owned()),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(request.headers.clone().into_iter().collect::<Vec<_>>(), expected);
    let expected = json!({
        "p_id": Uuid::from_u128(1), "p_text": "said \"so\"", "p_none": null, "p_seq": 5_000_000_000_i64, "p_yes": true,
        "p_hash": format!("\\x{}", "ab".repeat(32)), "p_at": "1970-01-01T00:00:00.000Z", "p_more": {"a": [null]},
        "p_ids": [Uuid::from_u128(2)], "p_words": ["x"],
    });
    assert_eq!(request.body, expected);
}

#[tokio::test]
async fn nobody_but_a_person_with_their_own_token_is_let_through() {
    let gateway = Gateway::acting([answer(200, r#"{"ok":1}"#)]).await;
    let scene = Scene::at(gateway.address);
    let agent = AgentIdentity {
        user: user(),
        workspace: WorkspaceId::from_uuid(Uuid::from_u128(1)),
        agent: AgentId::from_uuid(Uuid::from_u128(2)),
        run: RunId::from_uuid(Uuid::from_u128(3)),
        capabilities: Vec::new(),
        memory_scopes: MemoryScopes::all(),
        locality: duet_core::domain::Locality::Local,
    };
    let claims = |claims: Value| format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()));
    let with = |token: Option<String>| Identity::Person {
        user: user(),
        access_token: token.map(Into::into),
    };
    for identity in [
        Identity::Driver,
        Identity::Agent(Box::new(agent)),
        with(None),
        with(Some(String::new())),
        with(Some(KEY.into())),
        with(Some("sb_secret_abc".into())),
        with(Some(claims(json!({"role": "service_role", "sub": user()})))),
        with(Some(claims(json!({"role": "authenticated", "sub": Uuid::from_u128(8)})))),
        with(Some(format!("{}\r\nx: y", token()))),
    ] {
        let refused = scene.rpc.call(&identity, &reading()).await;
        assert!(matches!(&refused, Err(StoreError::Denied(..))), "{refused:?}");
        assert!(sentence(refused).starts_with("Not allowed to list runs: "));
    }
    assert!(gateway.seen().is_empty());
}

#[tokio::test]
async fn a_project_that_is_down_is_asked_again_with_longer_and_longer_pauses() {
    let (_closed, address) = closed();
    for call in [reading(), writing()] {
        let scene = Scene::at(address);
        let said = sentence(scene.call(&call).await);
        assert!(said.contains("cannot be reached. Nothing was written."), "{said}");
        assert_eq!(scene.waited(), [100, 400, 1600].map(Duration::from_millis));
    }
}

#[tokio::test]
async fn a_project_that_restarts_is_waited_for_also_by_what_must_not_be_repeated() {
    let (closed, address) = closed();
    let closed = Mutex::new(Some(closed));
    let started = Arc::new(Mutex::new(None));
    let starting = started.clone();
    let scene = Scene::with(address, move |tried| {
        if tried == 2 {
            let listener = closed.lock().unwrap().take().unwrap().listen(8).unwrap();
            *starting.lock().unwrap() = Some(Gateway::on(listener, [answer(200, r#"{"ok":1}"#)]));
        }
    });
    assert_eq!(scene.call(&writing()).await.unwrap(), json!({"ok": 1}));
    assert_eq!(scene.waited().len(), 2);
    assert_eq!(started.lock().unwrap().as_ref().unwrap().seen().len(), 1);
}

#[tokio::test]
async fn nothing_is_done_twice() {
    // Calls that may have had an effect are retried only if repeatable; calls that certainly had none always.
    let fine = || answer(200, r#"{"ok":1}"#);
    for (act, again) in [
        (Act::Cut, false),
        (Act::CutAnswer, false),
        (answer(502, "<html>"), false),
        (answer(503, ""), false),
        (answer(429, ""), false),
        (answer(503, r#"{"code":"PGRST001"}"#), false),
        (answer(503, r#"{"code":"57P01"}"#), false),
        (answer(503, r#"{"code":"PGRST002"}"#), true),
        (answer(504, r#"{"code":"PGRST003"}"#), true),
        (answer(500, r#"{"code":"40001"}"#), true),
        (answer(500, r#"{"code":"40P01"}"#), true),
    ] {
        let gateway = Gateway::acting([act.clone(), fine()]).await;
        let outcome = Scene::at(gateway.address).call(&writing()).await;
        assert_eq!(outcome.is_ok(), again, "{act:?}: {outcome:?}");
        assert_eq!(gateway.seen().len(), if again { 2 } else { 1 }, "{act:?}");

        let gateway = Gateway::acting([act.clone(), fine()]).await;
        assert!(Scene::at(gateway.address).call(&reading()).await.is_ok(), "{act:?}");
        assert_eq!(gateway.seen().len(), 2, "{act:?}");
    }
    let gateway = Gateway::acting([answer(503, "")]).await;
    let said = sentence(Scene::at(gateway.address).call(&reading()).await);
    assert!(said.contains("Try again shortly"), "{said}");
    assert_eq!(gateway.seen().len(), 4, "an end is found");
}

#[tokio::test]
async fn a_wait_that_is_asked_for_is_kept_when_it_is_short() {
    let wait = |seconds: &str| vec![("retry-after", seconds.to_owned())];
    let gateway = Gateway::acting([Act::Answer(503, wait("2"), String::new()), answer(200, r#"{"ok":1}"#)]).await;
    let scene = Scene::at(gateway.address);
    assert_eq!(scene.call(&reading()).await.unwrap(), json!({"ok": 1}));
    assert_eq!(scene.waited(), [Duration::from_secs(2)]);

    let gateway = Gateway::acting([Act::Answer(429, wait("40"), String::new())]).await;
    let scene = Scene::at(gateway.address);
    let said = sentence(scene.call(&reading()).await);
    assert!(said.contains("Try again in 40 seconds"), "{said}");
    assert_eq!((gateway.seen().len(), scene.waited().len()), (1, 0));
}

#[tokio::test]
async fn a_slow_project_is_given_up_and_not_asked_again() {
    for act in [Act::Silence, Act::Drip] {
        for call in [reading(), writing()] {
            let gateway = Gateway::acting([act.clone()]).await;
            // Neither ever ends on its own.
            let scene = Scene::within(Duration::from_millis(700), gateway.address, |_| {});
            let said = sentence(scene.call(&call).await);
            assert!(said.contains("took too long"), "{said}");
            assert_eq!(said.contains("unknown"), !call.repeatable, "{said}");
            assert_eq!(gateway.seen().len(), 1);
        }
    }
}

#[tokio::test]
async fn what_is_no_answer_of_a_function_is_refused() {
    for (act, word) in [
        (answer(200, "{\"ok\":"), "duet-api migrate"),
        (answer(200, "<html>"), "duet-api migrate"),
        (answer(204, ""), "duet-api migrate"),
        (Act::Announced(40 << 20), "larger than any"),
        (Act::Chunks(40 << 20), "larger than any"),
        (answer(401, r#"{"message":"Invalid API key"}"#), "refuses its publishable key"),
        (answer(401, r#"{"code":"PGRST303","message":"JWT expired"}"#), "sign in again"),
        (
            answer(401, r#"{"code":"PGRST301","message":"No suitable key"}"#),
            "sign in again",
        ),
        (
            answer(404, r#"{"code":"PGRST202","message":"Could not find"}"#),
            "duet-api migrate",
        ),
        (
            answer(406, r#"{"code":"PGRST106","message":"Invalid schema"}"#),
            "exposed schemas",
        ),
        (
            answer(404, r#"{"message":"no Route matched with those values"}"#),
            "no Data API",
        ),
        (
            Act::Answer(301, vec![("location", "https://elsewhere.example/".into())], String::new()),
            "no Data API",
        ),
        (
            answer(403, r#"{"code":"42501","message":"permission denied"}"#),
            "the database does not allow it",
        ),
        (
            answer(500, r#"{"code":"57014","message":"canceling statement"}"#),
            "took too long",
        ),
        (answer(413, ""), "Send less"),
        (answer(540, ""), "paused"),
    ] {
        let gateway = Gateway::acting([act.clone()]).await;
        let said = sentence(Scene::at(gateway.address).call(&reading()).await);
        assert!(said.contains(word), "{act:?}: {said}");
        assert_eq!(gateway.seen().len(), 1, "{act:?}");
    }
}

/// Collects all traces, at every level.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn neither_key_nor_token_nor_what_people_say_is_printed() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let refusal = r#"{"code":"23514","message":"row (gooseberry) violates","details":"gooseberry"}"#;
    let gateway = Gateway::acting([
        answer(503, "gooseberry"),
        answer(400, refusal),
        answer(200, r#"{"ok":"gooseberry"}"#),
    ])
    .await;
    let scene = Scene::at(gateway.address);
    let call = reading().arg("p_text", "quince jelly");
    let mut said = sentence(scene.call(&call).await);
    scene.call(&call).await.unwrap();
    let (_closed, address) = closed();
    let down = Scene::at(address);
    said += &sentence(down.call(&call).await);
    said += &format!("{:?} {:?} {:?}", scene.rpc, settings(gateway.address, PATIENT), person());
    let traced = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(
        traced.contains("a call of the Data API failed") && traced.contains("23514"),
        "{traced}"
    );
    assert!(
        traced.contains("hyper_util"),
        "the HTTP client's own traces are looked at as well"
    );
    let token = token();
    for secret in [
        KEY,
        "R0TtenApple",
        &token,
        token.split('.').nth(1).unwrap(),
        "c2VjcmV0",
        "quince",
        "gooseberry",
    ] {
        assert!(!traced.contains(secret), "`{secret}` in {traced}");
        assert!(!said.contains(secret), "`{secret}` in {said}");
    }
}
