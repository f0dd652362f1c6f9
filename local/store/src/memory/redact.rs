//! Removing a memory's text everywhere it went.

use std::collections::BTreeSet;

use duet_core::{
    Caller, Env, StoreError, Timestamp,
    domain::{RedactionReceipt, RemovedFrom, Role, RunStatus, Tombstone},
    ids::{Id, MemoryId, MessageId, NoticeId, RedactionId, RunId, UserId, WorkspaceId},
    refusal::Refusal,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    index::{self, Bits},
    notices,
    rows::{self, Stored},
    system,
    tombstones::{self, Entry},
    write,
};
use crate::{
    connect::Connector,
    error::DbResult,
    recall::VectorCache,
    requests,
    rows::{blob, id},
};

/// The reason stored with a run that had read redacted text.
const REDACTED: &str = "What it was about was redacted.";

/// What is removed, by id.
struct Extent {
    memories: Vec<MemoryId>,
    messages: BTreeSet<MessageId>,
    runs: BTreeSet<RunId>,
}

/// How much was removed, place by place.
#[derive(Default)]
pub struct Removed {
    memory: u64,
    full_text: u64,
    vectors: u64,
    vector_codes: u64,
    bit_index: u64,
    messages: u64,
    replies: u64,
    titles: u64,
    event_payloads: u64,
    requests: u64,
    outbox: u64,
    idempotency_keys: u64,
    caches: u64,
}

impl Removed {
    fn places(&self) -> Vec<RemovedFrom> {
        let counts = [
            self.memory,
            self.full_text,
            self.vectors,
            self.vector_codes,
            self.bit_index,
            self.messages,
            self.replies,
            self.titles,
            self.event_payloads,
            self.requests,
            self.outbox,
            self.idempotency_keys,
            self.caches,
        ];
        RedactionReceipt::PLACES
            .into_iter()
            .zip(counts)
            .map(|(place, count)| RemovedFrom {
                place: place.to_owned(),
                count,
            })
            .collect()
    }
}

/// Redacts a memory and those it replaced. Returns the receipt, and the tombstones that are new.
pub fn redact(
    conn: &Connection,
    caller: &Caller,
    memory: MemoryId,
    redaction: RedactionId,
    env: &Env,
    cache: &VectorCache,
) -> DbResult<(RedactionReceipt, Vec<Tombstone>)> {
    let now = env.now();
    let stored = rows::find(conn, caller, memory, now)?.ok_or(StoreError::NotFound("the memory"))?;
    write::require_own(caller, &stored, "redact this memory")?;
    if let Some(receipt) = receipt(conn, caller, memory)? {
        return Ok((receipt, Vec::new()));
    }
    let workspace = blob(caller.workspace);
    // A decision on a notice covers what the notice names, and nothing that was added later.
    let mut used =
        conn.prepare_cached("SELECT 1 FROM memory_tombstone WHERE workspace_id = ?1 AND redaction_id = ?2 AND redacted_by = ?3")?;
    if used.exists(params![workspace, blob(redaction), blob(caller.user)])? {
        return Err(Refusal::RedactionDone.into());
    }
    let extent = extent(conn, caller, stored.key)?;
    end_waiting(conn, env, caller, &extent.runs)?;
    if let Some(run) = active(conn, caller, &extent.runs)? {
        return Err(Refusal::ReplyKnowsMemory { run }.into());
    }
    let mut removed = Removed::default();
    // An owner redacts for everybody, others only what is their own.
    let whose = (caller.role != Role::Owner).then_some(caller.user);
    erase(conn, workspace, &extent, whose, now, cache, &mut removed)?;

    let receipt = RedactionReceipt {
        id: redaction,
        memory_id: memory,
        redacted_by: caller.user,
        redacted_at: now,
        removed: removed.places(),
    };
    let mut told = match caller.role {
        Role::Owner => Vec::new(),
        Role::Member => notices::concerned(conn, caller, env, &extent.memories)?,
    };
    let mut tombstones = Vec::new();
    for gone in &extent.memories {
        let tombstone = Tombstone {
            id: redaction,
            workspace_id: caller.workspace,
            memory_id: *gone,
            messages: extent.messages.iter().copied().collect(),
            runs: extent.runs.iter().copied().collect(),
            redacted_by: caller.user,
            redacted_at: now,
            // Notices go with the first one: the memory that was asked for.
            notices: std::mem::take(&mut told),
        };
        notices::leave(conn, &tombstone)?;
        if bury(conn, &tombstone, &receipt)? {
            tombstones.push(tombstone);
        }
    }
    Ok((receipt, tombstones))
}

