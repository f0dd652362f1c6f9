//! How people leave a workspace, and change their role in it.

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
    rows::blob,
    run_log, workspaces,
};

/// Refuses who is no owner by now: the caller's role was read before this transaction began.
pub fn require_owner(conn: &Connection, who: Who, action: &'static str) -> DbResult<()> {
    match workspaces::role(conn, who.workspace, who.user)? {
        Some(Role::Owner) => Ok(()),
        Some(Role::Member) => Err(Refusal::OwnersOnly.of(action).into()),
        None => Err(StoreError::NotFound("the workspace").into()),
    }
}

/// The only owner stays one: nobody could invite, or make another.
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

/// Takes back the invitations by which somebody could come in again, or let others in, after they may not any more.
fn revoke_invitations(tx: &Connection, env: &Env, workspace: WorkspaceId, user: UserId) -> DbResult<()> {
    tx.execute(
        "UPDATE invitation SET revoked_at = ?3
         WHERE workspace_id = ?1 AND accepted_at IS NULL AND revoked_at IS NULL
           AND (created_by = ?2 OR email = (SELECT email FROM user WHERE id = ?2))",
        params![blob(workspace), blob(user), env.now().millis()],
    )?;
    Ok(())
}

/// Ends a membership with all that it opens.
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
        if role != Role::Owner {
            revoke_invitations(tx, env, who.workspace, user)?;
        }
    }
    Ok(())
}
