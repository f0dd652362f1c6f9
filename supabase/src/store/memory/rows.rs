//! Memories in the form that the database's functions return and accept.

use duet_core::{
    Caller, StoreError, StoreResult, Timestamp,
    crypto::Place,
    cursor,
    domain::{Embedding, Memory, NewMemory},
    ids::{Id, MemoryId, WorkspaceId},
    recall::index_terms,
};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::keys::FieldKeys;

/// A stored memory; [`open`] opens sealed text.
#[derive(Deserialize)]
pub struct Stored {
    #[serde(flatten)]
    memory: Memory,
    sealed: Option<String>,
}

/// The place of a sensitive memory's text, for encryption.
fn place(workspace: WorkspaceId, memory: MemoryId) -> Place<'static> {
    Place {
        workspace,
        table: "memory",
        row: memory.uuid(),
        column: "sealed",
    }
}

/// A new memory, with its text sealed or with its index terms.
pub async fn incoming(keys: &FieldKeys, caller: &Caller, env: &duet_core::Env, memory: &NewMemory) -> StoreResult<Value> {
    let (text, sealed, terms) = if memory.sensitive {
        let sealed = keys
            .of(Some(caller), caller.workspace)
            .await?
            .seal(env, place(caller.workspace, memory.id), memory.text.as_bytes())
            .map_err(|error| StoreError::unavailable(error.to_string()))?;
        (None, Some(hex::encode(sealed)), None)
    } else {
        let (terms, _) = index_terms(memory.speaker.as_deref(), &memory.text);
        (Some(&memory.text), None, Some(terms))
    };
    Ok(json!({
        "domain": memory.domain,
        "text": text,
        "sealed": sealed,
        "terms": terms,
        "speaker": memory.speaker,
        "visibility": memory.visibility,
        "sensitive": memory.sensitive,
        "egress": memory.stored_egress(),
        "taint": memory.taint,
        "provenance": memory.provenance,
        "position": memory.position,
        "occurred_at": memory.occurred_at,
        "expires_at": memory.expires_at,
        "supersedes": memory.supersedes,
    }))
}

/// Parses rows as far as possible. An unreadable row must not hide the others: it is skipped and reported.
fn understood(rows: Vec<Value>) -> Vec<Stored> {
    let read = |row: Value| {
        let id = row["id"].as_str().map(ToOwned::to_owned);
        match serde_json::from_value::<Stored>(row) {
            Ok(stored) => Some(stored),
            // The parser's own message is dropped: it can quote stored text.
            Err(_) => {
                tracing::warn!(memory = id, "a memory is not understood; it is passed over");
                None
            }
        }
    };
    rows.into_iter().filter_map(read).collect()
}

/// The memories in these rows, for a caller or for the server (`None`). An unreadable one is skipped and reported.
pub async fn open(keys: &FieldKeys, caller: Option<&Caller>, rows: Vec<Value>) -> Vec<Memory> {
    let mut memories = Vec::with_capacity(rows.len());
    for stored in understood(rows) {
        let id = stored.memory.id;
        match unseal(keys, caller, stored).await {
            Ok(memory) => memories.push(memory),
            Err(error) => tracing::warn!(memory = %id, %error, "a memory cannot be read; it is passed over"),
        }
    }
    memories
}

async fn unseal(keys: &FieldKeys, caller: Option<&Caller>, stored: Stored) -> StoreResult<Memory> {
    let Stored { mut memory, sealed } = stored;
    if let Some(sealed) = sealed {
        let broken = || StoreError::unavailable("A sensitive memory does not hold text. Restore a backup.");
        let keys = keys.of(caller, memory.workspace_id).await?;
        let sealed = hex::decode(sealed).map_err(|_| broken())?;
        let text = keys
            .open(place(memory.workspace_id, memory.id), &sealed)
            .map_err(|error| StoreError::unavailable(error.to_string()))?;
        memory.text = String::from_utf8(text).map_err(|_| broken())?;
    }
    Ok(memory)
}

/// Opens one memory, or says why it is unreadable.
pub async fn open_one(keys: &FieldKeys, caller: &Caller, stored: Stored) -> StoreResult<Memory> {
    unseal(keys, Some(caller), stored).await
}

/// Where a list continues after this row.
pub fn place_in_list(row: &Value) -> String {
    let at = row["created_at"]
        .as_str()
        .and_then(|at| at.parse().ok())
        .unwrap_or(Timestamp::EARLIEST);
    cursor::after(at.millis(), named(row).map_or(MemoryId::from_uuid(Uuid::nil()), |(_, id)| id))
}

/// The workspace and the id of a row, whatever its other contents.
pub fn named(row: &Value) -> Option<(WorkspaceId, MemoryId)> {
    Some((row["workspace_id"].as_str()?.parse().ok()?, row["id"].as_str()?.parse().ok()?))
}

/// A vector in its text form.
pub fn vector_text(embedding: &Embedding) -> String {
    let components: Vec<String> = embedding.vector.iter().map(f32::to_string).collect();
    format!("[{}]", components.join(","))
}

/// Rejects a vector that no store can keep.
pub fn check(embedding: Option<&Embedding>) -> StoreResult<()> {
    Ok(embedding.map_or(Ok(()), Embedding::check)?)
}
