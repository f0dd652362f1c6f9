//! Tokens of the legacy shared secret: Auth itself decides whether they are valid. Its answer is cached for seconds, by the token's
//! hash.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use duet_core::{Env, Timestamp, crypto::request_hash};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{
    TokenError,
    client::{AuthClient, AuthError},
};

/// How long an answer is cached. A page makes a dozen requests at once, for which this is enough; a token whose sign-in has ended
/// lives no longer than this.
const BELIEVED: Duration = Duration::from_secs(10);
/// Maximum number of cached answers, valid and invalid ones apart: a flood of bad tokens evicts no good one.
const KEPT: usize = 4096;
/// Maximum number of concurrent requests to Auth. Further ones wait.
const AT_ONCE: usize = 16;

type Answers<T> = Mutex<HashMap<[u8; 32], (T, Timestamp)>>;

/// Asks Auth about tokens.
pub struct Asked {
    client: Arc<AuthClient>,
    env: Env,
    good: Answers<Uuid>,
    bad: Answers<()>,
    questions: Semaphore,
}

impl Asked {
    /// Starts with an empty cache.
    pub fn new(client: Arc<AuthClient>, env: Env) -> Self {
        Self {
            client,
            env,
            good: Mutex::default(),
            bad: Mutex::default(),
            questions: Semaphore::new(AT_ONCE),
        }
    }

    /// The person whose token it is, according to Auth.
    pub async fn whose(&self, token: &SecretString) -> Result<Uuid, TokenError> {
        const REFUSED: TokenError = TokenError::NotValid("Supabase Auth refuses it");
        let hash = request_hash(&[token.expose_secret().as_bytes()]);
        let now = self.env.now();
        if let Some(user) = kept(&self.good, &hash, now) {
            return Ok(user);
        }
        if kept(&self.bad, &hash, now).is_some() {
            return Err(REFUSED);
        }
        let Ok(_turn) = self.questions.acquire().await else {
            return Err(REFUSED);
        };
        // The same token was checked while this request waited.
        if let Some(user) = kept(&self.good, &hash, self.env.now()) {
            return Ok(user);
        }
        match self.client.user(token).await {
            Ok(user) => {
                keep(&self.good, hash, user, self.env.now());
                Ok(user)
            }
            Err(AuthError::SignedOut) => {
                keep(&self.bad, hash, (), self.env.now());
                Err(REFUSED)
            }
            Err(error) => Err(TokenError::Unavailable(error.to_string())),
        }
    }
}

fn kept<T: Copy>(answers: &Answers<T>, hash: &[u8; 32], now: Timestamp) -> Option<T> {
    let answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    answers
        .get(hash)
        .filter(|(_, at)| now.since(*at) < BELIEVED)
        .map(|(answer, _)| *answer)
}

fn keep<T>(answers: &Answers<T>, hash: [u8; 32], answer: T, now: Timestamp) {
    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    if answers.len() >= KEPT {
        answers.retain(|_, (_, at)| now.since(*at) < BELIEVED);
    }
    if answers.len() < KEPT {
        answers.insert(hash, (answer, now));
    }
}
