//! Runs as the driver writes them: under a lease, which every method checks first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use async_trait::async_trait;
use duet_core::{
    Env, StoreResult, Timestamp,
    domain::{
        Changed, Claim, Commit, Committed, EventKind, HandBack, LeasePolicy, LogRange, NewEvent, Reply, Run, RunEvent,
        RunOutcome, RunStatus, StoredEvent, Then, Usage, VoidReason,
    },
    ids::{CommitId, LeaseToken, MemoryId, MessageId, RunId, UserId, WorkspaceId},
    ports::RunLog,
    refusal::Refusal,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    conversations::next_ordinal,
    db::Db,
    error::DbResult,
    events::{self, Head, head},
    hints, requests,
    rows::{blob, count, id, int, opt_id, to_json},
    runs, workspaces,
};

/// The driver's side of the runs in the file.
pub struct LocalRunLog(pub(super) Db);

/// Why a run ends when its person has left.
const LEFT: &str = "The person who started it is no longer a member of this workspace.";

/// The live claims. The file's lock proves that all workers are in this process, so a lease needs no time: it holds until its
/// claim is handed back or dropped, or the file is opened again.
#[derive(Clone, Default)]
pub struct Leases(Arc<Mutex<HashMap<LeaseToken, Weak<()>>>>);

impl Leases {
    /// Gives out a lease that holds as long as the returned value.
    fn give(&self, lease: LeaseToken) -> Arc<()> {
        let hold = Arc::new(());
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leases.retain(|_, hold| hold.strong_count() > 0);
        leases.insert(lease, Arc::downgrade(&hold));
        hold
    }

    fn holds(&self, lease: LeaseToken) -> bool {
        let leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leases.get(&lease).is_some_and(|hold| hold.strong_count() > 0)
    }
}

/// A run whose lease has been checked.
struct Held {
    run: Run,
    head: Head,
}

fn with_head(row: &Row<'_>) -> rusqlite::Result<(Run, Head)> {
    Ok((runs::run(row)?, head(row)?))
}

fn held(tx: &Connection, leases: &Leases, run: RunId, lease: LeaseToken) -> DbResult<Held> {
    let mut statement = tx.prepare_cached("SELECT * FROM run WHERE id = ?1 AND lease_token = ?2 AND status = 'running'")?;
    let found = statement.query_row(params![blob(run), blob(lease)], |row| {
        let (run, head) = with_head(row)?;
        Ok(Held { run, head })
    });
    found
        .optional()?
        .filter(|_| leases.holds(lease))
        .ok_or_else(|| Refusal::LeaseLost.into())
}

/// The run whose newest write is this one and had this end, with the write's first event: a repeated write finds it, unless another worker has the run
/// by now. One that let go of the run has left it without a lease.
fn committed(tx: &Connection, run: RunId, lease: LeaseToken, commit: &Commit) -> DbResult<Option<(Run, u64)>> {
    let state = match commit.then {
        Then::Keep => "lease_token = ?3 AND status = 'running'",
        Then::Suspend(_) => {
            "?3 IS NOT NULL AND lease_token IS NULL AND EXISTS (
                 SELECT 1 FROM run_event e WHERE e.workspace_id = r.workspace_id AND e.run_id = r.id AND e.seq >= r.commit_seq
                   AND e.kind = 'suspended')"
        }
        Then::Settle(_) => "?3 IS NOT NULL AND active = 0",
    };
    let mut statement = tx.prepare_cached(&format!("SELECT * FROM run r WHERE id = ?1 AND commit_id = ?2 AND {state}"))?;
    let found = statement.query_row(params![blob(run), blob(commit.id), blob(lease)], |row| {
        Ok((runs::run(row)?, count(row, "commit_seq")?))
    });
    Ok(found.optional()?)
}

/// Appends a worker's events under the id of its write.
fn append(tx: &Connection, env: &Env, held: &Held, commit: CommitId, events: Vec<NewEvent>) -> DbResult<Vec<StoredEvent>> {
    let progress = events.iter().any(|new| new.event.is_progress());
    tx.prepare_cached(
        "UPDATE run SET commit_id = ?3, commit_seq = ?4, stalls = CASE WHEN ?5 THEN 0 ELSE stalls END
         WHERE workspace_id = ?1 AND id = ?2",
    )?
    .execute(params![
        blob(held.run.workspace_id),
        blob(held.run.id),
        blob(commit),
        int(held.head.seq + 1),
        progress
    ])?;
    events::append(tx, env, (held.run.workspace_id, held.run.id), held.head, events)
}

