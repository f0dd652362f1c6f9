use std::sync::Arc;

use tokio::sync::{Notify, broadcast};

use crate::{
    domain::{EventHint, PersonHint},
    ids::{RunId, WorkspaceId},
};

/// Live hints. Losing one is harmless: readers rely on the stores, and workers look for runs by themselves too.
pub trait EventFeed: Send + Sync {
    /// Hints that this run's log has grown, from now on. A `Lagged` error counts as a hint; `Closed` means that this process is
    /// shutting down.
    fn subscribe(&self, run: RunId) -> broadcast::Receiver<EventHint>;

    /// Hints to the people of this workspace, from now on; the receiver passes over those for others.
    fn people(&self, workspace: WorkspaceId) -> broadcast::Receiver<PersonHint>;

    /// Notified when a run waits to be claimed.
    fn queued(&self) -> Arc<Notify>;
}
