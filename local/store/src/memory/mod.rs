//! Memories in the encrypted file.

mod index;
mod keys;
#[cfg(test)]
mod label_tests;
#[cfg(test)]
mod notice_tests;
mod notices;
mod read;
mod redact;
mod rows;
mod system;
#[cfg(test)]
mod tests;
mod tombstones;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use duet_core::{
    Caller, StoreError, StoreResult,
    domain::{
        Capability, Embedding, EmbeddingModel, EmbeddingProgress, Label, LabelEdit, ListPage, Locality, Memory, MemoryEdit,
        MemoryFilter, NewMemory, PageRequest, RecallAnswer, RecallQuery, Recalled, RedactionReceipt, ReviewState,
    },
    ids::{IdPrefix, MemoryId, RedactionId, WorkspaceId},
    ports::{MemoryStore, Unembedded},
    refusal::Refusal,
};
use rusqlite::params;

use self::{keys::FieldKeys, tombstones::Entry};
pub(super) use self::{
    redact::{is_reconciled, reconcile},
    tombstones::sidecar as tombstones_beside,
};
use super::{audit, connect::Connector, db::Db, hints, recall::VectorCache, rows::blob};

/// The memory store of one file.
pub struct LocalMemories {
    db: Db,
    connector: Arc<Connector>,
    cache: Arc<VectorCache>,
    keys: FieldKeys,
}

impl LocalMemories {
    /// Opens the store on this file, with this many bytes for vector codes in memory.
    pub fn new(db: Db, connector: Arc<Connector>, vector_cache_bytes: usize) -> Self {
        Self {
            keys: FieldKeys::new(db.clone(), connector.key()),
            cache: VectorCache::new(vector_cache_bytes),
            db,
            connector,
        }
    }

    /// [`SystemStore::unembedded`](duet_core::ports::SystemStore::unembedded).
    pub async fn unembedded(&self, model: &EmbeddingModel, locality: Locality, limit: usize) -> StoreResult<Vec<Unembedded>> {
        system::unembedded(&self.db, &self.keys, model, locality, limit).await
    }

    /// [`SystemStore::put_off_embeddings`](duet_core::ports::SystemStore::put_off_embeddings).
    pub async fn put_off_embeddings(&self, model: &EmbeddingModel, memories: Vec<(WorkspaceId, MemoryId)>) -> StoreResult<()> {
        system::put_off_embeddings(&self.db, model, memories).await
    }

    /// [`SystemStore::put_embeddings`](duet_core::ports::SystemStore::put_embeddings).
    pub async fn put_embeddings(&self, embeddings: Vec<(WorkspaceId, MemoryId, Embedding)>) -> StoreResult<()> {
        system::put_embeddings(&self.db, embeddings).await
    }

    /// [`SystemStore::embedding_progress`](duet_core::ports::SystemStore::embedding_progress).
    pub async fn embedding_progress(&self, model: &EmbeddingModel, locality: Locality) -> StoreResult<EmbeddingProgress> {
        system::embedding_progress(&self.db, model, locality).await
    }

    /// Deletes expired working memories and maintains the bit index; the memory part of
    /// [`SystemStore::sweep`](duet_core::ports::SystemStore::sweep).
    pub async fn sweep(&self) -> StoreResult<u64> {
        let swept = system::sweep(&self.db, self.db.env().now()).await?;
        if self.connector.owes_checkpoint() {
            self.connector
                .checkpoint(&self.db, "What was removed is not in the file.")
                .await?;
        }
        Ok(swept)
    }
}