/// The answer to a write that was made already.
fn repeated(tx: &Connection, run: &Run, first: u64, after: u64, events: usize) -> DbResult<Committed> {
    let mut stored = events::read(tx, run.workspace_id, run.id, LogRange::whole(after, usize::MAX))?;
    let others = usize::try_from(first.saturating_sub(after + 1)).unwrap_or(0);
    let own = stored.split_off(others.min(stored.len()));
    Ok(Committed {
        interleaved: stored,
        own: own.into_iter().take(events).collect(),
    })
}

/// Events that others appended after what the driver has folded.
fn interleaved(tx: &Connection, held: &Held, after: u64) -> DbResult<Vec<StoredEvent>> {
    if after > held.head.seq {
        return Err(Refusal::NotFolded {
            events: held.head.seq,
            after,
        }
        .into());
    }
    if after == held.head.seq {
        return Ok(Vec::new());
    }
    events::read(tx, held.run.workspace_id, held.run.id, LogRange::whole(after, usize::MAX))
}

/// Stores the reply, or more text of an existing one, with the labels of everything its run has read. Redacted text stays redacted.
fn keep_reply(tx: &Connection, run: &Run, reply: &Reply, now: Timestamp) -> DbResult<()> {
    let trace = to_json(&reply.trace)?;
    let known = tx
        .prepare_cached("SELECT 1 FROM message WHERE workspace_id = ?1 AND id = ?2 AND answers_id = ?3")?
        .exists(params![blob(run.workspace_id), blob(run.reply_id), blob(run.message_id)])?;
    if known {
        tx.execute(
            "UPDATE message SET status = ?3, text = ?4, trace = ?5, run_id = ?6, agent_id = ?7,
                 labels = labels | (SELECT r.labels FROM run r WHERE r.workspace_id = ?1 AND r.id = ?6)
             WHERE workspace_id = ?1 AND id = ?2 AND status <> 'redacted'",
            params![
                blob(run.workspace_id),
                blob(run.reply_id),
                reply.status.as_str(),
                reply.text,
                trace,
                blob(run.id),
                blob(run.agent_id)
            ],
        )?;
        tx.execute(
            "UPDATE conversation SET updated_at = ?3 WHERE workspace_id = ?1 AND id = ?2",
            params![blob(run.workspace_id), blob(run.conversation_id), now.millis()],
        )?;
        return Ok(());
    }
    let ordinal = next_ordinal(tx, run.workspace_id, run.conversation_id, now.millis())?;
    // A late reply follows whatever is shown by now; where what it answers is not, it goes on with that branch, unseen.
    tx.execute(
        "INSERT INTO message (workspace_id, id, conversation_id, user_id, ordinal, role, status, text, parent_id, answers_id, aside,
                              run_id, agent_id, trace, created_at, labels)
         SELECT ?1, ?2, ?3, ?4, ?5, 'assistant', ?6, ?7,
             CASE asked.aside WHEN 0 THEN (SELECT c.head_id FROM conversation c WHERE c.workspace_id = ?1 AND c.id = ?3)
             ELSE coalesce((SELECT m.id FROM message m WHERE m.workspace_id = ?1 AND m.answers_id = ?8 AND m.run_id = ?9
                            ORDER BY m.ordinal DESC LIMIT 1), ?8) END,
             ?8, asked.aside, ?9, ?10, ?11, ?12, (SELECT r.labels FROM run r WHERE r.workspace_id = ?1 AND r.id = ?9)
         FROM message asked WHERE asked.workspace_id = ?1 AND asked.id = ?8",
        params![
            blob(run.workspace_id),
            blob(run.reply_id),
            blob(run.conversation_id),
            blob(run.user_id),
            ordinal,
            reply.status.as_str(),
            reply.text,
            blob(run.message_id),
            blob(run.id),
            blob(run.agent_id),
            trace,
            now.millis()
        ],
    )?;
    tx.execute(
        "UPDATE conversation SET head_id = ?3
         WHERE workspace_id = ?1 AND id = ?2 AND (SELECT aside FROM message WHERE workspace_id = ?1 AND id = ?3) = 0",
        params![blob(run.workspace_id), blob(run.conversation_id), blob(run.reply_id)],
    )?;
    Ok(())
}

