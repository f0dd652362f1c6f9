//! Workspaces and members.

use async_trait::async_trait;
use duet_core::{
    Caller, Env, StoreError, StoreResult,
    domain::{ListPage, Member, Membership, PageRequest, PolicyVersion, Role, Workspace, check_name},
    ids::{UserId, WorkspaceId},
    ports::WorkspaceStore,
    refusal::Named,
    starter::Starter,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;

use super::{
    audit::{self, Who},
    cursor,
    db::Db,
    error::DbResult,
    members, policies,
    rows::{blob, id, time, to_json, word},
};

/// The workspaces in the file.
pub struct LocalWorkspaces(pub(super) Db);

/// Makes a workspace with its owner, its two primary agents, the starter soul and the starter policy.
pub fn make(tx: &Connection, env: &Env, owner: UserId, id: WorkspaceId, name: &str, companion: &str) -> DbResult<Workspace> {
    let now = env.now();
    let workspace = Workspace {
        id,
        name: name.trim().to_owned(),
        created_at: now,
    };
    tx.execute(
        "INSERT INTO workspace (id, name, created_by, created_at) VALUES (?1, ?2, ?3, ?4)",
        params![blob(id), workspace.name, blob(owner), now.millis()],
    )?;
    tx.execute(
        "INSERT INTO member (workspace_id, user_id, role, joined_at) VALUES (?1, ?2, 'owner', ?3)",
        params![blob(id), blob(owner), now.millis()],
    )?;
    let starter = Starter::new(env, companion);
    for agent in starter.agents {
        tx.execute(
            "INSERT INTO agent (workspace_id, id, kind, name, prompt, capabilities, memory_scopes, tools, active, version, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, 1, ?9, ?9)",
            params![
                blob(id),
                blob(agent.id),
                agent.kind.as_str(),
                agent.name,
                agent.prompt,
                to_json(&agent.capabilities)?,
                to_json(&agent.memory_scopes)?,
                to_json(&agent.tools)?,
                now.millis()
            ],
        )?;
    }
    tx.execute(
        "INSERT INTO soul_version (workspace_id, version, soul, author, created_at) VALUES (?1, 1, ?2, ?3, ?4)",
        params![blob(id), to_json(&starter.soul)?, blob(owner), now.millis()],
    )?;
    policies::keep(
        tx,
        &PolicyVersion {
            workspace_id: id,
            version: 1,
            rules: starter.policy,
            author: owner,
            created_at: now,
        },
    )?;
    let entry = audit::done("workspace.create", format!("workspace:{id}"), json!({}));
    audit::record(tx, env, Who::person(id, owner), entry)?;
    Ok(workspace)
}

/// The person's role in a workspace.
pub fn role(conn: &Connection, workspace: WorkspaceId, user: UserId) -> DbResult<Option<Role>> {
    let mut statement = conn.prepare_cached("SELECT role FROM member WHERE workspace_id = ?1 AND user_id = ?2")?;
    Ok(statement
        .query_row(params![blob(workspace), blob(user)], |row| word(row, "role"))
        .optional()?)
}

fn workspace(row: &Row<'_>) -> rusqlite::Result<Workspace> {
    Ok(Workspace {
        id: id(row, "id")?,
        name: row.get("name")?,
        created_at: time(row, "created_at")?,
    })
}

/// A workspace.
pub fn load(conn: &Connection, workspace_id: WorkspaceId) -> DbResult<Workspace> {
    conn.prepare_cached("SELECT * FROM workspace WHERE id = ?1")?
        .query_row([blob(workspace_id)], workspace)
        .optional()?
        .ok_or_else(|| StoreError::NotFound("the workspace").into())
}

const MEMBER: &str =
    "SELECT m.user_id, m.role, m.joined_at, u.email, u.display_name FROM member m JOIN user u ON u.id = m.user_id";

fn member(row: &Row<'_>) -> rusqlite::Result<Member> {
    Ok(Member {
        user_id: id(row, "user_id")?,
        email: row.get("email")?,
        display_name: row.get("display_name")?,
        role: word(row, "role")?,
        joined_at: time(row, "joined_at")?,
    })
}

#[async_trait]
impl WorkspaceStore for LocalWorkspaces {
    async fn memberships(&self, user: UserId) -> StoreResult<Vec<Membership>> {
        self.0
            .read(move |conn| {
                let mut statement = conn.prepare_cached(
                    "SELECT w.*, m.role FROM member m JOIN workspace w ON w.id = m.workspace_id
                     WHERE m.user_id = ?1 ORDER BY w.created_at, w.id",
                )?;
                let rows = statement.query_map([blob(user)], |row| {
                    Ok(Membership {
                        workspace: workspace(row)?,
                        role: word(row, "role")?,
                    })
                })?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    async fn role(&self, user: UserId, workspace: WorkspaceId) -> StoreResult<Option<Role>> {
        self.0.read(move |conn| role(conn, workspace, user)).await
    }

    async fn create(&self, user: UserId, id: WorkspaceId, name: &str, companion_name: &str) -> StoreResult<Workspace> {
        check_name(name, Named::Workspace)?;
        check_name(companion_name, Named::Companion)?;
        let (env, name, companion) = (self.0.env().clone(), name.to_owned(), companion_name.to_owned());
        self.0
            .write(move |tx| {
                let mut own = tx.prepare_cached("SELECT * FROM workspace WHERE id = ?1 AND created_by = ?2")?;
                match own.query_row(params![blob(id), blob(user)], workspace).optional()? {
                    Some(made) => Ok(made),
                    None => make(tx, &env, user, id, &name, &companion),
                }
            })
            .await
    }

    async fn workspace(&self, caller: &Caller) -> StoreResult<Workspace> {
        let id = caller.workspace;
        self.0.read_for(caller, move |conn| load(conn, id)).await
    }

    async fn rename(&self, caller: &Caller, name: &str) -> StoreResult<Workspace> {
        caller.require_owner("rename the workspace")?;
        check_name(name, Named::Workspace)?;
        let (who, env, name) = (Who::from(caller), self.0.env().clone(), name.trim().to_owned());
        self.0
            .write(move |tx| {
                if load(tx, who.workspace)?.name != name {
                    tx.execute(
                        "UPDATE workspace SET name = ?2 WHERE id = ?1",
                        params![blob(who.workspace), name],
                    )?;
                    let entry = audit::done("workspace.rename", format!("workspace:{}", who.workspace), json!({}));
                    audit::record(tx, &env, who, entry)?;
                }
                load(tx, who.workspace)
            })
            .await
    }

    async fn members(&self, caller: &Caller, request: PageRequest) -> StoreResult<ListPage<Member>> {
        let (workspace, size) = (caller.workspace, request.size());
        let (millis, user) = cursor::moment(request.cursor.as_deref())?.unwrap_or((i64::MIN, [0; 16]));
        self.0
            .read_for(caller, move |conn| {
                let mut statement = conn.prepare_cached(&format!(
                    "{MEMBER} WHERE m.workspace_id = ?1 AND (m.joined_at, m.user_id) > (?2, ?3) ORDER BY m.joined_at, m.user_id LIMIT ?4"
                ))?;
                let rows = statement.query_map(params![blob(workspace), millis, user, cursor::limit(size)], member)?;
                Ok(cursor::page(rows.collect::<Result<_, _>>()?, size, |member| {
                    cursor::after(member.joined_at.millis(), member.user_id)
                }))
            })
            .await
    }

    async fn remove_member(&self, caller: &Caller, user: UserId) -> StoreResult<()> {
        caller.require_person("remove a member")?;
        let (who, env) = (Who::from(caller), self.0.env().clone());
        self.0.write(move |tx| members::remove(tx, &env, who, user)).await
    }

    async fn change_role(&self, caller: &Caller, user: UserId, role: Role) -> StoreResult<Member> {
        caller.require_person("change a role")?;
        let (who, env) = (Who::from(caller), self.0.env().clone());
        self.0
            .write(move |tx| {
                members::change_role(tx, &env, who, user, role)?;
                let mut statement = tx.prepare_cached(&format!("{MEMBER} WHERE m.workspace_id = ?1 AND m.user_id = ?2"))?;
                let found = statement
                    .query_row(params![blob(who.workspace), blob(user)], member)
                    .optional()?;
                found.ok_or_else(|| StoreError::NotFound("the member").into())
            })
            .await
    }
}
