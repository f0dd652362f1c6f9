//! Events as the database gives them: the payload stays the JSON text that was hashed.

use duet_core::{
    Env, StoreResult, Timestamp,
    domain::{EventKind, NewEvent, StoredEvent},
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

/// The events as the domain has them.
pub fn stored(events: Vec<Event>) -> StoreResult<Vec<StoredEvent>> {
    let parsed = events.into_iter().map(|event| {
        let payload = event.payload.as_deref().map(serde_json::from_str).transpose();
        Ok(StoredEvent {
            seq: event.seq,
            kind: event.kind,
            event: payload.map_err(|_| {
                tracing::error!(seq = event.seq, kind = %event.kind, "a stored event cannot be read");
                rpc::mismatch()
            })?,
            at: event.at,
        })
    });
    parsed.collect()
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
        }))
    };
    events.iter().map(one).collect::<StoreResult<Vec<_>>>().map(Value::Array)
}
