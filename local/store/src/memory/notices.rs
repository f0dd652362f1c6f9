//! Notices: other people decide whether their replies are removed along with what somebody redacted.

use std::collections::BTreeSet;

use async_trait::async_trait;
use duet_core::{
    Caller, Env, StoreError, StoreResult, cursor,
    domain::{Blanked, ListPage, Notice, NoticeAction, NoticedReply, PageRequest, Told, Tombstone},
    ids::{MemoryId, NoticeId, RunId, UserId},
    ports::NoticeStore,
    refusal::Refusal,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    LocalMemories,
    redact::{self, Removed},
    tombstones::{self, Entry},
};
use crate::{
    audit,
    error::DbResult,
    rows::{self, blob, id, opt_time, opt_word, time},
};

/// Who else must be told: everybody whose runs name one of these memories.
pub fn concerned(conn: &Connection, caller: &Caller, env: &Env, memories: &[MemoryId]) -> DbResult<Vec<Told>> {
    let workspace = blob(caller.workspace);
    let mut people: BTreeSet<UserId> = BTreeSet::new();
    let mut knew = conn.prepare_cached(
        "SELECT DISTINCT r.user_id FROM run_event_mention n JOIN run r ON r.workspace_id = n.workspace_id AND r.id = n.run_id
         WHERE n.workspace_id = ?1 AND n.memory_id = ?2 AND r.user_id <> ?3",
    )?;
    for memory in memories {
        let knew = knew.query_map(params![workspace, blob(*memory), blob(caller.user)], |row| {
            id::<UserId>(row, "user_id")
        })?;
        people.extend(knew.collect::<Result<Vec<_>, _>>()?);
    }
    let told = people.into_iter().map(|user_id| Told {
        notice_id: env.id(),
        user_id,
    });
    Ok(told.collect())
}

/// Leaves the notices of a redaction. An older copy of the file may lack people of that time, but then it has none of their
/// replies either.
pub fn leave(conn: &Connection, tombstone: &Tombstone) -> DbResult<()> {
    let mut leave = conn.prepare_cached(
        "INSERT OR IGNORE INTO notice (workspace_id, id, user_id, memory_id, redaction_id, redacted_by, created_at)
         SELECT w.id, ?2, told.id, ?4, ?5, redactor.id, ?7 FROM workspace w, user told, user redactor
         WHERE w.id = ?1 AND told.id = ?3 AND redactor.id = ?6",
    )?;
    for told in &tombstone.notices {
        leave.execute(params![
            blob(tombstone.workspace_id),
            blob(told.notice_id),
            blob(told.user_id),
            blob(tombstone.memory_id),
            blob(tombstone.id),
            blob(tombstone.redacted_by),
            tombstone.redacted_at.millis(),
        ])?;
    }
    Ok(())
}

/// What people removed by their notices.
pub fn blanked(conn: &Connection) -> DbResult<Vec<Blanked>> {
    let mut statement = conn.prepare("SELECT tombstone FROM notice WHERE tombstone IS NOT NULL")?;
    let found = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut blanked = Vec::new();
    for found in found {
        blanked.push(serde_json::from_str(&found?)?);
    }
    Ok(blanked)
}

