//! Memories as rows.

use duet_core::{
    Caller, StoreError, StoreResult, Timestamp,
    crypto::Place,
    domain::{Locality, Memory, MemoryDomain, Position, Provenance, Visibility},
    ids::{Id, MemoryId, WorkspaceId},
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::keys::FieldKeys;
use crate::{
    error::DbResult,
    rows::{blob, id, opt_id, opt_time, time, word},
};

/// Everything about a memory, in one row.
pub const SELECT: &str = "SELECT m.key, m.workspace_id, m.id, m.live, m.conversation_id, m.ordinal, m.occurred_at,
        m.expires_at, m.created_at, m.supersedes, k.owner, k.domain, k.egress,
        c.user_id, c.text, c.sealed, c.speaker, c.sensitive, c.taint, c.review, c.from_conversation, c.from_message, c.from_run,
        c.from_agent, c.from_user, c.valid_from, c.valid_to, c.superseded_by, c.redacted_at
     FROM memory m JOIN memory_class k ON k.key = m.class JOIN memory_content_shown c ON c.memory = m.key";

/// What a caller may see, as a condition on [`SELECT`] with `?1` the workspace, `?2` the person, `?3` whether private ones count,
/// `?4` the time. An agent sees only memories that hold, in its domains (which are our own words, so they need no binding).
pub fn visible(caller: &Caller) -> String {
    let mut condition = String::from(
        "m.workspace_id = ?1 AND (k.owner = x'' OR (k.owner = ?2 AND ?3)) AND (m.expires_at IS NULL OR m.expires_at > ?4)",
    );
    if let Some(agent) = &caller.agent {
        let domains: Vec<String> = agent
            .memory_scopes
            .domains
            .iter()
            .map(|domain| format!("'{domain}'"))
            .collect();
        condition.push_str(&format!(" AND m.live = 1 AND k.domain IN ({})", domains.join(", ")));
    }
    condition
}

/// Whether the caller sees private memories at all.
pub fn sees_private(caller: &Caller) -> bool {
    caller.agent.as_ref().is_none_or(|agent| agent.memory_scopes.private)
}

/// How far what the caller reads may travel.
pub fn reads(caller: &Caller) -> Locality {
    caller.agent.as_ref().map_or(Locality::Local, |agent| agent.locality)
}

/// Whether the caller's scopes include this domain.
pub fn sees_domain(caller: &Caller, domain: MemoryDomain) -> bool {
    caller
        .agent
        .as_ref()
        .is_none_or(|agent| agent.memory_scopes.domains.contains(&domain))
}

/// A memory as it is stored; a sealed text is opened by [`open`].
pub struct Stored {
    /// Its key.
    pub key: i64,
    /// Whether it may be recalled.
    pub live: bool,
    /// The memory that it supersedes, or will once it is accepted.
    pub supersedes: Option<i64>,
    /// The memory, without a sealed text.
    pub memory: Memory,
    sealed: Option<Vec<u8>>,
}

/// Reads a row of [`SELECT`].
pub fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let position = match row.get::<_, Option<i64>>("ordinal")? {
        Some(ordinal) => Some(Position {
            conversation_id: id(row, "conversation_id")?,
            ordinal,
        }),
        None => None,
    };
    let shared = row.get_ref("owner")?.as_blob()?.is_empty();
    Ok(Stored {
        key: row.get("key")?,
        live: row.get("live")?,
        supersedes: row.get("supersedes")?,
        sealed: row.get("sealed")?,
        memory: Memory {
            id: id(row, "id")?,
            workspace_id: id(row, "workspace_id")?,
            domain: word(row, "domain")?,
            text: row.get::<_, Option<String>>("text")?.unwrap_or_default(),
            speaker: row.get("speaker")?,
            user_id: id(row, "user_id")?,
            visibility: if shared { Visibility::Shared } else { Visibility::Private },
            sensitive: row.get("sensitive")?,
            egress: word(row, "egress")?,
            taint: word(row, "taint")?,
            review: word(row, "review")?,
            provenance: Provenance {
                conversation_id: opt_id(row, "from_conversation")?,
                message_id: opt_id(row, "from_message")?,
                run_id: opt_id(row, "from_run")?,
                agent_id: opt_id(row, "from_agent")?,
                user_id: opt_id(row, "from_user")?,
            },
            position,
            occurred_at: time(row, "occurred_at")?,
            valid_from: time(row, "valid_from")?,
            valid_to: opt_time(row, "valid_to")?,
            superseded_by: opt_id(row, "superseded_by")?,
            expires_at: opt_time(row, "expires_at")?,
            redacted_at: opt_time(row, "redacted_at")?,
            created_at: time(row, "created_at")?,
        },
    })
}

