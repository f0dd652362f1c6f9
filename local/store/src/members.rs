//! Leaving a workspace, and changing roles in it.

use duet_core::{
    Env, StoreError,
    domain::Role,
    ids::{UserId, WorkspaceId},
    refusal::Refusal,
};
use rusqlite::{Connection, params};
use serde_json::json;

use super::{
    audit::{self, Who},
    error::DbResult,
    requests,
    rows::blob,
    run_log, workspaces,
};

/// Refuses a caller who is no longer an owner: the caller's role was read before this transaction began.
pub fn require_owner(conn: &Connection, who: Who, action: &'static str) -> DbResult<()> {
    match workspaces::role(conn, who.workspace, who.user)? {
        Some(Role::Owner) => Ok(()),
        Some(Role::Member) => Err(Refusal::OwnersOnly.of(action).into()),
        None => Err(StoreError::NotFound("the workspace").into()),
    }
}

/// Keeps the only owner one: otherwise nobody could invite, or make another.
fn keep_an_owner(tx: &Connection, workspace: WorkspaceId, user: UserId) -> DbResult<()> {
    let role = workspaces::role(tx, workspace, user)?.ok_or(StoreError::NotFound("the member"))?;
    let others = tx
        .prepare_cached("SELECT 1 FROM member WHERE workspace_id = ?1 AND user_id <> ?2 AND role = 'owner'")?
        .exists(params![blob(workspace), blob(user)])?;
    if role == Role::Owner && !others {
        return Err(Refusal::LastOwner.into());
    }
    Ok(())
}

/// Revokes the invitations by which a person could come back in, or let others in, once they no longer may.
fn revoke_invitations(tx: &Connection, env: &Env, workspace: WorkspaceId, user: UserId) -> DbResult<()> {
    tx.execute(
        "UPDATE invitation SET revoked_at = ?3
         WHERE workspace_id = ?1 AND accepted_at IS NULL AND revoked_at IS NULL
           AND (created_by = ?2 OR email = (SELECT email FROM user WHERE id = ?2))",
        params![blob(workspace), blob(user), env.now().millis()],
    )?;
    Ok(())
}

/// Ends a membership and everything it gives access to.
pub fn remove(tx: &Connection, env: &Env, who: Who, user: UserId) -> DbResult<()> {
    let workspace = who.workspace;
    let own = user == who.user;
    if !own {
        require_owner(tx, who, "remove a member")?;
    }
    keep_an_owner(tx, workspace, user)?;
    let action = if own { "member.leave" } else { "member.remove" };
    audit::record(tx, env, who, audit::done(action, format!("user:{user}"), json!({})))?;
    let member = params![blob(workspace), blob(user)];
    tx.execute("DELETE FROM member WHERE workspace_id = ?1 AND user_id = ?2", member)?;
    tx.execute(
        "UPDATE api_key SET revoked_at = ?3 WHERE workspace_id = ?1 AND user_id = ?2 AND revoked_at IS NULL",
        params![blob(workspace), blob(user), env.now().millis()],
    )?;
    revoke_invitations(tx, env, workspace, user)?;
    run_log::park_runs_of(tx, env, workspace, user)
}

/// Gives a member another role.
pub fn change_role(tx: &Connection, env: &Env, who: Who, user: UserId, role: Role) -> DbResult<()> {
    require_owner(tx, who, "change a role")?;
    if role != Role::Owner {
        keep_an_owner(tx, who.workspace, user)?;
    }
    let changed = tx.execute(
        "UPDATE member SET role = ?3 WHERE workspace_id = ?1 AND user_id = ?2 AND role <> ?3",
        params![blob(who.workspace), blob(user), role.as_str()],
    )?;
    if changed > 0 {
        let entry = audit::done("member.role", format!("user:{user}"), json!({ "role": role }));
        audit::record(tx, env, who, entry)?;
        run_log::take_back_runs_of(tx, who.workspace, user)?;
        requests::void_of(tx, env, who.workspace, user)?;
        if role != Role::Owner {
            revoke_invitations(tx, env, who.workspace, user)?;
        }
    }
    Ok(())
}
