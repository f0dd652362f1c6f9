use async_trait::async_trait;

use crate::{
    caller::Caller,
    domain::{
        Embedding, LabelEdit, ListPage, Memory, MemoryEdit, MemoryFilter, NewMemory, PageRequest, RecallAnswer, RecallQuery,
        RedactionReceipt,
    },
    error::StoreResult,
    ids::{IdPrefix, MemoryId, RedactionId},
};

/// Memories (M1–M10). Visible are: the shared ones and the caller's private ones; to an agent, of those the ones within
/// its memory scopes, and only accepted, valid, unexpired ones.
#[async_trait]
pub trait MemoryStore: Send + Sync {
    /// Stores a memory with its vector (or without, to be embedded later), its full-text entries and, where it supersedes
    /// another, that one's end of validity. Taking the place of somebody else's memory is a proposal
    /// ([`Memory::may_be_replaced_by`]). The same id again returns what is stored; the id of a memory that is gone is not given
    /// again. An agent needs `write_memory`, may not supersede what it cannot see, and writes untrusted text as `proposed`. On
    /// record as `memory.create`, by ids alone.
    async fn remember(&self, caller: &Caller, memory: NewMemory, embedding: Option<Embedding>) -> StoreResult<Memory>;

    /// These memories, in the order asked for; invisible or unknown ones are left out.
    async fn memories(&self, caller: &Caller, ids: &[MemoryId]) -> StoreResult<Vec<Memory>>;

    /// Ids of visible memories that begin like this, smallest first, at most [`IdPrefix::MOST`] (a person only).
    async fn ids(&self, caller: &Caller, prefix: IdPrefix) -> StoreResult<Vec<MemoryId>>;

    /// Visible memories, newest first.
    async fn list(&self, caller: &Caller, filter: MemoryFilter, page: PageRequest) -> StoreResult<ListPage<Memory>>;

    /// Reviews, shares or restricts a memory (a person only; their own, or as owner any shared one). A proposal to take the place
    /// of somebody's memory is accepted or rejected by that person or an owner, whoever proposed it.
    async fn edit(&self, caller: &Caller, id: MemoryId, edit: MemoryEdit) -> StoreResult<Memory>;

    /// Clears labels of a memory (a person only; whoever may edit it, but `sensitive` its person alone, because its text is stored
    /// unsealed then and found by its words). What is named gets better, nothing gets worse; what the memory does not have is passed
    /// over, and a proposal stays one. On record as `memory.clear_label`, with the labels that were cleared.
    async fn clear_labels(&self, caller: &Caller, id: MemoryId, edit: LabelEdit) -> StoreResult<Memory>;

    /// The memories that answer a question best, by [`crate::recall`]. Only accepted, valid, unexpired ones that may
    /// reach `query.locality`. An agent needs `read_memory`.
    async fn recall(&self, caller: &Caller, query: RecallQuery) -> StoreResult<RecallAnswer>;

    /// Removes a memory's text everywhere: the memory and those whose place it took as far as the caller may redact them, full
    /// text, vectors, the message it came from, the payloads and replies of the caller's runs that wrote or recalled it, or of
    /// everybody's where an owner asks; leaves a tombstone (a person only; their own, or as owner any shared one). Others whose
    /// replies recalled it get a [`Notice`](crate::domain::Notice). Repeated: returns the first receipt.
    async fn redact(&self, caller: &Caller, id: MemoryId, redaction: RedactionId) -> StoreResult<RedactionReceipt>;

    /// The receipt of a memory's redaction.
    async fn receipt(&self, caller: &Caller, id: MemoryId) -> StoreResult<Option<RedactionReceipt>>;
}
