//! Notices: others decide whether their replies go with what somebody redacted.

use std::collections::BTreeSet;

use async_trait::async_trait;
use duet_core::{
    Caller, Env, StoreError, StoreResult, cursor,
    domain::{Notice, NoticeAction, NoticedReply, Page, PageRequest, RedactionReceipt},
    ids::{MemoryId, NoticeId, RedactionId, RunId, UserId},
    ports::NoticeStore,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    LocalMemories,
    redact::{self, Removed},
};
use crate::store::{
    audit,
    error::DbResult,
    rows::{self, blob, id, opt_time, opt_word, time},
};

/// Tells everybody else whose runs name one of these memories.
pub fn leave(conn: &Connection, caller: &Caller, env: &Env, receipt: &RedactionReceipt, memories: &[MemoryId]) -> DbResult<()> {
    let workspace = blob(caller.workspace);
    let mut told: BTreeSet<UserId> = BTreeSet::new();
    let mut knew = conn.prepare_cached(
        "SELECT DISTINCT r.user_id FROM run_event_mention n JOIN run r ON r.workspace_id = n.workspace_id AND r.id = n.run_id
         WHERE n.workspace_id = ?1 AND n.memory_id = ?2 AND r.user_id <> ?3",
    )?;
    for memory in memories {
        let people = knew.query_map(params![workspace, blob(*memory), blob(caller.user)], |row| {
            id::<UserId>(row, "user_id")
        })?;
        told.extend(people.collect::<Result<Vec<_>, _>>()?);
    }
    for person in told {
        conn.execute(
            "INSERT INTO notice (workspace_id, id, user_id, memory_id, redaction_id, redacted_by, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                workspace,
                blob(env.id::<NoticeId>()),
                blob(person),
                blob(receipt.memory_id),
                blob(receipt.id),
                blob(receipt.redacted_by),
                receipt.redacted_at.millis(),
            ],
        )?;
    }
    Ok(())
}

/// A notice with the redaction that it is about; its replies are still to be looked up.
fn notice(row: &Row<'_>) -> rusqlite::Result<(Notice, RedactionId)> {
    let notice = Notice {
        id: id(row, "id")?,
        workspace_id: id(row, "workspace_id")?,
        memory_id: id(row, "memory_id")?,
        redacted_by: id(row, "redacted_by")?,
        created_at: time(row, "created_at")?,
        replies: Vec::new(),
        settled: opt_word(row, "settled")?,
        settled_at: opt_time(row, "settled_at")?,
    };
    Ok((notice, id(row, "redaction_id")?))
}

