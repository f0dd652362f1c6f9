//! Conversations and their messages.

use std::sync::Arc;

use async_trait::async_trait;
use duet_core::{
    Caller, Env, StoreError, StoreResult,
    domain::{
        Conversation, ConversationEdit, LabelEdit, ListPage, Message, MessageHit, MessageStatus, PageRequest, Siblings,
        check_title,
    },
    ids::{AgentId, ConversationId, IdPrefix, MessageId, UserId, WorkspaceId},
    ports::ConversationStore,
    refusal::{Named, Refusal},
    search::words,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    agents, audit,
    connect::Connector,
    cursor,
    db::Db,
    deletion,
    error::DbResult,
    rows::{self, Unreadable, blob, count, id, int, labels, opt_blob, opt_id, opt_json, time, word},
    search,
};

/// The conversations in the file.
pub struct LocalConversations {
    pub(super) db: Db,
    pub(super) connector: Arc<Connector>,
}

/// Whose conversations are meant.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The person.
    pub user: UserId,
}

impl From<&Caller> for Owner {
    fn from(caller: &Caller) -> Self {
        Self {
            workspace: caller.workspace,
            user: caller.user,
        }
    }
}

const CONVERSATION: &str =
    "SELECT c.*, (SELECT r.id FROM run r WHERE r.workspace_id = c.workspace_id AND r.conversation_id = c.id
                                  AND r.claimable = 1 AND r.holds = 1) AS active_run FROM conversation c
     WHERE c.deleted_at IS NULL";

fn conversation(row: &Row<'_>) -> rusqlite::Result<Conversation> {
    Ok(Conversation {
        id: id(row, "id")?,
        workspace_id: id(row, "workspace_id")?,
        user_id: id(row, "user_id")?,
        agent_id: id(row, "agent_id")?,
        title: row.get("title")?,
        archived: row.get("archived")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        active_run: opt_id(row, "active_run")?,
        head_id: opt_id(row, "head_id")?,
    })
}

/// A conversation that this person can see.
pub fn find(conn: &Connection, owner: Owner, id: ConversationId) -> DbResult<Option<Conversation>> {
    let mut statement = conn.prepare_cached(&format!(
        "{CONVERSATION} AND c.workspace_id = ?1 AND c.id = ?2 AND c.user_id = ?3"
    ))?;
    Ok(statement
        .query_row(params![blob(owner.workspace), blob(id), blob(owner.user)], conversation)
        .optional()?)
}

/// The same, but it must exist.
pub fn require(conn: &Connection, owner: Owner, id: ConversationId) -> DbResult<Conversation> {
    find(conn, owner, id)?.ok_or_else(|| StoreError::NotFound("the conversation").into())
}

/// A query about the versions of a message `m`: those of its role after the same one.
macro_rules! versions {
    ($what:literal, $which:literal) => {
        concat!(
            "(SELECT ",
            $what,
            " FROM message_shown s WHERE s.workspace_id = m.workspace_id AND s.parent_id IS m.parent_id
                AND s.conversation_id = m.conversation_id AND s.role = m.role ",
            $which,
            ")"
        )
    };
}

/// Messages, with the outcome of the run that each one names, and its place among its versions.
pub const MESSAGE: &str = concat!(
    "SELECT m.*, (SELECT json_object('status', r.status, 'reason', r.reason) FROM run r
                  WHERE r.workspace_id = m.workspace_id AND r.id = m.run_id AND r.active = 0) AS ended, ",
    versions!("count(*)", "AND s.ordinal <= m.ordinal"),
    " AS nth, ",
    versions!("count(*)", ""),
    " AS versions, ",
    versions!("s.id", "AND s.ordinal < m.ordinal ORDER BY s.ordinal DESC LIMIT 1"),
    " AS previous, ",
    versions!("s.id", "AND s.ordinal > m.ordinal ORDER BY s.ordinal LIMIT 1"),
    " AS next FROM message_shown m"
);

