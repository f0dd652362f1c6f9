//! Invitations.

use async_trait::async_trait;
use duet_core::{
    Caller, StoreResult, cursor,
    domain::{Invitation, Invited, ListPage, Membership, NewInvitation, Newcomer, PageRequest, User},
    ids::{InvitationId, UserId},
    ports::InvitationStore,
};

use super::contract::{self, Contract};
use crate::rpc::Call;

/// The invitations in the database.
pub struct Invitations(pub(super) Contract);

const WHAT: &str = "the invitation";
const ACCEPT: &str = "accept the invitation";

#[async_trait]
impl InvitationStore for Invitations {
    async fn create(&self, caller: &Caller, new: NewInvitation) -> StoreResult<Invitation> {
        const ACTION: &str = "invite somebody";
        caller.require_person(ACTION)?;
        let call = Call::repeatable("invitation_create")
            .of("the workspace")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_id", new.id)
            .arg("p_email", new.checked_email()?)
            .arg("p_role", new.role.as_str())
            .arg("p_token_hash", new.token_hash)
            .arg("p_seconds", contract::long(new.lifetime.as_secs()));
        self.0.as_caller(caller, call).await
    }

    async fn list(&self, caller: &Caller, request: PageRequest) -> StoreResult<ListPage<Invitation>> {
        const ACTION: &str = "see the invitations";
        caller.require_person(ACTION)?;
        let (before, before_id) = contract::moment(&request)?;
        let call = Call::repeatable("invitation_list")
            .of("the workspace")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .arg("p_before", before)
            .arg("p_before_id", before_id)
            .arg("p_limit", contract::limit(&request));
        let invitations: Vec<Invitation> = self.0.as_caller(caller, call).await?;
        Ok(cursor::page(invitations, request.size(), |invitation| {
            cursor::after(invitation.created_at.millis(), invitation.id)
        }))
    }

    async fn revoke(&self, caller: &Caller, id: InvitationId) -> StoreResult<Invitation> {
        const ACTION: &str = "revoke an invitation";
        caller.require_person(ACTION)?;
        let call = Call::repeatable("invitation_revoke")
            .of(WHAT)
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_id", id);
        self.0.as_caller(caller, call).await
    }

    async fn look_up(&self, token_hash: [u8; 32]) -> StoreResult<Invited> {
        let call = Call::repeatable("invitation").of(WHAT).arg("p_token_hash", token_hash);
        self.0.as_driver(call).await
    }

    async fn accept(&self, user: UserId, token_hash: [u8; 32], display_name: Option<&str>) -> StoreResult<Membership> {
        let call = Call::new("invitation_accept")
            .of(WHAT)
            .to(ACCEPT)
            .arg("p_token_hash", token_hash)
            .arg("p_display_name", display_name.map(str::to_owned));
        self.0.as_user(user, call).await
    }

    async fn accept_as_newcomer(&self, token_hash: [u8; 32], newcomer: Newcomer) -> StoreResult<User> {
        let user: UserId = self.0.env.id();
        let call = Call::new("accept_as_newcomer")
            .of(WHAT)
            .to(ACCEPT)
            .arg("p_token_hash", token_hash)
            .id("p_user", user)
            .arg("p_display_name", newcomer.display_name)
            .arg("p_password_hash", newcomer.password_hash);
        self.0.as_driver(call).await
    }
}
