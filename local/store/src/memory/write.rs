//! Storing, superseding and editing.

use std::collections::BTreeSet;

use duet_core::{
    Caller, Env, StoreError, Timestamp,
    domain::{
        Egress, Embedding, Label, LabelEdit, MemoryEdit, NewMemory, Provenance, ReviewState, Role, Taint, Visibility,
        review_on_write,
    },
    ids::MemoryId,
    refusal::{Named, Refusal},
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    index::{self, Bits},
    rows::{self, Stored},
};
use crate::{
    audit,
    error::DbResult,
    rows::{blob, labels, opt_blob},
};

/// A memory on its way into the file.
pub struct Incoming {
    /// The memory.
    pub memory: NewMemory,
    /// Its sealed text, for the row of a sensitive memory.
    pub sealed: Option<Vec<u8>>,
    /// Its vector.
    pub embedding: Option<Embedding>,
    /// Now.
    pub now: Timestamp,
}

/// Stores a memory; repeating the id returns what is stored.
pub fn remember(conn: &Connection, caller: &Caller, env: &Env, incoming: &Incoming) -> DbResult<Stored> {
    let Incoming {
        memory,
        sealed,
        embedding,
        now,
    } = incoming;
    if let Some(stored) = existing(conn, caller, memory.id, *now)? {
        return Ok(stored);
    }
    let kept = within_run(conn, caller, memory)?;
    let superseded = memory
        .supersedes
        .map(|id| predecessor(conn, caller, id, kept.visibility, *now))
        .transpose()?;
    let review = match &superseded {
        Some(old) if !old.memory.may_be_replaced_by(caller) => ReviewState::Proposed,
        _ => review_on_write(caller.agent.is_some(), kept.taint, memory.domain, superseded.is_some()),
    };
    let live = review == ReviewState::Accepted;
    let owner = (kept.visibility == Visibility::Private).then_some(caller.user);
    let class = index::class(conn, caller.workspace, owner, memory.domain, kept.egress)?;
    let key: i64 = conn
        .prepare_cached(
            "INSERT INTO memory (workspace_id, id, class, live, conversation_id, ordinal, occurred_at, expires_at, created_at, supersedes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) RETURNING key",
        )?
        .query_row(
            params![
                blob(caller.workspace),
                blob(memory.id),
                class,
                live,
                opt_blob(memory.position.map(|place| place.conversation_id)),
                memory.position.map(|place| place.ordinal),
                memory.occurred_at.millis(),
                memory.expires_at.map(Timestamp::millis),
                now.millis(),
                superseded.as_ref().map(|old| old.key),
            ],
            |row| row.get(0),
        )?;
    let from = provenance(caller, &memory.provenance);
    conn.prepare_cached(
        "INSERT INTO memory_content (memory, user_id, text, sealed, speaker, sensitive, taint, review, from_conversation, from_message,
             from_run, from_agent, from_user, valid_from)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?
    .execute(params![
        key,
        blob(caller.user),
        sealed.is_none().then_some(&memory.text),
        sealed,
        memory.speaker,
        memory.sensitive,
        kept.taint.as_str(),
        review.as_str(),
        opt_blob(from.conversation_id),
        opt_blob(from.message_id),
        opt_blob(from.run_id),
        opt_blob(from.agent_id),
        opt_blob(from.user_id),
        memory.occurred_at.min(*now).millis(),
    ])?;
    if live {
        if !memory.sensitive {
            index::add_text(conn, key, class, memory.speaker.as_deref(), &memory.text)?;
        }
        if let Some(embedding) = embedding {
            index::add_vector(conn, key, embedding)?;
        }
        if let Some(old) = superseded {
            supersede(conn, &old, memory.id, memory.occurred_at.min(*now), Bits::Later)?;
        }
    }
    let details = serde_json::json!({"supersedes": memory.supersedes, "run": from.run_id});
    let entry = audit::done("memory.create", format!("memory:{}", memory.id), details);
    audit::record_for(conn, env, caller, entry)?;
    rows::by_key(conn, key)
}

