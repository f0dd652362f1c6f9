//! Memories as the database's functions give and take them.

use duet_core::{
    Caller, StoreError, StoreResult,
    crypto::Place,
    domain::{Embedding, Memory, NewMemory},
    ids::{Id, MemoryId, WorkspaceId},
    recall::index_terms,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::keys::FieldKeys;

/// A memory as it is stored; a sealed text is opened by [`open`].
#[derive(Deserialize)]
pub struct Stored {
    #[serde(flatten)]
    memory: Memory,
    sealed: Option<String>,
}

/// Where the text of a sensitive memory stands.
fn place(workspace: WorkspaceId, memory: MemoryId) -> Place<'static> {
    Place {
        workspace,
        table: "memory",
        row: memory.uuid(),
        column: "sealed",
    }
}

/// A new memory, with its text sealed or with the terms that it is indexed under.
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

/// Opens what is sealed, for a caller or for the server (`None`).
pub async fn open(keys: &FieldKeys, caller: Option<&Caller>, stored: Vec<Stored>) -> StoreResult<Vec<Memory>> {
    let mut memories = Vec::with_capacity(stored.len());
    for Stored { mut memory, sealed } in stored {
        if let Some(sealed) = sealed {
            let broken = || StoreError::unavailable("A sensitive memory does not hold text. Restore a backup.");
            let keys = keys.of(caller, memory.workspace_id).await?;
            let sealed = hex::decode(sealed).map_err(|_| broken())?;
            let text = keys
                .open(place(memory.workspace_id, memory.id), &sealed)
                .map_err(|error| StoreError::unavailable(error.to_string()))?;
            memory.text = String::from_utf8(text).map_err(|_| broken())?;
        }
        memories.push(memory);
    }
    Ok(memories)
}

/// Opens one.
pub async fn open_one(keys: &FieldKeys, caller: &Caller, stored: Stored) -> StoreResult<Memory> {
    open(keys, Some(caller), vec![stored])
        .await?
        .pop()
        .ok_or(StoreError::NotFound("the memory"))
}

/// A vector as it travels.
pub fn vector_text(embedding: &Embedding) -> String {
    let components: Vec<String> = embedding.vector.iter().map(f32::to_string).collect();
    format!("[{}]", components.join(","))
}

/// Refuses a vector that no store can keep.
pub fn check(embedding: Option<&Embedding>) -> StoreResult<()> {
    embedding.map_or(Ok(()), |embedding| embedding.check().map_err(StoreError::invalid))
}