/// A message from a row of [`MESSAGE`].
pub fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: id(row, "id")?,
        conversation_id: id(row, "conversation_id")?,
        ordinal: count(row, "ordinal")?,
        role: word(row, "role")?,
        status: word(row, "status")?,
        text: row.get("text")?,
        parent_id: opt_id(row, "parent_id")?,
        answers_id: opt_id(row, "answers_id")?,
        aside: row.get("aside")?,
        siblings: siblings(row)?,
        run_id: opt_id(row, "run_id")?,
        agent_id: opt_id(row, "agent_id")?,
        trace: opt_json(row, "trace")?,
        ended: opt_json(row, "ended")?,
        labels: labels(row, "labels")?,
        created_at: time(row, "created_at")?,
    })
}

fn siblings(row: &Row<'_>) -> rusqlite::Result<Option<Siblings>> {
    let found = Siblings {
        nth: count(row, "nth")?,
        of: count(row, "versions")?,
        previous: opt_id(row, "previous")?,
        next: opt_id(row, "next")?,
    };
    Ok(Some(found).filter(|found| found.of > 1))
}

/// A message that this person can see, on any branch.
pub fn find_message(conn: &Connection, owner: Owner, id: MessageId) -> DbResult<Option<Message>> {
    Ok(row_of_message(conn, owner, id)?)
}

fn row_of_message(conn: &Connection, owner: Owner, id: MessageId) -> rusqlite::Result<Option<Message>> {
    let mut statement = conn.prepare_cached(&format!(
        "{MESSAGE} WHERE m.workspace_id = ?1 AND m.id = ?2 AND m.user_id = ?3"
    ))?;
    statement
        .query_row(params![blob(owner.workspace), blob(id), blob(owner.user)], message)
        .optional()
}

/// A page of a conversation's messages, from the place `from` (`?3`) on, in `order`. Rows are read one by one, so that no more of
/// a conversation is in memory than the page takes.
fn page_of_messages(
    conn: &Connection,
    owner: Owner,
    id: ConversationId,
    order: &str,
    from: i64,
    size: usize,
) -> DbResult<ListPage<Message>> {
    require(conn, owner, id)?;
    let mut statement = conn.prepare_cached(&format!(
        "{MESSAGE} WHERE m.workspace_id = ?1 AND m.conversation_id = ?2 AND {order}"
    ))?;
    let mut unreadable = Unreadable::of("messages");
    let rows = statement.query_map(params![blob(owner.workspace), blob(id), from, cursor::limit(size)], |row| {
        Ok((count(row, "ordinal")?, unreadable.pass(message(row))?))
    })?;
    let page = cursor::weighed(
        rows,
        size,
        PageRequest::MAX_BYTES,
        |(_, message)| message.as_ref().map_or(0, Message::weight),
        |(ordinal, _)| int(*ordinal).to_string(),
    )?;
    Ok(ListPage {
        items: page.items.into_iter().filter_map(|(_, message)| message).collect(),
        next_cursor: page.next_cursor,
    })
}

/// A message and those before it on its branch, newest first.
fn path(conn: &Connection, owner: Owner, from: MessageId, most: u32) -> DbResult<Vec<Message>> {
    let mut statement = conn.prepare_cached(&format!(
        "WITH RECURSIVE path(id, parent_id, place) AS (
             SELECT id, parent_id, 1 FROM message_shown WHERE workspace_id = ?1 AND id = ?2 AND user_id = ?3
             UNION ALL
             SELECT p.id, p.parent_id, path.place + 1 FROM path
             JOIN message_shown p ON p.workspace_id = ?1 AND p.id = path.parent_id WHERE path.place < ?4)
         SELECT m.* FROM path CROSS JOIN ({MESSAGE} WHERE m.workspace_id = ?1) m ON m.id = path.id ORDER BY path.place"
    ))?;
    let mut unreadable = Unreadable::of("messages");
    let rows = statement.query_map(
        params![blob(owner.workspace), blob(from), blob(owner.user), most.clamp(1, 200)],
        |row| unreadable.pass(message(row)),
    )?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Shows the branch that ends with this message, or nothing of the conversation.
