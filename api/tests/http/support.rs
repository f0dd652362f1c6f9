//! A server in this process: the real router, store and driver, a model that does as it is told.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use duet_api::{
    auth::setup,
    config::Config,
    router::router,
    state::{AppParts, AppState, Mode},
    testing::env,
};
use duet_core::{
    domain::{Locality, ModelRef, Price, StopReason, Usage},
    ids::{Id, UserId},
    ports::{ChatModel, ChatRequest, ModelDirectory, ModelError, ModelEvent, ModelStream},
    run::Advice,
    tools::ToolRegistry,
};
use duet_sqlite::{LocalStore, OpenOptions, key::FileKey};
use futures::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Notify, oneshot};
use tower::ServiceExt;
use zeroize::Zeroizing;

pub const EMAIL: &str = "ada@example.org";
const FILE_KEY: [u8; 32] = [7; 32];
pub const PASSWORD: &str = "correct horse battery";

/// Ends what hangs, however slow the machine is.
pub const HANG: Duration = Duration::from_secs(180);

/// What the model does next.
pub enum Line {
    /// Says this.
    Say(&'static str),
    /// Waits until the test lets it go on.
    Hold(Arc<Notify>),
    /// Asks for a tool.
    Call(&'static str, Value),
}

/// A model that follows a script, a list of lines for each call; without one it answers "Understood."
#[derive(Clone, Default)]
pub struct Scripted {
    calls: Arc<Mutex<VecDeque<Vec<Line>>>>,
}

impl Scripted {
    pub fn next(&self, lines: Vec<Line>) {
        self.calls.lock().unwrap().push_back(lines);
    }
}

impl ModelDirectory for Scripted {
    fn default_model(&self) -> ModelRef {
        "scripted/one".parse().unwrap()
    }
    fn model(&self, model: &ModelRef) -> Result<Arc<dyn ChatModel>, ModelError> {
        match model.provider() {
            "scripted" => Ok(Arc::new(self.clone())),
            _ => Err(ModelError::new(
                duet_core::domain::ModelFailure::UnknownModel,
                format!("There is no provider for `{model}`. Add it under `[models.providers]`."),
            )),
        }
    }
}

#[async_trait]
impl ChatModel for Scripted {
    async fn stream(&self, _: ChatRequest) -> Result<ModelStream, ModelError> {
        let lines = self
            .calls
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or_else(|| vec![Line::Say("Understood.")]);
        let calls = lines.iter().any(|line| matches!(line, Line::Call(..)));
        let spoken = futures::stream::iter(lines.into_iter().enumerate()).filter_map(|(index, line)| async move {
            match line {
                Line::Say(text) => Some(Ok(ModelEvent::Text(text.into()))),
                Line::Hold(until) => {
                    until.notified().await;
                    None
                }
                Line::Call(name, arguments) => Some(Ok(ModelEvent::ToolCall(duet_core::domain::ToolCall {
                    id: format!("call-{index}"),
                    name: name.into(),
                    arguments,
                }))),
            }
        });
        let usage = Usage {
            input_tokens: 100,
            output_tokens: 10,
            ..Usage::default()
        };
        let stop = if calls { StopReason::ToolUse } else { StopReason::End };
        let end = futures::stream::iter([Ok(ModelEvent::Usage(usage)), Ok(ModelEvent::Stop(stop))]);
        Ok(spoken.chain(end).boxed())
    }
    fn locality(&self) -> Locality {
        Locality::Local
    }
    fn price(&self) -> Option<Price> {
        Some(Price::default())
    }
}

/// A response, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{} {}", self.status, self.text))
    }
    /// The answer's body, if its status is this one.
    #[track_caller]
    pub fn ok(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }
    /// Checks that it is this problem, whole and well-formed; returns its detail.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["code"], code);
        assert_eq!(problem["type"], format!("https://duet.invalid/problems/{code}"));
        assert!(problem["instance"].as_str().unwrap().starts_with("urn:uuid:"), "{problem}");
        let retry = [429, 503].contains(&status);
        assert_eq!(
            self.headers.contains_key(header::RETRY_AFTER),
            retry,
            "Retry-After belongs to 429 and 503"
        );
        problem["detail"].as_str().unwrap().to_owned()
    }
    pub fn cookie(&self) -> Option<String> {
        let line = self.headers.get(header::SET_COOKIE)?.to_str().ok()?;
        Some(line.split(';').next()?.to_owned())
    }
}

