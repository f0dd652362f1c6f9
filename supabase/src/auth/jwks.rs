//! The keys that a project publishes (`/auth/v1/.well-known/jwks.json`), cached.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use duet_core::{Env, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::{TokenError, client::AuthClient};

/// How long the keys are used without fetching them again. Supabase's own caches keep them as long; keys are published before they
/// are used.
const FRESH: Duration = Duration::from_secs(600);
/// How long the keys are used when Auth does not answer: an outage signs nobody out, and a revoked key does not live for ever.
const STALE: Duration = Duration::from_secs(3600);
/// Minimum time between two requests: tokens with made-up key ids cause no traffic.
const PAUSE: Duration = Duration::from_secs(10);
/// A project has two or three.
const MOST_KEYS: usize = 32;

/// A key that tokens may be signed with.
pub struct Key {
    pub algorithm: Algorithm,
    pub decoding: DecodingKey,
}

/// The usable keys of a published set.
#[derive(Default)]
pub struct KeySet(HashMap<String, Arc<Key>>);

/// What a published set can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// Tokens can be checked with it.
    Keys(usize),
    /// The set is empty: tokens use the legacy shared secret, and Auth is asked about each.
    Nothing,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// A JSON Web Key (RFC 7517), as far as needed.
#[derive(Deserialize)]
struct Entry {
    kty: String,
    kid: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl Entry {
    /// The key, if it is a public one for one of the two signature algorithms that Supabase uses.
    fn key(&self) -> Option<Key> {
        let signs = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self
                .key_ops
                .as_ref()
                .is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        let is = |name: &str| self.alg.as_deref().is_none_or(|alg| alg == name);
        let bytes = |part: &Option<String>| URL_SAFE_NO_PAD.decode(part.as_ref()?).ok();
        if !signs || self.kid.is_empty() {
            return None;
        }
        match self.kty.as_str() {
            "EC" if is("ES256") && self.crv.as_deref() == Some("P-256") => {
                (bytes(&self.x)?.len() == 32 && bytes(&self.y)?.len() == 32).then_some(())?;
                Some(Key {
                    algorithm: Algorithm::ES256,
                    decoding: DecodingKey::from_ec_components(self.x.as_ref()?, self.y.as_ref()?).ok()?,
                })
            }
            // 2048 to 8192 bits; the exponent is odd and greater than one.
            "RSA" if is("RS256") => {
                let (modulus, exponent) = (bytes(&self.n)?, bytes(&self.e)?);
                let sound = (256..=1024).contains(&modulus.len())
                    && modulus[0] != 0
                    && (1..=4).contains(&exponent.len())
                    && exponent[exponent.len() - 1] & 1 == 1
                    && exponent != [1];
                sound.then_some(())?;
                Some(Key {
                    algorithm: Algorithm::RS256,
                    decoding: DecodingKey::from_rsa_raw_components(&modulus, &exponent),
                })
            }
            _ => None,
        }
    }
}

impl KeySet {
    /// Reads a set. Keys of other kinds are skipped, and so are keys that share a name.
    pub fn read(text: &[u8]) -> Option<Self> {
        let set: Set = serde_json::from_slice(text).ok()?;
        let entries: Vec<Entry> = set
            .keys
            .into_iter()
            .take(MOST_KEYS)
            .filter_map(|entry| serde_json::from_value(entry).ok())
            .collect();
        let mut keys = HashMap::new();
        for entry in &entries {
            let alone = entries.iter().filter(|other| other.kid == entry.kid).count() == 1;
            if let (true, Some(key)) = (alone, entry.key()) {
                keys.insert(entry.kid.clone(), Arc::new(key));
            }
        }
        Some(Self(keys))
    }

    /// What the set can be used for.
    pub fn published(&self) -> Published {
        match self.0.len() {
            0 => Published::Nothing,
            count => Published::Keys(count),
        }
    }
}

#[derive(Clone, Default)]
struct State {
    keys: Arc<KeySet>,
    /// When these keys were received.
    told_at: Option<Timestamp>,
    /// When Auth was last asked, and whether it answered.
    asked_at: Option<Timestamp>,
    failed: bool,
}

impl State {
    fn age(&self, now: Timestamp) -> Option<Duration> {
        self.told_at.map(|at| now.since(at))
    }

    fn known(&self, kid: &str, now: Timestamp, most: Duration) -> Option<Arc<Key>> {
        self.age(now).filter(|age| *age < most)?;
        self.keys.0.get(kid).cloned()
    }
}

/// The published keys.
pub struct Jwks {
    client: Arc<AuthClient>,
    env: Env,
    state: Mutex<State>,
    /// Held while asking Auth: one request at a time.
    asking: tokio::sync::Mutex<()>,
}

impl Jwks {
    /// Starts without keys.
    pub fn new(client: Arc<AuthClient>, env: Env) -> Self {
        Self {
            client,
            env,
            state: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key with that name; `None` if the project publishes none.
    pub async fn key(&self, kid: &str) -> Result<Option<Arc<Key>>, TokenError> {
        let now = self.env.now();
        let state = self.state();
        if let Some(key) = state.known(kid, now, FRESH) {
            return Ok(Some(key));
        }
        if may_ask(&state, now) {
            let usable = state.known(kid, now, STALE);
            match (self.asking.try_lock(), usable) {
                (Ok(_alone), _) => self.ask(&state).await,
                // Another request is under way: a caller with a usable key does not wait for a slow answer.
                (Err(_), Some(key)) => return Ok(Some(key)),
                (Err(_), None) => drop(self.asking.lock().await),
            }
        }
        let (state, now) = (self.state(), self.env.now());
        if let Some(key) = state.known(kid, now, STALE) {
            return Ok(Some(key));
        }
        // A set that Auth sent recently is conclusive; if the last request failed or the set is stale, the key may exist.
        match state.failed || state.age(now).is_none_or(|age| age >= STALE) {
            true => Err(TokenError::Unavailable(
                "Supabase Auth does not tell its keys, so that nobody's access token can be checked. Try again shortly.".into(),
            )),
            false => Ok(None),
        }
    }

    async fn ask(&self, before: &State) {
        // The previous holder of the lock may have asked.
        if self.state().asked_at != before.asked_at {
            return;
        }
        let told = self.client.key_set().await;
        let now = self.env.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked_at = Some(now);
        state.failed = told.is_err();
        match told {
            Ok(keys) => {
                state.keys = Arc::new(keys);
                state.told_at = Some(now);
            }
            Err(error) => tracing::warn!(%error, "the keys of Supabase Auth could not be read"),
        }
    }
}

fn may_ask(state: &State, now: Timestamp) -> bool {
    state.asked_at.is_none_or(|at| now.since(at) >= PAUSE)
}
