//! Runs as the driver writes them: under a lease, which every method checks first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use async_trait::async_trait;
use duet_core::{
    Env, StoreResult, Timestamp,
    domain::{
        Appended, Claim, EventKind, HandBack, LeasePolicy, LogRange, NewEvent, Reply, Run, RunEvent, RunOutcome, RunStatus,
        Settlement, StoredEvent, Usage,
    },
    ids::{CommitId, LeaseToken, RunId, UserId, WorkspaceId},
    ports::RunLog,
    refusal::Refusal,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    conversations::next_ordinal,
    db::Db,
    error::DbResult,
    events::{self, Head},
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

fn head(row: &Row<'_>) -> rusqlite::Result<Head> {
    Ok(Head {
        seq: count(row, "last_seq")?,
        hash: row.get("last_hash")?,
    })
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

/// The run of this lease if its newest write is this one, with the write's first event: a repeated write finds it, unless another
/// worker has the run by now.
fn committed(tx: &Connection, run: RunId, lease: LeaseToken, commit: CommitId) -> DbResult<Option<(Run, u64)>> {
    let mut statement =
        tx.prepare_cached("SELECT * FROM run WHERE id = ?1 AND commit_id = ?2 AND lease_token = ?3 AND status = 'running'")?;
    let found = statement.query_row(params![blob(run), blob(commit), blob(lease)], |row| {
        Ok((runs::run(row)?, count(row, "commit_seq")?))
    });
    Ok(found.optional()?)
}

/// The run that this very write ended; nobody holds a lease of it any more.
fn ended_by(tx: &Connection, run: RunId, commit: CommitId, status: RunStatus) -> DbResult<Option<Run>> {
    let mut statement = tx.prepare_cached("SELECT * FROM run WHERE id = ?1 AND commit_id = ?2 AND status = ?3")?;
    let found = statement.query_row(params![blob(run), blob(commit), status.as_str()], runs::run);
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
        .prepare_cached("SELECT 1 FROM message WHERE workspace_id = ?1 AND id = ?2 AND parent_id = ?3")?
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
    tx.execute(
        "INSERT INTO message (workspace_id, id, conversation_id, user_id, ordinal, role, status, text, parent_id, run_id, agent_id, trace, created_at, labels)
         VALUES (?1, ?2, ?3, ?4, ?5, 'assistant', ?6, ?7, ?8, ?9, ?10, ?11, ?12,
             (SELECT r.labels FROM run r WHERE r.workspace_id = ?1 AND r.id = ?9))",
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
    Ok(())
}

/// Ends a run: it has no lease any more, and nothing may follow.
fn end(tx: &Connection, run: &Run, status: RunStatus, reason: Option<&str>, now: Timestamp) -> DbResult<Run> {
    close(tx, (run.workspace_id, run.id), status, reason, now)?;
    let mut statement = tx.prepare_cached("SELECT * FROM run WHERE workspace_id = ?1 AND id = ?2")?;
    Ok(statement.query_row(params![blob(run.workspace_id), blob(run.id)], runs::run)?)
}

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
    Ok(())
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
        .prepare_cached(
            "SELECT * FROM run WHERE workspace_id = ?1 AND user_id = ?2 AND status IN ('queued', 'running') ORDER BY id",
        )?
        .query_map(params![blob(workspace), blob(user)], with_head)?
        .collect::<Result<_, _>>()?;
    for (run, head) in unfinished {
        park(tx, env, (run.workspace_id, run.id), head, LEFT)?;
    }
    Ok(())
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
                "SELECT * FROM run WHERE status IN ('queued', 'running') AND (created_at, id) > (?1, ?2)
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

#[async_trait]
impl RunLog for LocalRunLog {
    async fn append(
        &self,
        run: RunId,
        lease: LeaseToken,
        after: u64,
        commit: CommitId,
        events: Vec<NewEvent>,
    ) -> StoreResult<Appended> {
        let (env, leases) = (self.0.env().clone(), self.0.leases().clone());
        self.0
            .write(move |tx| {
                if let Some((known, first)) = committed(tx, run, lease, commit)? {
                    let mut stored = events::read(tx, known.workspace_id, run, LogRange::whole(after, usize::MAX))?;
                    let own = stored.split_off(
                        usize::try_from(first.saturating_sub(after + 1))
                            .unwrap_or(0)
                            .min(stored.len()),
                    );
                    return Ok(Appended {
                        interleaved: stored,
                        own: own.into_iter().take(events.len()).collect(),
                    });
                }
                let held = held(tx, &leases, run, lease)?;
                let interleaved = interleaved(tx, &held, after)?;
                let own = match events.is_empty() {
                    true => Vec::new(),
                    false => append(tx, &env, &held, commit, events)?,
                };
                Ok(Appended { interleaved, own })
            })
            .await
    }

    async fn heartbeat(&self, run: RunId, lease: LeaseToken) -> StoreResult<u64> {
        let leases = self.0.leases().clone();
        self.0.read(move |conn| Ok(held(conn, &leases, run, lease)?.head.seq)).await
    }

    async fn settle(
        &self,
        run: RunId,
        lease: LeaseToken,
        after: u64,
        commit: CommitId,
        settlement: Settlement,
    ) -> StoreResult<Run> {
        if !settlement.status.is_final() {
            return Err(Refusal::NotAnEnd {
                status: settlement.status.to_string(),
            }
            .into());
        }
        let (env, leases) = (self.0.env().clone(), self.0.leases().clone());
        self.0
            .write(move |tx| {
                if let Some(ended) = ended_by(tx, run, commit, settlement.status)? {
                    return Ok(ended);
                }
                let now = env.now();
                let held = held(tx, &leases, run, lease)?;
                if !interleaved(tx, &held, after)?.is_empty() {
                    return Err(Refusal::LogGrew.into());
                }
                append(tx, &env, &held, commit, settlement.events)?;
                if let Some(reply) = &settlement.reply {
                    keep_reply(tx, &held.run, reply, now)?;
                }
                end(tx, &held.run, settlement.status, settlement.reason.as_deref(), now)
            })
            .await
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
                Ok(())
            })
            .await
    }
}
