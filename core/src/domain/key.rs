//! Personal API keys.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::word_enum;
use crate::{
    clock::Timestamp,
    ids::{ApiKeyId, UserId, WorkspaceId},
};

word_enum! {
    /// What an API key may be used for.
    KeyScope {
        /// Talk: conversations, messages, runs.
        Chat = "chat",
        /// Read memories.
        MemoryRead = "memory_read",
        /// Write, edit and redact memories.
        MemoryWrite = "memory_write",
        /// What only owners do: agents, soul.
        Admin = "admin",
    }
}

/// A key as its owner sees it: never the secret, which was shown once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// The workspace that it opens.
    pub workspace_id: WorkspaceId,
    /// The person it acts as.
    pub user_id: UserId,
    /// What its owner calls it.
    pub name: String,
    /// The first characters of the secret, to tell keys apart.
    pub prefix: String,
    /// What it may do.
    pub scopes: BTreeSet<KeyScope>,
    /// When it was created.
    pub created_at: Timestamp,
    /// It is refused from this time on; `None` means that it does not expire.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to within a minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A key to be stored.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// What its owner calls it.
    pub name: String,
    /// The first characters of the secret.
    pub prefix: String,
    /// SHA-256 of the secret, which has 256 random bits.
    pub secret_hash: [u8; 32],
    /// What it may do.
    pub scopes: BTreeSet<KeyScope>,
    /// It is refused from this time on.
    pub expires_at: Option<Timestamp>,
}