/// The server, and what a test needs of it.
pub struct Server {
    pub state: AppState,
    pub model: Scripted,
    pub router: Router,
    pub folder: TempDir,
    /// Where it listens.
    pub address: SocketAddr,
    setup_token: String,
    stop: Option<oneshot::Sender<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let env = env();
        let store = LocalStore::open(OpenOptions {
            path: folder.path().join("duet.db"),
            key: FileKey::new(FILE_KEY),
            env: env.clone(),
            vector_cache_bytes: 16 << 20,
        })
        .unwrap();
        let model = Scripted::default();
        let state = AppState::new(AppParts {
            mode: Mode::Local,
            config,
            env: env.clone(),
            stores: store.stores(),
            models: Arc::new(model.clone()),
            embedder: None,
            tools: Arc::new(ToolRegistry::companion()),
            advice: Advice::Logged,
            signing_key: Zeroizing::new([5; 32]),
        });
        let (setup_token, hash) = setup::new_token(&env);
        state.stores().accounts.put_setup_token(hash).await.unwrap();
        let router = router(state.clone(), None);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (served, hosted) = (router.clone(), state.clone());
        tokio::spawn(async move {
            duet_api::serve(listener, served, hosted, async {
                let _ = stopped.await;
            })
            .await;
        });
        Self {
            state,
            model,
            router,
            folder,
            address,
            setup_token,
            stop: Some(stop),
        }
    }

    /// Asks the server to stop.
    pub fn stop(&mut self) {
        drop(self.stop.take());
    }

    pub fn setup_body(&self) -> Value {
        json!({
            "token": self.setup_token,
            "email": EMAIL,
            "password": PASSWORD,
            "display_name": "Ada",
            "workspace_name": "Home",
            "companion_name": "Juno",
        })
    }

    /// A request from this machine.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        self.send_from([127, 0, 0, 1], request).await
    }

    /// A request from there.
    pub async fn send_from(&self, ip: impl Into<IpAddr>, mut request: Request<Body>) -> Answer {
        request
            .extensions_mut()
            .insert(ConnectInfo(SocketAddr::new(ip.into(), 50_000)));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = tokio::time::timeout(HANG, to_bytes(body, 16 << 20))
            .await
            .expect("the body ends")
            .unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    /// Becomes the owner, and stays signed in by cookie.
    pub async fn owner(&self) -> Person<'_> {
        let answer = self.send(json_request(Method::POST, "/v1/setup", &self.setup_body())).await;
        let cookie = answer.cookie().expect("setup signs in");
        let session = answer.ok(201);
        Person {
            server: self,
            proof: Proof::Cookie(cookie),
            user: session["user"]["id"].as_str().unwrap().to_owned(),
            workspace: session["workspaces"][0]["workspace"]["id"].as_str().unwrap().to_owned(),
        }
    }

    /// Someone else with an account and a sign-in, in a workspace of their own.
    pub async fn stranger(&self, email: &str) -> Person<'_> {
        let phc = duet_api::auth::password::hash(self.state.env(), PASSWORD.into())
            .await
            .unwrap();
        let user: UserId = self.state.env().id();
        self.add_account(user, email, &phc);
        let workspace = self
            .state
            .stores()
            .workspaces
            .create(user, self.state.env().id(), "Elsewhere", "Nemo")
            .await
            .unwrap();
        let answer = self
            .send(json_request(
                Method::POST,
                "/v1/auth/sign-in",
                &json!({"email": email, "password": PASSWORD}),
            ))
            .await;
        Person {
            server: self,
            proof: Proof::Cookie(answer.cookie().expect("sign-in sets the cookie")),
            user: user.to_string(),
            workspace: workspace.id.to_string(),
        }
    }

    /// The cookie of someone else's sign-in.
    pub async fn stranger_cookie(&self, email: &str) -> String {
        let phc = duet_api::auth::password::hash(self.state.env(), PASSWORD.into())
            .await
            .unwrap();
        self.add_account(self.state.env().id(), email, &phc);
        let body = json!({"email": email, "password": PASSWORD});
        let answer = self.send(json_request(Method::POST, "/v1/auth/sign-in", &body)).await;
        answer.cookie().expect("sign-in sets the cookie")
    }

    /// The data file, past the server: for what nobody here can bring about by asking.
    pub fn file(&self) -> rusqlite::Connection {
        let file = rusqlite::Connection::open(self.folder.path().join("duet.db")).unwrap();
        file.pragma_update(None, "key", format!("x'{}'", hex::encode(FILE_KEY)))
            .unwrap();
        file.execute_batch(duet_sqlite::CIPHER_SETTINGS).unwrap();
        file.execute_batch("PRAGMA busy_timeout = 60000").unwrap();
        file
    }

    /// Lets the time of a sign-in or key run out.
    pub fn expire(&self, table: &str, id: &str) {
        let id: UserId = id.parse().unwrap();
        let sql = format!("UPDATE {table} SET expires_at = 1 WHERE id = ?1");
        assert_eq!(self.file().execute(&sql, [*id.uuid().as_bytes()]).unwrap(), 1);
    }

    /// Writes an account into the file: somebody whom nobody here has invited.
    fn add_account(&self, user: UserId, email: &str, phc: &str) {
        let file = self.file();
        let id = *user.uuid().as_bytes();
        file.execute(
            "INSERT INTO user (id, email, display_name, created_at) VALUES (?1, ?2, 'Somebody', 0)",
            (id, email),
        )
        .unwrap();
        file.execute("INSERT INTO credential (user_id, password_hash) VALUES (?1, ?2)", (id, phc))
            .unwrap();
    }
}

