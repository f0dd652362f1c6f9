//! Runs as people see them.

use async_trait::async_trait;
use duet_core::{
    Caller, Env, StoreError, StoreResult,
    crypto::{Hash, request_hash},
    domain::{
        Changed, EventKind, EventPage, Labels, ListPage, Locality, LogRange, Message, MessageRole, MessageStatus, NewTurn,
        PageRequest, Place, RetryMode, RetryTurn, Run, RunEvent, RunStatus, TurnLimits, TurnReceipt, VoidReason,
    },
    ids::{AgentId, ConversationId, Id, MessageId, RunId, WorkspaceId},
    ports::RunStore,
    refusal::{Named, Refusal},
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    agents,
    conversations::{self, Owner, find_message, made_title, move_head, next_ordinal, require},
    cursor,
    db::Db,
    error::DbResult,
    events::{self, Head},
    hints, requests,
    rows::{self, blob, count, id, labels, opt_blob, time, word},
    run_log,
};

/// The runs in the file.
pub struct LocalRuns(pub(super) Db);

/// How long an idempotency key is remembered: longer than the promised 24 hours.
const KEY_MILLIS: i64 = 48 * 3_600_000;
/// Most events in one page.
const EVENTS: usize = 1_000;

/// Refuses the id of any existing message, whoever's it is, for a reply to come: the run could not be settled.
fn refuse_taken(tx: &Connection, owner: Owner, reply: MessageId) -> DbResult<()> {
    let taken = tx
        .prepare_cached("SELECT 1 FROM message WHERE workspace_id = ?1 AND id = ?2")?
        .exists(params![blob(owner.workspace), blob(reply)])?;
    match taken {
        true => Err(Refusal::IdTaken { what: Named::Reply }.into()),
        false => Ok(()),
    }
}

/// A run from a row.
pub fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        id: id(row, "id")?,
        workspace_id: id(row, "workspace_id")?,
        user_id: id(row, "user_id")?,
        conversation_id: id(row, "conversation_id")?,
        message_id: id(row, "message_id")?,
        reply_id: id(row, "reply_id")?,
        agent_id: id(row, "agent_id")?,
        status: word(row, "status")?,
        attempt: row.get("attempt")?,
        last_seq: count(row, "last_seq")?,
        reason: row.get("reason")?,
        labels: labels(row, "labels")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

fn find(conn: &Connection, owner: Owner, id: RunId) -> DbResult<Option<Run>> {
    let mut statement = conn.prepare_cached("SELECT * FROM run WHERE workspace_id = ?1 AND id = ?2 AND user_id = ?3")?;
    Ok(statement
        .query_row(params![blob(owner.workspace), blob(id), blob(owner.user)], run)
        .optional()?)
}

fn receipt(run: &Run) -> TurnReceipt {
    TurnReceipt {
        message_id: run.message_id,
        run_id: run.id,
        reply_id: run.reply_id,
    }
}

/// What a run begins with.
struct Beginning {
    run: RunId,
    conversation: ConversationId,
    message: MessageId,
    reply: MessageId,
    agent: AgentId,
    prefix: String,
    continues: Option<RunId>,
    /// Labels of the prefix.
    labels: Labels,
    limits: TurnLimits,
}

