use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    domain::{Appended, NewEvent, Run, Settlement},
    error::StoreResult,
    ids::{LeaseToken, RunId},
};

/// The log of a claimed run as its driver writes it. Every method checks that `lease` is the run's present one and still
/// runs; a lost lease is `Stale` and writes nothing.
#[async_trait]
pub trait RunLog: Send + Sync {
    /// Appends events with gapless `seq`, chain hashes and outbox rows. `after` is the newest `seq` that the driver has
    /// folded: what others appended since is returned as `interleaved`.
    async fn append(&self, run: RunId, lease: LeaseToken, after: u64, events: Vec<NewEvent>) -> StoreResult<Appended>;

    /// Prolongs the lease and returns its new end and the run's newest `seq`.
    async fn heartbeat(&self, run: RunId, lease: LeaseToken) -> StoreResult<(Timestamp, u64)>;

    /// Ends the run: last events, final status, the reply (the message `run.reply_id`, new or with more text), and the lease.
    /// `after` as in [`RunLog::append`]: when others have appended since, nothing is written and the answer is `Stale`
    /// with the lease intact, so that the driver folds them first.
    async fn settle(&self, run: RunId, lease: LeaseToken, after: u64, settlement: Settlement) -> StoreResult<Run>;

    /// Gives the run back unfinished, so that another worker may claim it at once (a worker that shuts down).
    async fn hand_back(&self, run: RunId, lease: LeaseToken) -> StoreResult<()>;
}
