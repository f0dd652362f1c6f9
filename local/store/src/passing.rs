//! Sign-ins on a file that cannot be written: they last as long as the process.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use duet_core::{
    StoreResult,
    domain::{Credentials, OwnerSetup, Session, User, Workspace},
    ids::{SessionId, UserId},
    ports::AccountStore,
};

use super::accounts::{self, LocalAccounts};

/// The accounts in the file, with sign-ins kept in memory.
pub struct PassingSignIns {
    accounts: LocalAccounts,
    sessions: Mutex<Vec<(Session, [u8; 32])>>,
}

impl PassingSignIns {
    /// With no sign-in yet; those in the file count as well.
    pub fn new(accounts: LocalAccounts) -> Self {
        Self {
            accounts,
            sessions: Mutex::default(),
        }
    }

    /// Ends the matching sign-ins, and returns how many.
    fn end(&self, ends: impl Fn(&Session) -> bool) -> u64 {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let before = sessions.len();
        sessions.retain(|(session, _)| !ends(session));
        (before - sessions.len()) as u64
    }
}

#[async_trait]
impl AccountStore for PassingSignIns {
    async fn needs_owner(&self) -> StoreResult<bool> {
        self.accounts.needs_owner().await
    }

    async fn put_setup_token(&self, token_hash: [u8; 32]) -> StoreResult<()> {
        self.accounts.put_setup_token(token_hash).await
    }

    async fn check_setup_token(&self, token_hash: [u8; 32]) -> StoreResult<()> {
        self.accounts.check_setup_token(token_hash).await
    }

    async fn create_owner(&self, setup: OwnerSetup) -> StoreResult<(User, Workspace)> {
        self.accounts.create_owner(setup).await
    }

    async fn credentials(&self, email: &str) -> StoreResult<Option<Credentials>> {
        self.accounts.credentials(email).await
    }

    async fn create_session(&self, session: Session, secret_hash: [u8; 32]) -> StoreResult<()> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.push((session, secret_hash));
        Ok(())
    }

    async fn session(&self, secret_hash: [u8; 32]) -> StoreResult<Option<(Session, User)>> {
        let now = self.accounts.0.env().now();
        let found = {
            let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            let mut open = sessions.iter().filter(|(session, _)| session.expires_at > now);
            open.find(|(_, hash)| *hash == secret_hash)
                .map(|(session, _)| session.clone())
        };
        let Some(session) = found else {
            return self.accounts.session(secret_hash).await;
        };
        let id = session.user_id;
        let user = self.accounts.0.read(move |conn| accounts::by_id(conn, id)).await?;
        Ok(Some((session, user)))
    }

    async fn end_session(&self, user: UserId, session: SessionId) -> StoreResult<()> {
        match self.end(|one| one.id == session && one.user_id == user) {
            0 => self.accounts.end_session(user, session).await,
            _ => Ok(()),
        }
    }

    async fn end_all_sessions(&self, user: UserId) -> StoreResult<u64> {
        self.accounts.end_all_sessions(user).await
    }
}
