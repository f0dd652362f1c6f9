//! Memories: sealed and split into terms here; stored, searched and guarded by the database; ranked by the core.

mod keys;
mod rows;
mod system;

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use duet_core::{
    Caller, StoreError, StoreResult,
    crypto::MasterKey,
    cursor,
    domain::{
        Capability, Embedding, EmbeddingModel, Label, LabelEdit, ListPage, Locality, Memory, MemoryDomain, MemoryEdit,
        MemoryFilter, NewMemory, PageRequest, RecallAnswer, RecallMode, RecallQuery, Recalled, RedactionReceipt, ReviewState,
    },
    ids::{Id, IdPrefix, MemoryId, RedactionId},
    ports::MemoryStore,
    recall::{self, NEIGHBOUR_REACH, TEXT_POOL, WIDENED, index_terms},
    refusal::Refusal,
};

use serde_json::{Value, json};

use self::{keys::FieldKeys, rows::Stored};
use super::{
    contract::{self, Contract},
    recall::{Bundle, Prefetched},
};
use crate::rpc::Call;

/// The memories in the database.
pub struct Memories {
    contract: Contract,
    keys: FieldKeys,
    /// Models that this process has registered with the database, which keeps no vectors of others.
    named: Mutex<HashSet<EmbeddingModel>>,
}

impl Memories {
    /// Takes the key that wraps the data keys of sensitive memories, if there is one.
    pub fn new(contract: Contract, master: Option<MasterKey>) -> Self {
        Self {
            keys: FieldKeys::new(contract.clone(), master),
            contract,
            named: Mutex::default(),
        }
    }

    /// Registers a model with the database, once.
    async fn name(&self, model: &EmbeddingModel) -> StoreResult<()> {
        if self.named.lock().unwrap_or_else(PoisonError::into_inner).contains(model) {
            return Ok(());
        }
        let call = Call::repeatable("memory_model")
            .arg("p_model", model.id.clone())
            .arg("p_dimensions", i32::try_from(model.dimensions).unwrap_or(i32::MAX));
        self.contract.as_driver::<()>(call).await?;
        self.named
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(model.clone());
        Ok(())
    }

    /// Reads these memories; also returns how many exist but are unreadable.
    async fn read(&self, caller: &Caller, ids: Vec<MemoryId>) -> StoreResult<(Vec<Memory>, usize)> {
        let mut memories = Vec::with_capacity(ids.len());
        let mut found = 0;
        for ids in ids.chunks(READ) {
            let call = Call::repeatable("memory_read")
                .to("read memories")
                .id("p_workspace", caller.workspace)
                .arg("p_ids", ids.iter().map(|id| id.uuid()).collect::<Vec<_>>());
            let rows: Vec<Value> = self.contract.as_caller(caller, call).await?;
            found += rows.len();
            memories.extend(rows::open(&self.keys, Some(caller), rows).await);
        }
        let unreadable = found - memories.len();
        Ok((memories, unreadable))
    }
}

/// Maximum number of memories read in one call.
const READ: usize = 500;

#[async_trait]
impl MemoryStore for Memories {
    async fn remember(&self, caller: &Caller, memory: NewMemory, embedding: Option<Embedding>) -> StoreResult<Memory> {
        const ACTION: &str = "remember this";
        memory.check()?;
        rows::check(embedding.as_ref())?;
        caller.require_capability(Capability::WriteMemory, ACTION)?;
        caller.require_scope(memory.domain, memory.visibility, ACTION)?;
        if let Some(embedding) = &embedding {
            self.name(&embedding.model).await?;
        }
        let call = Call::repeatable("memory_remember")
            .of("the memory to supersede")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_id", memory.id)
            .arg(
                "p_memory",
                rows::incoming(&self.keys, caller, &self.contract.env, &memory).await?,
            )
            .arg("p_model", embedding.as_ref().map(|embedding| embedding.model.id.clone()))
            .arg("p_vector", embedding.as_ref().map(rows::vector_text));
        let stored: Stored = self.contract.as_caller(caller, call).await?;
        rows::open_one(&self.keys, caller, stored).await
    }

    async fn memories(&self, caller: &Caller, ids: &[MemoryId]) -> StoreResult<Vec<Memory>> {
        caller.require_capability(Capability::ReadMemory, "read memories")?;
        let (memories, unreadable) = self.read(caller, ids.to_vec()).await?;
        match (memories.is_empty(), unreadable) {
            (true, 1..) => Err(StoreError::unavailable(
                "This memory cannot be read. Restore a backup, or redact it.",
            )),
            _ => Ok(memories),
        }
    }

    async fn ids(&self, caller: &Caller, prefix: IdPrefix) -> StoreResult<Vec<MemoryId>> {
        const ACTION: &str = "look for an id";
        caller.require_person(ACTION)?;
        let (low, high) = prefix.range();
        let call = Call::repeatable("memory_ids")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .arg("p_low", low)
            .arg("p_high", high);
        self.contract.as_caller(caller, call).await
    }

    async fn list(&self, caller: &Caller, filter: MemoryFilter, page: PageRequest) -> StoreResult<ListPage<Memory>> {
        const ACTION: &str = "list memories";
        caller.require_capability(Capability::ReadMemory, ACTION)?;
        let (before, before_id) = contract::moment(&page)?;
        let call = Call::repeatable("memory_list")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .arg("p_domain", filter.domain.map(|domain| domain.as_str().to_owned()))
            .arg("p_review", filter.review.unwrap_or(ReviewState::Accepted).as_str())
            .arg("p_history", filter.history)
            .arg("p_superseded_by", filter.superseded_by.map(|id| id.uuid()))
            .arg("p_before", before)
            .arg("p_before_id", before_id)
            .arg("p_limit", contract::limit(&page));
        let rows = self.contract.as_caller(caller, call).await?;
        let ListPage { items, next_cursor } = cursor::page(rows, page.size(), rows::place_in_list);
        Ok(ListPage {
            items: rows::open(&self.keys, Some(caller), items).await,
            next_cursor,
        })
    }

