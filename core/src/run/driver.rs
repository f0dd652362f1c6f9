//! The driver: performs a claimed run's effects against the ports. Every outcome is appended to the log under the claim's lease
//! before the driver acts on it; a lost lease ends the drive at once, and nothing is written afterwards.

use std::sync::Arc;

use futures::{FutureExt, pin_mut};
use tokio::sync::watch;
use tracing::{Instrument, info_span, warn};

use super::drive::Drive;
use crate::{
    clock::Env,
    domain::{Claim, LeasePolicy, RunStatus},
    error::StoreError,
    ids::{LeaseToken, RunId},
    memory::Memories,
    policy::Policy,
    ports::{Embedder, ModelDirectory, Stores},
    tools::ToolRegistry,
};

/// What a driver works with.
pub struct DriverParts {
    /// Time and randomness.
    pub env: Env,
    /// The stores.
    pub stores: Stores,
    /// The models.
    pub models: Arc<dyn ModelDirectory>,
    /// The embedder, if there is one.
    pub embedder: Option<Arc<dyn Embedder>>,
    /// The tools.
    pub tools: Arc<ToolRegistry>,
    /// What may happen.
    pub policy: Arc<Policy>,
    /// Lease times.
    pub lease: LeasePolicy,
    /// Where advice about a failing model goes.
    pub advice: Advice,
}

/// Where [`ModelError::advice`](crate::ports::ModelError::advice) goes. It names settings, which only the operator can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// To the log: the person chatting may not be the operator.
    Logged,
    /// To the person chatting, who is the operator: a command on the file itself, for example.
    Told,
}

/// Drives claimed runs. Cheap to clone.
#[derive(Clone)]
pub struct Driver {
    pub(super) parts: Arc<DriverParts>,
    pub(super) memories: Memories,
}

/// Why a drive ended before its run did. The run continues under another claim.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// Another worker has the run.
    #[error("the lease was lost")]
    LostLease,
    /// The store gave no answer, several times.
    #[error("the store cannot answer: {0}")]
    Store(StoreError),
}

impl From<StoreError> for DriveError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Stale(_) => Self::LostLease,
            error => Self::Store(error),
        }
    }
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

    /// Drives one claimed run to its end and returns its final status.
    pub async fn drive(&self, claim: Claim) -> Result<RunStatus, DriveError> {
        let span = info_span!("run", run = %claim.run.id, workspace = %claim.run.workspace_id, attempt = claim.run.attempt);
        self.drive_in_span(claim).instrument(span).await
    }

    async fn drive_in_span(&self, claim: Claim) -> Result<RunStatus, DriveError> {
        let (run, lease) = (claim.run.id, claim.lease);
        let mut hints = self.parts.stores.feed.subscribe(run);
        let (news, newest) = watch::channel(claim.run.last_seq);
        let mut drive = Drive::new(self, claim, newest);
        let to_end = drive.to_end().fuse();
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