/// What is kept of what a memory claims about itself.
struct Kept {
    visibility: Visibility,
    egress: Egress,
    taint: Taint,
}

/// An agent's memory is trusted no more than what its run has read, whatever it claims, and is written in a run that is under
/// way. The schema's trigger refuses anything else.
fn within_run(conn: &Connection, caller: &Caller, memory: &NewMemory) -> DbResult<Kept> {
    let mut kept = Kept {
        visibility: memory.visibility,
        egress: memory.stored_egress(),
        taint: memory.taint,
    };
    let Some(acting) = &caller.agent else { return Ok(kept) };
    let read = conn
        .prepare_cached(
            "SELECT labels FROM run WHERE workspace_id = ?1 AND id = ?2 AND user_id = ?3 AND agent_id = ?4 AND status = 'running'",
        )?
        .query_row(
            params![
                blob(caller.workspace),
                blob(acting.run),
                blob(caller.user),
                blob(acting.agent)
            ],
            |row| labels(row, "labels"),
        )
        .optional()?
        .ok_or_else(|| Refusal::RunOver.of("remember this"))?;
    if read.sensitive && !memory.sensitive {
        return Err(Refusal::RunSensitive.of("remember this").into());
    }
    if read.others {
        kept.visibility = Visibility::Private;
    }
    kept.egress = kept.egress.max(read.egress);
    kept.taint = kept.taint.max(read.integrity);
    Ok(kept)
}

