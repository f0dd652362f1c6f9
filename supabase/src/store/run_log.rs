//! Runs as the driver writes them: under a lease, which the database checks on every call.

use std::sync::Arc;

use async_trait::async_trait;
use duet_core::{
    StoreResult, Timestamp,
    domain::{Appended, HandBack, NewEvent, Run, Settlement, StoredEvent},
    ids::{CommitId, LeaseToken, RunId},
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
fn storable_value(value: Value) -> Value {
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

/// A call under a lease. All but a hand-back may be repeated: writes are identified by their commit.
fn held(function: &'static str, run: RunId, lease: LeaseToken) -> Call {
    Call::repeatable(function).of("the run").id("p_run", run).id("p_lease", lease)
}

#[async_trait]
impl RunLog for Log {
    async fn append(
        &self,
        run: RunId,
        lease: LeaseToken,
        after: u64,
        commit: CommitId,
        events: Vec<NewEvent>,
    ) -> StoreResult<Appended> {
        let call = held("append_run_events", run, lease)
            .arg("p_after", contract::long(after))
            .id("p_commit", commit)
            .arg("p_progress", events.iter().any(|new| new.event.is_progress()))
            .arg("p_events", events::appendable(&self.contract.env, &events)?);
        let written: Written = self.contract.as_driver(call).await?;
        let own = (written.first..).zip(events).map(|(seq, new)| StoredEvent {
            seq,
            kind: new.event.kind(),
            event: Some(new.event),
            at: written.at,
        });
        let appended = Appended {
            interleaved: events::stored(written.interleaved),
            own: own.collect(),
        };
        if let Some(last) = appended.own.last() {
            self.feed.appended(run, last.seq);
        }
        Ok(appended)
    }

    async fn heartbeat(&self, run: RunId, lease: LeaseToken) -> StoreResult<u64> {
        self.contract.as_driver(held("heartbeat_run", run, lease)).await
    }

    async fn settle(
        &self,
        run: RunId,
        lease: LeaseToken,
        after: u64,
        commit: CommitId,
        settlement: Settlement,
    ) -> StoreResult<Run> {
        let reply = settlement.reply.as_ref();
        let call = held("settle_run", run, lease)
            .arg("p_after", contract::long(after))
            .id("p_commit", commit)
            .arg("p_events", events::appendable(&self.contract.env, &settlement.events)?)
            .arg("p_status", settlement.status.as_str())
            .arg("p_reason", settlement.reason.as_deref().map(storable))
            .arg("p_reply_status", reply.map(|reply| reply.status.as_str().to_owned()))
            .arg("p_reply_text", reply.map(|reply| storable(&reply.text)))
            .arg("p_reply_trace", reply.map(|reply| storable_value(json!(reply.trace))));
        let ended: Run = self.contract.as_driver(call).await?;
        self.feed.appended(run, ended.last_seq);
        Ok(ended)
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
