//! The policy of a workspace.

use async_trait::async_trait;
use duet_core::{
    Caller, StoreError, StoreResult,
    domain::{ListPage, PageRequest, PolicyVersion},
    ids::WorkspaceId,
    policy::{Policy, Rule},
    ports::PolicyStore,
    refusal::Refusal,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;

use super::{
    audit::{self, Who},
    cursor,
    db::Db,
    error::DbResult,
    requests,
    rows::{blob, id, json as parsed, time, to_json},
};

/// The policies in the file.
pub struct LocalPolicies(pub(super) Db);

fn version(row: &Row<'_>) -> rusqlite::Result<PolicyVersion> {
    Ok(PolicyVersion {
        workspace_id: id(row, "workspace_id")?,
        version: row.get("version")?,
        rules: parsed(row, "rules")?,
        author: id(row, "author")?,
        created_at: time(row, "created_at")?,
    })
}

/// The newest version.
pub fn newest(conn: &Connection, workspace: WorkspaceId) -> DbResult<PolicyVersion> {
    conn.prepare_cached("SELECT * FROM policy_version WHERE workspace_id = ?1 ORDER BY version DESC LIMIT 1")?
        .query_row([blob(workspace)], version)
        .optional()?
        .ok_or_else(|| StoreError::NotFound("the workspace").into())
}

/// Stores a version.
pub fn keep(tx: &Connection, version: &PolicyVersion) -> DbResult<()> {
    tx.execute(
        "INSERT INTO policy_version (workspace_id, version, rules, author, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            blob(version.workspace_id),
            version.version,
            to_json(&version.rules)?,
            blob(version.author),
            version.created_at.millis()
        ],
    )?;
    Ok(())
}

#[async_trait]
impl PolicyStore for LocalPolicies {
    async fn policy(&self, caller: &Caller) -> StoreResult<PolicyVersion> {
        caller.require_person("read the policy")?;
        let workspace = caller.workspace;
        self.0.read_for(caller, move |conn| newest(conn, workspace)).await
    }

    async fn policy_versions(&self, caller: &Caller, request: PageRequest) -> StoreResult<ListPage<PolicyVersion>> {
        caller.require_person("read the policy")?;
        let (workspace, size) = (caller.workspace, request.size());
        let before = cursor::number(request.cursor.as_deref())?.unwrap_or(i64::MAX);
        self.0
            .read_for(caller, move |conn| {
                let mut statement = conn.prepare_cached(
                    "SELECT * FROM policy_version WHERE workspace_id = ?1 AND version < ?2 ORDER BY version DESC LIMIT ?3",
                )?;
                let rows = statement.query_map(params![blob(workspace), before, cursor::limit(size)], version)?;
                Ok(cursor::page(rows.collect::<Result<_, _>>()?, size, |policy| {
                    policy.version.to_string()
                }))
            })
            .await
    }

    async fn write_policy(&self, caller: &Caller, from: u32, rules: Vec<Rule>) -> StoreResult<PolicyVersion> {
        caller.require_owner("change the policy")?;
        Policy::check(&rules)?;
        let (who, env) = (Who::from(caller), self.0.env().clone());
        self.0
            .write(move |tx| {
                if newest(tx, who.workspace)?.version != from {
                    return Err(Refusal::PolicyChanged.into());
                }
                let next = PolicyVersion {
                    workspace_id: who.workspace,
                    version: from + 1,
                    rules,
                    author: who.user,
                    created_at: env.now(),
                };
                keep(tx, &next)?;
                requests::void_earlier(tx, &env, who.workspace)?;
                let details = json!({ "version": next.version });
                let entry = audit::done("policy.write", format!("workspace:{}", who.workspace), details);
                audit::record(tx, &env, who, entry)?;
                Ok(next)
            })
            .await
    }
}
