//! Deleting a conversation: its text is removed everywhere, and the chains of its runs stay whole.

use duet_core::{
    Env,
    ids::{ConversationId, RunId},
    refusal::Refusal,
};
use rusqlite::{Connection, params};

use super::{
    audit::{self, Who},
    conversations::{Owner, require},
    error::DbResult,
    requests,
    rows::{blob, id},
    run_log,
};

/// Deletes a conversation of this person.
pub fn delete(tx: &Connection, env: &Env, owner: Owner, conversation: ConversationId) -> DbResult<()> {
    require(tx, owner, conversation)?;
    let active = tx
        .prepare_cached("SELECT 1 FROM run WHERE workspace_id = ?1 AND conversation_id = ?2 AND claimable = 1")?
        .exists(params![blob(owner.workspace), blob(conversation)])?;
    if active {
        return Err(Refusal::ReplyActive.into());
    }
    let now = env.now().millis();
    let (workspace, named) = (blob(owner.workspace), blob(conversation));
    let here: (&str, &[&dyn rusqlite::ToSql]) = ("workspace_id = ?1 AND conversation_id = ?2", params![workspace, named]);
    run_log::end_waiting(tx, env, here, owner.user, None)?;
    let runs: Vec<RunId> = tx
        .prepare_cached("SELECT id FROM run WHERE workspace_id = ?1 AND conversation_id = ?2")?
        .query_map(params![workspace, named], |row| id(row, "id"))?
        .collect::<Result<_, _>>()?;
    for run in &runs {
        requests::redact(tx, (owner.workspace, *run), now)?;
        let run = blob(*run);
        tx.prepare_cached(
            "UPDATE run_event_payload SET payload = NULL, salt = NULL, redacted_at = ?3
             WHERE workspace_id = ?1 AND run_id = ?2 AND payload IS NOT NULL",
        )?
        .execute(params![workspace, run, now])?;
        for sql in [
            "DELETE FROM run_event_outbox WHERE workspace_id = ?1 AND run_id = ?2",
            "DELETE FROM idempotency_key WHERE workspace_id = ?1 AND run_id = ?2",
            "UPDATE run SET reason = NULL WHERE workspace_id = ?1 AND id = ?2",
        ] {
            tx.prepare_cached(sql)?.execute(params![workspace, run])?;
        }
    }
    // Triggers remove their full-text entries.
    let messages = tx.execute(
        "DELETE FROM message WHERE workspace_id = ?1 AND conversation_id = ?2",
        params![workspace, named],
    )?;
    tx.execute(
        "UPDATE conversation SET title = '', head_id = NULL, deleted_at = ?3 WHERE workspace_id = ?1 AND id = ?2",
        params![workspace, named, now],
    )?;
    let details = serde_json::json!({"messages": messages, "runs": runs.len()});
    let entry = audit::done("conversation.delete", format!("conversation:{conversation}"), details);
    audit::record(tx, env, Who::person(owner.workspace, owner.user), entry)?;
    Ok(())
}
