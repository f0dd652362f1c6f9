//! People and sign-ins.

use async_trait::async_trait;
use duet_core::{
    Env, StoreError, StoreResult, Timestamp,
    domain::{Credentials, OwnerSetup, Session, User, Workspace, check_name, email_address},
    ids::{SessionId, UserId, WorkspaceId},
    ports::AccountStore,
    refusal::{Named, Refusal},
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;

use super::{
    audit::{self, Who},
    db::Db,
    error::DbResult,
    rows::{blob, id, time},
    workspaces,
};

/// The accounts in the file.
pub struct LocalAccounts(pub(super) Db);

fn owned(conn: &Connection) -> DbResult<bool> {
    Ok(conn.query_row("SELECT owner_since IS NOT NULL FROM installation", [], |row| row.get(0))?)
}

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: id(row, "id")?,
        email: row.get("email")?,
        display_name: row.get("display_name")?,
        created_at: time(row, "created_at")?,
    })
}

/// Makes an account with its password.
pub fn make(tx: &Connection, env: &Env, email: &str, display_name: &str, password_hash: &str) -> DbResult<User> {
    let made = User {
        id: env.id(),
        email: email.to_owned(),
        display_name: display_name.trim().to_owned(),
        created_at: env.now(),
    };
    tx.execute(
        "INSERT INTO user (id, email, display_name, created_at) VALUES (?1, ?2, ?3, ?4)",
        params![blob(made.id), made.email, made.display_name, made.created_at.millis()],
    )?;
    tx.execute(
        "INSERT INTO credential (user_id, password_hash) VALUES (?1, ?2)",
        params![blob(made.id), password_hash],
    )?;
    Ok(made)
}

/// The account with this address, given in lower case.
pub fn by_email(conn: &Connection, email: &str) -> DbResult<Option<User>> {
    let mut statement = conn.prepare_cached("SELECT * FROM user WHERE email = ?1")?;
    Ok(statement.query_row([email], user).optional()?)
}

/// A person's account.
pub fn by_id(conn: &Connection, id: UserId) -> DbResult<User> {
    let mut statement = conn.prepare_cached("SELECT * FROM user WHERE id = ?1")?;
    let found = statement.query_row([blob(id)], user).optional()?;
    found.ok_or_else(|| StoreError::NotFound("the account").into())
}

/// Since when this sign-in of the person's own lasts, and whether a device has it; `None` once it has ended.
pub fn live(conn: &Connection, user: UserId, session: SessionId, now: Timestamp) -> DbResult<Option<(Timestamp, bool)>> {
    let mut statement = conn.prepare_cached(
        "SELECT created_at, by_device FROM session WHERE id = ?1 AND user_id = ?2 AND expires_at > ?3 AND by_machine = 0",
    )?;
    let found = statement.query_row(params![blob(session), blob(user), now.millis()], |row| {
        Ok((time(row, "created_at")?, row.get("by_device")?))
    });
    Ok(found.optional()?)
}

/// Ends the sign-ins that earlier processes kept for commands: one that was killed could not.
pub fn end_those_of_machines(conn: &Connection) -> DbResult<()> {
    conn.execute("DELETE FROM session WHERE by_machine = 1", [])?;
    Ok(())
}

/// Stores a sign-in.
pub fn insert(tx: &Connection, session: &Session, secret_hash: [u8; 32]) -> DbResult<()> {
    tx.prepare_cached(
        "INSERT INTO session (id, user_id, secret_hash, created_at, expires_at, by_device, by_machine)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        blob(session.id),
        blob(session.user_id),
        secret_hash,
        session.created_at.millis(),
        session.expires_at.millis(),
        session.by_device,
        session.by_machine
    ])?;
    Ok(())
}

/// Refuses a token that does not make an owner.
fn expect_token(conn: &Connection, token_hash: [u8; 32]) -> DbResult<()> {
    if owned(conn)? {
        return Err(Refusal::SetUp.into());
    }
    let expected: Option<[u8; 32]> = conn.query_row("SELECT setup_token_hash FROM installation", [], |row| row.get(0))?;
    if expected != Some(token_hash) {
        return Err(Refusal::WrongSetupToken.of("set up this Duet").into());
    }
    Ok(())
}

#[async_trait]
impl AccountStore for LocalAccounts {
    async fn needs_owner(&self) -> StoreResult<bool> {
        self.0.read(|conn| Ok(!owned(conn)?)).await
    }

