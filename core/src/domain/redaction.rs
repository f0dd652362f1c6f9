//! Redaction: text removed everywhere it went, a tombstone that outlives restored backups, a receipt.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::{MemoryId, MessageId, NoticeId, RedactionId, RunId, UserId, WorkspaceId},
};

/// Proof of what a redaction removed: how many rows in which place. Never any of the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RedactionReceipt {
    /// Its id.
    pub id: RedactionId,
    /// The memory that was redacted.
    pub memory_id: MemoryId,
    /// Who asked for it.
    pub redacted_by: UserId,
    /// When.
    pub redacted_at: Timestamp,
    /// One entry for each of [`RedactionReceipt::PLACES`], including those with 0.
    pub removed: Vec<RemovedFrom>,
}

impl RedactionReceipt {
    /// The places that a receipt names, in this order, on every backend.
    pub const PLACES: [&str; 13] = [
        "memory",
        "full_text",
        "vectors",
        "vector_codes",
        "bit_index",
        "messages",
        "replies",
        "titles",
        "event_payloads",
        "requests",
        "outbox",
        "idempotency_keys",
        "caches",
    ];
}

/// How much was removed from one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RemovedFrom {
    /// The place, such as `memory`, `full_text`, `messages` or `event_payloads`.
    pub place: String,
    /// How many rows or entries.
    pub count: u64,
}

/// What must stay redacted, by id alone. Also kept outside the data file, so that it applies to a restored older copy too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The redaction.
    pub id: RedactionId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// The memory.
    pub memory_id: MemoryId,
    /// The messages whose text was removed with it.
    pub messages: Vec<MessageId>,
    /// The runs whose event payloads were removed with it.
    pub runs: Vec<RunId>,
    /// Who asked for it.
    pub redacted_by: UserId,
    /// When.
    pub redacted_at: Timestamp,
    /// Who was told of the redaction; recorded only for the memory that the request named.
    #[serde(default)]
    pub notices: Vec<Told>,
}

/// A notice that a redaction created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The notice.
    pub notice_id: NoticeId,
    /// Its recipient.
    pub user_id: UserId,
}

/// What a person had removed by settling a notice. It must stay removed just as redacted text must, and is kept in the same place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blanked {
    /// The notice.
    pub notice_id: NoticeId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// Whose runs they are.
    pub user_id: UserId,
    /// The runs whose replies and event payloads were removed.
    pub runs: Vec<RunId>,
    /// When.
    pub blanked_at: Timestamp,
}
