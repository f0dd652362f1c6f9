//! A stand-in for Lambda around the emulator of `cargo-lambda`, which really serves the runtime interface and function URLs. It adds
//! what the emulator lacks: deadlines, the service for asynchronous invocations, and restarted instances.

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener as StdListener},
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Body,
    extract::{Path as Route, Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{any, post},
};
use duet_api::testing::Browser;
use duet_supabase::testing::tool;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    task::JoinHandle,
};

/// The origin of the browsers' page.
const ORIGIN: &str = "http://duet.test";

/// What happens to asynchronous invocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They are delivered.
    Delivered,
    /// They are accepted and lost.
    Lost,
    /// The service answers with an error.
    Refused,
}

struct Shared {
    emulator: String,
    http: reqwest::Client,
    timeouts: Mutex<HashMap<String, Duration>>,
    fate: Mutex<Fate>,
    invoked: Mutex<Vec<Value>>,
    /// Functions that have reported an error, one entry per error.
    failures: Mutex<Vec<String>>,
    /// The smallest time left before a deadline among all answers, in milliseconds.
    tightest: AtomicU64,
    /// The event in progress of each instance: its id and its deadline.
    under_way: Mutex<HashMap<String, (String, u64)>>,
    over: AtomicBool,
}

/// The platform with one installation.
pub struct Platform {
    shared: Arc<Shared>,
    /// The address of the runtime interface and of the invocation service.
    address: SocketAddr,
    env: Vec<(String, String)>,
    instances: Vec<Instance>,
    emulator: std::process::Child,
    server: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

/// One process of a function, started again when it ends.
struct Instance {
    function: String,
    /// Identifies the instance.
    number: String,
    /// The running process, to be killed.
    process: Arc<Mutex<Option<Child>>>,
    keeper: JoinHandle<()>,
}

#[expect(clippy::disallowed_methods, reason = "deadlines are told in real time")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

impl Platform {
    /// On a migrated database, given by the server's URL; nothing runs yet.
    pub async fn start(database: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The emulator has to run in a package, and knows only functions that are programs of it.
        let mut manifest = String::from("[package]\nname = \"stand-in\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n");
        for function in ["api", "stream", "worker", "broken", "lame"] {
            manifest.push_str(&format!("[[bin]]\nname = \"{function}\"\npath = \"none.rs\"\n"));
        }
        std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        std::fs::write(folder.path().join("none.rs"), "").unwrap();
        let (emulator, port) = emulator(folder.path()).await;
        let shared = Arc::new(Shared {
            emulator: format!("http://127.0.0.1:{port}"),
            http: duet_api::http::client().unwrap(),
            timeouts: Mutex::default(),
            fate: Mutex::new(Fate::Delivered),
            invoked: Mutex::default(),
            failures: Mutex::default(),
            tightest: AtomicU64::new(u64::MAX),
            under_way: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let router = Router::new()
            .route("/rt/{function}/{instance}/{*rest}", any(runtime))
            .route("/2015-03-31/functions/{function}/invocations", post(invoke))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let env = [
            ("DUET_DATABASE_URL", database.to_owned()),
            ("DUET_DATABASE__CONNECTIONS", "4".into()),
            ("DUET_PUBLIC_URL", ORIGIN.into()),
            ("DUET_WORKER_FUNCTION", "worker".into()),
            ("DUET_WORKER__LEASE_SECONDS", "10".into()),
            ("DUET_WORKER__MAX_ATTEMPTS", "100".into()),
            ("DUET_MODELS__OFFLINE__PAUSE_MS", "15".into()),
            ("DUET_LOG", "warn".into()),
            ("AWS_REGION", "eu-central-1".into()),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".into()),
            ("AWS_SECRET_ACCESS_KEY", "no secret".into()),
            ("AWS_SESSION_TOKEN", "no token".into()),
            ("AWS_ENDPOINT_URL_LAMBDA", format!("http://{address}")),
        ];
        Self {
            shared,
            address,
            env: env.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            instances: Vec::new(),
            emulator,
            server,
            _folder: folder,
        }
    }

    /// Sets a variable in the environment of every function started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Sets the time limit for an invocation of a function.
    pub fn time_out(&self, function: &str, after: Duration) {
        self.shared.timeouts.lock().unwrap().insert(function.to_owned(), after);
    }

    /// Decides what happens to asynchronous invocations from now on.
    pub fn let_invocations_be(&self, fate: Fate) {
        *self.shared.fate.lock().unwrap() = fate;
    }

    /// The payloads of the asynchronous invocations so far.
    pub fn invoked(&self) -> Vec<Value> {
        self.shared.invoked.lock().unwrap().clone()
    }

    /// The functions that have reported an error, as they do for a panic.
    pub fn failures(&self) -> Vec<String> {
        self.shared.failures.lock().unwrap().clone()
    }

    /// The smallest time left before a deadline among all answers.
    pub fn tightest(&self) -> Duration {
        Duration::from_millis(self.shared.tightest.load(Ordering::SeqCst))
    }

    /// Starts instances of the function with its program's name.
    pub fn run(&mut self, function: &str, instances: usize) {
        self.run_as(function, function, instances);
    }

    /// Starts instances of a program under another function's name.
    pub fn run_as(&mut self, program: &str, function: &str, instances: usize) {
        let program = match program {
            "api" => env!("CARGO_BIN_EXE_api"),
            "stream" => env!("CARGO_BIN_EXE_stream"),
            "worker" => env!("CARGO_BIN_EXE_worker"),
            other => panic!("there is no function {other}"),
        };
        for _ in 0..instances {
            let number = self.instances.len().to_string();
            let mut command = Command::new(program);
            command
                .env_clear()
                .envs(self.env.iter().cloned())
                .env(
                    "AWS_LAMBDA_RUNTIME_API",
                    format!("http://{}/rt/{function}/{number}", self.address),
                )
                .env("AWS_LAMBDA_FUNCTION_NAME", function)
                .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
                .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .kill_on_drop(true);
            let process: Arc<Mutex<Option<Child>>> = Arc::default();
            let (slot, shared) = (Arc::clone(&process), Arc::clone(&self.shared));
            let keeper = tokio::spawn(async move {
                while !shared.over.load(Ordering::SeqCst) {
                    *slot.lock().unwrap() = Some(command.spawn().unwrap());
                    while slot
                        .lock()
                        .unwrap()
                        .as_mut()
                        .is_some_and(|child| child.try_wait().unwrap().is_none())
                    {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            });
            self.instances.push(Instance {
                function: function.to_owned(),
                number,
                process,
                keeper,
            });
        }
    }

    /// Cuts all instances of a function off without notice, as the platform does. New ones start.
    pub fn cut(&self, function: &str) {
        for instance in self.instances.iter().filter(|instance| instance.function == function) {
            if let Some(child) = instance.process.lock().unwrap().as_mut() {
                // It may have just ended.
                let _ = child.start_kill();
            }
            // For a dead process, the platform reports that its event failed.
            if let Some((id, _)) = self.shared.under_way.lock().unwrap().remove(&instance.number) {
                let url = format!(
                    "{}/.rt/{function}/2018-06-01/runtime/invocation/{id}/error",
                    self.shared.emulator
                );
                let said = serde_json::json!({"errorType": "Runtime.ExitError", "errorMessage": "killed", "stackTrace": []});
                let request = self.shared.http.post(url).body(said.to_string());
                tokio::spawn(async move {
                    // An answer that has begun cannot be withdrawn: then this is refused.
                    let _ = request.send().await;
                });
            }
        }
    }

    /// Delivers what the schedule sends.
    pub fn schedule(&self) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            shared
                .deliver("worker", serde_json::json!({"task": "sweep"}).to_string())
                .await
        });
    }

    /// Invokes a function and waits for its answer.
    pub async fn call(&self, function: &str, event: &Value) -> (StatusCode, String) {
        let response = self.shared.post(function, event.to_string()).await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    /// The address of a function.
    pub fn url(&self, function: &str) -> String {
        format!("{}/lambda-url/{function}", self.shared.emulator)
    }

    /// A browser without a sign-in, at the function `api`.
    pub fn browser(&self) -> Browser {
        Browser::new(&self.url("api")).from_origin(ORIGIN)
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        for instance in &self.instances {
            instance.keeper.abort();
            // Dropping a process kills it.
            *instance.process.lock().unwrap() = None;
        }
        self.server.abort();
        let _ = self.emulator.kill();
        let _ = self.emulator.wait();
    }
}

/// The emulator on a free port, once it answers.
async fn emulator(folder: &Path) -> (std::process::Child, u16) {
    let port = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut child = std::process::Command::new(tool("cargo-lambda"))
        .args([
            "lambda",
            "watch",
            "--only-lambda-apis",
            "--invoke-address",
            "127.0.0.1",
            "--timeout",
            "120",
        ])
        .args(["--invoke-port", &port.to_string()])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..500 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return (child, port);
        }
        assert!(child.try_wait().unwrap().is_none(), "the emulator ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the emulator does not listen");
}

/// The emulator's runtime interface, with the deadline that the platform would send.
async fn runtime(
    State(shared): State<Arc<Shared>>,
    Route((function, instance, rest)): Route<(String, String, String)>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let url = format!("{}/.rt/{function}/{rest}", shared.emulator);
    let answering = rest.ends_with("/response") || rest.ends_with("/error");
    if rest.ends_with("/error") {
        shared.failures.lock().unwrap().push(function.clone());
    }
    // A stream begins its answer early; what counts is the end of its body, which the test checks itself.
    if answering && !parts.headers.contains_key("lambda-runtime-function-response-mode") {
        let under_way = shared.under_way.lock().unwrap().get(&instance).cloned();
        if let Some((_, deadline)) = under_way {
            shared.tightest.fetch_min(deadline.saturating_sub(now()), Ordering::SeqCst);
        }
    }
    let body = reqwest::Body::wrap_stream(body.into_data_stream());
    let mut forwarded = shared.http.request(parts.method, url).body(body);
    let of_connection = ["host", "content-length", "transfer-encoding"];
    for (name, value) in parts
        .headers
        .iter()
        .filter(|(name, _)| !of_connection.contains(&name.as_str()))
    {
        forwarded = forwarded.header(name, value);
    }
    let Ok(answer) = forwarded.send().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    if answering {
        shared.under_way.lock().unwrap().remove(&instance);
    }
    let status = answer.status();
    let mut headers: HeaderMap = answer.headers().clone();
    headers.remove("transfer-encoding");
    if let (true, Some(id)) = (rest.ends_with("/next"), headers.get("lambda-runtime-aws-request-id")) {
        let id = id.to_str().unwrap().to_owned();
        let after = shared.timeouts.lock().unwrap().get(&function).copied();
        let deadline = now() + after.unwrap_or(Duration::from_secs(60)).as_millis() as u64;
        shared.under_way.lock().unwrap().insert(instance, (id, deadline));
        headers.insert("lambda-runtime-deadline-ms", deadline.into());
    }
    (status, headers, Body::from_stream(answer.bytes_stream())).into_response()
}

/// The service for asynchronous invocations: checks the request, answers at once, and delivers afterwards.
async fn invoke(State(shared): State<Arc<Shared>>, Route(function): Route<String>, headers: HeaderMap, body: String) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!(header("x-amz-invocation-type"), "Event");
    assert!(
        header("authorization").starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"),
        "{headers:?}"
    );
    assert_eq!(header("x-amz-security-token"), "no token");
    shared.invoked.lock().unwrap().push(serde_json::from_str(&body).unwrap());
    let fate = *shared.fate.lock().unwrap();
    match fate {
        Fate::Refused => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Fate::Lost => {}
        Fate::Delivered => {
            tokio::spawn(async move { shared.deliver(&function, body).await });
        }
    }
    StatusCode::ACCEPTED.into_response()
}

impl Shared {
    /// Delivers an event. A failing event is redelivered twice, and then dropped silently.
    async fn deliver(&self, function: &str, body: String) {
        for _ in 0..3 {
            match self.post(function, body.clone()).await {
                Ok(response) if response.status().is_success() => return,
                _ if self.over.load(Ordering::SeqCst) => return,
                _ => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    }

    async fn post(&self, function: &str, body: String) -> reqwest::Result<reqwest::Response> {
        let url = format!("{}/2015-03-31/functions/{function}/invocations", self.emulator);
        self.http.post(url).body(body).timeout(Duration::from_secs(60)).send().await
    }
}
