//! Agents and the soul.

use async_trait::async_trait;
use duet_core::{
    Caller, StoreError, StoreResult,
    domain::{Agent, AgentEdit, AgentKind, ListPage, ModelRef, PageRequest, Soul, SoulVersion},
    ids::{AgentId, WorkspaceId},
    ports::AgentStore,
    refusal::Refusal,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;

use super::{
    audit::{self, Who},
    cursor,
    db::Db,
    error::DbResult,
    rows::{blob, id, json, time, to_json, word},
};

/// The agents in the file.
pub struct LocalAgents(pub(super) Db);

fn agent(row: &Row<'_>) -> rusqlite::Result<Agent> {
    let model: Option<String> = row.get("model")?;
    Ok(Agent {
        id: id(row, "id")?,
        workspace_id: id(row, "workspace_id")?,
        kind: word(row, "kind")?,
        name: row.get("name")?,
        prompt: row.get("prompt")?,
        model: model.map(|_| word::<ModelRef>(row, "model")).transpose()?,
        capabilities: json(row, "capabilities")?,
        memory_scopes: json(row, "memory_scopes")?,
        tools: json(row, "tools")?,
        active: row.get("active")?,
        version: row.get("version")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

/// One agent.
pub fn find(conn: &Connection, workspace: WorkspaceId, id: AgentId) -> DbResult<Option<Agent>> {
    let mut statement = conn.prepare_cached("SELECT * FROM agent WHERE workspace_id = ?1 AND id = ?2")?;
    Ok(statement.query_row(params![blob(workspace), blob(id)], agent).optional()?)
}

/// The agent that answers when none is named: the active companion, else the active executor.
pub fn answering(conn: &Connection, workspace: WorkspaceId) -> DbResult<Option<AgentId>> {
    let mut statement = conn.prepare_cached(
        "SELECT id FROM agent WHERE workspace_id = ?1 AND active = 1 AND kind IN ('companion_primary', 'executor_primary')
         ORDER BY kind, created_at, id LIMIT 1",
    )?;
    Ok(statement.query_row([blob(workspace)], |row| id(row, "id")).optional()?)
}

/// Whether an agent exists, and is active.
pub fn is_active(conn: &Connection, workspace: WorkspaceId, id: AgentId) -> DbResult<Option<bool>> {
    let mut statement = conn.prepare_cached("SELECT active FROM agent WHERE workspace_id = ?1 AND id = ?2")?;
    Ok(statement
        .query_row(params![blob(workspace), blob(id)], |row| row.get("active"))
        .optional()?)
}

fn soul_version(row: &Row<'_>) -> rusqlite::Result<SoulVersion> {
    Ok(SoulVersion {
        workspace_id: id(row, "workspace_id")?,
        version: row.get("version")?,
        soul: json(row, "soul")?,
        author: id(row, "author")?,
        created_at: time(row, "created_at")?,
    })
}

fn newest_soul(conn: &Connection, workspace: WorkspaceId) -> DbResult<SoulVersion> {
    conn.prepare_cached("SELECT * FROM soul_version WHERE workspace_id = ?1 ORDER BY version DESC LIMIT 1")?
        .query_row([blob(workspace)], soul_version)
        .optional()?
        .ok_or_else(|| StoreError::NotFound("the workspace").into())
}

/// The names of the fields that an edit changes; their content stays out of the audit log.
fn changed(edit: &AgentEdit) -> Vec<&'static str> {
    [
        ("name", edit.name.is_some()),
        ("prompt", edit.prompt.is_some()),
        ("model", edit.model.is_some()),
        ("capabilities", edit.capabilities.is_some()),
        ("memory_scopes", edit.memory_scopes.is_some()),
        ("tools", edit.tools.is_some()),
        ("active", edit.active.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, present)| present.then_some(name))
    .collect()
}

fn save(tx: &Connection, agent: &Agent) -> DbResult<()> {
    tx.execute(
        "UPDATE agent SET name = ?3, prompt = ?4, model = ?5, capabilities = ?6, memory_scopes = ?7, tools = ?8, active = ?9,
                          version = ?10, updated_at = ?11
         WHERE workspace_id = ?1 AND id = ?2",
        params![
            blob(agent.workspace_id),
            blob(agent.id),
            agent.name,
            agent.prompt,
            agent.model.as_ref().map(ToString::to_string),
            to_json(&agent.capabilities)?,
            to_json(&agent.memory_scopes)?,
            to_json(&agent.tools)?,
            agent.active,
            agent.version,
            agent.updated_at.millis()
        ],
    )?;
    Ok(())
}

#[async_trait]
impl AgentStore for LocalAgents {
    async fn agents(&self, caller: &Caller) -> StoreResult<Vec<Agent>> {
        let workspace = caller.workspace;
        self.0
            .read_for(caller, move |conn| {
                let mut statement = conn
                    .prepare_cached("SELECT * FROM agent WHERE workspace_id = ?1 ORDER BY kind = 'specialist', name, kind, id")?;
                let rows = statement.query_map([blob(workspace)], agent)?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    async fn agent(&self, caller: &Caller, id: AgentId) -> StoreResult<Option<Agent>> {
        let workspace = caller.workspace;
        self.0.read_for(caller, move |conn| find(conn, workspace, id)).await
    }

    async fn edit_agent(&self, caller: &Caller, id: AgentId, version: u32, edit: AgentEdit) -> StoreResult<Agent> {
        caller.require_owner("edit an agent")?;
        edit.check()?;
        let (who, env) = (Who::from(caller), self.0.env().clone());
        self.0
            .write(move |tx| {
                let agent = find(tx, who.workspace, id)?.ok_or(StoreError::NotFound("the agent"))?;
                if agent.version != version {
                    return Err(Refusal::AgentChanged.into());
                }
                let fields = changed(&edit);
                let edited = edit.apply(&agent, env.now());
                save(tx, &edited)?;
                if edited.kind != AgentKind::Specialist && answering(tx, who.workspace)?.is_none() {
                    return Err(Refusal::LastPrimary.into());
                }
                let details = json!({ "version": edited.version, "fields": fields });
                audit::record(tx, &env, who, audit::done("agent.edit", format!("agent:{id}"), details))?;
                Ok(edited)
            })
            .await
    }

    async fn soul(&self, caller: &Caller) -> StoreResult<SoulVersion> {
        let workspace = caller.workspace;
        self.0.read_for(caller, move |conn| newest_soul(conn, workspace)).await
    }

    async fn soul_versions(&self, caller: &Caller, request: PageRequest) -> StoreResult<ListPage<SoulVersion>> {
        let (workspace, size) = (caller.workspace, request.size());
        let before = cursor::number(request.cursor.as_deref())?.unwrap_or(i64::MAX);
        self.0
            .read_for(caller, move |conn| {
                let mut statement = conn.prepare_cached(
                    "SELECT * FROM soul_version WHERE workspace_id = ?1 AND version < ?2 ORDER BY version DESC LIMIT ?3",
                )?;
                let rows = statement.query_map(params![blob(workspace), before, cursor::limit(size)], soul_version)?;
                Ok(cursor::page(rows.collect::<Result<_, _>>()?, size, |soul| {
                    soul.version.to_string()
                }))
            })
            .await
    }

    async fn write_soul(&self, caller: &Caller, version: u32, soul: Soul) -> StoreResult<SoulVersion> {
        caller.require_owner("change the soul")?;
        soul.check()?;
        let (who, env) = (Who::from(caller), self.0.env().clone());
        self.0
            .write(move |tx| {
                if newest_soul(tx, who.workspace)?.version != version {
                    return Err(Refusal::SoulChanged.into());
                }
                let next = SoulVersion {
                    workspace_id: who.workspace,
                    version: version + 1,
                    soul,
                    author: who.user,
                    created_at: env.now(),
                };
                tx.execute(
                    "INSERT INTO soul_version (workspace_id, version, soul, author, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![
                        blob(next.workspace_id),
                        next.version,
                        to_json(&next.soul)?,
                        blob(next.author),
                        next.created_at.millis()
                    ],
                )?;
                let details = json!({ "version": next.version });
                audit::record(
                    tx,
                    &env,
                    who,
                    audit::done("soul.write", format!("workspace:{}", who.workspace), details),
                )?;
                Ok(next)
            })
            .await
    }
}