pub fn request(method: Method, path: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "127.0.0.1:4470")
        .body(Body::empty())
        .unwrap()
}

pub fn json_request(method: Method, path: &str, body: &Value) -> Request<Body> {
    let mut request = request(method, path);
    request
        .headers_mut()
        .insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    *request.body_mut() = Body::from(body.to_string());
    request
}

#[derive(Clone)]
pub enum Proof {
    Cookie(String),
    Bearer(String),
}

/// Someone with a sign-in or a key.
#[derive(Clone)]
pub struct Person<'a> {
    pub server: &'a Server,
    pub proof: Proof,
    pub user: String,
    pub workspace: String,
}

impl<'a> Person<'a> {
    /// The same person by a bearer token.
    pub fn bearing(&self, token: &str) -> Self {
        Self {
            proof: Proof::Bearer(token.to_owned()),
            ..self.clone()
        }
    }

    /// Adds the credentials, and for a cookie what a page of this server sends along.
    pub fn prove(&self, request: &mut Request<Body>) {
        let headers = request.headers_mut();
        match &self.proof {
            Proof::Cookie(cookie) => {
                headers.insert(header::COOKIE, cookie.parse().unwrap());
                headers.insert("x-duet-csrf", "1".parse().unwrap());
                headers.insert(header::ORIGIN, "http://127.0.0.1:4470".parse().unwrap());
            }
            Proof::Bearer(token) => {
                headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
            }
        }
    }

    /// `path` below the workspace when it does not begin with `/`.
    pub fn path(&self, path: &str) -> String {
        match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("/v1/workspaces/{}/{path}", self.workspace)
                .trim_end_matches('/')
                .to_owned(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        let mut request = request(Method::GET, &self.path(path));
        self.prove(&mut request);
        self.server.send(request).await
    }

    pub async fn send(&self, method: Method, path: &str, body: Value) -> Answer {
        let mut request = json_request(method, &self.path(path), &body);
        self.prove(&mut request);
        self.server.send(request).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, body).await
    }

    /// Lets somebody with an account into the workspace, by an invitation.
    pub async fn lets_in(&self, guest: &Person<'_>) {
        let session = guest.get("/v1/auth/session").await.ok(200);
        let invitation = self
            .post("invitations", json!({"email": session["user"]["email"]}))
            .await
            .ok(201);
        guest
            .post("/v1/invitations/accept", json!({"token": invitation["token"]}))
            .await
            .ok(200);
    }

    /// A new conversation's id.
    pub async fn conversation(&self) -> String {
        let made = self.post("conversations", json!({})).await.ok(201);
        made["id"].as_str().unwrap().to_owned()
    }

    /// Says something; the receipt.
    pub async fn say(&self, conversation: &str, text: &str) -> Value {
        self.post(&format!("conversations/{conversation}/messages"), json!({"text": text}))
            .await
            .ok(202)
    }

    /// The whole event stream of a run, as text; returns when the run has ended.
    pub async fn stream(&self, run: &str, after: u64) -> String {
        let answer = self.get(&format!("runs/{run}/events?after={after}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.headers[header::CONTENT_TYPE], "text/event-stream");
        answer.text
    }
}

/// The AG-UI objects of a stream's text.
pub fn objects(stream: &str) -> Vec<Value> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|line| serde_json::from_str(line).unwrap()).collect()
}
