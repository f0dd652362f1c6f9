//! The audit log: one hash chain per workspace, with its head kept apart.

use async_trait::async_trait;
use duet_core::{
    Caller, Env, StoreResult,
    crypto::{AuditFields, GENESIS, Hash, audit_hash},
    domain::{AuditEntry, AuditOutcome, ListPage, NewAuditEntry, PageRequest},
    ids::{AgentId, RunId, UserId, WorkspaceId},
    ports::{AuditLog, ChainCheck},
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    authorizer, cursor,
    db::Db,
    error::DbResult,
    events,
    rows::{self, blob, count, id, int, json, opt_blob, opt_id, time, word},
};

/// Who acted, for [`record`].
#[derive(Clone, Copy, Debug)]
pub struct Who {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The person.
    pub user: UserId,
    /// The agent that acted for them.
    pub agent: Option<AgentId>,
}

impl Who {
    /// A person acting without an agent.
    pub fn person(workspace: WorkspaceId, user: UserId) -> Self {
        Self {
            workspace,
            user,
            agent: None,
        }
    }
}

impl From<&Caller> for Who {
    fn from(caller: &Caller) -> Self {
        Self {
            workspace: caller.workspace,
            user: caller.user,
            agent: caller.agent.as_ref().map(|acting| acting.agent),
        }
    }
}

/// An entry for a completed action.
pub fn done(action: &str, target: String, details: serde_json::Value) -> NewAuditEntry {
    NewAuditEntry {
        action: action.to_owned(),
        target,
        outcome: AuditOutcome::Done,
        details,
    }
}

/// [`record`] for what may be an agent's action, on the connection that performed it.
pub fn record_for(tx: &Connection, env: &Env, caller: &Caller, entry: NewAuditEntry) -> DbResult<AuditEntry> {
    authorizer::recording(|| record(tx, env, caller.into(), entry))
}

/// Appends an entry in the transaction of the action it describes. Its statements are not cached: [`record_for`] runs them on
/// connections that must not keep them.
pub fn record(tx: &Connection, env: &Env, who: Who, entry: NewAuditEntry) -> DbResult<AuditEntry> {
    let workspace = blob(who.workspace);
    let head: Option<(u64, Hash)> = tx
        .prepare("SELECT seq, hash FROM audit_head WHERE workspace_id = ?1")?
        .query_row([workspace], |row| Ok((count(row, "seq")?, row.get("hash")?)))
        .optional()?;
    let (last, previous) = head.unwrap_or((0, GENESIS));
    let details = serde_json::to_string(&entry.details)?;
    let fields = AuditFields {
        id: env.id(),
        workspace: who.workspace,
        seq: last + 1,
        actor: who.user,
        agent: who.agent,
        action: &entry.action,
        target: &entry.target,
        outcome: entry.outcome,
        details: &details,
        at: env.now(),
    };
    let hash = audit_hash(&previous, &fields);
    tx.prepare(
        "INSERT INTO audit_entry (workspace_id, seq, id, actor, agent_id, action, target, outcome, details, at, chain_hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        workspace,
        int(fields.seq),
        blob(fields.id),
        blob(who.user),
        opt_blob(who.agent),
        entry.action,
        entry.target,
        entry.outcome.as_str(),
        details,
        fields.at.millis(),
        hash,
    ])?;
    tx.prepare(
        "INSERT INTO audit_head (workspace_id, seq, hash) VALUES (?1, ?2, ?3)
         ON CONFLICT (workspace_id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
    )?
    .execute(params![workspace, int(fields.seq), hash])?;
    Ok(AuditEntry {
        id: fields.id,
        workspace_id: who.workspace,
        seq: fields.seq,
        actor: who.user,
        agent_id: who.agent,
        outcome: entry.outcome,
        at: fields.at,
        chain_hash: hex::encode(hash),
        action: entry.action,
        target: entry.target,
        details: entry.details,
    })
}

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    Ok(AuditEntry {
        id: id(row, "id")?,
        workspace_id: id(row, "workspace_id")?,
        seq: count(row, "seq")?,
        actor: id(row, "actor")?,
        agent_id: opt_id(row, "agent_id")?,
        action: row.get("action")?,
        target: row.get("target")?,
        outcome: word(row, "outcome")?,
        details: json(row, "details")?,
        at: time(row, "at")?,
        chain_hash: hex::encode(row.get::<_, Hash>("chain_hash")?),
    })
}