pub fn move_head(tx: &Connection, workspace: WorkspaceId, conversation: ConversationId, head: Option<MessageId>) -> DbResult<()> {
    let here = params![blob(workspace), blob(conversation), opt_blob(head)];
    tx.prepare_cached(
        "WITH RECURSIVE path(id, parent_id) AS (
             SELECT id, parent_id FROM message WHERE workspace_id = ?1 AND id = ?3
             UNION
             SELECT m.id, m.parent_id FROM path JOIN message m ON m.workspace_id = ?1 AND m.id = path.parent_id)
         UPDATE message SET aside = 1 - aside
         WHERE workspace_id = ?1 AND conversation_id = ?2 AND aside = (id IN (SELECT id FROM path))",
    )?
    .execute(here)?;
    tx.prepare_cached("UPDATE conversation SET head_id = ?3 WHERE workspace_id = ?1 AND id = ?2")?
        .execute(here)?;
    Ok(())
}

/// Shows the branch of this message, up to the newest that has followed it. One that is in sight stays as it is.
fn show(tx: &Connection, owner: Owner, id: ConversationId, from: MessageId) -> DbResult<Conversation> {
    let here = require(tx, owner, id)?;
    let named = find_message(tx, owner, from)?.filter(|message| message.conversation_id == id);
    if !named.ok_or(Refusal::NoSuchPlace)?.aside {
        return Ok(here);
    }
    if here.active_run.is_some() {
        return Err(Refusal::ReplyActive.into());
    }
    let newest: MessageId = tx
        .prepare_cached(
            "WITH RECURSIVE below(id, ordinal) AS (
                 SELECT id, ordinal FROM message WHERE workspace_id = ?1 AND id = ?2
                 UNION
                 SELECT m.id, m.ordinal FROM below JOIN message m ON m.workspace_id = ?1 AND m.parent_id = below.id)
             SELECT id FROM below ORDER BY ordinal DESC LIMIT 1",
        )?
        .query_row(params![blob(owner.workspace), blob(from)], |row| self::id(row, "id"))?;
    move_head(tx, owner.workspace, id, Some(newest))?;
    require(tx, owner, id)
}

/// Takes the next place in a conversation.
pub fn next_ordinal(tx: &Connection, workspace: WorkspaceId, conversation: ConversationId, now: i64) -> DbResult<i64> {
    let mut statement = tx.prepare_cached(
        "UPDATE conversation SET last_ordinal = last_ordinal + 1, updated_at = ?3 WHERE workspace_id = ?1 AND id = ?2 RETURNING last_ordinal",
    )?;
    Ok(statement.query_row(params![blob(workspace), blob(conversation), now], |row| row.get(0))?)
}

/// Longest title made from a message, in characters.
const MADE_TITLE: usize = 60;

/// A title from a first message: the beginning of its first line that says something.
pub fn made_title(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    if line.chars().count() <= MADE_TITLE {
        return line.to_owned();
    }
    let start: String = line.chars().take(MADE_TITLE - 1).collect();
    format!("{}…", start.trim_end())
}

/// Clears labels of a message; the run that answers or writes it has ended.
fn clear_labels(tx: &Connection, env: &Env, caller: &Caller, id: MessageId, edit: &LabelEdit) -> DbResult<Message> {
    let owner = Owner::from(caller);
    let found = find_message(tx, owner, id)?.ok_or(StoreError::NotFound("the message"))?;
    let going_on = tx
        .prepare_cached(
            "SELECT 1 FROM run WHERE workspace_id = ?1 AND conversation_id = ?2 AND active = 1
               AND (message_id = ?3 OR reply_id = ?3)",
        )?
        .exists(params![blob(owner.workspace), blob(found.conversation_id), blob(id)])?;
    if going_on {
        return Err(Refusal::ReplyActive.into());
    }
    if found.status == MessageStatus::Redacted {
        return Err(Refusal::Redacted { what: Named::Message }.into());
    }
    let cleared = edit.cleared_of(found.labels);
    if cleared.is_empty() {
        return Ok(found);
    }
    let labels = found.labels.without(&edit.clear);
    tx.execute(
        "UPDATE message SET labels = ?3 WHERE workspace_id = ?1 AND id = ?2",
        params![blob(owner.workspace), blob(id), labels.bits()],
    )?;
    let details = serde_json::json!({ "labels": cleared });
    let entry = audit::done("message.clear_label", format!("message:{id}"), details);
    audit::record(tx, env, caller.into(), entry)?;
    Ok(Message { labels, ..found })
}

