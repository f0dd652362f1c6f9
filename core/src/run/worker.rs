//! The claim loop: takes runs as they come and drives several at once.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::{Notify, watch};
use tracing::{error, info, warn};

use super::driver::{DriveError, Driver};
use crate::{
    domain::Claim,
    ids::{LeaseToken, RunId},
};

/// How long an idle worker waits before it looks for runs whose lease has ended.
const POLL: Duration = Duration::from_secs(1);
/// How long running turns may go on after a shutdown was asked for.
const GRACE: Duration = Duration::from_secs(3);

impl Driver {
    /// Claims and drives runs, at most `concurrency` at once, until `shutdown` turns true. Then it claims no more, lets what is
    /// under way finish within a few seconds, and hands the rest back. `wake` says that a run was queued; without it the next
    /// poll finds the run.
    pub async fn work(&self, mut shutdown: watch::Receiver<bool>, wake: Arc<Notify>, concurrency: usize) {
        let mut drives: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        let mut held: Vec<(RunId, LeaseToken)> = Vec::new();
        let ended = Arc::new(std::sync::Mutex::new(Vec::new()));
        while !*shutdown.borrow() {
            let mut idle = true;
            if drives.len() < concurrency {
                match self.parts.stores.system.claim_run(self.parts.lease).await {
                    Ok(Some(claim)) => {
                        held.push((claim.run.id, claim.lease));
                        drives.push(self.drive_and_report(claim, ended.clone()).boxed());
                        idle = false;
                    }
                    Ok(None) => {}
                    Err(error) => error!(%error, "no run could be claimed; trying again"),
                }
            }
            if idle {
                futures::select_biased! {
                    _ = shutdown.changed().fuse() => {}
                    () = next_ended(&mut drives).fuse() => {}
                    () = wake.notified().fuse() => {}
                    () = self.parts.env.sleep(POLL).fuse() => {}
                }
            } else {
                // Lets the drives move while more runs are claimed.
                futures::poll!(drives.next()).is_ready();
            }
            if let Ok(mut ended) = ended.lock() {
                held.retain(|entry| !ended.contains(entry));
                ended.clear();
            }
        }
        let finish = async { while drives.next().await.is_some() {} };
        futures::select_biased! {
            () = std::pin::pin!(finish.fuse()) => {}
            () = self.parts.env.sleep(GRACE).fuse() => {}
        }
        drop(drives);
        let done = ended.lock().map(|ended| ended.clone()).unwrap_or_default();
        for (run, lease) in held.into_iter().filter(|entry| !done.contains(entry)) {
            match self.parts.stores.run_log.hand_back(run, lease).await {
                Ok(()) => info!(%run, "handed back"),
                Err(error) => warn!(%run, %error, "could not be handed back; its lease will end by itself"),
            }
        }
    }

    async fn drive_and_report(&self, claim: Claim, ended: Arc<std::sync::Mutex<Vec<(RunId, LeaseToken)>>>) {
        let (run, lease) = (claim.run.id, claim.lease);
        match self.drive(claim).await {
            Ok(status) => info!(%run, %status, "ended"),
            Err(DriveError::LostLease) => warn!(%run, "lost to another worker"),
            Err(DriveError::Store(error)) => {
                error!(%run, %error, "cannot go on now; handing it back");
                if let Err(error) = self.parts.stores.run_log.hand_back(run, lease).await {
                    warn!(%run, %error, "could not be handed back; its lease will end by itself");
                }
            }
        }
        if let Ok(mut ended) = ended.lock() {
            ended.push((run, lease));
        }
    }
}

/// The end of the next drive; never, while there is none.
async fn next_ended(drives: &mut FuturesUnordered<BoxFuture<'_, ()>>) {
    if drives.next().await.is_none() {
        std::future::pending::<()>().await;
    }
}
