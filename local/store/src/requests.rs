//! Requests: what runs ask of people.

use async_trait::async_trait;
use duet_core::{
    Caller, Env, StoreError, StoreResult, Timestamp,
    domain::{
        Canonical, Changed, Decider, Decision, EffectId, InboxEntry, InboxKind, ListPage, NewRequest, PageRequest, Request,
        RequestFilter, RequestKind, RequestState, Role, Run, RunEvent, RunStatus, UsedApproval, VoidReason,
    },
    ids::{Id, IdPrefix, RequestId, RunId, SessionId, UserId, WorkspaceId},
    ports::RequestStore,
    refusal::Refusal,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Value, json};

use super::{
    accounts, agents, audit, cursor,
    db::Db,
    error::DbResult,
    events::{self, Head},
    hints, policies,
    rows::{self, blob, id, labels, opt_blob, opt_id, opt_json, opt_time, time, to_json, word},
    runs, workspaces,
};

/// The requests in the file.
pub struct LocalRequests(pub(super) Db);

/// A request as this person sees it.
fn request(row: &Row<'_>, reader: UserId) -> rusqlite::Result<Request> {
    let user = id(row, "user_id")?;
    Ok(Request {
        id: id(row, "id")?,
        workspace_id: id(row, "workspace_id")?,
        run_id: id(row, "run_id")?,
        user_id: user,
        conversation_id: Some(id(row, "conversation_id")?).filter(|_| user == reader),
        effect: EffectId {
            step: row.get("step")?,
            index: row.get("position")?,
        },
        agent_id: id(row, "agent_id")?,
        kind: word(row, "kind")?,
        tool: row.get("tool")?,
        arguments: opt_json::<Value>(row, "arguments")?,
        why: row.get("why")?,
        decider: word(row, "decider")?,
        policy_version: row.get("policy_version")?,
        labels: labels(row, "labels")?,
        state: word(row, "state")?,
        decision: opt_json::<Decision>(row, "decision")?,
        decided_by: opt_id(row, "decided_by")?,
        decided_at: opt_time(row, "decided_at")?,
        used_at: opt_time(row, "used_at")?,
        expires_at: time(row, "expires_at")?,
        created_at: time(row, "created_at")?,
    })
}

/// Which requests a person sees (`?1` workspace, `?2` person, `?3` whether they are an owner).
const VISIBLE: &str = "workspace_id = ?1 AND (user_id = ?2 OR (decider = 'owner' AND ?3))";

/// Which of the open ones they decide.
const TO_DECIDE: &str = "workspace_id = ?1 AND state = 'open' AND CASE decider WHEN 'owner' THEN ?3 ELSE user_id = ?2 END";

fn find(conn: &Connection, reader: Reader, wanted: RequestId) -> DbResult<Option<Request>> {
    let mut statement = conn.prepare_cached(&format!("SELECT * FROM request WHERE {VISIBLE} AND id = ?4"))?;
    let found = statement.query_row(
        params![blob(reader.workspace), blob(reader.user), reader.owner, blob(wanted)],
        |row| request(row, reader.user),
    );
    Ok(found.optional()?)
}

/// Who reads.
#[derive(Clone, Copy)]
struct Reader {
    workspace: WorkspaceId,
    user: UserId,
    owner: bool,
}

impl From<&Caller> for Reader {
    fn from(caller: &Caller) -> Self {
        Self {
            workspace: caller.workspace,
            user: caller.user,
            owner: caller.role == Role::Owner,
        }
    }
}