#[async_trait]
impl ConversationStore for LocalConversations {
    async fn create(
        &self,
        caller: &Caller,
        id: ConversationId,
        agent: Option<AgentId>,
        title: Option<&str>,
    ) -> StoreResult<Conversation> {
        caller.require_person("start a conversation")?;
        let title = title.map(check_title).transpose()?.unwrap_or_default();
        let (owner, now) = (Owner::from(caller), self.db.env().now());
        self.db
            .write(move |tx| {
                if let Some(made) = find(tx, owner, id)? {
                    return Ok(made);
                }
                let agent = match agent {
                    Some(agent) => match agents::is_active(tx, owner.workspace, agent)? {
                        Some(true) => agent,
                        Some(false) => {
                            return Err(Refusal::AgentInactive.into());
                        }
                        None => return Err(StoreError::NotFound("the agent").into()),
                    },
                    None => agents::answering(tx, owner.workspace)?.ok_or(StoreError::NotFound("the workspace"))?,
                };
                tx.execute(
                    "INSERT INTO conversation (workspace_id, id, user_id, agent_id, title, archived, created_at, updated_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?6)",
                    params![
                        blob(owner.workspace),
                        blob(id),
                        blob(owner.user),
                        blob(agent),
                        title,
                        now.millis()
                    ],
                )?;
                require(tx, owner, id)
            })
            .await
    }

    async fn conversation(&self, caller: &Caller, id: ConversationId) -> StoreResult<Option<Conversation>> {
        let owner = Owner::from(caller);
        self.db.read_for(caller, move |conn| find(conn, owner, id)).await
    }

