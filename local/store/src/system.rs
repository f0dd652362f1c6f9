//! Work without a person's context.

use std::sync::Arc;

use async_trait::async_trait;
use duet_core::{
    StoreResult,
    crypto::Hash,
    domain::{
        ApiKey, AuditHead, Claim, Embedding, EmbeddingModel, EmbeddingProgress, EventKind, Hint, LeasePolicy, Locality, Role,
    },
    feed::Feed,
    ids::{MemoryId, WorkspaceId},
    ports::{SystemStore, Unembedded},
};
use rusqlite::params;

use super::{
    db::Db,
    devices, hints, keys,
    memory::LocalMemories,
    requests,
    rows::{count, id, opt_blob},
    run_log,
};

/// The process's own access to the file.
pub struct LocalSystem {
    pub(super) db: Db,
    pub(super) feed: Arc<Feed>,
    pub(super) memories: Arc<LocalMemories>,
}

#[async_trait]
impl SystemStore for LocalSystem {
    async fn claim_run(&self, policy: LeasePolicy, vocabulary: &[EventKind]) -> StoreResult<Option<Claim>> {
        let (env, leases, vocabulary) = (self.db.env().clone(), self.db.leases().clone(), vocabulary.to_vec());
        self.db
            .write(move |tx| run_log::claim(tx, &env, &leases, policy, &vocabulary))
            .await
    }

    async fn api_key(&self, secret_hash: [u8; 32]) -> StoreResult<Option<(ApiKey, Role)>> {
        keys::look_up(&self.db, secret_hash).await
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

    /// The store's own relay usually comes first; what it has not delivered yet is delivered here too.
    async fn take_outbox(&self, limit: usize) -> StoreResult<Vec<Hint>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let hints: Vec<Hint> = self
            .db
            .write(move |tx| {
                let mut statement = tx.prepare_cached("SELECT * FROM run_event_outbox ORDER BY id LIMIT ?1")?;
                let rows = statement.query_map([limit], |row| Ok((row.get::<_, i64>("id")?, hints::hint(row)?)))?;
                let taken = rows.collect::<Result<Vec<_>, _>>()?;
                if let Some((last, _)) = taken.last() {
                    tx.execute("DELETE FROM run_event_outbox WHERE id <= ?1", [last])?;
                }
                Ok(taken.into_iter().map(|(_, hint)| hint).collect())
            })
            .await?;
        for hint in &hints {
            self.feed.send(*hint);
        }
        Ok(hints)
    }

    async fn prove_writable(&self) -> StoreResult<()> {
        let now = self.db.env().now();
        self.db
            .write(move |tx| {
                tx.execute("UPDATE installation SET proved_at = ?1", [now.millis()])?;
                Ok(())
            })
            .await
    }

    async fn audit_heads(&self, after: Option<WorkspaceId>, limit: usize) -> StoreResult<Vec<AuditHead>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.db
            .read(move |conn| {
                let mut statement = conn.prepare_cached(
                    "SELECT h.workspace_id, h.seq, h.hash, m.user_id FROM audit_head h
                     JOIN member m ON m.workspace_id = h.workspace_id AND m.user_id = (
                         SELECT o.user_id FROM member o WHERE o.workspace_id = h.workspace_id AND o.role = 'owner'
                         ORDER BY o.joined_at, o.user_id LIMIT 1)
                     WHERE ?1 IS NULL OR h.workspace_id > ?1 ORDER BY h.workspace_id LIMIT ?2",
                )?;
                let rows = statement.query_map(params![opt_blob(after), limit], |row| {
                    Ok(AuditHead {
                        workspace_id: id(row, "workspace_id")?,
                        owner: id(row, "user_id")?,
                        seq: count(row, "seq")?,
                        hash: hex::encode(row.get::<_, Hash>("hash")?),
                    })
                })?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    async fn sweep(&self) -> StoreResult<u64> {
        let now = self.db.env().now();
        let env = self.db.env().clone();
        let rows = self
            .db
            .write(move |tx| {
                let requests = requests::expire(tx, &env)?;
                let sessions = tx.execute("DELETE FROM session WHERE expires_at <= ?1", params![now.millis()])?;
                let keys = tx.execute("DELETE FROM idempotency_key WHERE expires_at <= ?1", params![now.millis()])?;
                let devices = devices::sweep(tx, now)?;
                Ok((requests + sessions + keys + devices) as u64)
            })
            .await?;
        Ok(rows + self.memories.sweep().await?)
    }
}