    async fn edit(&self, caller: &Caller, id: MemoryId, edit: MemoryEdit) -> StoreResult<Memory> {
        const ACTION: &str = "change this memory";
        caller.require_person(ACTION)?;
        let call = Call::new("memory_edit")
            .of("the memory")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_id", id)
            .arg("p_review", edit.review.map(|review| review.as_str().to_owned()))
            .arg(
                "p_visibility",
                edit.visibility.map(|visibility| visibility.as_str().to_owned()),
            )
            .arg("p_egress", edit.egress.map(|egress| egress.as_str().to_owned()));
        let stored: Stored = self.contract.as_caller(caller, call).await?;
        rows::open_one(&self.keys, caller, stored).await
    }

    async fn clear_labels(&self, caller: &Caller, id: MemoryId, edit: LabelEdit) -> StoreResult<Memory> {
        const ACTION: &str = "clear this memory's labels";
        caller.require_person(ACTION)?;
        edit.check_for_memory()?;
        // The database has no key to open a sealed text.
        let opened = match edit.clear.contains(&Label::Sensitive) {
            true => self.memories(caller, &[id]).await?.pop().filter(|memory| memory.sensitive),
            false => None,
        };
        let terms = opened
            .as_ref()
            .map(|memory| index_terms(memory.speaker.as_deref(), &memory.text).0);
        let call = Call::repeatable("memory_clear_labels")
            .of("the memory")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_id", id)
            .arg("p_labels", i32::from(edit.bits()))
            .arg("p_text", opened.map(|memory| memory.text))
            .arg("p_terms", terms.map(|terms| json!(terms)));
        let stored: Stored = self.contract.as_caller(caller, call).await?;
        rows::open_one(&self.keys, caller, stored).await
    }

    async fn recall(&self, caller: &Caller, query: RecallQuery) -> StoreResult<RecallAnswer> {
        const ACTION: &str = "recall";
        caller.require_capability(Capability::ReadMemory, ACTION)?;
        if !(1..=100).contains(&query.limit) {
            return Err(Refusal::RecallCount.into());
        }
        rows::check(query.embedding.as_ref())?;
        let mode = match (query.mode, &query.embedding) {
            (RecallMode::Hybrid, None) => RecallMode::Fts,
            (RecallMode::Vector, None) => {
                return Err(Refusal::NoVector.into());
            }
            (mode, _) => mode,
        };
        let terms = match mode {
            RecallMode::Vector => Vec::new(),
            RecallMode::Fts | RecallMode::Hybrid => recall::query_terms(&query.text),
        };
        let domains = query.domains.unwrap_or_else(|| MemoryDomain::ALL.to_vec());
        let call = Call::repeatable("memory_recall_bundle")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .arg(
                "p_domains",
                domains.iter().map(|domain| domain.as_str().to_owned()).collect::<Vec<_>>(),
            )
            .arg("p_local", query.locality == Locality::Local)
            .arg("p_terms", terms.clone())
            .arg("p_text_pool", contract::count(TEXT_POOL))
            .arg("p_widened", contract::count(WIDENED))
            .arg("p_reach", contract::count(NEIGHBOUR_REACH))
            .arg(
                "p_model",
                query.embedding.as_ref().map(|embedding| embedding.model.id.clone()),
            )
            .arg("p_vector", query.embedding.as_ref().map(rows::vector_text))
            .arg("p_nearest", contract::count(recall::nearest_count(mode, query.limit)));
        let bundle: Bundle = self.contract.as_caller(caller, call).await?;
        let mut source = Prefetched::new(bundle, &terms);
        let model = query.embedding.as_ref().map(|embedding| &embedding.model);
        let Ok(ranked) = recall::rank(&mut source, &terms, model, mode, query.limit, &query.bar, query.now);
        let (memories, _) = self.read(caller, ranked.iter().map(|ranked| ranked.id).collect()).await?;
        // Memories redacted since ranking are not among them.
        #[expect(clippy::cast_possible_truncation, reason = "scores are shown in single precision")]
        let items = ranked
            .into_iter()
            .filter_map(|ranked| {
                let memory = memories.iter().find(|memory| memory.id == ranked.id)?;
                memory.redacted_at.is_none().then(|| Recalled {
                    memory: memory.clone(),
                    score: ranked.score as f32,
                    vector_score: ranked.cosine,
                    text_score: ranked.text.map(|score| score as f32),
                })
            })
            .collect();
        Ok(RecallAnswer { items, mode })
    }

    async fn redact(&self, caller: &Caller, id: MemoryId, redaction: RedactionId) -> StoreResult<RedactionReceipt> {
        const ACTION: &str = "redact this memory";
        caller.require_person(ACTION)?;
        let call = Call::repeatable("memory_redact")
            .of("the memory")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_id", id)
            .id("p_redaction", redaction);
        self.contract.as_caller(caller, call).await
    }

    async fn receipt(&self, caller: &Caller, id: MemoryId) -> StoreResult<Option<RedactionReceipt>> {
        // Redacted memories do not exist for an agent.
        if caller.agent.is_some() {
            return Ok(None);
        }
        let call = Call::repeatable("memory_receipt")
            .id("p_workspace", caller.workspace)
            .id("p_id", id);
        self.contract.as_caller(caller, call).await
    }
}