/// The receipt of a memory that the caller can see.
pub fn receipt(conn: &Connection, caller: &Caller, memory: MemoryId) -> DbResult<Option<RedactionReceipt>> {
    let mut statement = conn.prepare_cached("SELECT receipt FROM memory_tombstone WHERE workspace_id = ?1 AND memory_id = ?2")?;
    let found: Option<String> = statement
        .query_row(params![blob(caller.workspace), blob(memory)], |row| row.get(0))
        .optional()?;
    Ok(found.map(|json| serde_json::from_str(&json)).transpose()?)
}

/// Follows the text: the memories that this one replaced, as far as the caller may redact them, the messages they came from, and
/// the runs that wrote or knew them. Messages and runs are the caller's own, or everybody's if an owner asks.
fn extent(conn: &Connection, caller: &Caller, memory: i64) -> DbResult<Extent> {
    let workspace = blob(caller.workspace);
    let (me, everybody) = (blob(caller.user), caller.role == Role::Owner);
    let mut extent = Extent {
        memories: Vec::new(),
        messages: BTreeSet::new(),
        runs: BTreeSet::new(),
    };
    let mut next = Some(rows::by_key(conn, memory)?);
    while let Some(Stored { memory, supersedes, .. }) = next {
        extent.memories.push(memory.id);
        let author = blob(memory.user_id);
        // Naming another person's message as the source must not empty it.
        let mut own = conn.prepare_cached(
            "SELECT 1 FROM message WHERE workspace_id = ?1 AND id = ?2 AND user_id = ?3 AND (?4 OR user_id = ?5)",
        )?;
        if let Some(message) = memory.provenance.message_id
            && own.exists(params![workspace, blob(message), author, everybody, me])?
        {
            extent.messages.insert(message);
        }
        if let Some(run) = memory.provenance.run_id {
            let mut asked =
                conn.prepare_cached("SELECT message_id FROM run WHERE workspace_id = ?1 AND id = ?2 AND (?3 OR user_id = ?4)")?;
            if let Some(message) = asked
                .query_row(params![workspace, blob(run), everybody, me], |row| id(row, "message_id"))
                .optional()?
            {
                extent.runs.insert(run);
                extent.messages.insert(message);
            }
        }
        // Runs that name the memory may quote it. Mentions are written with the events; payloads are searched as well, so that an
        // event without its mention does not keep the text. Only those of the author's runs are searched: a person chooses a
        // memory's id, and could choose one that other people's runs name for another reason.
        let mut knew = conn.prepare_cached(
            "SELECT r.id FROM run_event_mention n JOIN run r ON r.workspace_id = n.workspace_id AND r.id = n.run_id
             WHERE n.workspace_id = ?1 AND n.memory_id = ?2 AND (?5 OR r.user_id = ?6)
             UNION SELECT r.id FROM run_event_payload p
             JOIN run r ON r.workspace_id = p.workspace_id AND r.id = p.run_id AND r.user_id = ?4
             WHERE p.workspace_id = ?1 AND instr(p.payload, ?3) > 0 AND (?5 OR r.user_id = ?6)",
        )?;
        let (named, text) = (blob(memory.id), memory.id.to_string());
        let runs = knew.query_map(params![workspace, named, text, author, everybody, me], |row| {
            id::<RunId>(row, "id")
        })?;
        for run in runs {
            extent.runs.insert(run?);
        }
        let replaced = supersedes.map(|key| rows::by_key(conn, key)).transpose()?;
        next = replaced.filter(|old| old.memory.superseded_by == Some(memory.id) && write::is_own(caller, old));
    }
    // A run that continues a reply contains its beginning, and names no memory for it.
    let mut same_reply = conn.prepare_cached(
        "SELECT b.id FROM run a JOIN run b ON b.workspace_id = a.workspace_id AND b.reply_id = a.reply_id
         WHERE a.workspace_id = ?1 AND a.id = ?2 AND (?3 OR b.user_id = ?4)",
    )?;
    for run in extent.runs.clone() {
        for other in same_reply.query_map(params![workspace, blob(run), everybody, me], |row| id::<RunId>(row, "id"))? {
            extent.runs.insert(other?);
        }
    }
    drop(same_reply);
    Ok(extent)
}

