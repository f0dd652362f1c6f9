//! A stand-in for Supabase Auth: signing keys, and a server on this machine that publishes them and knows the owners of HS256 tokens.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use duet_core::contract::TestEnv;
use duet_supabase::auth::{Auth, AuthSettings};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair,
        RsaPublicKeyComponents,
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The initial time of the tests' clock, in seconds.
pub const NOW: i64 = 1_790_000_000;
pub const USER: &str = "0199d6a0-0000-7000-8000-0000000000aa";
pub const SESSION: &str = "0199d6a0-0000-7000-8000-0000000000bb";
/// The shared secret of the legacy tokens: known only to this server; no setting contains it.
pub const SECRET: &[u8] = b"the shared secret that only Auth has";
pub const KEY: &str = "sb_publishable_test";

#[expect(
    clippy::disallowed_methods,
    reason = "the keys of a test need not be the same the next time"
)]
fn random() -> SystemRandom {
    SystemRandom::new()
}

pub fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// An EC key.
pub struct Ec(EcdsaKeyPair);

impl Ec {
    pub fn new() -> Self {
        let random = random();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap())
    }
    pub fn jwk(&self, kid: &str) -> Value {
        let point = self.0.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": kid, "use": "sig", "key_ops": ["verify"], "ext": true, "x": x, "y": y})
    }
    pub fn sign(&self, message: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.0.sign(&random(), message.as_bytes()).unwrap())
    }
    pub fn token(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        format!("{message}.{}", self.sign(&message))
    }
    /// What an attacker might use as a secret: the published point.
    pub fn public(&self) -> Vec<u8> {
        self.0.public_key().as_ref().to_vec()
    }
}

/// An RSA key, made for these tests and used nowhere else.
pub struct Rsa(RsaKeyPair);

impl Rsa {
    pub fn new() -> Self {
        let text: String = include_str!("rsa_2048.txt").split_whitespace().collect();
        Self(RsaKeyPair::from_der(&STANDARD.decode(text).unwrap()).unwrap())
    }
    pub fn jwk(&self, kid: &str) -> Value {
        let RsaPublicKeyComponents { n, e }: RsaPublicKeyComponents<Vec<u8>> = self.0.public().into();
        json!({"kty": "RSA", "alg": "RS256", "kid": kid, "use": "sig", "n": URL_SAFE_NO_PAD.encode(n), "e": URL_SAFE_NO_PAD.encode(e)})
    }
    pub fn token(&self, header: &Value, claims: &Value) -> String {
        self.signed(&RSA_PKCS1_SHA256, header, claims)
    }
    pub fn token_512(&self, header: &Value, claims: &Value) -> String {
        self.signed(&RSA_PKCS1_SHA512, header, claims)
    }
    fn signed(&self, how: &'static dyn ring::signature::RsaEncoding, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0.sign(how, &random(), message.as_bytes(), &mut signature).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
    pub fn public(&self) -> Vec<u8> {
        self.0.public_key().as_ref().to_vec()
    }
}

pub fn hmac(algorithm: ring::hmac::Algorithm, key: &[u8], message: &str) -> String {
    URL_SAFE_NO_PAD.encode(ring::hmac::sign(&ring::hmac::Key::new(algorithm, key), message.as_bytes()))
}

/// Signed with a shared secret.
pub fn hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    format!("{message}.{}", hmac(ring::hmac::HMAC_SHA256, secret, &message))
}

pub fn header(alg: &str, kid: &str) -> Value {
    json!({"alg": alg, "typ": "JWT", "kid": kid})
}

/// The object with one field changed, or removed with `null`.
pub fn with(object: &Value, field: &str, value: Value) -> Value {
    let mut object = object.clone();
    if value.is_null() {
        object.as_object_mut().unwrap().remove(field);
    } else {
        object[field] = value;
    }
    object
}

/// How the server responds to a request for keys.
#[derive(Clone)]
pub enum Keys {
    /// Publishes these.
    Publish(Vec<Value>),
    /// Answers with this status and body.
    Answer(u16, String),
    /// Answers after this delay.
    Slowly(Duration, Vec<Value>),
    /// Breaks the connection.
    Break,
}

/// What happened on the server.
#[derive(Default)]
pub struct Counters {
    pub key_sets: AtomicUsize,
    pub users: AtomicUsize,
    pub at_once: AtomicUsize,
    pub most_at_once: AtomicUsize,
}

impl Counters {
    pub fn key_sets(&self) -> usize {
        self.key_sets.load(Ordering::SeqCst)
    }
    pub fn users(&self) -> usize {
        self.users.load(Ordering::SeqCst)
    }
}

