//! Not on main: stands in for ports that are not written yet.
use async_trait::async_trait;
use duet_core::{caller::Caller, domain::*, error::*, ids::*, ports::*};
pub struct Absent;
pub fn absent<T>() -> StoreResult<T> {
    Err(StoreError::unavailable("absent"))
}
#[async_trait]
#[allow(unused_variables)]
impl MemoryStore for Absent {
    async fn remember(&self, caller: &Caller, memory: NewMemory, embedding: Option<Embedding>) -> StoreResult<Memory> {
        absent()
    }
    async fn memories(&self, caller: &Caller, ids: &[MemoryId]) -> StoreResult<Vec<Memory>> {
        absent()
    }
    async fn list(&self, caller: &Caller, filter: MemoryFilter, page: PageRequest) -> StoreResult<Page<Memory>> {
        absent()
    }
    async fn edit(&self, caller: &Caller, id: MemoryId, edit: MemoryEdit) -> StoreResult<Memory> {
        absent()
    }
    async fn recall(&self, caller: &Caller, query: RecallQuery) -> StoreResult<RecallAnswer> {
        absent()
    }
    async fn redact(&self, caller: &Caller, id: MemoryId, redaction: RedactionId) -> StoreResult<RedactionReceipt> {
        absent()
    }
    async fn receipt(&self, caller: &Caller, id: MemoryId) -> StoreResult<Option<RedactionReceipt>> {
        absent()
    }
}
