//! Supabase Auth: signing people in, and knowing them again by their access tokens.
//!
//! No secret of the project is needed for any of it. Tokens of asymmetric keys (ES256, RS256) are checked with the keys that the
//! project publishes; tokens of the legacy shared secret (HS256) are shown to Auth itself, because whoever could check such a token
//! could forge one.
//!
//! A token stays what it is until it expires, whatever happens to its sign-in: [`SignIns::known`] asks the database whether the sign-in
//! is still there.

mod asked;
mod claims;
mod client;
mod jwks;
mod signins;
mod verify;

use std::{sync::Arc, time::Duration};

use duet_core::{Env, Timestamp, ids::UserId};
use reqwest::Url;
use secrecy::SecretString;
use uuid::Uuid;

pub use self::{
    client::{AuthClient, AuthError, ProjectSettings, SignedUp, TokenPair},
    jwks::{KeySet, Published},
    signins::{Claim, Known, SignIns},
};
use self::{jwks::Jwks, verify::Verifier};

/// A project's Auth.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// The project's URL: `https://<ref>.supabase.co`.
    pub url: Url,
    /// What its tokens have as `iss`; unset: `<url>/auth/v1`.
    pub issuer: Option<String>,
    /// The publishable (or legacy `anon`) key: it names the project to its gateway and allows nothing.
    pub publishable_key: String,
    /// Longest time for one request.
    pub timeout: Duration,
    /// The process's HTTP client.
    pub client: reqwest::Client,
}

/// What a good access token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The person: `auth.users.id`.
    pub user: UserId,
    /// The sign-in: `auth.sessions.id`.
    pub session: Uuid,
    /// When the token was made.
    pub issued_at: Timestamp,
    /// From then on it is refused.
    pub expires_at: Timestamp,
}

/// Why an access token does not let its bearer in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It was good once.
    #[error("the access token has expired")]
    Expired,
    /// It is not one of this project's; why is for the log, not for whoever sent it.
    #[error("the access token is not valid: {0}")]
    NotValid(&'static str),
    /// It cannot be told now.
    #[error("{0}")]
    Unavailable(String),
}

/// Supabase Auth of one project.
pub struct Auth {
    client: Arc<AuthClient>,
    verifier: Verifier,
}

impl Auth {
    /// Nothing is asked of the project yet.
    pub fn new(settings: AuthSettings, env: Env) -> Self {
        let issuer = settings
            .issuer
            .clone()
            .unwrap_or_else(|| client::endpoint(&settings.url, "").to_string());
        let client = Arc::new(AuthClient::new(settings));
        let jwks = Jwks::new(Arc::clone(&client), env.clone());
        Self {
            verifier: Verifier::new(issuer, jwks, Arc::clone(&client), env),
            client,
        }
    }

    /// What of Auth is called in a person's name.
    pub fn client(&self) -> &AuthClient {
        &self.client
    }

    /// Checks everything about a token but whether its sign-in still lives.
    pub async fn verify(&self, token: &SecretString) -> Result<Verified, TokenError> {
        self.verifier.verify(token).await
    }
}