/// Queues a run with its first event.
fn queue(tx: &Connection, env: &Env, owner: Owner, beginning: Beginning) -> DbResult<TurnReceipt> {
    let Beginning {
        run,
        conversation,
        message,
        reply,
        agent,
        prefix,
        continues,
        labels,
        limits,
    } = beginning;
    tx.execute(
        "INSERT INTO run (workspace_id, id, user_id, conversation_id, message_id, reply_id, agent_id, status, last_hash, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'queued', ?8, ?9, ?9)",
        params![
            blob(owner.workspace),
            blob(run),
            blob(owner.user),
            blob(conversation),
            blob(message),
            blob(reply),
            blob(agent),
            Head::EMPTY.hash,
            env.now().millis()
        ],
    )?;
    tx.execute(
        "UPDATE message SET run_id = ?3 WHERE workspace_id = ?1 AND id = ?2",
        params![blob(owner.workspace), blob(message), blob(run)],
    )?;
    let started = RunEvent::Started {
        agent_id: agent,
        message_id: message,
        reply_id: reply,
        prefix,
        continues,
        limits,
        labels,
    };
    events::append(tx, env, (owner.workspace, run), Head::EMPTY, vec![started.into()])?;
    hints::queued(tx, owner.workspace)?;
    hints::changed(tx, owner.workspace, owner.user, Changed::Runs)?;
    Ok(TurnReceipt {
        message_id: message,
        run_id: run,
        reply_id: reply,
    })
}

/// The agent that answers in a conversation now: its own, or the primary if that one is inactive.
fn answering(tx: &Connection, owner: Owner, agent: AgentId) -> DbResult<AgentId> {
    match agents::is_active(tx, owner.workspace, agent)? {
        Some(true) => Ok(agent),
        _ => Ok(agents::answering(tx, owner.workspace)?.unwrap_or(agent)),
    }
}

/// What an idempotency key was used for, if it was.
fn known_key(tx: &Connection, owner: Owner, key: &str, now: i64) -> DbResult<Option<(Hash, TurnReceipt)>> {
    let mut statement = tx.prepare_cached(
        "SELECT * FROM idempotency_key WHERE workspace_id = ?1 AND user_id = ?2 AND key = ?3 AND expires_at > ?4",
    )?;
    let found = statement.query_row(params![blob(owner.workspace), blob(owner.user), key, now], |row| {
        let receipt = TurnReceipt {
            message_id: id(row, "message_id")?,
            run_id: id(row, "run_id")?,
            reply_id: id(row, "reply_id")?,
        };
        Ok((row.get("request_hash")?, receipt))
    });
    Ok(found.optional()?)
}

