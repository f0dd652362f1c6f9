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

/// Memories (M1–M10). A caller sees the shared ones and their own private ones; an agent sees, of those, only the ones within its
/// memory scopes that are accepted, valid and unexpired.
#[async_trait]
pub trait MemoryStore: Send + Sync {
    /// Stores a memory with its vector (or without, to be embedded later), its full-text entries and, if it supersedes another
    /// memory, that memory's end of validity. Replacing somebody else's memory is a proposal ([`Memory::may_be_replaced_by`]). The
    /// same id again returns what is stored; the id of a removed memory is never reused. An agent needs `write_memory`, may not
    /// supersede what it cannot see, and writes untrusted text as `proposed`. On record as `memory.create`, by ids alone.
    async fn remember(&self, caller: &Caller, memory: NewMemory, embedding: Option<Embedding>) -> StoreResult<Memory>;

    /// These memories, in the order asked for; invisible or unknown ones are left out.
    async fn memories(&self, caller: &Caller, ids: &[MemoryId]) -> StoreResult<Vec<Memory>>;

    /// Ids of visible memories with this prefix, smallest first, at most [`IdPrefix::MOST`] (a person only).
    async fn ids(&self, caller: &Caller, prefix: IdPrefix) -> StoreResult<Vec<MemoryId>>;

    /// Visible memories, newest first.
    async fn list(&self, caller: &Caller, filter: MemoryFilter, page: PageRequest) -> StoreResult<ListPage<Memory>>;

    /// Reviews, shares or restricts a memory (a person only; their own, or as owner any shared one). A proposal to replace
    /// somebody's memory is accepted or rejected by that person or an owner, no matter who proposed it.
    async fn edit(&self, caller: &Caller, id: MemoryId, edit: MemoryEdit) -> StoreResult<Memory>;

    /// Clears labels of a memory (a person only; anyone who may edit it, but `sensitive` only by the person whose memory it is,
    /// because its text is then stored unsealed and found by its words). No label becomes stricter, labels that the memory does not
    /// have are ignored, and a proposal stays a proposal. On record as `memory.clear_label`, with the labels that were cleared.
    async fn clear_labels(&self, caller: &Caller, id: MemoryId, edit: LabelEdit) -> StoreResult<Memory>;

    /// The memories that answer a question best, by [`crate::recall`]. Only accepted, valid, unexpired ones that may
    /// reach `query.locality`. An agent needs `read_memory`.
    async fn recall(&self, caller: &Caller, query: RecallQuery) -> StoreResult<RecallAnswer>;

    /// Removes a memory's text everywhere: the memory and those it replaced (as far as the caller may redact them), full text,
    /// vectors, the message it came from, and the payloads and replies of the caller's runs that wrote or recalled it, or of
    /// everybody's runs if an owner asks. Leaves a tombstone (a person only; their own, or as owner any shared one). Other people
    /// whose replies recalled it get a [`Notice`](crate::domain::Notice). Repeating it returns the first receipt.
    async fn redact(&self, caller: &Caller, id: MemoryId, redaction: RedactionId) -> StoreResult<RedactionReceipt>;

    /// The receipt of a memory's redaction.
    async fn receipt(&self, caller: &Caller, id: MemoryId) -> StoreResult<Option<RedactionReceipt>>;
}