    async fn list(&self, caller: &Caller, archived: bool, request: PageRequest) -> StoreResult<ListPage<Conversation>> {
        let (owner, size) = (Owner::from(caller), request.size());
        let (millis, last) = cursor::moment(request.cursor.as_deref())?.unwrap_or((i64::MAX, [u8::MAX; 16]));
        self.db
            .read_for(caller, move |conn| {
                let mut statement = conn.prepare_cached(&format!(
                    "{CONVERSATION} AND c.workspace_id = ?1 AND c.user_id = ?2 AND c.archived = ?3 AND (c.updated_at, c.id) < (?4, ?5)
                     ORDER BY c.updated_at DESC, c.id DESC LIMIT ?6"
                ))?;
                let rows = statement.query(params![
                    blob(owner.workspace),
                    blob(owner.user),
                    archived,
                    millis,
                    last,
                    cursor::limit(size)
                ])?;
                let place = |row: &Row<'_>| {
                    Ok(cursor::after(
                        time(row, "updated_at")?.millis(),
                        self::id::<ConversationId>(row, "id")?,
                    ))
                };
                Ok(rows::page("conversations", rows, size, conversation, place)?)
            })
            .await
    }

    async fn edit(&self, caller: &Caller, id: ConversationId, edit: ConversationEdit) -> StoreResult<Conversation> {
        caller.require_person("change a conversation")?;
        let title = edit.title.as_deref().map(check_title).transpose()?;
        let owner = Owner::from(caller);
        self.db
            .write(move |tx| {
                require(tx, owner, id)?;
                tx.execute(
                    "UPDATE conversation SET title = coalesce(?3, title), archived = coalesce(?4, archived)
                     WHERE workspace_id = ?1 AND id = ?2",
                    params![blob(owner.workspace), blob(id), title, edit.archived],
                )?;
                require(tx, owner, id)
            })
            .await
    }

    async fn delete(&self, caller: &Caller, id: ConversationId) -> StoreResult<()> {
        caller.require_person("delete a conversation")?;
        let (owner, env) = (Owner::from(caller), self.db.env().clone());
        self.db.write(move |tx| deletion::delete(tx, &env, owner, id)).await?;
        // The file's log still holds the deleted text.
        self.connector.checkpoint(&self.db, "The conversation is deleted.").await
    }

    async fn ids(&self, caller: &Caller, prefix: IdPrefix) -> StoreResult<Vec<ConversationId>> {
        let owner = Owner::from(caller);
        self.db
            .read_for(caller, move |conn| {
                let mut statement = conn.prepare_cached(
                    "SELECT id FROM conversation
                     WHERE workspace_id = ?1 AND id BETWEEN ?2 AND ?3 AND user_id = ?4 AND deleted_at IS NULL ORDER BY id LIMIT ?5",
                )?;
                let (low, high) = prefix.range();
                let found = statement.query_map(
                    params![
                        blob(owner.workspace),
                        low.as_bytes(),
                        high.as_bytes(),
                        blob(owner.user),
                        int(IdPrefix::MOST)
                    ],
                    |row| self::id(row, "id"),
                )?;
                Ok(found.collect::<Result<_, _>>()?)
            })
            .await
    }

    async fn messages(&self, caller: &Caller, id: ConversationId, request: PageRequest) -> StoreResult<ListPage<Message>> {
        const NEWEST_FIRST: &str = "m.ordinal < ?3 AND m.aside = 0 ORDER BY m.ordinal DESC LIMIT ?4";
        let (owner, size) = (Owner::from(caller), request.size());
        let before = cursor::number(request.cursor.as_deref())?.unwrap_or(i64::MAX);
        self.db
            .read_for(caller, move |conn| {
                page_of_messages(conn, owner, id, NEWEST_FIRST, before, size)
            })
            .await
    }

    async fn transcript(&self, caller: &Caller, id: ConversationId, request: PageRequest) -> StoreResult<ListPage<Message>> {
        const OLDEST_FIRST: &str = "m.ordinal > ?3 AND m.aside = 0 ORDER BY m.ordinal LIMIT ?4";
        let (owner, size) = (Owner::from(caller), request.size());
        let after = cursor::number(request.cursor.as_deref())?.unwrap_or(0);
        self.db
            .read_for(caller, move |conn| {
                page_of_messages(conn, owner, id, OLDEST_FIRST, after, size)
            })
            .await
    }

    async fn path(&self, caller: &Caller, message: MessageId, most: u32) -> StoreResult<Vec<Message>> {
        let owner = Owner::from(caller);
        self.db.read_for(caller, move |conn| path(conn, owner, message, most)).await
    }

    async fn show(&self, caller: &Caller, id: ConversationId, message: MessageId) -> StoreResult<Conversation> {
        caller.require_person("show another branch")?;
        let owner = Owner::from(caller);
        self.db.write(move |tx| show(tx, owner, id, message)).await
    }

    async fn messages_by_id(&self, caller: &Caller, ids: &[MessageId]) -> StoreResult<Vec<Message>> {
        let (owner, ids) = (Owner::from(caller), ids.to_vec());
        self.db
            .read_for(caller, move |conn| {
                let mut unreadable = Unreadable::of("messages");
                let mut found = Vec::with_capacity(ids.len());
                for id in ids {
                    found.extend(unreadable.pass(row_of_message(conn, owner, id))?.flatten());
                }
                Ok(found)
            })
            .await
    }

    async fn clear_labels(&self, caller: &Caller, id: MessageId, edit: LabelEdit) -> StoreResult<Message> {
        caller.require_person("clear this message's labels")?;
        edit.check()?;
        let (asking, env) = (caller.clone(), self.db.env().clone());
        self.db.write(move |tx| clear_labels(tx, &env, &asking, id, &edit)).await
    }

    async fn search(&self, caller: &Caller, query: &str, request: PageRequest) -> StoreResult<ListPage<MessageHit>> {
        let (owner, words, size) = (Owner::from(caller), words(query), request.size());
        let before = cursor::number(request.cursor.as_deref())?.unwrap_or(i64::MAX);
        self.db
            .read_for(caller, move |conn| search::messages(conn, owner, &words, before, size))
            .await
    }
}