/// Whether the file has one of these runs: an older copy may predate them.
pub fn is_there(conn: &Connection, blanked: &Blanked) -> DbResult<bool> {
    let mut run = conn.prepare_cached("SELECT 1 FROM run WHERE workspace_id = ?1 AND id = ?2")?;
    for id in &blanked.runs {
        if run.exists(params![blob(blanked.workspace_id), blob(*id)])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes again what an older copy of the file brought back.
pub fn reapply(conn: &Connection, blanked: &Blanked) -> DbResult<()> {
    let (workspace, runs) = (blob(blanked.workspace_id), blanked.runs.iter().copied().collect());
    redact::stop(conn, workspace, &runs)?;
    redact::erase_runs(
        conn,
        workspace,
        &runs,
        Some(blanked.user_id),
        blanked.blanked_at,
        &mut Removed::default(),
    )?;
    mark_blanked(conn, blanked)
}

fn mark_blanked(conn: &Connection, blanked: &Blanked) -> DbResult<()> {
    conn.execute(
        "UPDATE notice SET settled = ?3, settled_at = ?4, tombstone = ?5 WHERE workspace_id = ?1 AND id = ?2",
        params![
            blob(blanked.workspace_id),
            blob(blanked.notice_id),
            NoticeAction::Blank.as_str(),
            blanked.blanked_at.millis(),
            serde_json::to_string(blanked)?,
        ],
    )?;
    Ok(())
}

/// A notice, without its replies, which are looked up later.
fn notice(row: &Row<'_>) -> rusqlite::Result<Notice> {
    Ok(Notice {
        id: id(row, "id")?,
        workspace_id: id(row, "workspace_id")?,
        memory_id: id(row, "memory_id")?,
        redacted_by: id(row, "redacted_by")?,
        created_at: time(row, "created_at")?,
        replies: Vec::new(),
        settled: opt_word(row, "settled")?,
        settled_at: opt_time(row, "settled_at")?,
    })
}

/// The runs of a notice's person (`told`) that name what was redacted, if their conversations still exist.
const NOTICED: &str = "memory_tombstone t
     JOIN run_event_mention n ON n.workspace_id = t.workspace_id AND n.memory_id = t.memory_id
     JOIN run r ON r.workspace_id = n.workspace_id AND r.id = n.run_id
     JOIN conversation c ON c.workspace_id = r.workspace_id AND c.id = r.conversation_id AND c.deleted_at IS NULL
     WHERE t.workspace_id = told.workspace_id AND t.redaction_id = told.redaction_id AND t.redacted_by = told.redacted_by
       AND r.user_id = told.user_id";

/// The replies of the runs that a notice is about, newest first.
fn replies(conn: &Connection, caller: &Caller, notice: NoticeId) -> DbResult<Vec<NoticedReply>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT DISTINCT r.id, r.conversation_id, c.title, r.reply_id, r.created_at FROM notice told, {NOTICED}
           AND told.workspace_id = ?1 AND told.id = ?2
         ORDER BY r.created_at DESC, r.id DESC LIMIT ?3",
    ))?;
    let found = statement.query_map(
        params![blob(caller.workspace), blob(notice), Notice::MOST_REPLIES as i64],
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

/// The runs that are removed with these replies: a run that continues one contains its beginning, and names no memory for it.
fn runs(conn: &Connection, caller: &Caller, notice: NoticeId) -> DbResult<BTreeSet<RunId>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT b.id FROM run b WHERE b.workspace_id = ?1 AND b.user_id = ?3 AND b.reply_id IN (
             SELECT r.reply_id FROM notice told, {NOTICED} AND told.workspace_id = ?1 AND told.id = ?2)",
    ))?;
    let found = statement.query_map(params![blob(caller.workspace), blob(notice), blob(caller.user)], |row| {
        id(row, "id")
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn find(conn: &Connection, caller: &Caller, id: NoticeId) -> DbResult<Notice> {
    let mut statement = conn.prepare_cached("SELECT * FROM notice WHERE workspace_id = ?1 AND id = ?2 AND user_id = ?3")?;
    let found = statement
        .query_row(params![blob(caller.workspace), blob(id), blob(caller.user)], notice)
        .optional()?;
    let mut notice = found.ok_or(StoreError::NotFound("the notice"))?;
    notice.replies = replies(conn, caller, id)?;
    Ok(notice)
}

/// Settles a notice; returns it with what that removed.
fn settle(
    conn: &Connection,
    caller: &Caller,
    env: &Env,
    id: NoticeId,
    action: NoticeAction,
) -> DbResult<(Notice, Option<Blanked>)> {
    let notice = find(conn, caller, id)?;
    if notice.settled.is_some() {
        return Ok((notice, None));
    }
    let (workspace, now) = (blob(caller.workspace), env.now());
    let blanked = match action {
        NoticeAction::Dismiss => {
            conn.execute(
                "UPDATE notice SET settled = ?3, settled_at = ?4 WHERE workspace_id = ?1 AND id = ?2",
                params![workspace, blob(id), action.as_str(), now.millis()],
            )?;
            None
        }
        NoticeAction::Blank => {
            let runs = runs(conn, caller, id)?;
            redact::end_waiting(conn, env, caller, &runs)?;
            if let Some(run) = redact::active(conn, caller, &runs)? {
                return Err(Refusal::ReplyOfNoticeActive { run }.into());
            }
            redact::erase_runs(conn, workspace, &runs, Some(caller.user), now, &mut Removed::default())?;
            let blanked = Blanked {
                notice_id: id,
                workspace_id: caller.workspace,
                user_id: caller.user,
                runs: runs.into_iter().collect(),
                blanked_at: now,
            };
            mark_blanked(conn, &blanked)?;
            Some(blanked)
        }
    };
    let details = serde_json::json!({"action": action, "runs": blanked.as_ref().map_or(0, |blanked| blanked.runs.len())});
    audit::record(
        conn,
        env,
        caller.into(),
        audit::done("notice.settle", format!("notice:{id}"), details),
    )?;
    Ok((find(conn, caller, id)?, blanked))
}

#[async_trait]
impl NoticeStore for LocalMemories {
    async fn list(&self, caller: &Caller, request: PageRequest) -> StoreResult<ListPage<Notice>> {
        caller.require_person("see the notices")?;
        let (asking, size) = (caller.clone(), request.size());
        let (millis, before) = cursor::moment(request.cursor.as_deref())?.unwrap_or((i64::MAX, [0xff; 16]));
        self.db
            .read(move |conn| {
                // A notice whose replies were all deleted with their conversations asks for nothing.
                let mut statement = conn.prepare_cached(&format!(
                    "SELECT told.* FROM notice told
                     WHERE told.workspace_id = ?1 AND told.user_id = ?2 AND told.settled IS NULL AND (told.created_at, told.id) < (?3, ?4)
                       AND EXISTS (SELECT 1 FROM {NOTICED})
                     ORDER BY told.created_at DESC, told.id DESC LIMIT ?5",
                ))?;
                let (workspace, me) = (blob(asking.workspace), blob(asking.user));
                let rows = statement.query(params![workspace, me, millis, before, cursor::limit(size)])?;
                let place =
                    |row: &Row<'_>| Ok(cursor::after(time(row, "created_at")?.millis(), id::<NoticeId>(row, "id")?));
                let page = rows::page("notices", rows, size, notice, place)?;
                let mut notices = Vec::with_capacity(page.items.len());
                for mut notice in page.items {
                    notice.replies = replies(conn, &asking, notice.id)?;
                    notices.push(notice);
                }
                Ok(ListPage {
                    items: notices,
                    next_cursor: page.next_cursor,
                })
            })
            .await
    }

    async fn settle(&self, caller: &Caller, id: NoticeId, action: NoticeAction) -> StoreResult<Notice> {
        caller.require_person("settle this notice")?;
        let (asking, env) = (caller.clone(), self.db.env().clone());
        let (notice, blanked) = self.db.write(move |conn| settle(conn, &asking, &env, id, action)).await?;
        let again = blanked.is_none();
        let entries: Vec<_> = blanked.into_iter().map(Entry::Blanked).collect();
        tombstones::append(&self.connector, &entries).map_err(|error| redact::unwritten("The replies are blanked", &error))?;
        if !again || self.connector.owes_checkpoint() {
            self.connector.checkpoint(&self.db, "The replies are blanked.").await?;
        }
        Ok(notice)
    }
}