/// Ends those of these runs that wait: they cannot go on without what they had read.
pub fn end_waiting(conn: &Connection, env: &Env, caller: &Caller, runs: &BTreeSet<RunId>) -> DbResult<()> {
    for run in runs {
        let this: (&str, &[&dyn rusqlite::ToSql]) =
            ("workspace_id = ?1 AND id = ?2", params![blob(caller.workspace), blob(*run)]);
        crate::run_log::end_waiting(conn, env, this, caller.user, Some(REDACTED))?;
    }
    Ok(())
}

/// One of these runs that is still active: its reply may yet quote the text.
pub fn active(conn: &Connection, caller: &Caller, runs: &BTreeSet<RunId>) -> DbResult<Option<RunId>> {
    let mut statement = conn.prepare_cached("SELECT status FROM run WHERE workspace_id = ?1 AND id = ?2")?;
    for run in runs {
        let status: Option<String> = statement
            .query_row(params![blob(caller.workspace), blob(*run)], |row| row.get(0))
            .optional()?;
        if status
            .and_then(|status| status.parse::<RunStatus>().ok())
            .is_some_and(|status| !status.is_final())
        {
            return Ok(Some(*run));
        }
    }
    Ok(None)
}

fn erase(
    conn: &Connection,
    workspace: [u8; 16],
    extent: &Extent,
    whose: Option<UserId>,
    now: Timestamp,
    cache: &VectorCache,
    removed: &mut Removed,
) -> DbResult<()> {
    for memory in &extent.memories {
        let key: Option<i64> = conn
            .query_row(
                "SELECT key FROM memory WHERE workspace_id = ?1 AND id = ?2",
                params![workspace, blob(*memory)],
                |row| row.get(0),
            )
            .optional()?;
        let Some(key) = key else { continue };
        removed.full_text += index::remove_text(conn, key)?;
        system::forget_refusal(conn, key)?;
        let vector = index::remove_vector(conn, key, Bits::Now)?;
        removed.vectors += vector.vectors;
        removed.vector_codes += vector.codes;
        removed.bit_index += vector.bits;
        removed.caches += u64::from(vector.partition.is_some_and(|partition| cache.forget(partition)));
        conn.execute("UPDATE memory SET live = 0 WHERE key = ?1", [key])?;
        removed.memory += conn.execute(
            "UPDATE memory_content SET text = NULL, sealed = NULL, terms = NULL, speaker = NULL, redacted_at = ?2
             WHERE memory = ?1 AND redacted_at IS NULL",
            params![key, now.millis()],
        )? as u64;
    }
    for message in &extent.messages {
        removed.titles += untitle(conn, workspace, *message)?;
        removed.messages += blank(conn, workspace, *message, None)?;
        removed.idempotency_keys += forget_request(conn, workspace, "message_id", blob(*message))?;
    }
    erase_runs(conn, workspace, &extent.runs, whose, now, removed)
}

/// Empties what these runs wrote: their replies, the payloads of their events, and the hints about them. A run of anyone but the
/// named person is left as it is, however it got among them; if nobody is named, everybody's are emptied.
pub fn erase_runs(
    conn: &Connection,
    workspace: [u8; 16],
    runs: &BTreeSet<RunId>,
    whose: Option<UserId>,
    now: Timestamp,
    removed: &mut Removed,
) -> DbResult<()> {
    for run in runs {
        let named = params![workspace, blob(*run)];
        let found: Option<(MessageId, UserId)> = conn
            .query_row(
                "SELECT reply_id, user_id FROM run WHERE workspace_id = ?1 AND id = ?2",
                named,
                |row| Ok((id(row, "reply_id")?, id(row, "user_id")?)),
            )
            .optional()?;
        match found {
            Some((_, user)) if whose.is_some_and(|whose| whose != user) => continue,
            Some((reply, user)) => {
                removed.replies += blank(conn, workspace, reply, Some(user))?;
                // What it said before it waited.
                removed.replies += conn.execute(
                    "UPDATE message SET text = '', status = 'redacted'
                     WHERE workspace_id = ?1 AND run_id = ?2 AND role = 'assistant' AND status <> 'redacted' AND user_id = ?3
                       AND answers_id = (SELECT r.message_id FROM run r WHERE r.workspace_id = ?1 AND r.id = ?2)",
                    params![workspace, blob(*run), blob(user)],
                )? as u64;
            }
            // The run was deleted; what is left of its log is removed.
            None => {}
        }
        removed.event_payloads += conn.execute(
            "UPDATE run_event_payload SET payload = NULL, salt = NULL, redacted_at = ?3
             WHERE workspace_id = ?1 AND run_id = ?2 AND payload IS NOT NULL",
            params![workspace, blob(*run), now.millis()],
        )? as u64;
        removed.requests += requests::redact(
            conn,
            (WorkspaceId::from_uuid(uuid::Uuid::from_bytes(workspace)), *run),
            now.millis(),
        )? as u64;
        removed.outbox += conn.execute("DELETE FROM run_event_outbox WHERE workspace_id = ?1 AND run_id = ?2", named)? as u64;
        removed.idempotency_keys += forget_request(conn, workspace, "run_id", blob(*run))?;
    }
    Ok(())
}