/// Lets a run wait: it has no lease any more, and its conversation is free.
fn suspend(tx: &Connection, run: &Run, next_reply: MessageId, now: Timestamp) -> DbResult<()> {
    tx.prepare_cached(
        "UPDATE run SET status = 'waiting', holds = 0, reply_id = ?3, lease_token = NULL, updated_at = ?4
         WHERE workspace_id = ?1 AND id = ?2",
    )?
    .execute(params![blob(run.workspace_id), blob(run.id), blob(next_reply), now.millis()])?;
    hints::changed(tx, run.workspace_id, run.user_id, Changed::Runs)
}

/// Ends a run that no worker holds and that has nothing more to say: it waits, or never began.
pub fn cancel(tx: &Connection, env: &Env, run: &Run, by: UserId, reason: Option<&str>) -> DbResult<()> {
    let key = (run.workspace_id, run.id);
    let head = tx
        .prepare_cached("SELECT last_seq, last_hash FROM run WHERE workspace_id = ?1 AND id = ?2")?
        .query_row(params![blob(key.0), blob(key.1)], head)?;
    let (usage, cost_micros) = spent(tx, key)?;
    let finished = RunEvent::Finished {
        outcome: RunOutcome::Cancelled,
        reply: None,
        usage,
        cost_micros,
    };
    let asked = RunEvent::CancelRequested { by };
    events::append(tx, env, key, head, vec![asked.into(), finished.into()])?;
    close(tx, key, RunStatus::Cancelled, reason, env.now())
}

/// Ends the waiting runs that `condition` selects, by [`cancel`].
pub fn end_waiting(
    tx: &Connection,
    env: &Env,
    (condition, values): (&str, &[&dyn rusqlite::ToSql]),
    by: UserId,
    reason: Option<&str>,
) -> DbResult<()> {
    let waiting: Vec<Run> = tx
        .prepare_cached(&format!(
            "SELECT * FROM run WHERE status = 'waiting' AND {condition} ORDER BY id"
        ))?
        .query_map(values, runs::run)?
        .collect::<Result<_, _>>()?;
    waiting.iter().try_for_each(|run| cancel(tx, env, run, by, reason))
}

/// What a waiting run has used so far, as its newest suspension says.
fn spent(tx: &Connection, (workspace, run): (WorkspaceId, RunId)) -> DbResult<(Usage, Option<u64>)> {
    Ok(match events::newest(tx, workspace, run, EventKind::Suspended)? {
        Some(RunEvent::Suspended { usage, cost_micros, .. }) => (usage, cost_micros),
        _ => (Usage::default(), Some(0)),
    })
}

/// Ends a run: it has no lease any more, and nothing may follow.
fn close(
    tx: &Connection,
    (workspace, run): (WorkspaceId, RunId),
    status: RunStatus,
    reason: Option<&str>,
    now: Timestamp,
) -> DbResult<()> {
    tx.prepare_cached(
        "UPDATE run SET status = ?3, reason = ?4, lease_token = NULL, updated_at = ?5 WHERE workspace_id = ?1 AND id = ?2",
    )?
    .execute(params![blob(workspace), blob(run), status.as_str(), reason, now.millis()])?;
    requests::void(tx, (workspace, run), VoidReason::RunEnded, now)?;
    // A run whose row cannot be read is closed as well.
    let user = tx
        .prepare_cached("SELECT user_id FROM run WHERE workspace_id = ?1 AND id = ?2")?
        .query_row(params![blob(workspace), blob(run)], |row| {
            Ok(id::<UserId>(row, "user_id").ok())
        })?;
    user.map_or(Ok(()), |user| hints::changed(tx, workspace, user, Changed::Runs))
}

/// Parks a run that nobody will drive any more, and closes its log so that its readers know.
fn park(tx: &Connection, env: &Env, run: (WorkspaceId, RunId), head: Head, reason: &str) -> DbResult<()> {
    let finished = RunEvent::Finished {
        outcome: RunOutcome::Interrupted,
        reply: None,
        usage: Usage::default(),
        cost_micros: None,
    };
    events::append(tx, env, run, head, vec![finished.into()])?;
    close(tx, run, RunStatus::Parked, Some(reason), env.now())
}

