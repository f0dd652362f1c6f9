use async_trait::async_trait;

use crate::{
    domain::{Credentials, OwnerSetup, Session, User, Workspace},
    error::StoreResult,
    ids::{SessionId, UserId},
};

/// People and sign-ins of the built-in issuer. It takes no [`crate::Caller`], because it is where callers come from.
#[async_trait]
pub trait AccountStore: Send + Sync {
    /// Whether the installation still waits for its first owner.
    async fn needs_owner(&self) -> StoreResult<bool>;

    /// Sets the setup token, by its SHA-256; an earlier one stops working. `Conflict` once there is an owner.
    async fn put_setup_token(&self, token_hash: [u8; 32]) -> StoreResult<()>;

    /// Checks the setup token, by its SHA-256, without using it up: `Denied` for a wrong one, `Conflict` once there is an owner.
    async fn check_setup_token(&self, token_hash: [u8; 32]) -> StoreResult<()>;

    /// Creates the first account, its workspace (as owner), the two primary agents and the starter soul, and uses the token up: all
    /// or nothing. `Denied` for a wrong token, `Conflict` once there is an owner; of many callers only one wins.
    async fn create_owner(&self, setup: OwnerSetup) -> StoreResult<(User, Workspace)>;

    /// The account of an email address, compared in lower case.
    async fn credentials(&self, email: &str) -> StoreResult<Option<Credentials>>;

    /// Stores a sign-in by password, by the SHA-256 of its secret. A device's is made by [`super::DeviceStore::redeem`] alone.
    async fn create_session(&self, session: Session, secret_hash: [u8; 32]) -> StoreResult<()>;

    /// The sign-in with this secret and its person, unless it has ended.
    async fn session(&self, secret_hash: [u8; 32]) -> StoreResult<Option<(Session, User)>>;

    /// Ends one sign-in of this person; ended or unknown ones are left as they are.
    async fn end_session(&self, user: UserId, session: SessionId) -> StoreResult<()>;

    /// Ends every sign-in of this person (sign out everywhere) and returns how many were open.
    async fn end_all_sessions(&self, user: UserId) -> StoreResult<u64>;
}
