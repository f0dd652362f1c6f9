//! Supabase Auth: signs people in, and recognises them by their access tokens.
//!
//! None of this needs a secret of the project. Tokens with asymmetric keys (ES256, RS256) are verified with the keys that the project
//! publishes; tokens with the legacy shared secret (HS256) are sent to Auth itself, because anyone who could verify such a token
//! could forge one.
//!
//! A token stays valid until it expires, whatever happens to its sign-in: [`SignIns::known`] asks the database whether the sign-in
//! still exists.

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
    /// The expected `iss` of its tokens; unset: `<url>/auth/v1`.
    pub issuer: Option<String>,
    /// The publishable (or legacy `anon`) key: it identifies the project to its gateway and grants nothing.
    pub publishable_key: String,
    /// Timeout of one request.
    pub timeout: Duration,
    /// The process's HTTP client.
    pub client: reqwest::Client,
}

/// The contents of a valid access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The person: `auth.users.id`.
    pub user: UserId,
    /// The sign-in: `auth.sessions.id`.
    pub session: Uuid,
    /// When the token was issued.
    pub issued_at: Timestamp,
    /// When the token expires.
    pub expires_at: Timestamp,
}

/// Why an access token is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It has expired.
    #[error("the access token has expired")]
    Expired,
    /// It is not one of this project's; the reason is for the log, not for the sender.
    #[error("the access token is not valid: {0}")]
    NotValid(&'static str),
    /// It cannot be verified at the moment.
    #[error("{0}")]
    Unavailable(String),
}

/// Supabase Auth of one project.
pub struct Auth {
    client: Arc<AuthClient>,
    verifier: Verifier,
}

impl Auth {
    /// Sends nothing to the project yet.
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

    /// The client for calls in a person's name.
    pub fn client(&self) -> &AuthClient {
        &self.client
    }

    /// Checks everything about a token except whether its sign-in still exists.
    pub async fn verify(&self, token: &SecretString) -> Result<Verified, TokenError> {
        self.verifier.verify(token).await
    }
}
