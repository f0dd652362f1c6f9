//! Events in the database's form: the payload stays the JSON text that was hashed.

use duet_core::{
    Env, StoreResult, Timestamp,
    domain::{EventKind, NewEvent, RunEvent, StoredEvent},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::rpc;

/// Length of the salt of a payload's hash, in bytes.
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

/// The events for readers: an unreadable payload is treated like a redacted one, and hides no other event.
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

/// The whole log for folding: either all of it is readable, or the first `seq` that is not.
pub fn log(events: Vec<Event>) -> Result<Vec<StoredEvent>, u64> {
    let strict = |event: Event| match event.parsed() {
        Ok(parsed) => Ok(event.stored(parsed)),
        Err(_) => Err(event.seq),
    };
    events.into_iter().map(strict).collect()
}

/// Events in the form that `private.append_events` takes, each with a fresh salt.
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
