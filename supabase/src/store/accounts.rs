//! The built-in issuer's people and sign-ins.

use async_trait::async_trait;
use duet_core::{
    StoreResult, Timestamp,
    domain::{Credentials, OwnerSetup, Session, User, Workspace, check_name, email_address},
    ids::{SessionId, UserId, WorkspaceId},
    ports::AccountStore,
    refusal::Named,
    starter::Starter,
};
use serde::Deserialize;
use serde_json::json;

use super::contract::Contract;
use crate::rpc::Call;

/// The accounts in the database.
pub struct Accounts(pub(super) Contract);

#[derive(Deserialize)]
struct Made {
    user: User,
    workspace: Workspace,
}

#[derive(Deserialize)]
struct Known {
    user: User,
    password_hash: String,
}

/// A sign-in and its person.
#[derive(Deserialize)]
pub struct SignedIn {
    user: User,
    id: SessionId,
    created_at: Timestamp,
    expires_at: Timestamp,
    by_device: bool,
}

impl From<SignedIn> for (Session, User) {
    fn from(found: SignedIn) -> Self {
        let session = Session {
            id: found.id,
            user_id: found.user.id,
            created_at: found.created_at,
            expires_at: found.expires_at,
            by_device: found.by_device,
            // Only a server with a file of its own keeps one.
            by_machine: false,
        };
        (session, found.user)
    }
}

#[async_trait]
impl AccountStore for Accounts {
    async fn needs_owner(&self) -> StoreResult<bool> {
        self.0.as_driver(Call::repeatable("needs_owner")).await
    }

    async fn put_setup_token(&self, token_hash: [u8; 32]) -> StoreResult<()> {
        self.0
            .as_driver(Call::repeatable("put_setup_token").arg("p_token_hash", token_hash))
            .await
    }

    async fn check_setup_token(&self, token_hash: [u8; 32]) -> StoreResult<()> {
        let call = Call::repeatable("check_setup_token")
            .to("set up this Duet")
            .arg("p_token_hash", token_hash);
        self.0.as_driver(call).await
    }

    async fn create_owner(&self, setup: OwnerSetup) -> StoreResult<(User, Workspace)> {
        let email = email_address(&setup.email)?;
        check_name(&setup.workspace_name, Named::Workspace)?;
        check_name(&setup.companion_name, Named::Companion)?;
        let env = &self.0.env;
        let (user, workspace): (UserId, WorkspaceId) = (env.id(), env.id());
        let call = Call::new("create_owner")
            .to("set up this Duet")
            .arg("p_token_hash", setup.token_hash)
            .id("p_user", user)
            .arg("p_email", email)
            .arg("p_display_name", setup.display_name)
            .arg("p_password_hash", setup.password_hash)
            .id("p_workspace", workspace)
            .arg("p_workspace_name", setup.workspace_name)
            .arg("p_starter", json!(Starter::new(env, &setup.companion_name)));
        let made: Made = self.0.as_driver(call).await?;
        Ok((made.user, made.workspace))
    }

    async fn credentials(&self, email: &str) -> StoreResult<Option<Credentials>> {
        let call = Call::repeatable("credentials").arg("p_email", email.trim().to_lowercase());
        let found: Option<Known> = self.0.as_driver(call).await?;
        Ok(found.map(|found| Credentials {
            user: found.user,
            password_hash: found.password_hash,
        }))
    }

    async fn create_session(&self, session: Session, secret_hash: [u8; 32]) -> StoreResult<()> {
        let call = Call::repeatable("create_session")
            .id("p_id", session.id)
            .id("p_user", session.user_id)
            .arg("p_secret_hash", secret_hash)
            .arg("p_created_at", session.created_at)
            .arg("p_expires_at", session.expires_at);
        self.0.as_driver(call).await
    }

    async fn session(&self, secret_hash: [u8; 32]) -> StoreResult<Option<(Session, User)>> {
        let call = Call::repeatable("session").arg("p_secret_hash", secret_hash);
        let found: Option<SignedIn> = self.0.as_driver(call).await?;
        Ok(found.map(Into::into))
    }

    async fn end_session(&self, user: UserId, session: SessionId) -> StoreResult<()> {
        let call = Call::repeatable("end_session").id("p_user", user).id("p_id", session);
        self.0.as_driver(call).await
    }

    async fn end_all_sessions(&self, user: UserId) -> StoreResult<u64> {
        self.0.as_driver(Call::new("end_all_sessions").id("p_user", user)).await
    }
}
