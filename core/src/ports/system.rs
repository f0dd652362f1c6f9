use async_trait::async_trait;

use crate::{
    domain::{ApiKey, Claim, Embedding, EmbeddingModel, EmbeddingProgress, EventHint, EventKind, LeasePolicy, Locality, Role},
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
    /// Claims the oldest run that is queued, or whose lease has ended: fresh lease token, attempt + 1. Of many workers one gets it.
    ///
    /// A run that was claimed too often in a row without progress ([`crate::domain::RunEvent::is_progress`]) is parked with its
    /// reason instead, and so is one whose log cannot be read; the next one is looked at. A run with events of a kind that is not
    /// in `vocabulary` is passed over as it is: a newer worker reads it.
    async fn claim_run(&self, policy: LeasePolicy, vocabulary: &[EventKind]) -> StoreResult<Option<Claim>>;

    /// The API key with that SHA-256 and its person's role now, unless revoked, expired or no longer a member's.
    async fn api_key(&self, secret_hash: [u8; 32]) -> StoreResult<Option<(ApiKey, Role)>>;

    /// Live memories without a vector of this model: of each workspace the oldest, then of each the next, so that none waits for
    /// what another has many of. For an embedder that computes remotely only those whose text may leave this machine (so that the
    /// others cannot fill every page). What was put off is passed over until its time.
    async fn unembedded(&self, model: &EmbeddingModel, locality: Locality, limit: usize) -> StoreResult<Vec<Unembedded>>;

    /// Puts off memories whose text this model refused: for a minute, and for twice as long after each further time, up to a day. A
    /// vector ends it, and another model starts anew.
    async fn put_off_embeddings(&self, model: &EmbeddingModel, memories: Vec<(WorkspaceId, MemoryId)>) -> StoreResult<()>;

    /// Stores vectors; memories that are gone or redacted by now are passed over.
    async fn put_embeddings(&self, embeddings: Vec<(WorkspaceId, MemoryId, Embedding)>) -> StoreResult<()>;

    /// How far that model has come with the memories that it may embed.
    async fn embedding_progress(&self, model: &EmbeddingModel, locality: Locality) -> StoreResult<EmbeddingProgress>;

    /// Takes hints out of the outbox, oldest first, for delivery.
    async fn take_outbox(&self, limit: usize) -> StoreResult<Vec<EventHint>>;

    /// Writes something that says nothing, and returns once that is durable: whether anything can be written.
    async fn prove_writable(&self) -> StoreResult<()>;

    /// Deletes expired working memories, sign-ins and idempotency keys; returns how many rows.
    async fn sweep(&self) -> StoreResult<u64>;
}
