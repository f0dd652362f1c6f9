use async_trait::async_trait;

use crate::{
    caller::Caller,
    domain::{Invitation, Invited, ListPage, Membership, NewInvitation, Newcomer, PageRequest, User},
    error::StoreResult,
    ids::{InvitationId, UserId},
};

/// Invitations to workspaces. Methods without a [`Caller`] are for the holder of a token: `NotFound` when it belongs to no
/// invitation, `Conflict` with the reason when the invitation was used or revoked or has expired.
#[async_trait]
pub trait InvitationStore: Send + Sync {
    /// Invites an address (owner only). This revokes an open invitation for the same address: links are shown once, and an owner
    /// who lost one invites again. `Conflict` when the address belongs to a member, or the workspace has
    /// [`NewInvitation::MOST_OPEN`] open ones. Repeating it with the same id and token changes nothing.
    async fn create(&self, caller: &Caller, invitation: NewInvitation) -> StoreResult<Invitation>;

    /// The workspace's invitations including closed ones, newest first (owner only).
    async fn list(&self, caller: &Caller, page: PageRequest) -> StoreResult<ListPage<Invitation>>;

    /// Revokes an invitation (owner only); repeating it changes nothing. `Conflict` when it was accepted.
    async fn revoke(&self, caller: &Caller, id: InvitationId) -> StoreResult<Invitation>;

    /// What an open invitation is about.
    async fn look_up(&self, token_hash: [u8; 32]) -> StoreResult<Invited>;

    /// Admits a signed-in person; of many at once only one gets in. `Denied` when the invitation is for an address other than their
    /// verified one, `Conflict` when they are already a member. If Supabase handles sign-in and this is the person's first visit,
    /// their account is created with `display_name`; otherwise `display_name` is ignored.
    async fn accept(&self, user: UserId, token_hash: [u8; 32], display_name: Option<&str>) -> StoreResult<Membership>;

    /// Creates an account for the invited address and admits it: all or nothing (built-in issuer). `Conflict` when the address has
    /// an account: its person then signs in and accepts.
    async fn accept_as_newcomer(&self, token_hash: [u8; 32], newcomer: Newcomer) -> StoreResult<User>;
}
