//! Events as the database gives them: the payload stays the JSON text that was hashed.

use duet_core::{
    Env, StoreResult, Timestamp,
    domain::{EventKind, NewEvent, RunEvent, StoredEvent},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::rpc;

/// Bytes of salt of a payload's hash.
const SALT: usize = 16;

/// An event of the log.
#[derive(Deserialize)]
pub struct Event {
    seq: u64,
    kind: EventKind,
    at: Timestamp,
    payload: Option<String>,
}

impl Event {
    fn stored(self, event: Option<RunEvent>) -> StoredEvent {
        StoredEvent {
            seq: self.seq,
            kind: self.kind,
            event,
            at: self.at,
        }
    }

    fn parsed(&self) -> serde_json::Result<Option<RunEvent>> {
        self.payload.as_deref().map(serde_json::from_str).transpose()
    }
}

/// The events for their readers: one whose payload cannot be read is like a redacted one, and hides no other.
pub fn stored(events: Vec<Event>) -> Vec<StoredEvent> {
    let readable = |event: Event| {
        let parsed = event.parsed().unwrap_or_else(|_| {
            tracing::error!(seq = event.seq, kind = %event.kind, "a stored event cannot be read");
            None
        });
        event.stored(parsed)
    };
    events.into_iter().map(readable).collect()
}

/// The whole log for who folds it: all of it can be read, or the first `seq` that cannot.
pub fn log(events: Vec<Event>) -> Result<Vec<StoredEvent>, u64> {
    let strict = |event: Event| match event.parsed() {
        Ok(parsed) => Ok(event.stored(parsed)),
        Err(_) => Err(event.seq),
    };
    events.into_iter().map(strict).collect()
}

/// Events as `private.append_events` takes them, each with fresh salt.
pub fn appendable(env: &Env, events: &[NewEvent]) -> StoreResult<Value> {
    let one = |new: &NewEvent| {
        let payload = serde_json::to_string(&new.event).map_err(|_| rpc::mismatch())?;
        Ok(json!({
            "kind": new.event.kind(),
            "payload": payload,
            "salt": hex::encode(env.bytes::<SALT>()),
            "mentions": new.mentions,
            "labels": new.event.labels().bits(),
        }))
    };
    events.iter().map(one).collect::<StoreResult<Vec<_>>>().map(Value::Array)
}
