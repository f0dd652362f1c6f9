use async_trait::async_trait;

use crate::{
    caller::Caller,
    domain::{ListPage, Notice, NoticeAction, PageRequest},
    error::StoreResult,
    ids::NoticeId,
};

/// The caller's own notices (a person only), which [`MemoryStore::redact`](super::MemoryStore::redact) creates.
#[async_trait]
pub trait NoticeStore: Send + Sync {
    /// The caller's open notices, newest first.
    async fn list(&self, caller: &Caller, page: PageRequest) -> StoreResult<ListPage<Notice>>;

    /// Settles a notice: the replies that recalled the redacted memory are removed with the payloads of their runs, or stay. When
    /// repeated, the first decision stands. `Conflict` while one of the replies is being written.
    async fn settle(&self, caller: &Caller, id: NoticeId, action: NoticeAction) -> StoreResult<Notice>;
}