fn start(tx: &Connection, env: &Env, owner: Owner, turn: NewTurn) -> DbResult<TurnReceipt> {
    let conversation = require(tx, owner, turn.conversation_id)?;
    let now = env.now().millis();
    let place = |message: Option<MessageId>| message.map(|message| message.uuid().as_bytes().to_vec()).unwrap_or_default();
    let request = request_hash(&[
        turn.conversation_id.uuid().as_bytes(),
        turn.text.as_bytes(),
        &place(turn.place.after()),
        &place(turn.place.instead()),
    ]);
    if let Some(key) = &turn.idempotency_key {
        match known_key(tx, owner, key, now)? {
            Some((known, receipt)) if known == request => return Ok(receipt),
            Some(_) => {
                return Err(Refusal::KeyReused.into());
            }
            None => {}
        }
    }
    if let Some(sent) = find_message(tx, owner, turn.message_id)? {
        let same = sent.conversation_id == turn.conversation_id && sent.role == MessageRole::User && sent.text == turn.text;
        let first = find(tx, owner, turn.run_id)?.filter(|run| same && run.message_id == sent.id);
        return first
            .map(|run| receipt(&run))
            .ok_or_else(|| Refusal::IdTaken { what: Named::Message }.into());
    }
    if turn.reply_id == turn.message_id {
        return Err(Refusal::IdTaken { what: Named::Reply }.into());
    }
    refuse_taken(tx, owner, turn.reply_id)?;
    if conversation.active_run.is_some() {
        return Err(Refusal::ReplyActive.into());
    }
    let before = match turn.place {
        Place::Newest => conversation.head_id,
        Place::After(named) | Place::Instead(named) => {
            let named = find_message(tx, owner, named)?.filter(|message| message.conversation_id == conversation.id);
            let named = named.ok_or(Refusal::NoSuchPlace)?;
            match turn.place {
                Place::Instead(_) if named.role != MessageRole::User => return Err(Refusal::NotYourMessage.into()),
                Place::Instead(_) => named.parent_id,
                Place::Newest | Place::After(_) => Some(named.id),
            }
        }
    };
    if before != conversation.head_id {
        move_head(tx, owner.workspace, conversation.id, before)?;
    }
    let ordinal = next_ordinal(tx, owner.workspace, conversation.id, now)?;
    tx.execute(
        "INSERT INTO message (workspace_id, id, conversation_id, user_id, ordinal, role, status, text, created_at, parent_id)
         VALUES (?1, ?2, ?3, ?4, ?5, 'user', 'complete', ?6, ?7, ?8)",
        params![
            blob(owner.workspace),
            blob(turn.message_id),
            blob(conversation.id),
            blob(owner.user),
            ordinal,
            turn.text,
            now,
            opt_blob(before)
        ],
    )?;
    tx.execute(
        "UPDATE conversation SET head_id = ?3 WHERE workspace_id = ?1 AND id = ?2",
        params![blob(owner.workspace), blob(conversation.id), blob(turn.message_id)],
    )?;
    if conversation.title.is_empty() {
        tx.execute(
            "UPDATE conversation SET title = ?3 WHERE workspace_id = ?1 AND id = ?2",
            params![blob(owner.workspace), blob(conversation.id), made_title(&turn.text)],
        )?;
    }
    let beginning = Beginning {
        run: turn.run_id,
        conversation: conversation.id,
        message: turn.message_id,
        reply: turn.reply_id,
        agent: answering(tx, owner, conversation.agent_id)?,
        prefix: String::new(),
        continues: None,
        labels: Labels::default(),
        limits: turn.limits,
    };
    let receipt = queue(tx, env, owner, beginning)?;
    if let Some(key) = turn.idempotency_key {
        tx.execute(
            "INSERT OR REPLACE INTO idempotency_key (workspace_id, user_id, key, request_hash, message_id, run_id, reply_id, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                blob(owner.workspace),
                blob(owner.user),
                key,
                request,
                blob(receipt.message_id),
                blob(receipt.run_id),
                blob(receipt.reply_id),
                now.saturating_add(KEY_MILLIS)
            ],
        )?;
    }
    Ok(receipt)
}

/// The newest reply to a message that is shown.
fn shown_reply(tx: &Connection, owner: Owner, message: MessageId) -> DbResult<Option<Message>> {
    let mut statement = tx.prepare_cached(&format!(
        "{} WHERE m.workspace_id = ?1 AND m.answers_id = ?2 AND m.aside = 0 ORDER BY m.ordinal DESC LIMIT 1",
        conversations::MESSAGE
    ))?;
    Ok(statement
        .query_row(params![blob(owner.workspace), blob(message)], conversations::message)
        .optional()?)
}

