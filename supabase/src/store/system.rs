//! Work without a person's context.

use std::sync::Arc;

use async_trait::async_trait;
use duet_core::{
    StoreResult,
    domain::{
        ApiKey, AuditHead, Claim, Embedding, EmbeddingModel, EmbeddingProgress, EventKind, Hint, LeasePolicy, Locality, Role, Run,
    },
    ids::{Id, LeaseToken, MemoryId, RunId, WorkspaceId},
    ports::{SystemStore, Unembedded},
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    contract::{self, Contract},
    events::{self, Event},
    memory::Memories,
    relay::LiveFeed,
};
use crate::rpc::{self, Call};

/// The process's own access to the database.
pub struct System {
    pub(super) contract: Contract,
    pub(super) memories: Arc<Memories>,
    pub(super) feed: Arc<LiveFeed>,
}

#[derive(Deserialize)]
struct Claimed {
    run: Value,
    role: Role,
    lease: LeaseToken,
    log: Value,
}

impl Claimed {
    /// Converts it to the domain's type, or returns the first unreadable event, or 0 if the run itself is unreadable.
    fn read(self) -> Result<Claim, u64> {
        let log: Vec<Event> = serde_json::from_value(self.log).map_err(|_| 0_u64)?;
        Ok(Claim {
            run: serde_json::from_value(self.run).map_err(|_| 0_u64)?,
            role: self.role,
            lease: self.lease,
            hold: Arc::default(),
            log: events::log(log)?,
        })
    }
}

#[derive(Deserialize)]
struct KnownKey {
    key: ApiKey,
    role: Role,
}

#[async_trait]
impl SystemStore for System {
    async fn claim_run(&self, policy: LeasePolicy, vocabulary: &[EventKind]) -> StoreResult<Option<Claim>> {
        let kinds: Vec<String> = vocabulary.iter().map(ToString::to_string).collect();
        loop {
            let lease: LeaseToken = self.contract.env.id();
            let call = Call::new("claim_run")
                .id("p_lease", lease)
                .arg(
                    "p_lease_millis",
                    i64::try_from(policy.duration.as_millis()).unwrap_or(i64::MAX),
                )
                .arg("p_max_attempts", i32::try_from(policy.max_attempts).unwrap_or(i32::MAX))
                .arg("p_kinds", kinds.clone());
            let Some(claimed) = self.contract.as_driver::<Option<Claimed>>(call).await? else {
                return Ok(None);
            };
            let run: RunId = serde_json::from_value(claimed.run["id"].clone()).map_err(|_| rpc::mismatch())?;
            match claimed.read() {
                Ok(claim) => return Ok(Some(claim)),
                // Only this run is ended; the next one may be fine.
                Err(seq) => {
                    tracing::error!(%run, seq, "a run cannot be read; parking it");
                    let call = Call::new("park_run")
                        .of("the run")
                        .id("p_run", run)
                        .id("p_lease", lease)
                        .arg("p_reason", Run::unreadable(seq));
                    self.contract.as_driver::<()>(call).await?;
                }
            }
        }
    }

    async fn api_key(&self, secret_hash: [u8; 32]) -> StoreResult<Option<(ApiKey, Role)>> {
        let call = Call::repeatable("api_key").arg("p_secret_hash", secret_hash);
        let known: Option<KnownKey> = self.contract.as_driver(call).await?;
        Ok(known.map(|known| (known.key, known.role)))
    }

    async fn unembedded(&self, model: &EmbeddingModel, locality: Locality, limit: usize) -> StoreResult<Vec<Unembedded>> {
        self.memories.unembedded(model, locality, limit).await
    }

    async fn put_off_embeddings(&self, model: &EmbeddingModel, memories: Vec<(WorkspaceId, MemoryId)>) -> StoreResult<()> {
        self.memories.put_off_embeddings(model, memories).await
    }

    async fn put_embeddings(&self, embeddings: Vec<(WorkspaceId, MemoryId, Embedding)>) -> StoreResult<()> {
        self.memories.put_embeddings(embeddings).await
    }

    async fn embedding_progress(&self, model: &EmbeddingModel, locality: Locality) -> StoreResult<EmbeddingProgress> {
        self.memories.embedding_progress(model, locality).await
    }

    /// The store's own relay usually comes first; this delivers what it has not delivered yet.
    async fn take_outbox(&self, limit: usize) -> StoreResult<Vec<Hint>> {
        self.feed.take_outbox(&self.contract, limit).await
    }

    async fn prove_writable(&self) -> StoreResult<()> {
        self.contract.as_driver(Call::repeatable("prove_writable")).await
    }

    async fn audit_heads(&self, after: Option<WorkspaceId>, limit: usize) -> StoreResult<Vec<AuditHead>> {
        let call = Call::repeatable("audit_heads")
            .arg("p_after", after.map(|after| after.uuid()))
            .arg("p_limit", contract::count(limit));
        self.contract.as_driver(call).await
    }

    async fn sweep(&self) -> StoreResult<u64> {
        let others: u64 = self.contract.as_driver(Call::repeatable("sweep")).await?;
        Ok(self.memories.sweep().await? + others)
    }
}
