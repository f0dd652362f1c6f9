//! The memory part of [`duet_core::ports::SystemStore`].

use duet_core::{
    StoreResult,
    domain::{Egress, Embedding, EmbeddingModel, EmbeddingProgress, Locality},
    ids::{MemoryId, WorkspaceId},
    ports::Unembedded,
    recall::embedding_text,
};
use serde_json::{Value, json};

use super::{Memories, rows};
use crate::{rpc::Call, store::contract};

impl Memories {
    /// [`SystemStore::unembedded`](duet_core::ports::SystemStore::unembedded).
    pub async fn unembedded(&self, model: &EmbeddingModel, locality: Locality, limit: usize) -> StoreResult<Vec<Unembedded>> {
        loop {
            let call = backlog("memory_unembedded", model, locality).arg("p_limit", contract::count(limit));
            let rows: Vec<Value> = self.contract.as_driver(call).await?;
            let mut unreadable: Vec<_> = rows.iter().filter_map(rows::named).collect();
            let memories = rows::open(&self.keys, None, rows).await;
            unreadable.retain(|named| memories.iter().all(|memory| (memory.workspace_id, memory.id) != *named));
            // An unreadable memory cannot be embedded, and must not stay at the head of the queue.
            let stuck = memories.is_empty() && !unreadable.is_empty();
            if !unreadable.is_empty() {
                self.put_off_embeddings(model, unreadable).await?;
            }
            if stuck {
                continue;
            }
            return Ok(memories
                .into_iter()
                .map(|memory| Unembedded {
                    workspace: memory.workspace_id,
                    memory: memory.id,
                    text: embedding_text(memory.domain, memory.speaker.as_deref(), memory.occurred_at, &memory.text),
                    egress: if memory.sensitive { Egress::LocalOnly } else { memory.egress },
                })
                .collect());
        }
    }

    /// [`SystemStore::put_off_embeddings`](duet_core::ports::SystemStore::put_off_embeddings).
    pub async fn put_off_embeddings(&self, model: &EmbeddingModel, memories: Vec<(WorkspaceId, MemoryId)>) -> StoreResult<()> {
        let items = memories
            .iter()
            .map(|(workspace, memory)| json!({"workspace": workspace, "memory": memory}))
            .collect();
        let call = Call::new("memory_put_off")
            .arg("p_model", model.id.clone())
            .arg("p_dimensions", i32::try_from(model.dimensions).unwrap_or(i32::MAX))
            .arg("p_items", Value::Array(items));
        self.contract.as_driver(call).await
    }

    /// [`SystemStore::put_embeddings`](duet_core::ports::SystemStore::put_embeddings).
    pub async fn put_embeddings(&self, embeddings: Vec<(WorkspaceId, MemoryId, Embedding)>) -> StoreResult<()> {
        for (_, _, embedding) in &embeddings {
            rows::check(Some(embedding))?;
        }
        // A batch is one transaction, small enough to lock its rows only for a moment.
        for batch in embeddings.chunks(BATCH) {
            let items: Vec<Value> = batch
                .iter()
                .map(|(workspace, memory, embedding)| {
                    json!({
                        "workspace": workspace,
                        "memory": memory,
                        "model": embedding.model.id,
                        "vector": rows::vector_text(embedding),
                    })
                })
                .collect();
            let call = Call::repeatable("memory_put_embeddings").arg("p_items", Value::Array(items));
            self.contract.as_driver::<()>(call).await?;
        }
        Ok(())
    }

    /// [`SystemStore::embedding_progress`](duet_core::ports::SystemStore::embedding_progress).
    pub async fn embedding_progress(&self, model: &EmbeddingModel, locality: Locality) -> StoreResult<EmbeddingProgress> {
        self.contract
            .as_driver(backlog("memory_embedding_progress", model, locality))
            .await
    }

    /// Deletes expired working memories and keeps the codes centred; the memory part of
    /// [`SystemStore::sweep`](duet_core::ports::SystemStore::sweep).
    pub async fn sweep(&self) -> StoreResult<u64> {
        let mut swept = 0;
        loop {
            let step: u64 = self
                .contract
                .as_driver(Call::new("memory_sweep").arg("p_limit", STEP))
                .await?;
            swept += step;
            if step < u64::from(STEP.unsigned_abs()) {
                return Ok(swept);
            }
        }
    }
}

/// Number of vectors stored in one transaction.
const BATCH: usize = 256;

/// Number of memories swept in one transaction.
const STEP: i32 = 500;

fn backlog(function: &'static str, model: &EmbeddingModel, locality: Locality) -> Call {
    Call::repeatable(function)
        .arg("p_model", model.id.clone())
        .arg("p_dimensions", i32::try_from(model.dimensions).unwrap_or(i32::MAX))
        .arg("p_local", locality == Locality::Local)
}
