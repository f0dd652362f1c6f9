use async_trait::async_trait;

use crate::{
    caller::Caller,
    domain::{Decision, InboxEntry, InboxKind, ListPage, PageRequest, Request, RequestFilter},
    error::StoreResult,
    ids::{IdPrefix, RequestId, SessionId},
};

/// Requests: what runs ask of people. A person sees those of their own runs, and an owner those that wait for an owner; agents see
/// none.
#[async_trait]
pub trait RequestStore: Send + Sync {
    /// These requests, in the order asked for; invisible or unknown ones are left out.
    async fn requests(&self, caller: &Caller, ids: &[RequestId]) -> StoreResult<Vec<Request>>;

    /// Requests, newest first.
    async fn list(&self, caller: &Caller, filter: RequestFilter, page: PageRequest) -> StoreResult<ListPage<Request>>;

    /// Ids of visible requests with this prefix, smallest first, at most [`IdPrefix::MOST`].
    async fn ids(&self, caller: &Caller, prefix: IdPrefix) -> StoreResult<Vec<RequestId>>;

    /// Decides a request (a person only, signed in by `session`, which the database looks up). The decision, its record in the run's
    /// log and the end of the run's wait are one transaction. The same decision again, by the same person, returns what is stored;
    /// another one, or one that comes too late, is a `Conflict`. On record as `request.decide`, by ids and the word alone.
    async fn decide(&self, caller: &Caller, session: SessionId, id: RequestId, decision: Decision) -> StoreResult<Request>;

    /// What waits for this person, newest first: open requests that they decide, and proposed memories that they review.
    async fn inbox(&self, caller: &Caller, kind: Option<InboxKind>, page: PageRequest) -> StoreResult<ListPage<InboxEntry>>;

    /// How many entries the Inbox has; counts up to 1000.
    async fn waiting(&self, caller: &Caller) -> StoreResult<u64>;
}