/// The server.
pub struct Project {
    pub url: String,
    pub keys: Arc<Mutex<Keys>>,
    /// Its other answers, by path and requested schema.
    pub answers: Arc<Mutex<HashMap<String, (u16, Value)>>>,
    /// The valid tokens, with the answers of `GET /user` for them.
    pub known: Arc<Mutex<HashMap<String, (u16, Value)>>>,
    pub counters: Arc<Counters>,
    pub time: TestEnv,
}

impl Project {
    pub async fn start(keys: Keys) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let project = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            keys: Arc::new(Mutex::new(keys)),
            answers: Arc::default(),
            known: Arc::default(),
            counters: Arc::default(),
            time: TestEnv::new(1).standing_still(),
        };
        let (keys, known, counters) = (project.keys.clone(), project.known.clone(), project.counters.clone());
        let answers = project.answers.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(answer(
                    connection,
                    keys.clone(),
                    known.clone(),
                    answers.clone(),
                    counters.clone(),
                ));
            }
        });
        project
    }

    /// Sets the answer for a path (and schema, if one is requested) from now on.
    pub fn tell(&self, asked: &str, status: u16, body: Value) {
        self.answers.lock().unwrap().insert(asked.to_owned(), (status, body));
    }

    pub fn publish(&self, keys: Keys) {
        *self.keys.lock().unwrap() = keys;
    }

    /// Duet's view of it.
    pub fn auth(&self) -> Auth {
        self.auth_within(Duration::from_secs(5))
    }

    pub fn auth_within(&self, timeout: Duration) -> Auth {
        Auth::new(self.settings(timeout), self.time.env())
    }

    pub fn settings(&self, timeout: Duration) -> AuthSettings {
        AuthSettings {
            url: self.url.parse().unwrap(),
            issuer: None,
            publishable_key: KEY.into(),
            timeout,
            client: client(),
        }
    }

    pub fn claims(&self) -> Value {
        json!({
            "iss": format!("{}/auth/v1", self.url), "sub": USER, "aud": "authenticated", "role": "authenticated", "session_id": SESSION,
            "iat": NOW - 10, "exp": NOW + 3600, "email": "ana@example.org", "phone": "", "aal": "aal1", "is_anonymous": false,
            "amr": [{"method": "password", "timestamp": NOW - 10}], "user_metadata": {"role": "owner"}, "app_metadata": {"provider": "email"}
        })
    }
}

/// A client for this machine only.
#[expect(
    clippy::disallowed_methods,
    reason = "these tests have no process around them that would configure one"
)]
pub fn client() -> reqwest::Client {
    // A second call finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_certs_only(std::iter::empty())
        .build()
        .unwrap()
}

async fn answer(
    mut connection: TcpStream,
    keys: Arc<Mutex<Keys>>,
    known: Arc<Mutex<HashMap<String, (u16, Value)>>>,
    answers: Arc<Mutex<HashMap<String, (u16, Value)>>>,
    counters: Arc<Counters>,
) {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while !text.windows(4).any(|window| window == b"\r\n\r\n") {
        match connection.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => text.extend_from_slice(&buffer[..count]),
        }
    }
    let text = String::from_utf8(text).unwrap();
    let mut lines = text.lines();
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let find = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
    };
    let (status, body) = if find("apikey").as_deref() != Some(KEY) {
        (401, json!({"message": "Invalid API key"}).to_string())
    } else if path == "/auth/v1/.well-known/jwks.json" {
        counters.key_sets.fetch_add(1, Ordering::SeqCst);
        let keys = keys.lock().unwrap().clone();
        match keys {
            Keys::Publish(keys) => (200, json!({"keys": keys}).to_string()),
            Keys::Answer(status, body) => (status, body),
            Keys::Slowly(delay, keys) => {
                tokio::time::sleep(delay).await;
                (200, json!({"keys": keys}).to_string())
            }
            Keys::Break => return,
        }
    } else if path == "/auth/v1/user" {
        counters.users.fetch_add(1, Ordering::SeqCst);
        let at_once = counters.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        counters.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        counters.at_once.fetch_sub(1, Ordering::SeqCst);
        let token = find("authorization").unwrap_or_default().replace("Bearer ", "");
        let told = known.lock().unwrap().get(&token).cloned();
        match told {
            Some((status, body)) => (status, body.to_string()),
            None => (403, json!({"code": "bad_jwt", "message": "invalid JWT"}).to_string()),
        }
    } else {
        let asked = match find("content-profile") {
            Some(schema) => format!("{path} {schema}"),
            None => path,
        };
        let told = answers.lock().unwrap().get(&asked).cloned();
        told.map_or((404, String::new()), |(status, body)| (status, body.to_string()))
    };
    let head = format!(
        "HTTP/1.1 {status} Told\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = connection.write_all(format!("{head}{body}").as_bytes()).await;
}
