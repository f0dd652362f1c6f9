use async_trait::async_trait;

use crate::{
    caller::Caller,
    domain::{ListPage, Member, Membership, PageRequest, Role, Workspace},
    error::StoreResult,
    ids::{UserId, WorkspaceId},
};

/// Workspaces and their members. Methods that take a [`UserId`] instead of a caller run before there is one.
#[async_trait]
pub trait WorkspaceStore: Send + Sync {
    /// The workspaces of a person, oldest first.
    async fn memberships(&self, user: UserId) -> StoreResult<Vec<Membership>>;

    /// The person's role in a workspace; `None` when they are not a member or there is no such workspace.
    async fn role(&self, user: UserId, workspace: WorkspaceId) -> StoreResult<Option<Role>>;

    /// Creates another workspace with this person as owner, the two primary agents and the starter soul.
    async fn create(&self, user: UserId, id: WorkspaceId, name: &str, companion_name: &str) -> StoreResult<Workspace>;

    /// The caller's workspace.
    async fn workspace(&self, caller: &Caller) -> StoreResult<Workspace>;

    /// Renames the workspace (owner only).
    async fn rename(&self, caller: &Caller, name: &str) -> StoreResult<Workspace>;

    /// The workspace's members, in the order they joined.
    async fn members(&self, caller: &Caller, page: PageRequest) -> StoreResult<ListPage<Member>>;

    /// Ends a membership at once: an owner can end anybody's, everybody else only their own. The person's keys and the invitations
    /// that they made or could use are revoked, and their unfinished runs are parked; what they wrote stays as it was, and is
    /// theirs again if they are invited again. `Conflict` for the last owner, `NotFound` for somebody who is not a member.
    async fn remove_member(&self, caller: &Caller, user: UserId) -> StoreResult<()>;

    /// Changes a member's role (owner only); repeating it changes nothing. `Conflict` for the last owner. When somebody stops being
    /// an owner, the invitations that they made are revoked.
    async fn change_role(&self, caller: &Caller, user: UserId, role: Role) -> StoreResult<Member>;
}
