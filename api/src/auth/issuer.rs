//! An outside issuer signs people in instead of Duet itself. Without one, the built-in issuer does: passwords here, a session
//! cookie, our own tokens. With one, people send its access tokens as `Authorization: Bearer`; there is no cookie, and so nothing
//! that another site could make a browser send.

use async_trait::async_trait;
use duet_core::domain::{Session, User};
use secrecy::SecretString;

use crate::error::ApiResult;

/// An outside issuer, as described to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerInfo {
    /// Its kind: `supabase`.
    pub mode: &'static str,
    /// Its URL.
    pub url: String,
    /// The public key that its gateway requires.
    pub publishable_key: String,
}

/// A valid sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// As far as this token goes, it ends when the token expires.
    pub session: Session,
    /// The person; before they have been let in, what the issuer knows of them.
    pub user: User,
}

/// What a sign-in gives its client.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The access token.
    pub access_token: SecretString,
    /// What the next tokens are obtained with; works once.
    pub refresh_token: SecretString,
    /// How long the access token lasts, in seconds.
    pub expires_in: u32,
}

/// What the first person provides, besides being signed in, to become the owner.
#[derive(Clone, Debug)]
pub struct OwnerClaim {
    /// SHA-256 of the setup token that they presented.
    pub token_hash: [u8; 32],
    /// The name they go by.
    pub display_name: String,
    /// Name of the first workspace.
    pub workspace_name: String,
    /// Name of the companion.
    pub companion_name: String,
}

/// An outside issuer.
#[async_trait]
pub trait Issuer: Send + Sync {
    /// What clients are told about it.
    fn info(&self) -> IssuerInfo;

    /// The sign-in that an access token proves. Fails with a problem of 401 when it is over, expired or not this issuer's; of 503
    /// when that cannot be determined now.
    async fn signed_in(&self, token: &SecretString) -> ApiResult<SignedIn>;

    /// Signs a person in.
    async fn sign_in(&self, email: &str, password: &SecretString) -> ApiResult<Tokens>;

    /// Makes a sign-in for a new person; `None` when they have to confirm their address first.
    async fn sign_up(&self, email: &str, password: &SecretString) -> ApiResult<Option<Tokens>>;

    /// The next tokens of a sign-in.
    async fn refresh(&self, refresh_token: &SecretString) -> ApiResult<Tokens>;

    /// Ends the sign-in, or all of the person's.
    async fn sign_out(&self, token: &SecretString, everywhere: bool) -> ApiResult<()>;

    /// Makes the person behind the token the owner of an installation that has none.
    async fn claim(&self, token: &SecretString, claim: OwnerClaim) -> ApiResult<User>;
}
