//! The outbox: hints that are delivered after the commit that left them.

use duet_core::{
    domain::{Changed, EventHint, Hint, PersonHint},
    ids::{MemoryId, UserId, WorkspaceId},
};
use rusqlite::{Connection, Row, params};

use super::{
    error::DbResult,
    rows::{blob, count, id, opt_id, opt_word},
};

/// Tells workers that a run waits to be claimed.
pub fn queued(tx: &Connection, workspace: WorkspaceId) -> DbResult<()> {
    tx.prepare_cached("INSERT INTO run_event_outbox (workspace_id) VALUES (?1)")?
        .execute([blob(workspace)])?;
    Ok(())
}

/// Tells a person that something of theirs has changed.
pub fn changed(tx: &Connection, workspace: WorkspaceId, user: UserId, changed: Changed) -> DbResult<()> {
    tx.prepare_cached("INSERT INTO run_event_outbox (workspace_id, user_id, changed) VALUES (?1, ?2, ?3)")?
        .execute(params![blob(workspace), blob(user), changed.as_str()])?;
    Ok(())
}

/// Tells every owner that their Inbox has changed.
pub fn owners_inbox(tx: &Connection, workspace: WorkspaceId) -> DbResult<()> {
    let owners: Vec<UserId> = tx
        .prepare_cached("SELECT user_id FROM member WHERE workspace_id = ?1 AND role = 'owner'")?
        .query_map([blob(workspace)], |row| id(row, "user_id"))?
        .collect::<Result<_, _>>()?;
    owners
        .into_iter()
        .try_for_each(|owner| changed(tx, workspace, owner, Changed::Inbox))
}

/// Tells whoever may decide about this memory, if it is or was a proposal: whose it is, whose it would replace, and the owners.
pub fn proposal(tx: &Connection, workspace: WorkspaceId, memory: MemoryId) -> DbResult<()> {
    let people: Vec<UserId> = tx
        .prepare_cached(
            "SELECT c.user_id FROM memory m JOIN memory_content c ON c.memory IN (m.key, m.supersedes)
             WHERE m.workspace_id = ?1 AND m.id = ?2
             UNION SELECT user_id FROM member WHERE workspace_id = ?1 AND role = 'owner'",
        )?
        .query_map([blob(workspace), blob(memory)], |row| id(row, "user_id"))?
        .collect::<Result<_, _>>()?;
    people
        .into_iter()
        .try_for_each(|person| changed(tx, workspace, person, Changed::Inbox))
}

/// A hint from its row.
pub fn hint(row: &Row<'_>) -> rusqlite::Result<Hint> {
    if let Some(run) = opt_id(row, "run_id")? {
        let last_seq = count(row, "last_seq")?;
        return Ok(Hint::Run(EventHint { run, last_seq }));
    }
    Ok(match opt_word(row, "changed")? {
        None => Hint::Queued,
        Some(changed) => Hint::Person(PersonHint {
            workspace: id(row, "workspace_id")?,
            user: id(row, "user_id")?,
            changed,
        }),
    })
}