fn retry(tx: &Connection, env: &Env, owner: Owner, retry: RetryTurn) -> DbResult<TurnReceipt> {
    let message = find_message(tx, owner, retry.message_id)?.ok_or(StoreError::NotFound("the message"))?;
    if let Some(run) = find(tx, owner, retry.run_id)? {
        return if run.message_id == message.id {
            Ok(receipt(&run))
        } else {
            Err(Refusal::IdTaken { what: Named::Run }.into())
        };
    }
    if message.role != MessageRole::User {
        return Err(Refusal::NotYourMessage.into());
    }
    if message.status == MessageStatus::Redacted {
        return Err(Refusal::NothingToAnswer.into());
    }
    let conversation = require(tx, owner, message.conversation_id)?;
    let resumed = tx
        .prepare_cached(
            "SELECT 1 FROM run WHERE workspace_id = ?1 AND conversation_id = ?2 AND claimable = 1 AND message_id = ?3",
        )?
        .exists(params![blob(owner.workspace), blob(conversation.id), blob(message.id)])?;
    if conversation.active_run.is_some() || resumed {
        return Err(Refusal::ReplyActive.into());
    }
    let later = tx
        .prepare_cached(
            "SELECT 1 FROM message WHERE workspace_id = ?1 AND conversation_id = ?2 AND ordinal > ?3 AND role = 'user' AND aside = 0",
        )?
        .exists(params![
            blob(owner.workspace),
            blob(conversation.id),
            rows::int(message.ordinal)
        ])?;
    if retry.mode == RetryMode::Continue && (later || message.aside) {
        return Err(Refusal::MovedOn.into());
    }
    let of_this_message: (&str, &[&dyn rusqlite::ToSql]) = (
        "workspace_id = ?1 AND message_id = ?2",
        params![blob(owner.workspace), blob(message.id)],
    );
    run_log::end_waiting(tx, env, of_this_message, owner.user, None)?;
    let reply = shown_reply(tx, owner, message.id)?;
    let (reply_id, prefix, continues, labels) = match (retry.mode, reply) {
        (RetryMode::Continue, Some(reply))
            if matches!(
                reply.status,
                MessageStatus::Stopped | MessageStatus::Limited | MessageStatus::Interrupted
            ) =>
        {
            (reply.id, reply.text, reply.run_id, reply.labels)
        }
        (RetryMode::Continue, _) => {
            return Err(Refusal::NothingToContinue.into());
        }
        (RetryMode::Restart, _) => {
            refuse_taken(tx, owner, retry.reply_id)?;
            // The new reply is another version of the first that was shown: a run that waited has left more than one.
            let first: Option<Option<MessageId>> = tx
                .prepare_cached(
                    "SELECT parent_id FROM message WHERE workspace_id = ?1 AND answers_id = ?2 AND aside = 0 ORDER BY ordinal LIMIT 1",
                )?
                .query_row(params![blob(owner.workspace), blob(message.id)], |row| rows::opt_id(row, "parent_id"))
                .optional()?;
            let before = Some(first.flatten().unwrap_or(message.id));
            if before != conversation.head_id {
                move_head(tx, owner.workspace, conversation.id, before)?;
            }
            (retry.reply_id, String::new(), None, Labels::default())
        }
    };
    let beginning = Beginning {
        run: retry.run_id,
        conversation: conversation.id,
        message: message.id,
        reply: reply_id,
        agent: answering(tx, owner, conversation.agent_id)?,
        prefix,
        continues,
        labels,
        limits: retry.limits,
    };
    queue(tx, env, owner, beginning)
}

#[async_trait]
impl RunStore for LocalRuns {
    async fn start_turn(&self, caller: &Caller, turn: NewTurn) -> StoreResult<TurnReceipt> {
        caller.require_person("send a message")?;
        turn.check()?;
        if turn
            .idempotency_key
            .as_ref()
            .is_some_and(|key| key.is_empty() || key.len() > 200)
        {
            return Err(Refusal::KeyLength.into());
        }
        let (owner, env) = (Owner::from(caller), self.0.env().clone());
        self.0.write(move |tx| start(tx, &env, owner, turn)).await
    }

    async fn retry_turn(&self, caller: &Caller, turn: RetryTurn) -> StoreResult<TurnReceipt> {
        caller.require_person("have a message answered again")?;
        let (owner, env) = (Owner::from(caller), self.0.env().clone());
        self.0.write(move |tx| retry(tx, &env, owner, turn)).await
    }

    async fn run(&self, caller: &Caller, id: RunId) -> StoreResult<Option<Run>> {
        let owner = Owner::from(caller);
        self.0.read_for(caller, move |conn| find(conn, owner, id)).await
    }

