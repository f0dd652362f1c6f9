//! The two writes that most checks make to a run's log, in one line each.

use async_trait::async_trait;

use crate::{
    domain::{Commit, Committed, NewEvent, Settlement},
    error::StoreResult,
    ids::{CommitId, LeaseToken, RunId},
    ports::RunLog,
};

/// Short forms of [`RunLog::commit`] for writes that ask nothing and use no approval.
#[async_trait]
pub trait Writes {
    /// Appends events; the worker keeps the run.
    async fn append(
        &self,
        run: RunId,
        lease: LeaseToken,
        after: u64,
        commit: CommitId,
        events: Vec<NewEvent>,
    ) -> StoreResult<Committed>;

    /// Appends the last events of a run and ends it.
    async fn settle(
        &self,
        run: RunId,
        lease: LeaseToken,
        after: u64,
        commit: CommitId,
        events: Vec<NewEvent>,
        settlement: Settlement,
    ) -> StoreResult<Committed>;
}

#[async_trait]
impl<T: RunLog + ?Sized> Writes for T {
    async fn append(
        &self,
        run: RunId,
        lease: LeaseToken,
        after: u64,
        commit: CommitId,
        events: Vec<NewEvent>,
    ) -> StoreResult<Committed> {
        self.commit(run, lease, after, Commit::of(commit, events)).await
    }

    async fn settle(
        &self,
        run: RunId,
        lease: LeaseToken,
        after: u64,
        commit: CommitId,
        events: Vec<NewEvent>,
        settlement: Settlement,
    ) -> StoreResult<Committed> {
        self.commit(run, lease, after, Commit::ending(commit, events, settlement))
            .await
    }
}
