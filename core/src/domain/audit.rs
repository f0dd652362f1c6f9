//! The audit log: who did what to what, and with which outcome. Append-only and hash-chained per workspace.

use serde::{Deserialize, Serialize};

use super::word_enum;
use crate::{
    clock::Timestamp,
    ids::{AgentId, AuditId, UserId, WorkspaceId},
};

word_enum! {
    /// How an audited action ended.
    AuditOutcome {
        /// It was done.
        Done = "done",
        /// It was refused.
        Refused = "refused",
        /// It was tried and failed.
        Failed = "failed",
    }
}

/// What happened, to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAuditEntry {
    /// What was done, in dotted form: `memory.redact`.
    pub action: String,
    /// What it was done to: kind and id, `memory:0198…`. Never content.
    pub target: String,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// Facts about it without any message text, prompt or secret.
    pub details: serde_json::Value,
}

/// One row of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditEntry {
    /// Its id.
    pub id: AuditId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// 1, 2, 3 … without gaps in the workspace.
    pub seq: u64,
    /// The person.
    pub actor: UserId,
    /// The agent that acted for them, if any.
    pub agent_id: Option<AgentId>,
    /// What was done.
    pub action: String,
    /// What it was done to.
    pub target: String,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// Facts about it.
    #[schema(value_type = Object)]
    pub details: serde_json::Value,
    /// When.
    pub at: Timestamp,
    /// SHA-256 over the previous row's hash and this row, in hex.
    pub chain_hash: String,
}

/// Where a workspace's audit log ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// An owner as whom the log can be read.
    pub owner: UserId,
    /// The last entry.
    pub seq: u64,
    /// The last entry's hash, in hex.
    pub hash: String,
}

/// Where a workspace's audit log ended at some time, kept outside the database: somebody who controls the database can cut off the
/// log's end along with its head, or rewrite the log with all its hashes, but cannot change what is out of their reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// When it was recorded.
    pub at: Timestamp,
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The last entry at that time.
    pub seq: u64,
    /// That entry's hash, in hex.
    pub hash: String,
}