/// One memory that the caller can see.
pub fn find(conn: &Connection, caller: &Caller, id: MemoryId, now: Timestamp) -> DbResult<Option<Stored>> {
    Ok(row_of(conn, caller, id, now)?)
}

/// [`find`], for callers that skip what cannot be read.
pub fn row_of(conn: &Connection, caller: &Caller, id: MemoryId, now: Timestamp) -> rusqlite::Result<Option<Stored>> {
    let mut statement = conn.prepare_cached(&format!("{SELECT} WHERE {} AND m.id = ?5", visible(caller)))?;
    let found = params![
        blob(caller.workspace),
        blob(caller.user),
        sees_private(caller),
        now.millis(),
        blob(id)
    ];
    statement.query_row(found, stored).optional()
}

/// One memory by its key, whoever asks; `None` where its text may not reach them.
pub fn find_key(conn: &Connection, key: i64) -> DbResult<Option<Stored>> {
    Ok(row_of_key(conn, key)?)
}

/// [`find_key`], for callers that skip what cannot be read.
pub fn row_of_key(conn: &Connection, key: i64) -> rusqlite::Result<Option<Stored>> {
    let mut statement = conn.prepare_cached(&format!("{SELECT} WHERE m.key = ?1"))?;
    statement.query_row([key], stored).optional()
}

/// The same, but it must exist.
pub fn by_key(conn: &Connection, key: i64) -> DbResult<Stored> {
    find_key(conn, key)?.ok_or_else(|| StoreError::NotFound("the memory").into())
}

/// Where the text of a sensitive memory is stored.
pub fn place(workspace: WorkspaceId, memory: MemoryId) -> Place<'static> {
    Place {
        workspace,
        table: "memory_content",
        row: memory.uuid(),
        column: "sealed",
    }
}

/// Opens what is sealed. A memory that cannot be read does not hide the others: it is skipped and reported.
pub async fn open<T>(keys: &FieldKeys, stored: Vec<(Stored, T)>) -> Vec<(Memory, T)> {
    let mut memories = Vec::with_capacity(stored.len());
    for (stored, with) in stored {
        let id = stored.memory.id;
        match open_one(keys, stored).await {
            Ok(memory) => memories.push((memory, with)),
            Err(error) => tracing::warn!(memory = %id, %error, "a memory cannot be read; it is passed over"),
        }
    }
    memories
}

/// [`open`] for memories alone.
pub async fn open_all(keys: &FieldKeys, stored: Vec<Stored>) -> Vec<Memory> {
    let stored = stored.into_iter().map(|stored| (stored, ())).collect();
    open(keys, stored).await.into_iter().map(|(memory, ())| memory).collect()
}

/// Opens one, or says why it cannot be read.
pub async fn open_one(keys: &FieldKeys, stored: Stored) -> StoreResult<Memory> {
    let Stored { mut memory, sealed, .. } = stored;
    if let Some(sealed) = sealed {
        let keys = keys.of(memory.workspace_id).await?;
        let text = keys
            .open(place(memory.workspace_id, memory.id), &sealed)
            .map_err(|error| StoreError::unavailable(error.to_string()))?;
        memory.text = String::from_utf8(text)
            .map_err(|_| StoreError::unavailable("A sensitive memory does not hold text. Restore a backup."))?;
    }
    Ok(memory)
}
