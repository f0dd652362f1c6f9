//! What the database knows about people who sign in at Supabase Auth.

use std::sync::Arc;

use duet_core::{
    Env, StoreResult, Timestamp,
    domain::{User, Workspace, check_name},
    ids::{UserId, WorkspaceId},
    refusal::Named,
    starter::Starter,
};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::Verified;
use crate::rpc::{self, Call, Identity, Rpc};

/// A person whose sign-in still exists.
#[derive(Clone, Debug, Deserialize)]
pub struct Known {
    /// Their confirmed address.
    pub email: String,
    /// When they signed in.
    pub since: Timestamp,
    /// Their account; people without one have not been admitted yet.
    pub account: Option<User>,
}

/// What the first person provides to become the owner.
#[derive(Clone, Debug)]
pub struct Claim {
    /// SHA-256 of the setup token that they presented.
    pub token_hash: [u8; 32],
    /// Their display name.
    pub display_name: String,
    /// Name of the first workspace.
    pub workspace_name: String,
    /// Name of the companion.
    pub companion_name: String,
}

/// Sign-ins at Supabase Auth, as the database has them.
pub struct SignIns {
    people: Arc<dyn Rpc>,
    server: Arc<dyn Rpc>,
    env: Env,
}

impl SignIns {
    /// `people` carries the calls of persons, `server` those of the server itself.
    pub fn new(people: Arc<dyn Rpc>, server: Arc<dyn Rpc>, env: Env) -> Self {
        Self { people, server, env }
    }

    /// The person behind a token, unless they signed out, were banned, or never confirmed their address.
    pub async fn known(&self, verified: &Verified) -> StoreResult<Option<Known>> {
        let call = Call::repeatable("signed_in")
            .id("p_user", verified.user)
            .arg("p_session", verified.session);
        rpc::ask(&*self.server, &Identity::Driver, call).await
    }

    /// Makes this person the owner of an installation that has none, with a workspace and its starter content. `Denied` for a wrong
    /// token or an unconfirmed address, `Conflict` once there is an owner; of several concurrent callers one wins.
    pub async fn claim(&self, user: UserId, access_token: SecretString, claim: Claim) -> StoreResult<(User, Workspace)> {
        #[derive(Deserialize)]
        struct Made {
            user: User,
            workspace: Workspace,
        }
        check_name(&claim.display_name, Named::Person)?;
        check_name(&claim.workspace_name, Named::Workspace)?;
        check_name(&claim.companion_name, Named::Companion)?;
        let workspace: WorkspaceId = self.env.id();
        let call = Call::repeatable("claim_installation")
            .to("set up this Duet")
            .arg("p_token_hash", claim.token_hash)
            .arg("p_display_name", claim.display_name)
            .id("p_workspace", workspace)
            .arg("p_workspace_name", claim.workspace_name)
            .arg("p_starter", json!(Starter::new(&self.env, &claim.companion_name)));
        let identity = Identity::Person {
            user,
            access_token: Some(access_token),
        };
        let made: Made = rpc::ask(&*self.people, &identity, call).await?;
        Ok((made.user, made.workspace))
    }
}
