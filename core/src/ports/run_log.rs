use async_trait::async_trait;

use crate::{
    domain::{Appended, HandBack, NewEvent, Run, Settlement},
    error::StoreResult,
    ids::{CommitId, LeaseToken, RunId},
};

/// The log of a claimed run as its driver writes it. Every method checks that `lease` is the run's current one and still holds; a
/// lost lease is `Stale` and writes nothing.
///
/// When the answer to a write is lost, the driver cannot know whether the write happened: it repeats it under the same `commit`,
/// and if it did happen the store returns the first answer, even if the lease has ended since.
#[async_trait]
pub trait RunLog: Send + Sync {
    /// Appends events with gapless `seq`, chain hashes and outbox rows. `after` is the newest `seq` that the driver has
    /// folded: what others appended since is returned as `interleaved`.
    async fn append(
        &self,
        run: RunId,
        lease: LeaseToken,
        after: u64,
        commit: CommitId,
        events: Vec<NewEvent>,
    ) -> StoreResult<Appended>;

    /// Extends the lease, if it expires, and returns the run's newest `seq`.
    async fn heartbeat(&self, run: RunId, lease: LeaseToken) -> StoreResult<u64>;

    /// Ends the run: last events, final status, the reply (the message `run.reply_id`, new or with more text), and the lease.
    /// `after` as in [`RunLog::append`]: when others have appended since, nothing is written and the answer is `Stale` with the
    /// lease intact, so that the driver can fold their events first.
    async fn settle(
        &self,
        run: RunId,
        lease: LeaseToken,
        after: u64,
        commit: CommitId,
        settlement: Settlement,
    ) -> StoreResult<Run>;

    /// Gives the run back unfinished, so that another worker may claim it at once.
    async fn hand_back(&self, run: RunId, lease: LeaseToken, why: HandBack) -> StoreResult<()>;
}