/// The caller's runs that name what a redaction took, newest first, with their replies.
fn replies(conn: &Connection, caller: &Caller, redaction: RedactionId, most: usize) -> DbResult<Vec<NoticedReply>> {
    let mut statement = conn.prepare_cached(
        "SELECT DISTINCT r.id, r.conversation_id, c.title, r.reply_id, r.created_at
         FROM memory_tombstone t
         JOIN run_event_mention n ON n.workspace_id = t.workspace_id AND n.memory_id = t.memory_id
         JOIN run r ON r.workspace_id = n.workspace_id AND r.id = n.run_id
         JOIN conversation c ON c.workspace_id = r.workspace_id AND c.id = r.conversation_id
         WHERE t.workspace_id = ?1 AND t.redaction_id = ?2 AND r.user_id = ?3
         ORDER BY r.created_at DESC, r.id DESC LIMIT ?4",
    )?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let found = statement.query_map(
        params![blob(caller.workspace), blob(redaction), blob(caller.user), most],
        |row| {
            Ok(NoticedReply {
                run_id: id(row, "id")?,
                conversation_id: id(row, "conversation_id")?,
                title: row.get("title")?,
                message_id: id(row, "reply_id")?,
            })
        },
    )?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn find(conn: &Connection, caller: &Caller, id: NoticeId) -> DbResult<(Notice, RedactionId)> {
    let mut statement = conn.prepare_cached("SELECT * FROM notice WHERE workspace_id = ?1 AND id = ?2 AND user_id = ?3")?;
    let found = statement
        .query_row(params![blob(caller.workspace), blob(id), blob(caller.user)], notice)
        .optional()?;
    let (mut notice, redaction) = found.ok_or(StoreError::NotFound("the notice"))?;
    notice.replies = replies(conn, caller, redaction, Notice::MOST_REPLIES)?;
    Ok((notice, redaction))
}

/// Settles a notice; whether something was removed by it.
fn settle(conn: &Connection, caller: &Caller, env: &Env, id: NoticeId, action: NoticeAction) -> DbResult<(Notice, bool)> {
    let (notice, redaction) = find(conn, caller, id)?;
    if notice.settled.is_some() {
        return Ok((notice, false));
    }
    let (workspace, now) = (blob(caller.workspace), env.now());
    let mut runs: BTreeSet<RunId> = BTreeSet::new();
    if action == NoticeAction::Blank {
        runs = replies(conn, caller, redaction, usize::MAX)?
            .into_iter()
            .map(|reply| reply.run_id)
            .collect();
        if let Some(run) = redact::active(conn, caller, &runs)? {
            return Err(StoreError::conflict(format!(
                "One of these replies is being written (run {run}). Wait for it, or stop it; then decide again."
            ))
            .into());
        }
        redact::erase_runs(conn, workspace, &runs, Some(caller.user), now, &mut Removed::default())?;
    }
    conn.execute(
        "UPDATE notice SET settled = ?3, settled_at = ?4 WHERE workspace_id = ?1 AND id = ?2",
        params![workspace, blob(id), action.as_str(), now.millis()],
    )?;
    let details = serde_json::json!({"action": action, "runs": runs.len()});
    audit::record(
        conn,
        env,
        caller.into(),
        audit::done("notice.settle", format!("notice:{id}"), details),
    )?;
    Ok((find(conn, caller, id)?.0, !runs.is_empty()))
}

#[async_trait]
impl NoticeStore for LocalMemories {
    async fn list(&self, caller: &Caller, request: PageRequest) -> StoreResult<Page<Notice>> {
        caller.require_person("see the notices")?;
        let (asking, size) = (caller.clone(), request.size());
        let (millis, before) = cursor::moment(request.cursor.as_deref())?.unwrap_or((i64::MAX, [0xff; 16]));
        self.db
            .read(move |conn| {
                let mut statement = conn.prepare_cached(
                    "SELECT * FROM notice WHERE workspace_id = ?1 AND user_id = ?2 AND settled IS NULL AND (created_at, id) < (?3, ?4)
                     ORDER BY created_at DESC, id DESC LIMIT ?5",
                )?;
                let (workspace, me) = (blob(asking.workspace), blob(asking.user));
                let rows = statement.query(params![workspace, me, millis, before, cursor::limit(size)])?;
                let place =
                    |row: &Row<'_>| Ok(cursor::after(time(row, "created_at")?.millis(), id::<NoticeId>(row, "id")?));
                let page = rows::page("notices", rows, size, notice, place)?;
                let mut notices = Vec::with_capacity(page.items.len());
                for (mut notice, redaction) in page.items {
                    notice.replies = replies(conn, &asking, redaction, Notice::MOST_REPLIES)?;
                    notices.push(notice);
                }
                Ok(Page {
                    items: notices,
                    next_cursor: page.next_cursor,
                })
            })
            .await
    }

    async fn settle(&self, caller: &Caller, id: NoticeId, action: NoticeAction) -> StoreResult<Notice> {
        caller.require_person("settle this notice")?;
        let (asking, env) = (caller.clone(), self.db.env().clone());
        let (notice, removed) = self.db.write(move |conn| settle(conn, &asking, &env, id, action)).await?;
        if removed || self.connector.owes_checkpoint() {
            self.connector.checkpoint(&self.db, "The replies are blanked.").await?;
        }
        Ok(notice)
    }
}
