//! Runs as the driver writes them: under a lease, which the database checks on every call.

use std::sync::Arc;

use async_trait::async_trait;
use duet_core::{
    StoreResult, Timestamp,
    domain::{Commit, Committed, HandBack, NewRequest, Reply, StoredEvent, Then, UsedApproval},
    ids::{LeaseToken, RunId},
    ports::RunLog,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    contract::{self, Contract},
    events::{self, Event},
    relay::LiveFeed,
};
use crate::rpc::Call;

/// The driver's side of the runs in the database.
pub struct Log {
    pub(super) contract: Contract,
    pub(super) feed: Arc<LiveFeed>,
}

#[derive(Deserialize)]
struct Written {
    interleaved: Vec<Event>,
    first: u64,
    at: Timestamp,
}

/// A model may write U+0000, which Postgres cannot store in a text: the replacement character takes its place.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

/// The same for all texts in a JSON value.
pub fn storable_value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(storable(&text)),
        Value::Array(items) => items.into_iter().map(storable_value).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, storable_value(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        plain => plain,
    }
}

fn asked(new: &NewRequest) -> Value {
    json!({
        "id": new.id,
        "step": new.effect.step,
        "position": new.effect.index,
        "kind": new.kind,
        "tool": storable(&new.tool),
        "arguments": new.arguments.text.as_str(),
        "salt": hex::encode(new.arguments.salt),
        "hash": hex::encode(new.arguments.hash()),
        "why": storable(&new.why),
        "decider": new.decider,
        "policy_version": new.policy_version,
        "expires_at": new.expires_at,
    })
}

fn used(used: &UsedApproval) -> Value {
    json!({ "request": used.request, "arguments": used.arguments.as_str() })
}

/// How the worker lets go of the run; `None` if it keeps it.
fn parting(then: &Then) -> Option<Value> {
    let reply = |reply: &Option<Reply>| {
        reply.as_ref().map(
            |reply| json!({ "status": reply.status, "text": storable(&reply.text), "trace": storable_value(json!(reply.trace)) }),
        )
    };
    match then {
        Then::Keep => None,
        Then::Suspend(suspension) => Some(json!({ "reply": reply(&suspension.reply), "next_reply": suspension.next_reply })),
        Then::Settle(settlement) => Some(json!({
            "reply": reply(&settlement.reply),
            "status": settlement.status,
            "reason": settlement.reason.as_deref().map(storable),
        })),
    }
}

/// A call under a lease. All but a hand-back may be repeated: writes are identified by their commit.
fn held(function: &'static str, run: RunId, lease: LeaseToken) -> Call {
    Call::repeatable(function).of("the run").id("p_run", run).id("p_lease", lease)
}

#[async_trait]
impl RunLog for Log {
    async fn commit(&self, run: RunId, lease: LeaseToken, after: u64, commit: Commit) -> StoreResult<Committed> {
        let Commit {
            id,
            events,
            asks,
            uses,
            then,
        } = commit;
        let call = held("commit_run", run, lease)
            .arg("p_after", contract::long(after))
            .id("p_commit", id)
            .arg("p_progress", events.iter().any(|new| new.event.is_progress()))
            .arg("p_events", events::appendable(&self.contract.env, &events)?)
            .arg("p_asks", Value::Array(asks.iter().map(asked).collect()))
            .arg("p_uses", Value::Array(uses.iter().map(used).collect()))
            .arg("p_then", parting(&then));
        let written: Written = self.contract.as_driver(call).await?;
        let own = (written.first..).zip(events).map(|(seq, new)| StoredEvent {
            seq,
            kind: new.event.kind(),
            event: Some(new.event),
            at: written.at,
        });
        let committed = Committed {
            interleaved: events::stored(written.interleaved),
            own: own.collect(),
        };
        if let Some(last) = committed.own.last() {
            self.feed.appended(run, last.seq);
        }
        Ok(committed)
    }

    async fn heartbeat(&self, run: RunId, lease: LeaseToken) -> StoreResult<u64> {
        self.contract.as_driver(held("heartbeat_run", run, lease)).await
    }

    async fn hand_back(&self, run: RunId, lease: LeaseToken, why: HandBack) -> StoreResult<()> {
        let call = held("hand_back_run", run, lease).arg("p_leaving", why == HandBack::Leaving);
        let once = Call {
            repeatable: false,
            ..call
        };
        self.contract.as_driver(once).await
    }
}
