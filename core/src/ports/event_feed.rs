use tokio::sync::broadcast;

use crate::{domain::EventHint, ids::RunId};

/// Live hints that a run's log has grown. Losing one is harmless: readers rely on the log.
pub trait EventFeed: Send + Sync {
    /// Hints of one run from now on. A `Lagged` error counts as a hint; `Closed` means that this process is shutting down.
    fn subscribe(&self, run: RunId) -> broadcast::Receiver<EventHint>;
}