#[async_trait]
impl MemoryStore for LocalMemories {
    async fn remember(&self, caller: &Caller, memory: NewMemory, embedding: Option<Embedding>) -> StoreResult<Memory> {
        const REMEMBER: &str = "remember this";
        memory.check()?;
        system::check(embedding.as_ref())?;
        caller.require_capability(Capability::WriteMemory, REMEMBER)?;
        caller.require_scope(memory.domain, memory.visibility, REMEMBER)?;
        let sealed = if memory.sensitive {
            let keys = self.keys.of(caller.workspace).await?;
            let sealed = keys.seal(
                self.db.env(),
                rows::place(caller.workspace, memory.id),
                memory.text.as_bytes(),
            );
            Some(sealed.map_err(|error| StoreError::unavailable(error.to_string()))?)
        } else {
            None
        };
        let incoming = write::Incoming {
            memory,
            sealed,
            embedding,
            now: self.db.env().now(),
        };
        let (asking, env) = (caller.clone(), self.db.env().clone());
        let stored = self
            .db
            .write_for(caller, move |conn| {
                let stored = write::remember(conn, &asking, &env, &incoming)?;
                // An agent has no access to hints: the worker leaves them with the call's result.
                if asking.agent.is_none() && stored.memory.review == ReviewState::Proposed {
                    hints::proposal(conn, asking.workspace, stored.memory.id)?;
                }
                Ok(stored)
            })
            .await?;
        rows::open_one(&self.keys, stored).await
    }

    async fn memories(&self, caller: &Caller, ids: &[MemoryId]) -> StoreResult<Vec<Memory>> {
        caller.require_capability(Capability::ReadMemory, "read memories")?;
        let (asking, ids, now) = (caller.clone(), ids.to_vec(), self.db.env().now());
        let stored = self
            .db
            .read_for(caller, move |conn| read::memories(conn, &asking, &ids, now))
            .await?;
        let found = stored.len();
        let memories = rows::open_all(&self.keys, stored.into_iter().flatten().collect()).await;
        match (memories.is_empty(), found) {
            (true, 1..) => Err(StoreError::unavailable(
                "This memory cannot be read. Restore a backup, or redact it.",
            )),
            _ => Ok(memories),
        }
    }

    async fn ids(&self, caller: &Caller, prefix: IdPrefix) -> StoreResult<Vec<MemoryId>> {
        caller.require_person("look for an id")?;
        let (asking, now) = (caller.clone(), self.db.env().now());
        self.db
            .read_for(caller, move |conn| read::ids(conn, &asking, prefix, now))
            .await
    }

    async fn list(&self, caller: &Caller, filter: MemoryFilter, page: PageRequest) -> StoreResult<ListPage<Memory>> {
        caller.require_capability(Capability::ReadMemory, "list memories")?;
        let (asking, now) = (caller.clone(), self.db.env().now());
        let page = self
            .db
            .read_for(caller, move |conn| read::list(conn, &asking, &filter, &page, now))
            .await?;
        Ok(ListPage {
            items: rows::open_all(&self.keys, page.items).await,
            next_cursor: page.next_cursor,
        })
    }

    async fn edit(&self, caller: &Caller, id: MemoryId, edit: MemoryEdit) -> StoreResult<Memory> {
        caller.require_person("change this memory")?;
        let (asking, env) = (caller.clone(), self.db.env().clone());
        let stored = self
            .db
            .write(move |conn| {
                let stored = write::edit(conn, &asking, id, &edit, env.now())?;
                let details = serde_json::to_value(&edit)?;
                audit::record(
                    conn,
                    &env,
                    (&asking).into(),
                    audit::done("memory.edit", format!("memory:{id}"), details),
                )?;
                if edit.review.is_some() {
                    hints::proposal(conn, asking.workspace, id)?;
                }
                Ok(stored)
            })
            .await?;
        rows::open_one(&self.keys, stored).await
    }

    async fn clear_labels(&self, caller: &Caller, id: MemoryId, edit: LabelEdit) -> StoreResult<Memory> {
        caller.require_person("clear this memory's labels")?;
        edit.check_for_memory()?;
        // The keys are only at hand outside the transaction.
        let opened = match edit.clear.contains(&Label::Sensitive) {
            true => self.memories(caller, &[id]).await?.pop().map(|memory| memory.text),
            false => None,
        };
        let (asking, env) = (caller.clone(), self.db.env().clone());
        let stored = self
            .db
            .write(move |conn| {
                let (stored, cleared) = write::clear_labels(conn, &asking, id, &edit, opened.as_deref(), env.now())?;
                // Repeating it changes nothing, and is not a second action.
                if !cleared.is_empty() {
                    let details = serde_json::json!({ "labels": cleared });
                    let entry = audit::done("memory.clear_label", format!("memory:{id}"), details);
                    audit::record(conn, &env, (&asking).into(), entry)?;
                }
                Ok(stored)
            })
            .await?;
        rows::open_one(&self.keys, stored).await
    }

