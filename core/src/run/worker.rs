//! The claim loop: takes runs as they come and drives several at once.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::{Notify, watch};
use tracing::{error, info, warn};

use super::{claimed::DriveError, driver::Driver};
use crate::{
    domain::{Claim, EventKind, HandBack},
    error::StoreResult,
    ids::{LeaseToken, RunId},
};

/// How long an idle worker waits before it looks for runs whose lease has ended.
const POLL: Duration = Duration::from_secs(1);
/// How long running turns may continue after a shutdown request, where the platform allows no more.
const GRACE: Duration = Duration::from_secs(3);

impl Driver {
    /// Claims and drives runs, at most `concurrency` at once, until `shutdown` turns true. Then it claims no more, lets active runs
    /// finish within `grace`, and hands the rest back. `wake` signals that a run was queued; without it the next poll finds the
    /// run.
    pub async fn work(&self, shutdown: watch::Receiver<bool>, wake: Arc<Notify>, concurrency: usize, grace: Duration) {
        self.claim_and_drive(shutdown, wake, concurrency, false, grace).await;
    }

    /// Like [`Self::work`], but ends as soon as there is no run to claim and none under way. Returns `true` if it ended that way,
    /// `false` if `shutdown` came first and runs may be left for another worker. Shutting down takes up to [`Self::SHUTDOWN`].
    pub async fn work_off(&self, shutdown: watch::Receiver<bool>, concurrency: usize) -> bool {
        self.claim_and_drive(shutdown, Arc::new(Notify::new()), concurrency, true, GRACE)
            .await
    }

    /// How long [`Self::work_off`] may take to end after `shutdown`, when the stores answer.
    pub const SHUTDOWN: Duration = GRACE.saturating_add(Self::HANDING_BACK);

    /// How long the runs that did not end in time take to be handed back, when the stores answer.
    pub const HANDING_BACK: Duration = Duration::from_secs(2);

    async fn claim_and_drive(
        &self,
        mut shutdown: watch::Receiver<bool>,
        wake: Arc<Notify>,
        concurrency: usize,
        only_what_is_there: bool,
        grace: Duration,
    ) -> bool {
        let mut drives: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        let mut held: Vec<(RunId, LeaseToken, Arc<()>)> = Vec::new();
        let ended = Arc::new(std::sync::Mutex::new(Vec::new()));
        let queued = self.parts.stores.feed.queued();
        while !*shutdown.borrow() {
            let mut idle = true;
            if drives.len() < concurrency {
                match self.claim(&mut drives).await {
                    Ok(Some(claim)) => {
                        held.push((claim.run.id, claim.lease, claim.hold.clone()));
                        drives.push(self.drive_and_report(claim, ended.clone()).boxed());
                        idle = false;
                    }
                    Ok(None) if only_what_is_there && drives.is_empty() => return true,
                    Ok(None) => {}
                    Err(error) => error!(%error, "no run could be claimed; trying again"),
                }
            }
            if idle {
                futures::select_biased! {
                    _ = shutdown.changed().fuse() => {}
                    () = next_ended(&mut drives).fuse() => {}
                    () = wake.notified().fuse() => {}
                    () = queued.notified().fuse() => {}
                    () = self.parts.env.sleep(POLL).fuse() => {}
                }
            }
            if let Ok(mut ended) = ended.lock() {
                held.retain(|(run, lease, _)| !ended.contains(&(*run, *lease)));
                ended.clear();
            }
        }
        let finish = async { while drives.next().await.is_some() {} };
        futures::select_biased! {
            () = std::pin::pin!(finish.fuse()) => {}
            () = self.parts.env.sleep(grace).fuse() => {}
        }
        drop(drives);
        let done = ended.lock().map(|ended| ended.clone()).unwrap_or_default();
        // Each run is held until it is handed back: one that was merely dropped would count as lost.
        for (run, lease, _hold) in held.into_iter().filter(|(run, lease, _)| !done.contains(&(*run, *lease))) {
            match self.parts.stores.run_log.hand_back(run, lease, HandBack::Leaving).await {
                Ok(()) => info!(%run, "handed back"),
                Err(error) => warn!(%run, %error, "could not be handed back; its claim ends by itself"),
            }
        }
        false
    }

    /// Claims a run while polling the others: a drive suspended in the middle of a call would hold on to its connection, and where
    /// connections are few the claim could be waiting for exactly that one.
    async fn claim(&self, drives: &mut FuturesUnordered<BoxFuture<'_, ()>>) -> StoreResult<Option<Claim>> {
        let mut claim = self.parts.stores.system.claim_run(self.parts.lease, EventKind::ALL).fuse();
        loop {
            futures::select_biased! {
                claimed = claim => return claimed,
                () = next_ended(drives).fuse() => {}
            }
        }
    }

    async fn drive_and_report(&self, claim: Claim, ended: Arc<std::sync::Mutex<Vec<(RunId, LeaseToken)>>>) {
        let (run, lease, _hold) = (claim.run.id, claim.lease, claim.hold.clone());
        match self.drive(claim).await {
            Ok(status) if status.is_final() => info!(%run, %status, "ended"),
            Ok(_) => info!(%run, "waits for its person"),
            Err(DriveError::LostLease) => warn!(%run, "lost to another worker"),
            Err(error @ (DriveError::Store(_) | DriveError::NoProgress)) => {
                error!(%run, %error, "cannot go on now; handing it back");
                if let Err(error) = self.parts.stores.run_log.hand_back(run, lease, HandBack::Stuck).await {
                    warn!(%run, %error, "could not be handed back; its claim ends by itself");
                }
            }
        }
        if let Ok(mut ended) = ended.lock() {
            ended.push((run, lease));
        }
    }
}

/// Resolves when the next drive ends; never resolves while there is none.
async fn next_ended(drives: &mut FuturesUnordered<BoxFuture<'_, ()>>) {
    if drives.next().await.is_none() {
        std::future::pending::<()>().await;
    }
}