    async fn put_setup_token(&self, token_hash: [u8; 32]) -> StoreResult<()> {
        self.0
            .write(move |tx| {
                if owned(tx)? {
                    return Err(Refusal::SetUp.into());
                }
                tx.execute("UPDATE installation SET setup_token_hash = ?1", [token_hash])?;
                Ok(())
            })
            .await
    }

    async fn check_setup_token(&self, token_hash: [u8; 32]) -> StoreResult<()> {
        self.0.read(move |conn| expect_token(conn, token_hash)).await
    }

    async fn create_owner(&self, setup: OwnerSetup) -> StoreResult<(User, Workspace)> {
        let email = email_address(&setup.email)?;
        check_name(&setup.workspace_name, Named::Workspace)?;
        check_name(&setup.companion_name, Named::Companion)?;
        let env = self.0.env().clone();
        self.0
            .write(move |tx| {
                expect_token(tx, setup.token_hash)?;
                let owner = make(tx, &env, &email, &setup.display_name, &setup.password_hash)?;
                let id: WorkspaceId = env.id();
                let workspace = workspaces::make(tx, &env, owner.id, id, &setup.workspace_name, &setup.companion_name)?;
                tx.execute(
                    "UPDATE installation SET owner_since = ?1, setup_token_hash = NULL",
                    [owner.created_at.millis()],
                )?;
                let entry = audit::done("setup.owner", format!("user:{}", owner.id), json!({}));
                audit::record(tx, &env, Who::person(id, owner.id), entry)?;
                Ok((owner, workspace))
            })
            .await
    }

    async fn credentials(&self, email: &str) -> StoreResult<Option<Credentials>> {
        let email = email.trim().to_lowercase();
        self.0
            .read(move |conn| {
                let mut statement = conn.prepare_cached(
                    "SELECT u.*, c.password_hash FROM user u JOIN credential c ON c.user_id = u.id WHERE u.email = ?1",
                )?;
                let found = statement.query_row([email], |row| {
                    Ok(Credentials {
                        user: user(row)?,
                        password_hash: row.get("password_hash")?,
                    })
                });
                Ok(found.optional()?)
            })
            .await
    }

    async fn create_session(&self, session: Session, secret_hash: [u8; 32]) -> StoreResult<()> {
        self.0
            .write(move |tx| {
                // Repeating the same sign-in changes nothing; its id with another secret or person is a conflict.
                let known: Option<(UserId, [u8; 32])> = tx
                    .query_row(
                        "SELECT user_id, secret_hash FROM session WHERE id = ?1",
                        [blob(session.id)],
                        |row| Ok((id(row, "user_id")?, row.get("secret_hash")?)),
                    )
                    .optional()?;
                if known == Some((session.user_id, secret_hash)) {
                    return Ok(());
                }
                insert(tx, &session, secret_hash)
            })
            .await
    }

    async fn session(&self, secret_hash: [u8; 32]) -> StoreResult<Option<(Session, User)>> {
        let now = self.0.env().now();
        self.0
            .read(move |conn| {
                let mut statement = conn.prepare_cached(
                    "SELECT u.*, s.id AS session_id, s.created_at AS since, s.expires_at, s.by_device, s.by_machine
                     FROM session s JOIN user u ON u.id = s.user_id WHERE s.secret_hash = ?1 AND s.expires_at > ?2",
                )?;
                let found = statement.query_row(params![secret_hash, now.millis()], |row| {
                    let user = user(row)?;
                    let session = Session {
                        id: id(row, "session_id")?,
                        user_id: user.id,
                        created_at: time(row, "since")?,
                        expires_at: time(row, "expires_at")?,
                        by_device: row.get("by_device")?,
                        by_machine: row.get("by_machine")?,
                    };
                    Ok((session, user))
                });
                Ok(found.optional()?)
            })
            .await
    }

    async fn end_session(&self, user: UserId, session: SessionId) -> StoreResult<()> {
        self.0
            .write(move |tx| {
                tx.execute(
                    "DELETE FROM session WHERE id = ?1 AND user_id = ?2",
                    params![blob(session), blob(user)],
                )?;
                Ok(())
            })
            .await
    }

    async fn end_all_sessions(&self, user: UserId) -> StoreResult<u64> {
        let now = self.0.env().now();
        self.0
            .write(move |tx| {
                let open = tx.query_row(
                    "SELECT count(*) FROM session WHERE user_id = ?1 AND expires_at > ?2",
                    params![blob(user), now.millis()],
                    |row| row.get::<_, i64>(0),
                )?;
                tx.execute("DELETE FROM session WHERE user_id = ?1", [blob(user)])?;
                Ok(open.unsigned_abs())
            })
            .await
    }
}
