//! Requests to people, and the Inbox.

use std::sync::Arc;

use async_trait::async_trait;
use duet_core::{
    Caller, StoreResult, cursor,
    domain::{Canonical, Decision, InboxEntry, InboxKind, ListPage, PageRequest, Request, RequestFilter},
    ids::{Id, IdPrefix, RequestId, SessionId},
    ports::RequestStore,
};
use serde_json::{Value, json};

use super::{
    contract::{self, Contract},
    relay::LiveFeed,
    run_log::storable_value,
};
use crate::rpc::{self, Call};

/// The requests in the database.
pub struct Requests {
    pub(super) contract: Contract,
    pub(super) feed: Arc<LiveFeed>,
}

/// A request as the database gives it: the arguments are JSON in a text, in their canonical form.
fn read(mut stored: Value) -> StoreResult<Request> {
    if let Some(text) = stored["arguments"].as_str() {
        stored["arguments"] = serde_json::from_str(text).map_err(|_| rpc::mismatch())?;
    }
    serde_json::from_value(stored).map_err(|_| rpc::mismatch())
}

/// Reading requests is for people.
fn reading(caller: &Caller, function: &'static str) -> StoreResult<Call> {
    const ACTION: &str = "read requests";
    caller.require_person(ACTION)?;
    Ok(Call::repeatable(function).to(ACTION).id("p_workspace", caller.workspace))
}

#[async_trait]
impl RequestStore for Requests {
    async fn requests(&self, caller: &Caller, ids: &[RequestId]) -> StoreResult<Vec<Request>> {
        let ids: Vec<_> = ids.iter().map(|id| id.uuid()).collect();
        let call = reading(caller, "request_read")?.arg("p_ids", ids);
        let found: Vec<Value> = self.contract.as_caller(caller, call).await?;
        found.into_iter().map(read).collect()
    }

    async fn list(&self, caller: &Caller, filter: RequestFilter, page: PageRequest) -> StoreResult<ListPage<Request>> {
        let (before, before_id) = contract::moment(&page)?;
        let call = reading(caller, "request_list")?
            .arg("p_conversation", filter.conversation.map(Id::uuid))
            .arg("p_open", filter.open)
            .arg("p_before", before)
            .arg("p_before_id", before_id)
            .arg("p_limit", contract::limit(&page));
        let found: Vec<Value> = self.contract.as_caller(caller, call).await?;
        let requests = found.into_iter().map(read).collect::<StoreResult<Vec<_>>>()?;
        Ok(cursor::page(requests, page.size(), |request| {
            cursor::after(request.created_at.millis(), request.id)
        }))
    }

    async fn ids(&self, caller: &Caller, prefix: IdPrefix) -> StoreResult<Vec<RequestId>> {
        let (low, high) = prefix.range();
        let call = reading(caller, "request_ids")?.arg("p_low", low).arg("p_high", high);
        self.contract.as_caller(caller, call).await
    }

    async fn decide(&self, caller: &Caller, session: SessionId, id: RequestId, decision: Decision) -> StoreResult<Request> {
        const ACTION: &str = "decide this";
        caller.require_person(ACTION)?;
        // What was asked, and so whether the answer fits, is known only after reading it.
        if let [asked] = self.requests(caller, &[id]).await?.as_slice()
            && asked.decision.is_none()
        {
            decision.check(asked.kind, asked.arguments.as_ref())?;
        }
        let decision = storable_value(json!(decision));
        let allowed = decision.get("arguments").map(Canonical::of).transpose()?;
        let call = Call::repeatable("request_decide")
            .of("the request")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_id", id)
            .id("p_session", session)
            .arg("p_decision", decision)
            .arg("p_allowed", allowed.map(|canonical| canonical.as_str().to_owned()));
        let decided = self.contract.as_caller(caller, call).await?;
        self.feed.stirred();
        read(decided)
    }

    async fn inbox(&self, caller: &Caller, kind: Option<InboxKind>, page: PageRequest) -> StoreResult<ListPage<InboxEntry>> {
        let (before, before_id) = contract::moment(&page)?;
        let call = reading(caller, "inbox_list")?
            .arg("p_kind", kind.map(|kind| kind.as_str().to_owned()))
            .arg("p_before", before)
            .arg("p_before_id", before_id)
            .arg("p_limit", contract::limit(&page));
        let entries: Vec<InboxEntry> = self.contract.as_caller(caller, call).await?;
        Ok(cursor::page(entries, page.size(), |entry| {
            cursor::after(entry.at.millis(), RequestId::from_uuid(entry.id))
        }))
    }

    async fn waiting(&self, caller: &Caller) -> StoreResult<u64> {
        let call = reading(caller, "inbox_count")?;
        self.contract.as_caller(caller, call).await
    }
}