/// A request's hash would confirm a guess of its text. The key stays taken: sending the request again does not bring the text back.
fn forget_request(conn: &Connection, workspace: [u8; 16], column: &'static str, id: [u8; 16]) -> DbResult<u64> {
    let forgotten = conn.execute(
        &format!(
            "UPDATE idempotency_key SET request_hash = zeroblob(32)
             WHERE workspace_id = ?1 AND {column} = ?2 AND request_hash <> zeroblob(32)"
        ),
        params![workspace, id],
    )?;
    Ok(forgotten as u64)
}

/// Empties a message; triggers remove its full-text entries. `whose` limits it to one person's messages, since a run can name a
/// reply id that somebody else's message now has.
fn blank(conn: &Connection, workspace: [u8; 16], message: MessageId, whose: Option<UserId>) -> DbResult<u64> {
    Ok(conn.execute(
        "UPDATE message SET text = '', status = 'redacted'
         WHERE workspace_id = ?1 AND id = ?2 AND status <> 'redacted' AND (?3 IS NULL OR user_id = ?3)",
        params![workspace, blob(message), whose.map(blob)],
    )? as u64)
}

/// Removes a conversation's title if it was made from this message.
fn untitle(conn: &Connection, workspace: [u8; 16], message: MessageId) -> DbResult<u64> {
    let found = conn
        .query_row(
            "SELECT c.id, c.title, m.text FROM message m
             JOIN conversation c ON c.workspace_id = m.workspace_id AND c.id = m.conversation_id
             WHERE m.workspace_id = ?1 AND m.id = ?2 AND c.title <> ''",
            params![workspace, blob(message)],
            |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?)),
        )
        .optional()?;
    let Some((conversation, title, text)) = found else {
        return Ok(0);
    };
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let start = plain(title.trim_end_matches(['…', '.']));
    if start.is_empty() || !plain(&text).starts_with(&start) {
        return Ok(0);
    }
    let changed = conn.execute(
        "UPDATE conversation SET title = '' WHERE workspace_id = ?1 AND id = ?2",
        params![workspace, conversation],
    )?;
    Ok(changed as u64)
}

/// Stores a tombstone; returns whether it is new.
fn bury(conn: &Connection, tombstone: &Tombstone, receipt: &RedactionReceipt) -> DbResult<bool> {
    let stored = conn.execute(
        "INSERT OR IGNORE INTO memory_tombstone (workspace_id, memory_id, redaction_id, redacted_by, redacted_at, tombstone, receipt)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            blob(tombstone.workspace_id),
            blob(tombstone.memory_id),
            blob(tombstone.id),
            blob(tombstone.redacted_by),
            tombstone.redacted_at.millis(),
            serde_json::to_string(tombstone)?,
            serde_json::to_string(receipt)?,
        ],
    )?;
    Ok(stored > 0)
}