/// Ends the unfinished runs of a person who is no longer a member.
pub fn park_runs_of(tx: &Connection, env: &Env, workspace: WorkspaceId, user: UserId) -> DbResult<()> {
    let unfinished: Vec<(Run, Head)> = tx
        .prepare_cached("SELECT * FROM run WHERE workspace_id = ?1 AND user_id = ?2 AND active = 1 ORDER BY id")?
        .query_map(params![blob(workspace), blob(user)], with_head)?
        .collect::<Result<_, _>>()?;
    for (run, head) in unfinished {
        park(tx, env, (run.workspace_id, run.id), head, LEFT)?;
    }
    Ok(())
}

/// Takes a person's runs from their workers, which claimed them for a role that the person no longer has.
pub fn take_back_runs_of(tx: &Connection, workspace: WorkspaceId, user: UserId) -> DbResult<()> {
    tx.execute(
        "UPDATE run SET status = 'queued', lease_token = NULL, stalls = max(stalls - 1, 0)
         WHERE workspace_id = ?1 AND user_id = ?2 AND status = 'running'",
        params![blob(workspace), blob(user)],
    )?;
    hints::queued(tx, workspace)
}

/// A run that waits or has lost its worker: what is known of it before it is read.
struct Waiting {
    run: (WorkspaceId, RunId),
    /// Its place in the queue.
    place: (i64, [u8; 16]),
    lease: Option<LeaseToken>,
    stalls: u32,
    head: Option<Head>,
}

fn waiting(row: &Row<'_>) -> rusqlite::Result<Waiting> {
    Ok(Waiting {
        run: (id(row, "workspace_id")?, id(row, "id")?),
        place: (row.get("created_at")?, row.get("id")?),
        lease: opt_id(row, "lease_token").unwrap_or(None),
        stalls: row.get("stalls")?,
        head: head(row).ok(),
    })
}

/// Claims the oldest run that waits or has lost its worker.
pub fn claim(
    tx: &Connection,
    env: &Env,
    leases: &Leases,
    policy: LeasePolicy,
    vocabulary: &[EventKind],
) -> DbResult<Option<Claim>> {
    let mut place = (i64::MIN, [0; 16]);
    loop {
        let found = tx
            .prepare_cached(
                "SELECT * FROM run WHERE claimable = 1 AND (created_at, id) > (?1, ?2)
                 ORDER BY created_at, id LIMIT 1",
            )?
            .query_row(params![place.0, place.1], waiting)
            .optional()?;
        let Some(found) = found else { return Ok(None) };
        place = found.place;
        let (workspace, run) = found.run;
        if found.lease.is_some_and(|lease| leases.holds(lease)) || !events::all_of(tx, workspace, run, vocabulary)? {
            continue;
        }
        let (person, log) = (person_of(tx, found.run)?, events::log(tx, workspace, run)?);
        let (person, head, log) = match (person, found.head, log) {
            (Some(person), Some(head), Ok(log)) => (person, head, log),
            // Only the run is ended, without a last event if its log does not say where that belongs.
            (_, head, log) => {
                let seq = log.err().unwrap_or(0);
                tracing::error!(%run, seq, "a run cannot be read; parking it");
                match head {
                    Some(head) => park(tx, env, found.run, head, &Run::unreadable(seq))?,
                    None => close(tx, found.run, RunStatus::Parked, Some(&Run::unreadable(seq)), env.now())?,
                }
                continue;
            }
        };
        let Some(role) = workspaces::role(tx, workspace, person)? else {
            park(tx, env, found.run, head, LEFT)?;
            continue;
        };
        if found.stalls >= policy.max_attempts {
            let reason = format!("Given up after {} attempts that came to nothing. Try again.", found.stalls);
            park(tx, env, found.run, head, &reason)?;
            continue;
        }
        let lease: LeaseToken = env.id();
        let run = tx
            .prepare_cached(
                "UPDATE run SET status = 'running', attempt = attempt + 1, stalls = stalls + 1, lease_token = ?3, updated_at = ?4
                 WHERE workspace_id = ?1 AND id = ?2 RETURNING *",
            )?
            .query_row(
                params![blob(workspace), blob(run), blob(lease), env.now().millis()],
                runs::run,
            )?;
        return Ok(Some(Claim {
            run,
            role,
            lease,
            hold: leases.give(lease),
            log,
        }));
    }
}

