use async_trait::async_trait;

use crate::{
    caller::Caller,
    domain::{EventPage, ListPage, LogRange, NewTurn, PageRequest, RetryTurn, Run, TurnReceipt},
    error::StoreResult,
    ids::{ConversationId, RunId},
};

/// Runs as people see them: only their own.
#[async_trait]
pub trait RunStore: Send + Sync {
    /// Stores the person's message, the run that answers it (queued) and its `started` event; titles an untitled conversation.
    /// `Conflict` while another run is active in the conversation, for a reply id that a message already has, or for an idempotency
    /// key used with another text or place; the same key with the same text returns the first receipt (for at least 24 hours).
    async fn start_turn(&self, caller: &Caller, turn: NewTurn) -> StoreResult<TurnReceipt>;

    /// Queues another run for a message of the person. `Conflict` while a run is active in its conversation. `Continue` needs the
    /// newest reply that is shown, and one that was stopped, limited or interrupted. `Restart` needs an id for the new reply that no
    /// message has; the conversation goes back to where the reply that it replaces began, and shows the new one from there.
    async fn retry_turn(&self, caller: &Caller, retry: RetryTurn) -> StoreResult<TurnReceipt>;

    /// One run.
    async fn run(&self, caller: &Caller, id: RunId) -> StoreResult<Option<Run>>;

    /// The runs of a conversation, newest first.
    async fn runs(&self, caller: &Caller, conversation: ConversationId, page: PageRequest) -> StoreResult<ListPage<Run>>;

    /// A part of a run's log. `Invalid` when `after` is beyond the newest event.
    async fn events(&self, caller: &Caller, id: RunId, range: LogRange) -> StoreResult<EventPage>;

    /// Asks a run to stop, once. One that waits, or was never claimed, ends at once together with its requests; one that a worker
    /// holds is told by `CancelRequested`, and its requests cannot be decided any more. A run that has ended is returned as it is.
    async fn cancel(&self, caller: &Caller, id: RunId) -> StoreResult<Run>;

    /// Asks a run to pause, or a paused one to go on. `Conflict` once it has ended; nothing happens if it does so already.
    async fn pause(&self, caller: &Caller, id: RunId, pause: bool) -> StoreResult<Run>;
}