    async fn runs(&self, caller: &Caller, conversation: ConversationId, request: PageRequest) -> StoreResult<ListPage<Run>> {
        let (owner, size) = (Owner::from(caller), request.size());
        let (millis, last) = cursor::moment(request.cursor.as_deref())?.unwrap_or((i64::MAX, [u8::MAX; 16]));
        self.0
            .read_for(caller, move |conn| {
                require(conn, owner, conversation)?;
                let mut statement = conn.prepare_cached(
                    "SELECT * FROM run WHERE workspace_id = ?1 AND conversation_id = ?2 AND (created_at, id) < (?3, ?4)
                     ORDER BY created_at DESC, id DESC LIMIT ?5",
                )?;
                let rows = statement.query(params![
                    blob(owner.workspace),
                    blob(conversation),
                    millis,
                    last,
                    cursor::limit(size)
                ])?;
                let place = |row: &Row<'_>| Ok(cursor::after(time(row, "created_at")?.millis(), id::<RunId>(row, "id")?));
                Ok(rows::page("runs", rows, size, run, place)?)
            })
            .await
    }

    async fn events(&self, caller: &Caller, id: RunId, range: LogRange) -> StoreResult<EventPage> {
        let owner = Owner::from(caller);
        let reads = caller.agent.as_ref().map_or(Locality::Local, |acting| acting.locality);
        self.0
            .read_for(caller, move |conn| {
                // The log holds the reply's text as it came, so the run's labels must allow reading it.
                let run = find(conn, owner, id)?
                    .filter(|run| run.labels.allows(reads))
                    .ok_or(StoreError::NotFound("the run"))?;
                if range.after > run.last_seq {
                    return Err(Refusal::NoSuchEvent {
                        events: run.last_seq,
                        after: range.after,
                    }
                    .into());
                }
                let limit = range.limit.clamp(1, EVENTS);
                Ok(EventPage {
                    events: events::read(conn, owner.workspace, id, LogRange { limit, ..range })?,
                    last_seq: run.last_seq,
                    ended: run.status.is_final() || run.status == RunStatus::Waiting,
                })
            })
            .await
    }

    async fn cancel(&self, caller: &Caller, id: RunId) -> StoreResult<Run> {
        caller.require_person("stop a run")?;
        let (owner, env) = (Owner::from(caller), self.0.env().clone());
        self.0
            .write(move |tx| {
                let run = find(tx, owner, id)?.ok_or(StoreError::NotFound("the run"))?;
                if run.status.is_final() || events::has(tx, owner.workspace, id, EventKind::Cancel)? {
                    return Ok(run);
                }
                let unborn = run.status == RunStatus::Queued && run.attempt == 0;
                match run.status == RunStatus::Waiting || unborn {
                    true => run_log::cancel(tx, &env, &run, owner.user, None)?,
                    false => {
                        requests::void(tx, (owner.workspace, id), VoidReason::RunStopped, env.now())?;
                        requests::wake(tx, &env, (owner.workspace, id), RunEvent::CancelRequested { by: owner.user })?;
                    }
                }
                find(tx, owner, id)?.ok_or_else(|| StoreError::NotFound("the run").into())
            })
            .await
    }

    async fn pause(&self, caller: &Caller, id: RunId, pause: bool) -> StoreResult<Run> {
        caller.require_person("pause a run")?;
        let (owner, env) = (Owner::from(caller), self.0.env().clone());
        self.0
            .write(move |tx| {
                let run = find(tx, owner, id)?.ok_or(StoreError::NotFound("the run"))?;
                if run.status.is_final() {
                    return Err(Refusal::RunEnded.into());
                }
                if paused(tx, owner.workspace, id)? != pause {
                    let event = match pause {
                        true => RunEvent::PauseRequested { by: owner.user },
                        false => RunEvent::ResumeRequested { by: owner.user },
                    };
                    requests::wake(tx, &env, (owner.workspace, id), event)?;
                }
                find(tx, owner, id)?.ok_or_else(|| StoreError::NotFound("the run").into())
            })
            .await
    }
}

/// Whether the newest word of its person is to pause.
fn paused(tx: &Connection, workspace: WorkspaceId, run: RunId) -> DbResult<bool> {
    let newest = events::newest(tx, workspace, run, EventKind::Pause)?;
    Ok(matches!(newest, Some(RunEvent::PauseRequested { .. })))
}
