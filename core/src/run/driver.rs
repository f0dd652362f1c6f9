//! The driver: performs a claimed run's effects against the ports. Every outcome is appended to the log under the claim's lease
//! before the driver acts on it; a lost lease ends the drive at once, and nothing is written afterwards.

use std::sync::Arc;

use futures::{FutureExt, pin_mut};
use tokio::sync::watch;
use tracing::{Instrument, info_span, warn};

use super::{
    claimed::{DriveError, DriverParts},
    drive,
};
use crate::{
    domain::{Claim, RunStatus},
    error::StoreError,
    ids::{LeaseToken, RunId},
    memory::Memories,
};

/// Drives claimed runs. Cheap to clone.
#[derive(Clone)]
pub struct Driver {
    pub(super) parts: Arc<DriverParts>,
    pub(super) memories: Memories,
}

impl Driver {
    /// A driver made of these parts.
    pub fn new(parts: DriverParts) -> Self {
        let memories = Memories::new(
            parts.env.clone(),
            parts.stores.memories.clone(),
            parts.stores.system.clone(),
            parts.embedder.clone(),
        );
        Self {
            parts: Arc::new(parts),
            memories,
        }
    }

    /// Drives one claimed run until it ends or waits, and returns its status then.
    pub async fn drive(&self, claim: Claim) -> Result<RunStatus, DriveError> {
        let span = info_span!("run", run = %claim.run.id, workspace = %claim.run.workspace_id, attempt = claim.run.attempt);
        self.drive_in_span(claim).instrument(span).await
    }

    async fn drive_in_span(&self, claim: Claim) -> Result<RunStatus, DriveError> {
        let (run, lease) = (claim.run.id, claim.lease);
        let mut hints = self.parts.stores.feed.subscribe(run);
        let (news, newest) = watch::channel(claim.run.last_seq);
        let to_end = drive::to_end(&self.parts, &self.memories, claim, newest).fuse();
        let alive = self.keep_lease(run, lease, &news).fuse();
        let listen = async {
            // A lagging or closed feed only costs promptness: the heartbeat also sees the log's newest seq.
            while let Ok(hint) = hints.recv().await {
                raise(&news, hint.last_seq);
            }
            std::future::pending::<()>().await;
        }
        .fuse();
        pin_mut!(to_end, alive, listen);
        futures::select_biased! {
            ended = to_end => ended,
            lost = alive => Err(lost),
            () = listen => Err(DriveError::LostLease),
        }
    }

    /// Renews the lease every third of its duration, for as long as it can.
    async fn keep_lease(&self, run: RunId, lease: LeaseToken, news: &watch::Sender<u64>) -> DriveError {
        loop {
            self.parts.env.sleep(self.parts.lease.duration / 3).await;
            match self.parts.stores.run_log.heartbeat(run, lease).await {
                Ok(last_seq) => raise(news, last_seq),
                Err(StoreError::Stale(_)) => return DriveError::LostLease,
                Err(error) => warn!(%error, "the lease could not be renewed; trying again"),
            }
        }
    }
}

fn raise(news: &watch::Sender<u64>, seq: u64) {
    news.send_if_modified(|newest| {
        let newer = seq > *newest;
        *newest = (*newest).max(seq);
        newer
    });
}