/// The first broken place in a workspace's audit chain, or how many rows hold.
fn verify_entries(conn: &Connection, workspace: WorkspaceId) -> DbResult<ChainCheck> {
    let broken = |seq| {
        Ok(ChainCheck::Broken {
            chain: "audit".into(),
            seq,
        })
    };
    let mut statement = conn.prepare_cached("SELECT * FROM audit_entry WHERE workspace_id = ?1 ORDER BY seq")?;
    let mut rows = statement.query([blob(workspace)])?;
    let (mut last, mut previous) = (0, GENESIS);
    while let Some(row) = rows.next()? {
        let (seq, stored): (u64, Hash) = (count(row, "seq")?, row.get("chain_hash")?);
        let (action, target, details): (String, String, String) = (row.get("action")?, row.get("target")?, row.get("details")?);
        // A row that cannot even be read has been tampered with.
        let (Ok(outcome), Ok(at)) = (word::<AuditOutcome>(row, "outcome"), time(row, "at")) else {
            return broken(seq);
        };
        let fields = AuditFields {
            id: id(row, "id")?,
            workspace,
            seq,
            actor: id(row, "actor")?,
            agent: opt_id(row, "agent_id")?,
            action: &action,
            target: &target,
            outcome,
            details: &details,
            at,
        };
        if seq != last + 1 {
            return broken(last + 1);
        }
        if audit_hash(&previous, &fields) != stored {
            return broken(seq);
        }
        (last, previous) = (seq, stored);
    }
    let head: Option<(u64, Hash)> = conn
        .prepare_cached("SELECT seq, hash FROM audit_head WHERE workspace_id = ?1")?
        .query_row([blob(workspace)], |row| Ok((count(row, "seq")?, row.get("hash")?)))
        .optional()?;
    // Every workspace has at least the entry of its creation.
    if head == Some((last, previous)) && last > 0 {
        Ok(ChainCheck::Intact(last))
    } else {
        broken(last + 1)
    }
}

/// The audit log in the file.
pub struct LocalAudit(pub(super) Db);

#[async_trait]
impl AuditLog for LocalAudit {
    async fn append(&self, caller: &Caller, entry: NewAuditEntry) -> StoreResult<AuditEntry> {
        let (who, env) = (Who::from(caller), self.0.env().clone());
        self.0.write(move |tx| record(tx, &env, who, entry)).await
    }

    async fn entries(&self, caller: &Caller, request: PageRequest) -> StoreResult<ListPage<AuditEntry>> {
        caller.require_owner("read the audit log")?;
        let (workspace, size) = (caller.workspace, request.size());
        let before = cursor::number(request.cursor.as_deref())?.unwrap_or(i64::MAX);
        self.0
            .read(move |conn| {
                let mut statement = conn.prepare_cached(
                    "SELECT * FROM audit_entry WHERE workspace_id = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3",
                )?;
                let rows = statement.query(params![blob(workspace), before, cursor::limit(size)])?;
                let place = |row: &Row<'_>| Ok(count(row, "seq")?.to_string());
                Ok(rows::page("audit entries", rows, size, entry, place)?)
            })
            .await
    }

    async fn verify(&self, caller: &Caller) -> StoreResult<ChainCheck> {
        caller.require_owner("verify the audit log")?;
        let workspace = caller.workspace;
        self.0
            .read(move |conn| {
                let mut rows = match verify_entries(conn, workspace)? {
                    ChainCheck::Intact(rows) => rows,
                    broken @ ChainCheck::Broken { .. } => return Ok(broken),
                };
                let mut statement = conn.prepare_cached(
                    "SELECT id FROM run WHERE workspace_id = ?1
                     UNION SELECT run_id FROM message WHERE workspace_id = ?1 AND run_id IS NOT NULL ORDER BY 1",
                )?;
                let runs: Vec<RunId> = statement
                    .query_map([blob(workspace)], |row| id(row, "id"))?
                    .collect::<Result<_, _>>()?;
                for run in runs {
                    match events::verify(conn, workspace, run)? {
                        Ok(events) => rows += events,
                        Err(seq) => {
                            return Ok(ChainCheck::Broken {
                                chain: format!("run {run}"),
                                seq,
                            });
                        }
                    }
                }
                Ok(ChainCheck::Intact(rows))
            })
            .await
    }
}
