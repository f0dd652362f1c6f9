use async_trait::async_trait;

use crate::{
    caller::Caller,
    domain::{Invitation, Invited, ListPage, Membership, NewInvitation, Newcomer, PageRequest, User},
    error::StoreResult,
    ids::{InvitationId, UserId},
};

/// Invitations to workspaces. The methods without a [`Caller`] are for whoever holds a token: `NotFound` when it is of
/// no invitation, `Conflict` with the reason when that was used or taken back or has expired.
#[async_trait]
pub trait InvitationStore: Send + Sync {
    /// Invites an address (owner only). An open invitation for the same address is taken back by it: links are shown once,
    /// and whoever lost one invites again. `Conflict` when the address is a member's, or the workspace has
    /// [`NewInvitation::MOST_OPEN`] open ones. The same id with the same token again changes nothing.
    async fn create(&self, caller: &Caller, invitation: NewInvitation) -> StoreResult<Invitation>;

    /// The workspace's invitations with those that are over, newest first (owner only).
    async fn list(&self, caller: &Caller, page: PageRequest) -> StoreResult<ListPage<Invitation>>;

    /// Takes an invitation back (owner only); repeated: changes nothing. `Conflict` when it was accepted.
    async fn revoke(&self, caller: &Caller, id: InvitationId) -> StoreResult<Invitation>;

    /// What an open invitation is about.
    async fn look_up(&self, token_hash: [u8; 32]) -> StoreResult<Invited>;

    /// Lets a signed-in person in; of many who come at once one does. `Denied` when the invitation is for another address
    /// than the one proved to be theirs, `Conflict` when they are a member already. Where sign-in is Supabase's and this is the
    /// person's first visit, their account is made with `display_name`; otherwise that is not looked at.
    async fn accept(&self, user: UserId, token_hash: [u8; 32], display_name: Option<&str>) -> StoreResult<Membership>;

    /// Makes the account of the invited address and lets it in: all or nothing (built-in issuer). `Conflict` when the
    /// address has an account: then its person signs in and accepts.
    async fn accept_as_newcomer(&self, token_hash: [u8; 32], newcomer: Newcomer) -> StoreResult<User>;
}