/// Whose run it is; `None` when its row cannot be read.
fn person_of(tx: &Connection, (workspace, run): (WorkspaceId, RunId)) -> DbResult<Option<UserId>> {
    let mut statement = tx.prepare_cached("SELECT * FROM run WHERE workspace_id = ?1 AND id = ?2")?;
    match statement.query_row(params![blob(workspace), blob(run)], runs::run) {
        Ok(run) => Ok(Some(run.user_id)),
        Err(error @ rusqlite::Error::SqliteFailure(..)) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

/// A worker's write, whole.
fn write(
    tx: &Connection,
    env: &Env,
    leases: &Leases,
    run: RunId,
    lease: LeaseToken,
    after: u64,
    commit: Commit,
) -> DbResult<Committed> {
    if let Some((known, first)) = committed(tx, run, lease, &commit)? {
        return repeated(tx, &known, first, after, commit.events.len());
    }
    let held = held(tx, leases, run, lease)?;
    let interleaved = interleaved(tx, &held, after)?;
    if !interleaved.is_empty() && !matches!(commit.then, Then::Keep) {
        return Err(Refusal::LogGrew.into());
    }
    let now = env.now();
    let run = &held.run;
    let written: Vec<MemoryId> = commit.events.iter().flat_map(|new| remembered(&new.event)).copied().collect();
    let own = match commit.events.is_empty() {
        true => Vec::new(),
        false => append(tx, env, &held, commit.id, commit.events)?,
    };
    requests::ask(tx, run, &commit.asks, now)?;
    commit.uses.iter().try_for_each(|used| requests::use_up(tx, run, used, now))?;
    // What was written may be a proposal.
    written
        .into_iter()
        .try_for_each(|memory| hints::proposal(tx, run.workspace_id, memory))?;
    match commit.then {
        Then::Keep => {}
        Then::Suspend(suspension) => {
            let next = match &suspension.reply {
                Some(reply) => {
                    keep_reply(tx, run, reply, now)?;
                    suspension.next_reply
                }
                None => run.reply_id,
            };
            suspend(tx, run, next, now)?;
        }
        Then::Settle(settlement) => {
            if let Some(reply) = &settlement.reply {
                keep_reply(tx, run, reply, now)?;
            }
            close(
                tx,
                (run.workspace_id, run.id),
                settlement.status,
                settlement.reason.as_deref(),
                now,
            )?;
        }
    }
    Ok(Committed { interleaved, own })
}

/// The memories that a call has written.
fn remembered(event: &RunEvent) -> &[MemoryId] {
    match event {
        RunEvent::ToolFinished { output, .. } => &output.remembered,
        _ => &[],
    }
}

#[async_trait]
impl RunLog for LocalRunLog {
    async fn commit(&self, run: RunId, lease: LeaseToken, after: u64, commit: Commit) -> StoreResult<Committed> {
        if let Then::Settle(settlement) = &commit.then
            && !settlement.status.is_final()
        {
            return Err(Refusal::NotAnEnd {
                status: settlement.status.to_string(),
            }
            .into());
        }
        let (env, leases) = (self.0.env().clone(), self.0.leases().clone());
        self.0
            .write(move |tx| write(tx, &env, &leases, run, lease, after, commit))
            .await
    }

    async fn heartbeat(&self, run: RunId, lease: LeaseToken) -> StoreResult<u64> {
        let leases = self.0.leases().clone();
        self.0.read(move |conn| Ok(held(conn, &leases, run, lease)?.head.seq)).await
    }

    async fn hand_back(&self, run: RunId, lease: LeaseToken, why: HandBack) -> StoreResult<()> {
        let leases = self.0.leases().clone();
        self.0
            .write(move |tx| {
                let held = held(tx, &leases, run, lease)?;
                tx.execute(
                    "UPDATE run SET status = 'queued', lease_token = NULL, stalls = max(stalls - ?3, 0) WHERE workspace_id = ?1 AND id = ?2",
                    params![blob(held.run.workspace_id), blob(run), why == HandBack::Leaving],
                )?;
                hints::queued(tx, held.run.workspace_id)
            })
            .await
    }
}