/// Stores what a run asks.
pub fn ask(tx: &Connection, run: &Run, asks: &[NewRequest], now: Timestamp) -> DbResult<()> {
    for new in asks {
        let (of_run, of_person): (u32, u32) = tx
            .prepare_cached(
                "SELECT count(*) FILTER (WHERE run_id = ?3), count(*) FROM request INDEXED BY request_pending
                 WHERE workspace_id = ?1 AND user_id = ?2 AND pending = 1",
            )?
            .query_row(params![blob(run.workspace_id), blob(run.user_id), blob(run.id)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        // Whether something happened is asked in any case: a worker was lost for it, which nobody can repeat at will.
        let bounded = new.kind != RequestKind::Review;
        for (open, most) in [(of_run, Request::MOST_OPEN), (of_person, Request::MOST_OPEN_OF_PERSON)] {
            if bounded && usize::try_from(open).is_ok_and(|open| open >= most) {
                return Err(Refusal::TooManyRequests { most }.into());
            }
        }
        if new.kind == RequestKind::Approval && new.policy_version != policies::newest(tx, run.workspace_id)?.version {
            return Err(Refusal::ApprovalStale.into());
        }
        // The labels are those of the run as it is after the events of this write.
        tx.prepare_cached(
            "INSERT INTO request (workspace_id, id, run_id, user_id, conversation_id, step, position, agent_id, kind, tool, arguments,
                                  salt, hash, why, decider, policy_version, labels, state, expires_at, created_at)
             SELECT r.workspace_id, ?3, r.id, r.user_id, r.conversation_id, ?4, ?5, r.agent_id, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
                    r.labels, 'open', ?14, ?15
             FROM run r WHERE r.workspace_id = ?1 AND r.id = ?2",
        )?
        .execute(params![
            blob(run.workspace_id),
            blob(run.id),
            blob(new.id),
            new.effect.step,
            new.effect.index,
            new.kind.as_str(),
            new.tool,
            new.arguments.text.as_str(),
            new.arguments.salt,
            new.arguments.hash(),
            new.why,
            new.decider.as_str(),
            new.policy_version,
            new.expires_at.millis(),
            now.millis()
        ])?;
        tell(tx, run.workspace_id, run.user_id, new.decider)?;
    }
    Ok(())
}

/// Tells whoever decides that their Inbox has changed. An owner's request is in the Inbox of every owner.
fn tell(tx: &Connection, workspace: WorkspaceId, asker: UserId, decider: Decider) -> DbResult<()> {
    match decider {
        Decider::Asker => hints::changed(tx, workspace, asker, Changed::Inbox),
        Decider::Owner => hints::owners_inbox(tx, workspace),
    }
}

/// Uses up an approval, if it still holds for the call as it is about to be made.
pub fn use_up(tx: &Connection, run: &Run, used: &UsedApproval, now: Timestamp) -> DbResult<()> {
    let found = tx
        .prepare_cached("SELECT * FROM request WHERE workspace_id = ?1 AND id = ?2 AND run_id = ?3")?
        .query_row(params![blob(run.workspace_id), blob(used.request), blob(run.id)], |row| {
            Ok((request(row, run.user_id)?, row.get::<_, Option<String>>("approved")?))
        })
        .optional()?;
    let Some((asked, Some(approved))) = found else {
        return Err(Refusal::ApprovalStale.into());
    };
    if asked.used_at.is_some() {
        return Err(Refusal::ApprovalSpent.into());
    }
    let labels: u8 = tx
        .prepare_cached("SELECT labels FROM run WHERE workspace_id = ?1 AND id = ?2")?
        .query_row(params![blob(run.workspace_id), blob(run.id)], |row| row.get(0))?;
    let agent = agents::find(tx, run.workspace_id, run.agent_id)?;
    // Whoever said yes for the owners is still one of them.
    let by_right = match (asked.decider, asked.decided_by) {
        (Decider::Asker, _) => true,
        (Decider::Owner, Some(person)) => workspaces::role(tx, run.workspace_id, person)? == Some(Role::Owner),
        (Decider::Owner, None) => false,
    };
    let holds = asked.state == RequestState::Approved
        && asked.kind == RequestKind::Approval
        && asked.expires_at > now
        && by_right
        && approved == used.arguments.as_str()
        && asked.policy_version == policies::newest(tx, run.workspace_id)?.version
        && agent.is_some_and(|agent| agent.active && agent.tools.contains(&asked.tool))
        && labels & !asked.labels.bits() == 0;
    if !holds {
        return Err(Refusal::ApprovalStale.into());
    }
    tx.prepare_cached("UPDATE request SET used_at = ?3 WHERE workspace_id = ?1 AND id = ?2")?
        .execute(params![blob(run.workspace_id), blob(asked.id), now.millis()])?;
    Ok(())
}

/// Voids a run's open requests and unused approvals, because it is over. Reviews stay open: somebody still has to look.
pub fn void(tx: &Connection, run: (WorkspaceId, RunId), because: VoidReason, now: Timestamp) -> DbResult<()> {
    let decision = Decision::Voided { because };
    let mut statement = tx.prepare_cached(
        "UPDATE request SET state = 'voided', decision = CASE WHEN redacted_at IS NULL THEN ?3 END, decided_by = NULL, decided_at = ?4
         WHERE workspace_id = ?1 AND run_id = ?2 AND kind <> 'review'
           AND pending = 1
         RETURNING user_id, decider",
    )?;
    let voided: Vec<(UserId, Decider)> = statement
        .query_map(params![blob(run.0), blob(run.1), to_json(&decision)?, now.millis()], |row| {
            Ok((id(row, "user_id")?, word(row, "decider")?))
        })?
        .collect::<Result<_, _>>()?;
    voided
        .into_iter()
        .try_for_each(|(user, decider)| tell(tx, run.0, user, decider))
}

/// Empties the texts of a run's requests, which ends what could still be decided or used. Returns how many had any.
pub fn redact(tx: &Connection, (workspace, run): (WorkspaceId, RunId), now: i64) -> DbResult<usize> {
    let mut statement = tx.prepare_cached(
        "UPDATE request SET arguments = NULL, salt = NULL, why = '', decision = NULL, approved = NULL, redacted_at = ?3,
             state = CASE WHEN pending = 1 THEN 'voided' ELSE state END,
             decided_at = coalesce(decided_at, ?3)
         WHERE workspace_id = ?1 AND run_id = ?2 AND redacted_at IS NULL RETURNING user_id, decider",
    )?;
    let emptied: Vec<(UserId, Decider)> = statement
        .query_map(params![blob(workspace), blob(run), now], |row| {
            Ok((id(row, "user_id")?, word(row, "decider")?))
        })?
        .collect::<Result<_, _>>()?;
    for (user, decider) in &emptied {
        tell(tx, workspace, *user, *decider)?;
    }
    Ok(emptied.len())
}

/// Voids the approvals that were not used yet: the file was put back to an earlier state, where some of them may have been used since.
pub fn void_unused(tx: &Connection, now: Timestamp) -> DbResult<()> {
    let decision = Decision::Voided {
        because: VoidReason::FileRestored,
    };
    tx.execute(
        "UPDATE request SET state = 'voided', decision = CASE WHEN redacted_at IS NULL THEN ?1 END, decided_by = NULL, decided_at = ?2
         WHERE state = 'approved' AND used_at IS NULL",
        params![to_json(&decision)?, now.millis()],
    )?;
    Ok(())
}

/// After a change of the policy: approvals that were asked for or given under an earlier version are void, and their runs go on.
pub fn void_earlier(tx: &Connection, env: &Env, workspace: WorkspaceId) -> DbResult<()> {
    let all = format!("{UNUSED} AND workspace_id = ?1");
    void_approvals(tx, env, &all, params![blob(workspace)], VoidReason::PolicyChanged)
}

/// After a change of a member's role: what was asked for or given under the other role is void, and their runs go on.
pub fn void_of(tx: &Connection, env: &Env, workspace: WorkspaceId, person: UserId) -> DbResult<()> {
    let theirs = format!("{UNUSED} AND workspace_id = ?1 AND user_id = ?2");
    void_approvals(
        tx,
        env,
        &theirs,
        params![blob(workspace), blob(person)],
        VoidReason::RoleChanged,
    )
}

/// Approvals that may still be given or used.
const UNUSED: &str = "kind = 'approval' AND pending = 1";

fn void_approvals(tx: &Connection, env: &Env, which: &str, values: &[&dyn rusqlite::ToSql], because: VoidReason) -> DbResult<()> {
    for asked in of_anybody(tx, which, values, i64::MAX)? {
        close(tx, env, &asked, &Decision::Voided { because }, None)?;
    }
    Ok(())
}

/// How many requests expire in one transaction; the next sweep takes the next ones.
const EXPIRED_AT_ONCE: i64 = 1_000;

/// Ends the wait of what nobody decided in time, and approvals whose calls were not made in time. Returns how many requests.
pub fn expire(tx: &Connection, env: &Env) -> DbResult<usize> {
    let due = of_anybody(
        tx,
        "pending = 1 AND expires_at <= ?1",
        params![env.now().millis()],
        EXPIRED_AT_ONCE,
    )?;
    for asked in &due {
        close(tx, env, asked, &Decision::Expired, None)?;
    }
    Ok(due.len())
}

fn of_anybody(tx: &Connection, which: &str, values: &[&dyn rusqlite::ToSql], most: i64) -> DbResult<Vec<Request>> {
    let mut statement = tx.prepare_cached(&format!(
        "SELECT * FROM request WHERE {which} ORDER BY workspace_id, run_id, id LIMIT {most}"
    ))?;
    let found = statement.query_map(values, |row| request(row, id(row, "user_id")?))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Records what became of a request, in its row and in the log of its run, and ends the run's wait.
fn close(tx: &Connection, env: &Env, asked: &Request, decision: &Decision, by: Option<UserId>) -> DbResult<()> {
    let approved = match decision {
        Decision::Approve { arguments } => {
            let arguments = arguments.as_ref().or(asked.arguments.as_ref()).ok_or(Refusal::RequestOver)?;
            Some(Canonical::of(arguments)?)
        }
        _ => None,
    };
    tx.prepare_cached(
        "UPDATE request SET state = ?3, decision = CASE WHEN redacted_at IS NULL THEN ?4 END, approved = coalesce(?5, approved),
             decided_by = ?6, decided_at = ?7
         WHERE workspace_id = ?1 AND id = ?2",
    )?
    .execute(params![
        blob(asked.workspace_id),
        blob(asked.id),
        decision.state().as_str(),
        to_json(decision)?,
        approved.as_ref().map(Canonical::as_str),
        opt_blob(by),
        env.now().millis()
    ])?;
    tell(tx, asked.workspace_id, asked.user_id, asked.decider)?;
    let event = RunEvent::Decided {
        effect: asked.effect,
        request: asked.id,
        decision: decision.clone(),
        by,
    };
    wake(tx, env, (asked.workspace_id, asked.run_id), event)
}

/// Appends to an active run's log, and queues the run if it was waiting.
pub fn wake(tx: &Connection, env: &Env, (workspace, run): (WorkspaceId, RunId), event: RunEvent) -> DbResult<()> {
    let (run, head): (Run, Head) = tx
        .prepare_cached("SELECT * FROM run WHERE workspace_id = ?1 AND id = ?2")?
        .query_row(params![blob(workspace), blob(run)], |row| {
            Ok((runs::run(row)?, events::head(row)?))
        })?;
    if run.status.is_final() {
        return Ok(());
    }
    let progress = event.is_progress();
    events::append(tx, env, (workspace, run.id), head, vec![event.into()])?;
    if progress {
        tx.prepare_cached("UPDATE run SET stalls = 0 WHERE workspace_id = ?1 AND id = ?2")?
            .execute(params![blob(workspace), blob(run.id)])?;
    }
    if run.status == RunStatus::Waiting {
        tx.prepare_cached("UPDATE run SET status = 'queued' WHERE workspace_id = ?1 AND id = ?2")?
            .execute(params![blob(workspace), blob(run.id)])?;
        hints::queued(tx, workspace)?;
        hints::changed(tx, workspace, run.user_id, Changed::Runs)?;
    }
    Ok(())
}

fn decide(
    tx: &Connection,
    env: &Env,
    caller: &Caller,
    session: SessionId,
    wanted: RequestId,
    decision: &Decision,
) -> DbResult<Request> {
    let now = env.now();
    let role = workspaces::role(tx, caller.workspace, caller.user)?.ok_or(StoreError::NotFound("the request"))?;
    let reader = Reader {
        owner: role == Role::Owner,
        ..Reader::from(caller)
    };
    if accounts::live(tx, caller.user, session, now)?.is_none() {
        return Err(Refusal::NotLive.of("decide this").into());
    }
    let asked = find(tx, reader, wanted)?.ok_or(StoreError::NotFound("the request"))?;
    if !asked.takes(decision, caller.user, role, now)? {
        return Ok(asked);
    }
    close(tx, env, &asked, decision, Some(caller.user))?;
    let details = json!({ "decision": decision.word(), "kind": asked.kind, "run": asked.run_id });
    audit::record(
        tx,
        env,
        caller.into(),
        audit::done("request.decide", format!("request:{wanted}"), details),
    )?;
    find(tx, reader, wanted)?.ok_or_else(|| StoreError::NotFound("the request").into())
}

/// The entries of the Inbox (`?1` to `?3` as in [`VISIBLE`]): requests to decide, and proposed memories of one's own, or as an owner
/// shared ones, or those that would replace one's own.
fn entries() -> String {
    format!(
        "SELECT kind, id, created_at AS at FROM request WHERE {TO_DECIDE}
         UNION ALL
         SELECT 'memory', m.id, m.created_at FROM memory_content c
         JOIN memory m ON m.key = c.memory JOIN memory_class k ON k.key = m.class
         LEFT JOIN memory_content old ON old.memory = m.supersedes
         WHERE c.review = 'proposed' AND c.redacted_at IS NULL AND c.valid_to IS NULL AND m.workspace_id = ?1
           AND (m.expires_at IS NULL OR m.expires_at > ?4)
           AND (c.user_id = ?2 OR (k.owner = x'' AND (?3 OR old.user_id = ?2)))
           AND (old.memory IS NULL OR ?3 OR old.user_id = ?2)"
    )
}

#[async_trait]
impl RequestStore for LocalRequests {
    async fn requests(&self, caller: &Caller, ids: &[RequestId]) -> StoreResult<Vec<Request>> {
        caller.require_person("read requests")?;
        let (reader, ids) = (Reader::from(caller), ids.to_vec());
        self.0
            .read_for(caller, move |conn| {
                let found = ids.into_iter().map(|id| find(conn, reader, id));
                Ok(found.collect::<DbResult<Vec<_>>>()?.into_iter().flatten().collect())
            })
            .await
    }

    async fn list(&self, caller: &Caller, filter: RequestFilter, page: PageRequest) -> StoreResult<ListPage<Request>> {
        caller.require_person("read requests")?;
        let (reader, size) = (Reader::from(caller), page.size());
        let (millis, last) = cursor::moment(page.cursor.as_deref())?.unwrap_or((i64::MAX, [u8::MAX; 16]));
        self.0
            .read_for(caller, move |conn| {
                let mut statement = conn.prepare_cached(&format!(
                    "SELECT * FROM request WHERE {VISIBLE} AND (?4 IS NULL OR (conversation_id = ?4 AND user_id = ?2))
                       AND (NOT ?5 OR state = 'open') AND (created_at, id) < (?6, ?7)
                     ORDER BY created_at DESC, id DESC LIMIT ?8"
                ))?;
                let rows = statement.query(params![
                    blob(reader.workspace),
                    blob(reader.user),
                    reader.owner,
                    opt_blob(filter.conversation),
                    filter.open,
                    millis,
                    last,
                    cursor::limit(size)
                ])?;
                let place = |row: &Row<'_>| Ok(cursor::after(time(row, "created_at")?.millis(), id::<RequestId>(row, "id")?));
                Ok(rows::page("requests", rows, size, |row| request(row, reader.user), place)?)
            })
            .await
    }

    async fn ids(&self, caller: &Caller, prefix: IdPrefix) -> StoreResult<Vec<RequestId>> {
        caller.require_person("read requests")?;
        let (reader, (low, high)) = (Reader::from(caller), prefix.range());
        self.0
            .read_for(caller, move |conn| {
                let mut statement = conn.prepare_cached(&format!(
                    "SELECT id FROM request WHERE {VISIBLE} AND id BETWEEN ?4 AND ?5 ORDER BY id LIMIT ?6"
                ))?;
                let found = statement.query_map(
                    params![
                        blob(reader.workspace),
                        blob(reader.user),
                        reader.owner,
                        low.into_bytes(),
                        high.into_bytes(),
                        rows::int(IdPrefix::MOST)
                    ],
                    |row| id(row, "id"),
                )?;
                Ok(found.collect::<Result<_, _>>()?)
            })
            .await
    }

    async fn decide(&self, caller: &Caller, session: SessionId, id: RequestId, decision: Decision) -> StoreResult<Request> {
        caller.require_person("decide this")?;
        let (caller, env) = (caller.clone(), self.0.env().clone());
        self.0
            .write(move |tx| decide(tx, &env, &caller, session, id, &decision))
            .await
    }

    async fn inbox(&self, caller: &Caller, kind: Option<InboxKind>, page: PageRequest) -> StoreResult<ListPage<InboxEntry>> {
        caller.require_person("read the Inbox")?;
        let (reader, size, now) = (Reader::from(caller), page.size(), self.0.env().now());
        let (millis, last) = cursor::moment(page.cursor.as_deref())?.unwrap_or((i64::MAX, [u8::MAX; 16]));
        self.0
            .read_for(caller, move |conn| {
                let mut statement = conn.prepare_cached(&format!(
                    "SELECT * FROM ({}) WHERE (?5 IS NULL OR kind = ?5) AND (at, id) < (?6, ?7) ORDER BY at DESC, id DESC LIMIT ?8",
                    entries()
                ))?;
                let rows = statement.query(params![
                    blob(reader.workspace),
                    blob(reader.user),
                    reader.owner,
                    now.millis(),
                    kind.map(InboxKind::as_str),
                    millis,
                    last,
                    cursor::limit(size)
                ])?;
                let entry = |row: &Row<'_>| {
                    Ok(InboxEntry {
                        kind: word(row, "kind")?,
                        id: id::<RequestId>(row, "id")?.uuid(),
                        at: time(row, "at")?,
                    })
                };
                let place = |row: &Row<'_>| Ok(cursor::after(time(row, "at")?.millis(), id::<RequestId>(row, "id")?));
                Ok(rows::page("the Inbox", rows, size, entry, place)?)
            })
            .await
    }

    async fn waiting(&self, caller: &Caller) -> StoreResult<u64> {
        caller.require_person("read the Inbox")?;
        let (reader, now) = (Reader::from(caller), self.0.env().now());
        self.0
            .read_for(caller, move |conn| {
                let mut statement = conn.prepare_cached(&format!(
                    "SELECT count(*) AS n FROM (SELECT 1 FROM ({}) LIMIT 1000)",
                    entries()
                ))?;
                let key = params![blob(reader.workspace), blob(reader.user), reader.owner, now.millis()];
                Ok(statement.query_row(key, |row| rows::count(row, "n"))?)
            })
            .await
    }
}
