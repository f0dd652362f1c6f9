//! Runs as the driver writes them: under a lease, which every method checks first.

use async_trait::async_trait;
use duet_core::{
    Env, StoreError, StoreResult, Timestamp,
    domain::{Appended, Claim, LeasePolicy, NewEvent, Reply, Run, RunEvent, RunOutcome, RunStatus, Settlement, Usage},
    ids::{LeaseToken, RunId, UserId, WorkspaceId},
    ports::RunLog,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    conversations::next_ordinal,
    db::Db,
    error::DbResult,
    events::{self, Head},
    rows::{blob, count, to_json},
    runs, workspaces,
};

/// The driver's side of the runs on the file.
pub struct LocalRunLog(pub(super) Db);

/// Why a run ends whose person has left.
const LEFT: &str = "The person who started it is no longer a member of this workspace.";

/// A run whose lease was found to hold.
struct Held {
    run: Run,
    head: Head,
    lease_millis: i64,
}

fn with_head(row: &Row<'_>) -> rusqlite::Result<(Run, Head)> {
    let head = Head {
        seq: count(row, "last_seq")?,
        hash: row.get("last_hash")?,
    };
    Ok((runs::run(row)?, head))
}

fn held(tx: &Connection, run: RunId, lease: LeaseToken, now: Timestamp) -> DbResult<Held> {
    let mut statement =
        tx.prepare_cached("SELECT * FROM run WHERE id = ?1 AND lease_token = ?2 AND lease_until > ?3 AND status = 'running'")?;
    let found = statement.query_row(params![blob(run), blob(lease), now.millis()], |row| {
        let (run, head) = with_head(row)?;
        Ok(Held {
            run,
            head,
            lease_millis: row.get("lease_millis")?,
        })
    });
    found.optional()?.ok_or_else(|| {
        StoreError::stale("The lease of this run is lost: another worker has it, or it has ended. Stop working on it.").into()
    })
}

/// Events that others have appended after what the driver has folded.
fn interleaved(tx: &Connection, held: &Held, after: u64) -> DbResult<Vec<duet_core::domain::StoredEvent>> {
    if after > held.head.seq {
        return Err(StoreError::invalid(format!(
            "The run has {} events; the driver cannot have folded {after}.",
            held.head.seq
        ))
        .into());
    }
    if after == held.head.seq {
        return Ok(Vec::new());
    }
    events::after(tx, held.run.workspace_id, held.run.id, after, usize::MAX)
}