/// What is already stored under that id.
fn existing(conn: &Connection, caller: &Caller, id: MemoryId, now: Timestamp) -> DbResult<Option<Stored>> {
    let key = params![blob(caller.workspace), blob(id)];
    let taken = conn
        .prepare_cached("SELECT key FROM memory WHERE workspace_id = ?1 AND id = ?2")?
        .query_row(key, |row| row.get::<_, i64>(0));
    match taken {
        Ok(key) => {
            let taken = Refusal::IdTaken { what: Named::Memory };
            let stored = rows::find_key(conn, key)?.ok_or_else(|| taken.clone())?;
            // An agent does not see its own proposal, but a replayed effect has to find it.
            let acting = caller.agent.as_ref().map(|acting| acting.agent);
            let own = acting.is_some()
                && stored.memory.provenance.agent_id == acting
                && stored.memory.user_id == caller.user
                && stored.memory.redacted_at.is_none();
            match rows::find(conn, caller, id, now)? {
                Some(stored) => Ok(Some(stored)),
                None if own => Ok(Some(stored)),
                None => Err(taken.into()),
            }
        }
        Err(rusqlite::Error::QueryReturnedNoRows) => {
            let gone = conn
                .prepare_cached("SELECT 1 FROM memory_tombstone WHERE workspace_id = ?1 AND memory_id = ?2")?
                .exists(key)?;
            if gone {
                return Err(Refusal::IdRedacted.into());
            }
            let expired = conn
                .prepare_cached("SELECT 1 FROM memory_gone WHERE workspace_id = ?1 AND memory_id = ?2")?
                .exists(key)?;
            if expired {
                return Err(Refusal::IdExpired.into());
            }
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// An agent's memory gets the agent's own run and id, whatever is asked; a person's memory was written by no run.
fn provenance(caller: &Caller, asked: &Provenance) -> Provenance {
    Provenance {
        conversation_id: asked.conversation_id,
        message_id: asked.message_id,
        run_id: caller.agent.as_ref().map(|agent| agent.run),
        agent_id: caller.agent.as_ref().map(|agent| agent.agent),
        user_id: Some(caller.user),
    }
}

/// The memory that another one is to replace.
fn predecessor(conn: &Connection, caller: &Caller, id: MemoryId, visibility: Visibility, now: Timestamp) -> DbResult<Stored> {
    let old = rows::find(conn, caller, id, now)?.ok_or(StoreError::NotFound("the memory to supersede"))?;
    if old.memory.redacted_at.is_some() {
        return Err(Refusal::SupersededRedacted.into());
    }
    if old.memory.superseded_by.is_some() {
        return Err(Refusal::AlreadySuperseded.into());
    }
    if old.memory.visibility != visibility {
        return Err(Refusal::VisibilitiesDiffer {
            new: visibility,
            old: old.memory.visibility,
        }
        .into());
    }
    Ok(old)
}

/// Ends a memory's validity in favour of another. Its text stays as history, but is no longer recalled.
fn supersede(conn: &Connection, old: &Stored, by: MemoryId, from: Timestamp, bits: Bits) -> DbResult<()> {
    index::remove_text(conn, old.key)?;
    index::remove_vector(conn, old.key, bits)?;
    conn.prepare_cached("UPDATE memory SET live = 0 WHERE key = ?1")?
        .execute([old.key])?;
    conn.prepare_cached("UPDATE memory_content SET valid_to = ?2, superseded_by = ?3 WHERE memory = ?1")?
        .execute(params![old.key, from.max(old.memory.valid_from).millis(), blob(by)])?;
    Ok(())
}

/// Whether a person may change or redact a memory: their own, or as owner any shared one.
pub fn is_own(caller: &Caller, stored: &Stored) -> bool {
    let own = stored.memory.user_id == caller.user;
    own || (stored.memory.visibility == Visibility::Shared && caller.role == Role::Owner)
}

/// Refuses to change or redact a memory that is not the caller's own in that sense.
pub fn require_own(caller: &Caller, stored: &Stored, action: &'static str) -> DbResult<()> {
    match is_own(caller, stored) {
        true => Ok(()),
        false => Err(Refusal::OthersMemory.of(action).into()),
    }
}

/// Whether a person may make this change to a memory they can see. A proposal is decided by the person whose memory it would
/// replace, or by an owner; not by its proposer.
fn require_edit(conn: &Connection, caller: &Caller, stored: &Stored, edit: &MemoryEdit) -> DbResult<()> {
    const ACTION: &str = "change this memory";
    let memory = &stored.memory;
    let replaced = stored.supersedes.map(|key| rows::by_key(conn, key)).transpose()?;
    let decides = replaced.as_ref().is_some_and(|old| old.memory.user_id == caller.user);
    let only_decides = memory.review == ReviewState::Proposed && edit.visibility.is_none() && edit.egress.is_none();
    if !(decides && only_decides) {
        require_own(caller, stored, ACTION)?;
    }
    let accepts = edit.review == Some(ReviewState::Accepted) && memory.review != ReviewState::Accepted;
    match replaced {
        Some(old) if accepts && !old.memory.may_be_replaced_by(caller) => Err(Refusal::ReplacesOthers.of(ACTION).into()),
        _ => Ok(()),
    }
}

/// Reviews, shares or restricts.
pub fn edit(conn: &Connection, caller: &Caller, id: MemoryId, edit: &MemoryEdit, now: Timestamp) -> DbResult<Stored> {
    let stored = rows::find(conn, caller, id, now)?.ok_or(StoreError::NotFound("the memory"))?;
    require_edit(conn, caller, &stored, edit)?;
    require_text(&stored)?;
    let memory = &stored.memory;
    let review = edit.review.unwrap_or(memory.review);
    let visibility = edit.visibility.unwrap_or(memory.visibility);
    let egress = edit.egress.unwrap_or(memory.egress);
    let live = review == ReviewState::Accepted && memory.valid_to.is_none();
    if (review, visibility, egress) == (memory.review, memory.visibility, memory.egress) {
        return Ok(stored);
    }

    let edited = changed(conn, &stored, visibility, egress, || {
        conn.execute("UPDATE memory SET live = ?2 WHERE key = ?1", params![stored.key, live])?;
        conn.execute(
            "UPDATE memory_content SET review = ?2 WHERE memory = ?1",
            params![stored.key, review.as_str()],
        )?;
        Ok(())
    })?;
    if edited.live && !stored.live {
        supersede_on_acceptance(conn, &stored, visibility)?;
    }
    Ok(edited)
}

/// Refuses to change a memory whose text is gone.
fn require_text(stored: &Stored) -> DbResult<()> {
    match stored.memory.redacted_at {
        None => Ok(()),
        Some(_) => Err(Refusal::Redacted { what: Named::Memory }.into()),
    }
}

/// Changes a memory while it is out of the index and has no vector: everything stored under its class moves with it.
fn changed(
    conn: &Connection,
    stored: &Stored,
    visibility: Visibility,
    egress: Egress,
    change: impl FnOnce() -> DbResult<()>,
) -> DbResult<Stored> {
    let (key, memory) = (stored.key, &stored.memory);
    let vector = index::vector(conn, key)?;
    index::remove_text(conn, key)?;
    index::remove_vector(conn, key, Bits::Now)?;
    let owner = (visibility == Visibility::Private).then_some(memory.user_id);
    let class = index::class(conn, memory.workspace_id, owner, memory.domain, egress)?;
    conn.execute("UPDATE memory SET class = ?2 WHERE key = ?1", params![key, class])?;
    change()?;
    let changed = rows::by_key(conn, key)?;
    if changed.live {
        let memory = &changed.memory;
        if !memory.sensitive {
            index::add_text(conn, key, class, memory.speaker.as_deref(), &memory.text)?;
        }
        if let Some(vector) = vector {
            index::add_vector(conn, key, &vector)?;
        }
    }
    Ok(changed)
}

/// Clears labels; returns which of them the memory had. `opened` is the text of a sensitive memory.
pub fn clear_labels(
    conn: &Connection,
    caller: &Caller,
    id: MemoryId,
    edit: &LabelEdit,
    opened: Option<&str>,
    now: Timestamp,
) -> DbResult<(Stored, BTreeSet<Label>)> {
    const ACTION: &str = "clear this memory's labels";
    let stored = rows::find(conn, caller, id, now)?.ok_or(StoreError::NotFound("the memory"))?;
    require_own(caller, &stored, ACTION)?;
    require_text(&stored)?;
    let memory = &stored.memory;
    let labels = memory.labels(memory.user_id);
    let (cleared, kept) = (edit.cleared_of(labels), labels.without(&edit.clear));
    if cleared.is_empty() {
        return Ok((stored, cleared));
    }
    let unsealed = match cleared.contains(&Label::Sensitive) {
        true if memory.user_id != caller.user => {
            return Err(Refusal::OthersText.of(ACTION).into());
        }
        true if replaces_anothers(conn, &stored)? => {
            return Err(Refusal::ReplacedOthers.of(ACTION).into());
        }
        true => Some(opened.ok_or(Refusal::MemoryChanged)?),
        false => None,
    };
    let changed = changed(conn, &stored, memory.visibility, kept.egress, || {
        conn.execute(
            "UPDATE memory_content SET taint = ?2, sensitive = ?3, text = coalesce(?4, text), sealed = iif(?4 IS NULL, sealed, NULL)
             WHERE memory = ?1",
            params![stored.key, kept.integrity.as_str(), kept.sensitive, unsealed],
        )?;
        Ok(())
    })?;
    Ok((changed, cleared))
}

fn replaces_anothers(conn: &Connection, stored: &Stored) -> DbResult<bool> {
    let old = stored.supersedes.map(|key| rows::by_key(conn, key)).transpose()?;
    Ok(old.is_some_and(|old| old.memory.user_id != stored.memory.user_id))
}

/// An accepted proposal replaces the memory it was to supersede, unless something else has in the meantime.
fn supersede_on_acceptance(conn: &Connection, accepted: &Stored, visibility: Visibility) -> DbResult<()> {
    let Some(key) = accepted.supersedes else { return Ok(()) };
    let old = rows::by_key(conn, key)?;
    // A private memory is its person's alone, whatever was proposed while it was shared.
    let same_people = old.memory.visibility == visibility
        && (visibility == Visibility::Shared || old.memory.user_id == accepted.memory.user_id);
    if old.live && same_people {
        supersede(conn, &old, accepted.memory.id, accepted.memory.valid_from, Bits::Now)?;
    }
    Ok(())
}
