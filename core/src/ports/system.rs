use async_trait::async_trait;

use crate::{
    domain::{
        ApiKey, AuditHead, Claim, Embedding, EmbeddingModel, EmbeddingProgress, EventKind, Hint, LeasePolicy, Locality, Role,
    },
    error::StoreResult,
    ids::{MemoryId, WorkspaceId},
};

/// A memory that lacks a vector of the current model.
#[derive(Clone, Debug, PartialEq)]
pub struct Unembedded {
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The memory.
    pub memory: MemoryId,
    /// The text to embed, with its context ([`crate::recall::embedding_text`]).
    pub text: String,
    /// Whether the text may leave this machine.
    pub egress: crate::domain::Egress,
}

/// Work without a person's context. Only the process itself calls it; no request reaches it directly.
#[async_trait]
pub trait SystemStore: Send + Sync {
    /// Claims the oldest run that is queued, or whose lease has ended: fresh lease token, attempt + 1. Of many workers only one
    /// gets it.
    ///
    /// A run that was claimed too often in a row without progress ([`crate::domain::RunEvent::is_progress`]) is parked with its
    /// reason instead, and so is one whose log cannot be read; then the next run is tried. A run with events of a kind that is not
    /// in `vocabulary` is skipped unchanged: a newer worker reads it.
    async fn claim_run(&self, policy: LeasePolicy, vocabulary: &[EventKind]) -> StoreResult<Option<Claim>>;

    /// The API key with this SHA-256 and its person's current role, unless it is revoked or expired or the person is no longer a
    /// member.
    async fn api_key(&self, secret_hash: [u8; 32]) -> StoreResult<Option<(ApiKey, Role)>>;

    /// Live memories without a vector of this model: the oldest of each workspace, then the next of each, so that no workspace
    /// waits for another's backlog. For a remote embedder, only those whose text may leave this machine (so that the others cannot
    /// fill every page). Postponed memories are skipped until they are due.
    async fn unembedded(&self, model: &EmbeddingModel, locality: Locality, limit: usize) -> StoreResult<Vec<Unembedded>>;

    /// Postpones memories whose text this model refused: for a minute, then twice as long after each further refusal, up to a day.
    /// A vector clears this, and another model starts over.
    async fn put_off_embeddings(&self, model: &EmbeddingModel, memories: Vec<(WorkspaceId, MemoryId)>) -> StoreResult<()>;

    /// Stores vectors; memories that have since been removed or redacted are skipped.
    async fn put_embeddings(&self, embeddings: Vec<(WorkspaceId, MemoryId, Embedding)>) -> StoreResult<()>;

    /// The progress of this model over the memories that it may embed.
    async fn embedding_progress(&self, model: &EmbeddingModel, locality: Locality) -> StoreResult<EmbeddingProgress>;

    /// Takes hints out of the outbox, oldest first, for delivery.
    async fn take_outbox(&self, limit: usize) -> StoreResult<Vec<Hint>>;

    /// Writes something meaningless and returns once it is durable, to prove that the store accepts writes.
    async fn prove_writable(&self) -> StoreResult<()>;

    /// Where the workspaces' audit logs end, ordered by workspace id, starting after `after`.
    async fn audit_heads(&self, after: Option<WorkspaceId>, limit: usize) -> StoreResult<Vec<AuditHead>>;

    /// Ends the wait of requests that nobody decided in time, and deletes expired working memories, sign-ins and idempotency keys;
    /// returns how many rows.
    async fn sweep(&self) -> StoreResult<u64>;
}
