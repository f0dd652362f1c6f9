//! People and their sign-ins, for the built-in issuer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::{SessionId, UserId},
    refusal::Refusal,
};

/// A person who can sign in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Their email address, in lower case.
    pub email: String,
    /// The name they go by.
    pub display_name: String,
    /// When the account was created.
    pub created_at: Timestamp,
}

/// A user with the argon2id hash (PHC string) that their password is checked against.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The person.
    pub user: User,
    /// PHC string; never leaves the server.
    pub password_hash: String,
}

/// One sign-in. The client holds the secret; the store only its SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// When it was created.
    pub created_at: Timestamp,
    /// It is refused from this time on.
    pub expires_at: Timestamp,
    /// Whether a device has it that was confirmed by a code. It is never recent: its person typed no password for it.
    pub by_device: bool,
    /// Whether a server has it for the commands of its own machine. It decides nothing, and ends with the process.
    pub by_machine: bool,
}

impl Session {
    /// How old a sign-in may be for what gives lasting access: keys, invitations, new owners. `private.signed_in_recently` in the
    /// database says the same.
    pub const RECENT: Duration = Duration::from_secs(15 * 60);
}

/// What the first person provides to become the owner of a fresh installation.
#[derive(Clone, Debug)]
pub struct OwnerSetup {
    /// SHA-256 of the setup token that they presented.
    pub token_hash: [u8; 32],
    /// Their email address.
    pub email: String,
    /// The name they go by.
    pub display_name: String,
    /// argon2id PHC string of their password.
    pub password_hash: String,
    /// Name of the first workspace.
    pub workspace_name: String,
    /// Name that both primary agents go by ("someone").
    pub companion_name: String,
}

/// An email address as it is stored and compared.
pub fn email_address(email: &str) -> Result<String, Refusal> {
    let email = email.trim().to_lowercase();
    let well_formed = email
        .split_once('@')
        .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    if well_formed && email.len() <= 254 && !email.contains(char::is_whitespace) {
        Ok(email)
    } else {
        Err(Refusal::Email)
    }
}
