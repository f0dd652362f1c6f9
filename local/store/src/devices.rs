//! Devices that are signed in by a code.

use async_trait::async_trait;
use duet_core::{
    StoreError, StoreResult, Timestamp,
    domain::{DeviceDecision, DeviceLogin, DeviceSession, DeviceState, NewDeviceLogin, Session, User},
    ids::{SessionId, UserId},
    ports::DeviceStore,
    refusal::Refusal,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    accounts,
    db::Db,
    error::DbResult,
    rows::{blob, opt_id, opt_time, time, word},
};

/// The devices in the file.
pub struct LocalDevices(pub(super) Db);

/// A device with what only the store knows of it.
struct Kept {
    shown: DeviceLogin,
    device_hash: [u8; 32],
    asked_at: Option<Timestamp>,
    decided_by: Option<UserId>,
    decided_in: Option<SessionId>,
}

fn kept(row: &Row<'_>, now: Timestamp) -> rusqlite::Result<Kept> {
    let (state, expires_at) = (word(row, "state")?, time(row, "expires_at")?);
    let over = matches!(state, DeviceState::Waiting | DeviceState::Approved) && expires_at <= now;
    Ok(Kept {
        shown: DeviceLogin {
            client: row.get("client")?,
            address: row.get("address")?,
            created_at: time(row, "created_at")?,
            expires_at,
            state: if over { DeviceState::Expired } else { state },
        },
        device_hash: row.get("device_hash")?,
        asked_at: opt_time(row, "asked_at")?,
        decided_by: opt_id(row, "decided_by")?,
        decided_in: opt_id(row, "decided_in")?,
    })
}

/// The device that shows this code.
fn shown(conn: &Connection, user_hash: [u8; 32], now: Timestamp) -> DbResult<Kept> {
    let mut statement = conn.prepare_cached("SELECT * FROM device_login WHERE user_hash = ?1 AND expires_at > ?2")?;
    let found = statement.query_row(params![user_hash, gone(now)], |row| kept(row, now));
    found.optional()?.ok_or_else(|| StoreError::NotFound("the code").into())
}

/// What expired by then is told to nobody any more.
fn gone(now: Timestamp) -> i64 {
    now.before(DeviceLogin::KEPT).millis()
}

/// Removes what is told to nobody any more.
pub fn sweep(tx: &Connection, now: Timestamp) -> DbResult<usize> {
    Ok(tx.execute("DELETE FROM device_login WHERE expires_at <= ?1", [gone(now)])?)
}

#[async_trait]
impl DeviceStore for LocalDevices {
    async fn create(&self, new: NewDeviceLogin) -> StoreResult<DeviceLogin> {
        new.check()?;
        let now = self.0.env().now();
        self.0
            .write(move |tx| {
                let waiting: i64 = tx.query_row(
                    "SELECT count(*) FROM device_login WHERE state IN ('waiting', 'approved') AND expires_at > ?1",
                    [now.millis()],
                    |row| row.get(0),
                )?;
                if usize::try_from(waiting).is_ok_and(|waiting| waiting >= DeviceLogin::MOST_WAITING) {
                    return Err(Refusal::DeviceLoginsFull.into());
                }
                let made = tx.execute(
                    "INSERT INTO device_login (device_hash, user_hash, client, address, state, created_at, expires_at)
                     VALUES (?1, ?2, ?3, ?4, 'waiting', ?5, ?6) ON CONFLICT DO NOTHING",
                    params![
                        new.device_hash,
                        new.user_hash,
                        new.client,
                        new.address,
                        now.millis(),
                        now.plus(DeviceLogin::LIFETIME).millis()
                    ],
                )?;
                match made {
                    0 => Err(Refusal::Clash.into()),
                    _ => Ok(shown(tx, new.user_hash, now)?.shown),
                }
            })
            .await
    }

    async fn look_up(&self, user_hash: [u8; 32]) -> StoreResult<DeviceLogin> {
        let now = self.0.env().now();
        self.0.read(move |conn| Ok(shown(conn, user_hash, now)?.shown)).await
    }

    async fn decide(&self, decision: DeviceDecision) -> StoreResult<DeviceLogin> {
        const ACTION: &str = "answer a device";
        let DeviceDecision {
            user,
            session,
            user_hash,
            approve,
        } = decision;
        let now = self.0.env().now();
        self.0
            .write(move |tx| {
                let (since, by_device) = accounts::live(tx, user, session, now)?.ok_or_else(|| Refusal::NotLive.of(ACTION))?;
                if approve && (by_device || now.since(since) > Session::RECENT) {
                    return Err(Refusal::SignInAgain.of(ACTION).into());
                }
                let here = shown(tx, user_hash, now)?;
                let state = if approve { DeviceState::Approved } else { DeviceState::Denied };
                match here.shown.state {
                    DeviceState::Waiting => {}
                    decided if decided == state && here.decided_by == Some(user) => return Ok(here.shown),
                    state => return Err(Refusal::DeviceDecided { state }.into()),
                }
                tx.execute(
                    "UPDATE device_login SET state = ?2, decided_by = ?3, decided_in = ?4 WHERE device_hash = ?1",
                    params![here.device_hash, state.as_str(), blob(user), blob(session)],
                )?;
                Ok(DeviceLogin { state, ..here.shown })
            })
            .await
    }

    async fn redeem(&self, device_hash: [u8; 32], session: DeviceSession) -> StoreResult<(Session, User)> {
        let now = self.0.env().now();
        let answer: Result<(Session, User), StoreError> = self
            .0
            .write(move |tx| {
                let mut statement = tx.prepare_cached("SELECT * FROM device_login WHERE device_hash = ?1")?;
                let found = statement.query_row([device_hash], |row| kept(row, now)).optional()?;
                let Some(here) = found else {
                    return Ok(Err(Refusal::ExpiredToken.into()));
                };
                match here.shown.state {
                    DeviceState::Expired | DeviceState::Used => return Ok(Err(Refusal::ExpiredToken.into())),
                    DeviceState::Denied => return Ok(Err(Refusal::AccessDenied.of("sign in this device"))),
                    DeviceState::Waiting | DeviceState::Approved => {}
                }
                // Kept whatever the answer is, so these refusals are no errors of the transaction.
                tx.execute(
                    "UPDATE device_login SET asked_at = ?2 WHERE device_hash = ?1",
                    params![device_hash, now.millis()],
                )?;
                if here.asked_at.is_some_and(|asked| now.since(asked) < DeviceLogin::INTERVAL) {
                    return Ok(Err(Refusal::SlowDown.into()));
                }
                let (Some(user), Some(by)) = (here.decided_by, here.decided_in) else {
                    return Ok(Err(Refusal::AuthorizationPending.into()));
                };
                if accounts::live(tx, user, by, now)?.is_none() {
                    return Ok(Err(Refusal::ExpiredToken.into()));
                }
                let made = Session {
                    id: session.id,
                    user_id: user,
                    created_at: now,
                    expires_at: now.plus(session.lifetime),
                    by_device: true,
                    by_machine: false,
                };
                accounts::insert(tx, &made, session.secret_hash)?;
                tx.execute("UPDATE device_login SET state = 'used' WHERE device_hash = ?1", [device_hash])?;
                Ok(Ok((made, accounts::by_id(tx, user)?)))
            })
            .await?;
        answer
    }
}