/// Makes file and sidecar agree when the file is opened: redacts again what an older copy of the file brought back, and writes to
/// the sidecar what a crash kept out of it. Returns how much was removed again.
pub fn reconcile(conn: &mut Connection, connector: &Connector) -> DbResult<u64> {
    let beside = tombstones::read(connector)?;
    let transaction = conn.transaction()?;
    let inside = inside(&transaction)?;
    let written: BTreeSet<_> = beside.iter().map(key).collect();
    let lost = lost(&transaction, &beside, &inside)?;
    // A notice comes with its redaction, whatever was written first.
    for tombstone in lost.iter().filter_map(|entry| entry.redacted()) {
        reapply(&transaction, tombstone)?;
    }
    for blanked in lost.iter().filter_map(|entry| entry.blanked()) {
        notices::reapply(&transaction, blanked)?;
    }
    let again = lost.len() as u64;
    transaction.commit()?;
    let missing: Vec<Entry> = inside.into_iter().filter(|entry| !written.contains(&key(entry))).collect();
    tombstones::append(connector, &missing).map_err(|error| unwritten("What was redacted is removed", &error))?;
    Ok(again)
}

/// Whether the file has everything in its sidecar: an older copy does not, and would show what was removed since.
pub fn is_reconciled(conn: &Connection, connector: &Connector) -> DbResult<bool> {
    Ok(lost(conn, &tombstones::read(connector)?, &inside(conn)?)?.is_empty())
}

/// What the sidecar has and the file does not, except what was blanked in runs that the file does not know.
fn lost<'a>(conn: &Connection, beside: &'a [Entry], inside: &[Entry]) -> DbResult<Vec<&'a Entry>> {
    let known: BTreeSet<_> = inside.iter().map(key).collect();
    let mut lost = Vec::new();
    for entry in beside.iter().filter(|entry| !known.contains(&key(entry))) {
        let there = entry.blanked().map(|blanked| notices::is_there(conn, blanked)).transpose()?;
        if there != Some(false) {
            lost.push(entry);
        }
    }
    Ok(lost)
}

/// What the file says must stay removed.
fn inside(conn: &Connection) -> DbResult<Vec<Entry>> {
    let mut inside = Vec::new();
    let mut statement = conn.prepare("SELECT tombstone FROM memory_tombstone")?;
    for stored in statement.query_map([], |row| row.get::<_, String>(0))? {
        inside.push(Entry::Redacted(serde_json::from_str(&stored?)?));
    }
    inside.extend(notices::blanked(conn)?.into_iter().map(Entry::Blanked));
    Ok(inside)
}

/// Stops runs that were under way in an older copy: they must not go on with the text.
pub fn stop(conn: &Connection, workspace: [u8; 16], runs: &BTreeSet<RunId>) -> DbResult<()> {
    for run in runs {
        conn.execute(
            "UPDATE run SET status = 'cancelled', reason = ?3, lease_token = NULL WHERE workspace_id = ?1 AND id = ?2 AND active = 1",
            params![workspace, blob(*run), REDACTED],
        )?;
    }
    Ok(())
}

fn reapply(conn: &Connection, tombstone: &Tombstone) -> DbResult<()> {
    let workspace = blob(tombstone.workspace_id);
    let extent = Extent {
        memories: vec![tombstone.memory_id],
        messages: tombstone.messages.iter().copied().collect(),
        runs: tombstone.runs.iter().copied().collect(),
    };
    stop(conn, workspace, &extent.runs)?;
    let mut removed = Removed::default();
    erase(
        conn,
        workspace,
        &extent,
        // Whose they are was decided when the memory was redacted.
        None,
        tombstone.redacted_at,
        &VectorCache::new(0),
        &mut removed,
    )?;
    let receipt = RedactionReceipt {
        id: tombstone.id,
        memory_id: tombstone.memory_id,
        redacted_by: tombstone.redacted_by,
        redacted_at: tombstone.redacted_at,
        removed: removed.places(),
    };
    bury(conn, tombstone, &receipt)?;
    notices::leave(conn, tombstone)
}

/// What identifies an entry: the memory, or the notice.
fn key(entry: &Entry) -> (WorkspaceId, Option<MemoryId>, Option<NoticeId>) {
    match entry {
        Entry::Redacted(tombstone) => (tombstone.workspace_id, Some(tombstone.memory_id), None),
        Entry::Blanked(blanked) => (blanked.workspace_id, None, Some(blanked.notice_id)),
    }
}

/// The error for a failed write of the sidecar; `done` says what happened nonetheless.
pub fn unwritten(done: &str, error: &std::io::Error) -> StoreError {
    StoreError::unavailable(format!(
        "{done}, but the list of redactions beside the data file could not be written ({error}). Free some space or mend \
         its permissions, then restart Duet: it writes what is missing."
    ))
}
