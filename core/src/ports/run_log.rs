use async_trait::async_trait;

use crate::{
    domain::{Commit, Committed, HandBack},
    error::StoreResult,
    ids::{LeaseToken, RunId},
};

/// The log of a claimed run as its driver writes it. Every method checks that `lease` is the run's current one and still holds; a
/// lost lease is `Stale` and writes nothing.
#[async_trait]
pub trait RunLog: Send + Sync {
    /// Appends events with gapless `seq`, chain hashes and outbox rows, stores what the run asks, uses up approvals, and lets the
    /// run go on, wait or end, as [`Commit::then`] says. `after` is the newest `seq` that the driver has folded: what others
    /// appended since is returned as `interleaved`. To wait or to end, nothing may have been appended since: else nothing is
    /// written and the answer is `Stale` with the lease intact, so that the driver can fold it first. `Conflict` when an approval
    /// does not hold (any more) for the call as it would be made; then nothing is written either.
    async fn commit(&self, run: RunId, lease: LeaseToken, after: u64, commit: Commit) -> StoreResult<Committed>;

    /// Extends the lease, if it expires, and returns the run's newest `seq`.
    async fn heartbeat(&self, run: RunId, lease: LeaseToken) -> StoreResult<u64>;

    /// Gives the run back unfinished, so that another worker may claim it at once.
    async fn hand_back(&self, run: RunId, lease: LeaseToken, why: HandBack) -> StoreResult<()>;
}
