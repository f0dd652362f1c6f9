//! Work without a person's context.

use std::sync::Arc;

use async_trait::async_trait;
use duet_core::{
    StoreResult, Timestamp,
    domain::{ApiKey, Claim, Embedding, EmbeddingModel, EmbeddingProgress, EventHint, LeasePolicy, Locality, Role, Run},
    ids::{LeaseToken, MemoryId, RunId, WorkspaceId},
    ports::{SystemStore, Unembedded},
};
use serde::Deserialize;

use super::{
    contract::Contract,
    events::{self, Event},
    memory::Memories,
    relay::LiveFeed,
};
use crate::rpc::Call;

/// The process's own access to the database.
pub struct System {
    pub(super) contract: Contract,
    pub(super) memories: Arc<Memories>,
    pub(super) feed: Arc<LiveFeed>,
}

#[derive(Deserialize)]
struct Claimed {
    run: Run,
    role: Role,
    lease: LeaseToken,
    lease_until: Timestamp,
    log: Vec<Event>,
}

#[derive(Deserialize)]
struct KnownKey {
    key: ApiKey,
    role: Role,
}

/// A hint out of the outbox.
#[derive(Deserialize)]
pub struct Hint {
    run: RunId,
    last_seq: u64,
}

impl From<Hint> for EventHint {
    fn from(hint: Hint) -> Self {
        Self {
            run: hint.run,
            last_seq: hint.last_seq,
        }
    }
}

#[async_trait]
impl SystemStore for System {
    async fn claim_run(&self, policy: LeasePolicy) -> StoreResult<Option<Claim>> {
        let lease: LeaseToken = self.contract.env.id();
        let call = Call::new("claim_run")
            .id("p_lease", lease)
            .arg(
                "p_lease_millis",
                i64::try_from(policy.duration.as_millis()).unwrap_or(i64::MAX),
            )
            .arg("p_max_attempts", i32::try_from(policy.max_attempts).unwrap_or(i32::MAX));
        let claimed: Option<Claimed> = self.contract.as_driver(call).await?;
        claimed
            .map(|claimed| {
                Ok(Claim {
                    run: claimed.run,
                    role: claimed.role,
                    lease: claimed.lease,
                    lease_until: claimed.lease_until,
                    log: events::stored(claimed.log)?,
                })
            })
            .transpose()
    }

    async fn api_key(&self, secret_hash: [u8; 32]) -> StoreResult<Option<(ApiKey, Role)>> {
        let call = Call::repeatable("api_key").arg("p_secret_hash", secret_hash);
        let known: Option<KnownKey> = self.contract.as_driver(call).await?;
        Ok(known.map(|known| (known.key, known.role)))
    }

    async fn unembedded(&self, model: &EmbeddingModel, locality: Locality, limit: usize) -> StoreResult<Vec<Unembedded>> {
        self.memories.unembedded(model, locality, limit).await
    }

    async fn put_embeddings(&self, embeddings: Vec<(WorkspaceId, MemoryId, Embedding)>) -> StoreResult<()> {
        self.memories.put_embeddings(embeddings).await
    }

    async fn embedding_progress(&self, model: &EmbeddingModel, locality: Locality) -> StoreResult<EmbeddingProgress> {
        self.memories.embedding_progress(model, locality).await
    }

    /// The store's own relay usually comes first; what it has not delivered yet is delivered here as well.
    async fn take_outbox(&self, limit: usize) -> StoreResult<Vec<EventHint>> {
        self.feed.take_outbox(&self.contract, limit).await
    }

    async fn sweep(&self) -> StoreResult<u64> {
        let others: u64 = self.contract.as_driver(Call::repeatable("sweep")).await?;
        Ok(self.memories.sweep().await? + others)
    }
}
