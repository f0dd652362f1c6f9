//! A Supabase project to test against: a real one if the environment names it, else a stand-in over a test's database.
//!
//! The stand-in is `@supabase/lite`, Supabase's own alpha implementation of Auth and the Data API (`supabase/testbed/README.md` says
//! how it differs from production). Tests that forge tokens, set the clock or start from an empty installation run only on the
//! stand-in, because nobody can do that to a real project.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use duet_core::{Env, ids::UserId};
use reqwest::{Client, Url};
use ring::hmac;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::rpc::{PostgrestRpc, PostgrestSettings};

/// Names a real project.
const URL: &str = "DUET_TEST_SUPABASE_URL";

/// Its publishable key.
const KEY: &str = "DUET_TEST_SUPABASE_PUBLISHABLE_KEY";

/// The output of the stand-in that `cargo xtask test` started for all tests; without it, each test process starts one.
const SERVED: &str = "DUET_TEST_SUPABASE_SERVED";

/// A project, and how to act as somebody in it.
#[derive(Clone)]
pub struct SupabaseProject {
    /// Its base URL.
    pub url: Url,
    /// Its publishable key.
    pub publishable_key: String,
    jwt_secret: Option<String>,
}

/// The stand-in's output once it listens.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Served {
    url: String,
    publishable_key: String,
    jwt_secret: String,
}

/// A stand-in of this process; it ends when its standard input closes, so with this process at the latest.
struct Server {
    served: Served,
    _node: Option<Child>,
}

impl SupabaseProject {
    /// The real project that the environment names, if any.
    ///
    /// # Panics
    /// If the URL is invalid, or its key is missing.
    pub fn named() -> Option<Self> {
        let url = env::var(URL).ok().filter(|url| !url.is_empty())?;
        let publishable_key =
            env::var(KEY).unwrap_or_else(|_| panic!("{URL} names a project; set {KEY} to its sb_publishable_… key."));
        Some(Self {
            url: url.parse().unwrap_or_else(|_| panic!("{URL} is no URL.")),
            publishable_key,
            jwt_secret: None,
        })
    }

    /// The stand-in over a database of the test server that was prepared for it.
    pub(super) async fn serving(server: &str, database: &str) -> Self {
        static SERVER: OnceCell<Server> = OnceCell::const_new();
        let served = &SERVER.get_or_init(async || Server::find(server)).await.served;
        let mut url: Url = served.url.parse().expect("the URL of the stand-in");
        url.set_path(database);
        Self {
            url,
            publishable_key: served.publishable_key.clone(),
            jwt_secret: Some(served.jwt_secret.clone()),
        }
    }

    /// The transport to it.
    ///
    /// # Panics
    /// If its URL or key is refused.
    pub fn rpc(&self, env: Env) -> PostgrestRpc {
        PostgrestRpc::new(self.settings(), env).expect("a project's settings")
    }

    /// The settings of its Data API.
    pub fn settings(&self) -> PostgrestSettings {
        PostgrestSettings {
            url: self.url.clone(),
            publishable_key: self.publishable_key.clone(),
            timeout: Duration::from_secs(30),
            client: client(),
        }
    }

    /// A token of a person, as if they had signed in; the sign-in has the person's own id.
    ///
    /// # Panics
    /// On a real project, which keeps its signing key to itself.
    pub fn token(&self, user: UserId) -> SecretString {
        self.forge(&json!({
            "sub": user, "session_id": user, "role": "authenticated", "aud": "authenticated", "exp": 4_102_444_800_u64
        }))
    }

    /// A token with any claims, signed like the project's own.
    ///
    /// # Panics
    /// On a real project.
    pub fn forge(&self, claims: &Value) -> SecretString {
        let secret = self.jwt_secret.as_ref().expect("a real project's tokens cannot be forged");
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({"alg": "HS256", "typ": "JWT"})), part(claims));
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)).into()
    }

    /// Signs a new person up through the Auth API and returns their id and access token.
    ///
    /// # Panics
    /// If the project does not let them in at once.
    pub async fn sign_up(&self, email: &str) -> (UserId, SecretString) {
        #[derive(Deserialize)]
        struct Session {
            access_token: String,
            user: User,
        }
        #[derive(Deserialize)]
        struct User {
            id: UserId,
        }
        let answer = client()
            .post(format!("{}/auth/v1/signup", self.url.as_str().trim_end_matches('/')))
            .header("apikey", &self.publishable_key)
            .json(&json!({"email": email, "password": "correct horse battery staple"}))
            .send()
            .await
            .expect("the project's Auth answers");
        let status = answer.status();
        let session: Session = answer.json().await.unwrap_or_else(|_| {
            panic!("A sign-up ended with {status} and no session. Tests need a project that confirms no addresses and has no sign-up hook.")
        });
        (session.user.id, session.access_token.into())
    }
}

impl Server {
    fn find(postgres: &str) -> Self {
        if let Ok(line) = env::var(SERVED) {
            let served = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{SERVED} is not what serve.mjs prints."));
            return Self { served, _node: None };
        }
        let mut node = serve(&["--postgres", postgres, "--each"]);
        node.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut node = node.spawn().expect("Node starts; install it");
        let mut line = String::new();
        let stdout = node.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("what it prints");
        Self {
            served: serde_json::from_str(&line).expect("serve.mjs prints where it listens"),
            _node: Some(node),
        }
    }
}

/// Prepares a database for being copied and served.
pub(super) fn prepare(database: &str) {
    let shim = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/postgres/shim.sql");
    let status = serve(&["--postgres", database, "--prepare", "--after"])
        .arg(shim)
        .stdin(Stdio::null())
        .status()
        .expect("Node starts; install it");
    assert!(
        status.success(),
        "serve.mjs did not make the database ready; the lines above say why"
    );
}

fn serve(arguments: &[&str]) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testbed");
    assert!(
        folder.join("node_modules/@supabase/lite").is_dir(),
        "the packages of supabase/testbed are not installed: run `cargo xtask test --only rust`, or `npm ci` there"
    );
    let mut node = Command::new("node");
    node.arg(folder.join("serve.mjs")).args(arguments);
    node
}

/// The single client of a test process.
fn client() -> Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    let client = CLIENT.get_or_init(|| {
        // A second call fails because the same provider is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        #[expect(clippy::disallowed_methods, reason = "this is the one client of the process")]
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        client.build().expect("an HTTP client")
    });
    client.clone()
}
