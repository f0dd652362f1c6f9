//! API keys.

use async_trait::async_trait;
use duet_core::{
    Caller, StoreError, StoreResult,
    domain::{ApiKey, KeyScope, NewApiKey, Role, check_name},
    ids::{ApiKeyId, UserId, WorkspaceId},
    ports::KeyStore,
    refusal::{Named, Refusal},
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;

use super::{
    audit::{self, Who},
    db::Db,
    error::DbResult,
    rows::{blob, id, json, opt_time, time, to_json},
    workspaces,
};

/// The API keys in the file.
pub struct LocalKeys(pub(super) Db);

fn key(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    Ok(ApiKey {
        id: id(row, "id")?,
        workspace_id: id(row, "workspace_id")?,
        user_id: id(row, "user_id")?,
        name: row.get("name")?,
        prefix: row.get("prefix")?,
        scopes: json(row, "scopes")?,
        created_at: time(row, "created_at")?,
        expires_at: opt_time(row, "expires_at")?,
        last_used_at: opt_time(row, "last_used_at")?,
        revoked_at: opt_time(row, "revoked_at")?,
    })
}

fn find(conn: &Connection, workspace: WorkspaceId, user: UserId, id: ApiKeyId) -> DbResult<Option<ApiKey>> {
    let mut statement = conn.prepare_cached("SELECT * FROM api_key WHERE workspace_id = ?1 AND id = ?2 AND user_id = ?3")?;
    Ok(statement
        .query_row(params![blob(workspace), blob(id), blob(user)], key)
        .optional()?)
}

/// A key's use is recorded to within a minute.
const NOTED_EVERY: i64 = 60_000;

/// The key with that hash and its person's current role, unless it is revoked, expired or no longer a member's; records its use.
pub async fn look_up(db: &Db, secret_hash: [u8; 32]) -> StoreResult<Option<(ApiKey, Role)>> {
    let now = db.env().now();
    let found = db
        .read(move |conn| {
            let mut statement = conn.prepare_cached(
                "SELECT * FROM api_key WHERE secret_hash = ?1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?2)",
            )?;
            let Some(key) = statement.query_row(params![secret_hash, now.millis()], key).optional()? else {
                return Ok(None);
            };
            Ok(workspaces::role(conn, key.workspace_id, key.user_id)?.map(|role| (key, role)))
        })
        .await?;
    let Some((mut key, role)) = found else { return Ok(None) };
    if key
        .last_used_at
        .is_none_or(|used| now.millis() - used.millis() >= NOTED_EVERY)
    {
        let (workspace, id) = (blob(key.workspace_id), blob(key.id));
        let noted = db
            .write(move |tx| {
                tx.execute(
                    "UPDATE api_key SET last_used_at = ?3 WHERE workspace_id = ?1 AND id = ?2",
                    params![workspace, id, now.millis()],
                )?;
                Ok(())
            })
            .await;
        match noted {
            Ok(()) => key.last_used_at = Some(now),
            // A full disk must not lock people out of reading.
            Err(error) => tracing::warn!(%error, "the use of an API key could not be noted"),
        }
    }
    Ok(Some((key, role)))
}

#[async_trait]
impl KeyStore for LocalKeys {
    async fn create(&self, caller: &Caller, new: NewApiKey) -> StoreResult<ApiKey> {
        caller.require_person("make an API key")?;
        check_name(&new.name, Named::Key)?;
        if new.scopes.is_empty() {
            return Err(Refusal::NoScopes.into());
        }
        if new.scopes.contains(&KeyScope::Admin) {
            caller.require_owner("make a key with the scope `admin`")?;
        }
        let (who, env) = (Who::from(caller), self.0.env().clone());
        self.0
            .write(move |tx| {
                if let Some(made) = find(tx, who.workspace, who.user, new.id)? {
                    return Ok(made);
                }
                let now = env.now();
                tx.execute(
                    "INSERT INTO api_key (workspace_id, id, user_id, name, prefix, secret_hash, scopes, created_at, expires_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                    params![
                        blob(who.workspace),
                        blob(new.id),
                        blob(who.user),
                        new.name.trim(),
                        new.prefix,
                        new.secret_hash,
                        to_json(&new.scopes)?,
                        now.millis(),
                        new.expires_at.map(|at| at.millis())
                    ],
                )?;
                let entry = audit::done("key.create", format!("key:{}", new.id), json!({ "scopes": new.scopes }));
                audit::record(tx, &env, who, entry)?;
                find(tx, who.workspace, who.user, new.id)?.ok_or_else(|| StoreError::NotFound("the key").into())
            })
            .await
    }

    async fn list(&self, caller: &Caller) -> StoreResult<Vec<ApiKey>> {
        caller.require_person("see API keys")?;
        let (workspace, user) = (caller.workspace, caller.user);
        self.0
            .read(move |conn| {
                let mut statement = conn.prepare_cached(
                    "SELECT * FROM api_key WHERE workspace_id = ?1 AND user_id = ?2 ORDER BY created_at DESC, id DESC",
                )?;
                let rows = statement.query_map(params![blob(workspace), blob(user)], key)?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    async fn revoke(&self, caller: &Caller, id: ApiKeyId) -> StoreResult<ApiKey> {
        caller.require_person("revoke an API key")?;
        let (who, env) = (Who::from(caller), self.0.env().clone());
        self.0
            .write(move |tx| {
                let mut key = find(tx, who.workspace, who.user, id)?.ok_or(StoreError::NotFound("the key"))?;
                if key.revoked_at.is_none() {
                    let now = env.now();
                    tx.execute(
                        "UPDATE api_key SET revoked_at = ?3 WHERE workspace_id = ?1 AND id = ?2",
                        params![blob(who.workspace), blob(id), now.millis()],
                    )?;
                    audit::record(tx, &env, who, audit::done("key.revoke", format!("key:{id}"), json!({})))?;
                    key.revoked_at = Some(now);
                }
                Ok(key)
            })
            .await
    }
}