/// Stores the reply, or more text of one that is there.
fn keep_reply(tx: &Connection, run: &Run, reply: &Reply, now: Timestamp) -> DbResult<()> {
    let trace = to_json(&reply.trace)?;
    let known = tx
        .prepare_cached("SELECT 1 FROM message WHERE workspace_id = ?1 AND id = ?2 AND parent_id = ?3")?
        .exists(params![blob(run.workspace_id), blob(run.reply_id), blob(run.message_id)])?;
    if known {
        tx.execute(
            "UPDATE message SET status = ?3, text = ?4, trace = ?5, run_id = ?6, agent_id = ?7 WHERE workspace_id = ?1 AND id = ?2",
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
        "INSERT INTO message (workspace_id, id, conversation_id, user_id, ordinal, role, status, text, parent_id, run_id, agent_id, trace, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, 'assistant', ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
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

/// Ends a run: no lease any more, and nothing may follow.
fn end(tx: &Connection, run: &Run, status: RunStatus, reason: Option<&str>, now: Timestamp) -> DbResult<Run> {
    tx.execute(
        "UPDATE run SET status = ?3, reason = ?4, lease_token = NULL, lease_until = NULL, updated_at = ?5
         WHERE workspace_id = ?1 AND id = ?2",
        params![blob(run.workspace_id), blob(run.id), status.as_str(), reason, now.millis()],
    )?;
    let mut statement = tx.prepare_cached("SELECT * FROM run WHERE workspace_id = ?1 AND id = ?2")?;
    Ok(statement.query_row(params![blob(run.workspace_id), blob(run.id)], runs::run)?)
}

/// Parks a run that nobody will drive any more; its log is closed, so that its readers know.
fn park(tx: &Connection, env: &Env, run: &Run, head: Head, reason: &str) -> DbResult<()> {
    let finished = RunEvent::Finished {
        outcome: RunOutcome::Interrupted,
        reply: None,
        usage: Usage::default(),
        cost_micros: None,
    };
    events::append(tx, env, (run.workspace_id, run.id), head, vec![finished.into()])?;
    end(tx, run, RunStatus::Parked, Some(reason), env.now())?;
    Ok(())
}

/// Ends the unfinished runs of a person who is no member any more.
pub fn park_runs_of(tx: &Connection, env: &Env, workspace: WorkspaceId, user: UserId) -> DbResult<()> {
    let unfinished: Vec<(Run, Head)> = tx
        .prepare_cached(
            "SELECT * FROM run WHERE workspace_id = ?1 AND user_id = ?2 AND status IN ('queued', 'running') ORDER BY id",
        )?
        .query_map(params![blob(workspace), blob(user)], with_head)?
        .collect::<Result<_, _>>()?;
    for (run, head) in unfinished {
        park(tx, env, &run, head, LEFT)?;
    }
    Ok(())
}

/// Claims the oldest run that waits, or whose worker was lost.
pub fn claim(tx: &Connection, env: &Env, policy: LeasePolicy) -> DbResult<Option<Claim>> {
    loop {
        let now = env.now();
        let found = tx
            .prepare_cached(
                "SELECT * FROM run WHERE status IN ('queued', 'running') AND (status = 'queued' OR lease_until <= ?1)
                 ORDER BY created_at, id LIMIT 1",
            )?
            .query_row([now.millis()], with_head)
            .optional()?;
        let Some((run, head)) = found else { return Ok(None) };
        let Some(role) = workspaces::role(tx, run.workspace_id, run.user_id)? else {
            park(tx, env, &run, head, LEFT)?;
            continue;
        };
        if run.attempt >= policy.max_attempts {
            let reason = format!(
                "Given up after {} attempts, each of which was cut off. Try again.",
                run.attempt
            );
            park(tx, env, &run, head, &reason)?;
            continue;
        }
        let lease: LeaseToken = env.id();
        let lease_until = now.plus(policy.duration);
        tx.execute(
            "UPDATE run SET status = 'running', attempt = attempt + 1, lease_token = ?3, lease_until = ?4, lease_millis = ?5, updated_at = ?6
             WHERE workspace_id = ?1 AND id = ?2",
            params![
                blob(run.workspace_id),
                blob(run.id),
                blob(lease),
                lease_until.millis(),
                i64::try_from(policy.duration.as_millis()).unwrap_or(i64::MAX),
                now.millis()
            ],
        )?;
        let log = events::after(tx, run.workspace_id, run.id, 0, usize::MAX)?;
        return Ok(Some(Claim {
            run: Run {
                status: RunStatus::Running,
                attempt: run.attempt + 1,
                updated_at: now,
                ..run
            },
            role,
            lease,
            lease_until,
            log,
        }));
    }
}

/// Ends all leases when the file is opened: its lock proves that no other worker lives, so that what was cut off by a crash
/// goes on at once.
pub fn void_leases(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("UPDATE run SET lease_until = 0 WHERE status = 'running'", [])?;
    Ok(())
}

#[async_trait]
impl RunLog for LocalRunLog {
    async fn append(&self, run: RunId, lease: LeaseToken, after: u64, events: Vec<NewEvent>) -> StoreResult<Appended> {
        let env = self.0.env().clone();
        self.0
            .write(move |tx| {
                let held = held(tx, run, lease, env.now())?;
                let interleaved = interleaved(tx, &held, after)?;
                let own = events::append(tx, &env, (held.run.workspace_id, run), held.head, events)?;
                Ok(Appended { interleaved, own })
            })
            .await
    }

    async fn heartbeat(&self, run: RunId, lease: LeaseToken) -> StoreResult<(Timestamp, u64)> {
        let env = self.0.env().clone();
        self.0
            .write(move |tx| {
                let now = env.now();
                let held = held(tx, run, lease, now)?;
                let until = Timestamp::from_millis(now.millis().saturating_add(held.lease_millis));
                tx.prepare_cached("UPDATE run SET lease_until = ?3 WHERE workspace_id = ?1 AND id = ?2")?
                    .execute(params![blob(held.run.workspace_id), blob(run), until.millis()])?;
                Ok((until, held.head.seq))
            })
            .await
    }

    async fn settle(&self, run: RunId, lease: LeaseToken, after: u64, settlement: Settlement) -> StoreResult<Run> {
        if !settlement.status.is_final() {
            return Err(StoreError::invalid(format!("A run cannot end as `{}`.", settlement.status)));
        }
        let env = self.0.env().clone();
        self.0
            .write(move |tx| {
                let now = env.now();
                let held = held(tx, run, lease, now)?;
                if !interleaved(tx, &held, after)?.is_empty() {
                    return Err(
                        StoreError::stale("The run's log has grown. Fold the new events first; the lease still holds.").into(),
                    );
                }
                events::append(tx, &env, (held.run.workspace_id, run), held.head, settlement.events)?;
                if let Some(reply) = &settlement.reply {
                    keep_reply(tx, &held.run, reply, now)?;
                }
                end(tx, &held.run, settlement.status, settlement.reason.as_deref(), now)
            })
            .await
    }

    async fn hand_back(&self, run: RunId, lease: LeaseToken) -> StoreResult<()> {
        let env = self.0.env().clone();
        self.0
            .write(move |tx| {
                let held = held(tx, run, lease, env.now())?;
                tx.execute(
                    "UPDATE run SET status = 'queued', lease_token = NULL, lease_until = NULL WHERE workspace_id = ?1 AND id = ?2",
                    params![blob(held.run.workspace_id), blob(run)],
                )?;
                Ok(())
            })
            .await
    }
}
