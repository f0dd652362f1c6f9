//! Invitations.

use async_trait::async_trait;
use duet_core::{
    Caller, StoreError, StoreResult, Timestamp,
    domain::{
        Invitation, InvitationStatus, Invited, ListPage, Membership, NewInvitation, Newcomer, PageRequest, User, check_name,
    },
    ids::{InvitationId, UserId},
    ports::InvitationStore,
    refusal::{Named, Refusal},
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;

use super::{
    accounts,
    audit::{self, Who},
    cursor,
    db::Db,
    error::DbResult,
    members,
    rows::{blob, id, opt_id, opt_time, time, word},
    workspaces,
};

/// The invitations in the file.
pub struct LocalInvitations(pub(super) Db);

fn invitation(row: &Row<'_>, now: Timestamp) -> rusqlite::Result<Invitation> {
    let (accepted_at, revoked_at) = (opt_time(row, "accepted_at")?, opt_time(row, "revoked_at")?);
    let expires_at = time(row, "expires_at")?;
    Ok(Invitation {
        id: id(row, "id")?,
        workspace_id: id(row, "workspace_id")?,
        email: row.get("email")?,
        role: word(row, "role")?,
        status: InvitationStatus::of(accepted_at, revoked_at, expires_at, now),
        created_by: id(row, "created_by")?,
        created_at: time(row, "created_at")?,
        expires_at,
        accepted_at,
        accepted_by: opt_id(row, "accepted_by")?,
        revoked_at,
    })
}

fn find(conn: &Connection, who: Who, id: InvitationId, now: Timestamp) -> DbResult<Option<Invitation>> {
    let mut statement = conn.prepare_cached("SELECT * FROM invitation WHERE workspace_id = ?1 AND id = ?2")?;
    let found = statement.query_row(params![blob(who.workspace), blob(id)], |row| invitation(row, now));
    Ok(found.optional()?)
}

fn load(conn: &Connection, who: Who, id: InvitationId, now: Timestamp) -> DbResult<Invitation> {
    find(conn, who, id, now)?.ok_or_else(|| StoreError::NotFound("the invitation").into())
}

/// The open invitation of a token.
fn open(conn: &Connection, token_hash: [u8; 32], now: Timestamp) -> DbResult<Invitation> {
    let found = conn
        .prepare_cached("SELECT * FROM invitation WHERE token_hash = ?1")?
        .query_row([token_hash], |row| invitation(row, now))
        .optional()?
        .ok_or(StoreError::NotFound("the invitation"))?;
    match found.status.refusal() {
        None => Ok(found),
        Some(refusal) => Err(refusal.into()),
    }
}

/// Admits a guest by an open invitation.
fn admit(tx: &Connection, env: &duet_core::Env, invitation: &Invitation, guest: UserId) -> DbResult<Membership> {
    let (workspace, now) = (invitation.workspace_id, env.now());
    if workspaces::role(tx, workspace, guest)?.is_some() {
        return Err(Refusal::YouAreMember.into());
    }
    tx.execute(
        "INSERT INTO member (workspace_id, user_id, role, joined_at) VALUES (?1, ?2, ?3, ?4)",
        params![blob(workspace), blob(guest), invitation.role.as_str(), now.millis()],
    )?;
    tx.execute(
        "UPDATE invitation SET accepted_at = ?3, accepted_by = ?4 WHERE workspace_id = ?1 AND id = ?2",
        params![blob(workspace), blob(invitation.id), now.millis(), blob(guest)],
    )?;
    let entry = audit::done(
        "invitation.accept",
        format!("invitation:{}", invitation.id),
        json!({ "role": invitation.role }),
    );
    audit::record(tx, env, Who::person(workspace, guest), entry)?;
    Ok(Membership {
        workspace: workspaces::load(tx, workspace)?,
        role: invitation.role,
    })
}

#[async_trait]
impl InvitationStore for LocalInvitations {
    async fn create(&self, caller: &Caller, new: NewInvitation) -> StoreResult<Invitation> {
        const ACTION: &str = "invite somebody";
        caller.require_owner(ACTION)?;
        let email = new.checked_email()?;
        let (who, env) = (Who::from(caller), self.0.env().clone());
        self.0
            .write(move |tx| {
                members::require_owner(tx, who, ACTION)?;
                let now = env.now();
                let mut same = tx.prepare_cached(
                    "SELECT 1 FROM invitation WHERE workspace_id = ?1 AND id = ?2 AND token_hash = ?3 AND created_by = ?4",
                )?;
                if same.exists(params![blob(who.workspace), blob(new.id), new.token_hash, blob(who.user)])? {
                    return load(tx, who, new.id, now);
                }
                let member = tx
                    .prepare_cached(
                        "SELECT 1 FROM member m JOIN user u ON u.id = m.user_id WHERE m.workspace_id = ?1 AND u.email = ?2",
                    )?
                    .exists(params![blob(who.workspace), email])?;
                if member {
                    return Err(Refusal::AlreadyMember.into());
                }
                tx.execute(
                    "UPDATE invitation SET revoked_at = ?3
                     WHERE workspace_id = ?1 AND email = ?2 AND accepted_at IS NULL AND revoked_at IS NULL",
                    params![blob(who.workspace), email, now.millis()],
                )?;
                let open: i64 = tx.query_row(
                    "SELECT count(*) FROM invitation
                     WHERE workspace_id = ?1 AND accepted_at IS NULL AND revoked_at IS NULL AND expires_at > ?2",
                    params![blob(who.workspace), now.millis()],
                    |row| row.get(0),
                )?;
                if usize::try_from(open).is_ok_and(|open| open >= NewInvitation::MOST_OPEN) {
                    return Err(Refusal::InvitationsFull.into());
                }
                tx.execute(
                    "INSERT INTO invitation (workspace_id, id, email, role, token_hash, created_by, created_at, expires_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    params![
                        blob(who.workspace),
                        blob(new.id),
                        email,
                        new.role.as_str(),
                        new.token_hash,
                        blob(who.user),
                        now.millis(),
                        now.plus(new.lifetime).millis()
                    ],
                )?;
                let entry = audit::done(
                    "invitation.create",
                    format!("invitation:{}", new.id),
                    json!({ "role": new.role }),
                );
                audit::record(tx, &env, who, entry)?;
                load(tx, who, new.id, now)
            })
            .await
    }

    async fn list(&self, caller: &Caller, request: PageRequest) -> StoreResult<ListPage<Invitation>> {
        caller.require_owner("see the invitations")?;
        let (workspace, size, now) = (caller.workspace, request.size(), self.0.env().now());
        let (millis, before) = cursor::moment(request.cursor.as_deref())?.unwrap_or((i64::MAX, [0xff; 16]));
        self.0
            .read(move |conn| {
                let mut statement = conn.prepare_cached(
                    "SELECT * FROM invitation WHERE workspace_id = ?1 AND (created_at, id) < (?2, ?3)
                     ORDER BY created_at DESC, id DESC LIMIT ?4",
                )?;
                let rows = statement.query_map(params![blob(workspace), millis, before, cursor::limit(size)], |row| {
                    invitation(row, now)
                })?;
                Ok(cursor::page(rows.collect::<Result<_, _>>()?, size, |invitation| {
                    cursor::after(invitation.created_at.millis(), invitation.id)
                }))
            })
            .await
    }

    async fn revoke(&self, caller: &Caller, id: InvitationId) -> StoreResult<Invitation> {
        const ACTION: &str = "revoke an invitation";
        caller.require_owner(ACTION)?;
        let (who, env) = (Who::from(caller), self.0.env().clone());
        self.0
            .write(move |tx| {
                members::require_owner(tx, who, ACTION)?;
                let now = env.now();
                let here = load(tx, who, id, now)?;
                if here.accepted_at.is_some() {
                    return Err(Refusal::InvitationAccepted.into());
                }
                if here.revoked_at.is_none() {
                    tx.execute(
                        "UPDATE invitation SET revoked_at = ?3 WHERE workspace_id = ?1 AND id = ?2",
                        params![blob(who.workspace), blob(id), now.millis()],
                    )?;
                    audit::record(
                        tx,
                        &env,
                        who,
                        audit::done("invitation.revoke", format!("invitation:{id}"), json!({})),
                    )?;
                }
                load(tx, who, id, now)
            })
            .await
    }

    async fn look_up(&self, token_hash: [u8; 32]) -> StoreResult<Invited> {
        let now = self.0.env().now();
        self.0
            .read(move |conn| {
                let here = open(conn, token_hash, now)?;
                Ok(Invited {
                    workspace_name: workspaces::load(conn, here.workspace_id)?.name,
                    has_account: accounts::by_email(conn, &here.email)?.is_some(),
                    invited_by: accounts::by_id(conn, here.created_by)?.display_name,
                    email: here.email,
                    role: here.role,
                    expires_at: here.expires_at,
                })
            })
            .await
    }

    async fn accept(&self, user: UserId, token_hash: [u8; 32], _display_name: Option<&str>) -> StoreResult<Membership> {
        let env = self.0.env().clone();
        self.0
            .write(move |tx| {
                let here = open(tx, token_hash, env.now())?;
                if accounts::by_id(tx, user)?.email != here.email {
                    return Err(Refusal::EmailDiffers.of("accept the invitation").into());
                }
                admit(tx, &env, &here, user)
            })
            .await
    }

    async fn accept_as_newcomer(&self, token_hash: [u8; 32], newcomer: Newcomer) -> StoreResult<User> {
        check_name(&newcomer.display_name, Named::Person)?;
        let env = self.0.env().clone();
        self.0
            .write(move |tx| {
                let here = open(tx, token_hash, env.now())?;
                if accounts::by_email(tx, &here.email)?.is_some() {
                    return Err(Refusal::AccountExists.into());
                }
                let user = accounts::make(tx, &env, &here.email, &newcomer.display_name, &newcomer.password_hash)?;
                admit(tx, &env, &here, user.id)?;
                Ok(user)
            })
            .await
    }
}