    async fn recall(&self, caller: &Caller, query: RecallQuery) -> StoreResult<RecallAnswer> {
        caller.require_capability(Capability::ReadMemory, "recall")?;
        if !(1..=100).contains(&query.limit) {
            return Err(Refusal::RecallCount.into());
        }
        system::check(query.embedding.as_ref())?;
        let (asking, cache) = (caller.clone(), Arc::clone(&self.cache));
        let found = self
            .db
            .read_for(caller, move |conn| read::recall(conn, &asking, query, &cache))
            .await?;
        if let Some(load) = found.load {
            tokio::spawn(load.run(self.db.clone(), Arc::clone(&self.cache)));
        }
        let memories = rows::open(&self.keys, found.items).await;
        #[expect(clippy::cast_possible_truncation, reason = "scores are shown in single precision")]
        let items = memories
            .into_iter()
            .map(|(memory, ranked)| Recalled {
                memory,
                score: ranked.score as f32,
                vector_score: ranked.cosine,
                text_score: ranked.text.map(|score| score as f32),
            })
            .collect();
        Ok(RecallAnswer { items, mode: found.mode })
    }

    async fn redact(&self, caller: &Caller, id: MemoryId, redaction: RedactionId) -> StoreResult<RedactionReceipt> {
        caller.require_person("redact this memory")?;
        let (asking, env, cache) = (caller.clone(), self.db.env().clone(), Arc::clone(&self.cache));
        let (receipt, tombstones) = self
            .db
            .write(move |conn| {
                let (receipt, tombstones) = redact::redact(conn, &asking, id, redaction, &env, &cache)?;
                // Repeating it changes nothing, and is not a second action.
                if !tombstones.is_empty() {
                    let details = serde_json::json!({"receipt": receipt.id, "memories": tombstones.len()});
                    let entry = audit::done("memory.redact", format!("memory:{id}"), details);
                    audit::record(conn, &env, (&asking).into(), entry)?;
                }
                Ok((receipt, tombstones))
            })
            .await?;
        let again = tombstones.is_empty();
        let entries: Vec<_> = tombstones.into_iter().map(Entry::Redacted).collect();
        tombstones::append(&self.connector, &entries).map_err(|error| redact::unwritten("The memory is redacted", &error))?;
        // When asked again after the log could not be emptied, empty it now.
        if !again || self.connector.owes_checkpoint() {
            self.connector.checkpoint(&self.db, "The memory is redacted.").await?;
        }
        Ok(receipt)
    }

    async fn receipt(&self, caller: &Caller, id: MemoryId) -> StoreResult<Option<RedactionReceipt>> {
        let (asking, now) = (caller.clone(), self.db.env().now());
        self.db
            .read_for(caller, move |conn| match rows::find(conn, &asking, id, now)? {
                Some(_) => redact::receipt(conn, &asking, id),
                None => {
                    // A restored older copy may have a tombstone without its memory.
                    let own = conn
                        .prepare_cached(
                            "SELECT 1 FROM memory_tombstone WHERE workspace_id = ?1 AND memory_id = ?2
                               AND NOT EXISTS (SELECT 1 FROM memory m WHERE m.workspace_id = ?1 AND m.id = ?2)",
                        )?
                        .exists(params![blob(asking.workspace), blob(id)])?;
                    let receipt = if own { redact::receipt(conn, &asking, id)? } else { None };
                    Ok(receipt.filter(|receipt| receipt.redacted_by == asking.user))
                }
            })
            .await
    }
}
