use async_trait::async_trait;

use crate::{
    caller::Caller,
    domain::{AuditEntry, ListPage, NewAuditEntry, PageRequest},
    error::StoreResult,
};

/// What a check of a hash chain found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainCheck {
    /// Every row is in its place; this is their number.
    Intact(u64),
    /// The first row that is missing, changed or out of order.
    Broken {
        /// Which chain: `audit`, or `run <id>`.
        chain: String,
        /// Its `seq`.
        seq: u64,
    },
}

/// The audit log. Stores write the entries of their own actions in the transaction of the action; this port adds those that no
/// store sees, and reads the log.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Appends an entry; its actor is the caller and its time is now.
    async fn append(&self, caller: &Caller, entry: NewAuditEntry) -> StoreResult<AuditEntry>;

    /// The entries, newest first (owner only). The cursor is the `seq` before which a page begins, so that any stretch of the log
    /// can be requested.
    async fn entries(&self, caller: &Caller, page: PageRequest) -> StoreResult<ListPage<AuditEntry>>;

    /// Recomputes the workspace's audit chain and the chains of all its runs (owner only).
    async fn verify(&self, caller: &Caller) -> StoreResult<ChainCheck>;
}
