use async_trait::async_trait;

use crate::{
    caller::Caller,
    domain::{ListPage, Member, Membership, PageRequest, Role, Workspace},
    error::StoreResult,
    ids::{UserId, WorkspaceId},
};

/// Workspaces and their members. The methods that take a [`UserId`] come before there is a caller.
#[async_trait]
pub trait WorkspaceStore: Send + Sync {
    /// The workspaces of a person, oldest first.
    async fn memberships(&self, user: UserId) -> StoreResult<Vec<Membership>>;

    /// The person's role in a workspace; `None` when they are no member or there is no such workspace.
    async fn role(&self, user: UserId, workspace: WorkspaceId) -> StoreResult<Option<Role>>;

    /// Makes another workspace with this person as owner, the two primary agents and the starter soul.
    async fn create(&self, user: UserId, id: WorkspaceId, name: &str, companion_name: &str) -> StoreResult<Workspace>;

    /// The caller's workspace.
    async fn workspace(&self, caller: &Caller) -> StoreResult<Workspace>;

    /// Gives it another name (owner only).
    async fn rename(&self, caller: &Caller, name: &str) -> StoreResult<Workspace>;

    /// Its members, by the time they joined.
    async fn members(&self, caller: &Caller, page: PageRequest) -> StoreResult<ListPage<Member>>;

    /// Ends a membership at once: an owner anybody's, everybody their own. The person's keys and the invitations that they made
    /// or could use are revoked, their unfinished runs parked; what they wrote stays as it was, and is theirs again should they
    /// be invited again. `Conflict` for the last owner, `NotFound` for who is no member.
    async fn remove_member(&self, caller: &Caller, user: UserId) -> StoreResult<()>;

    /// Gives a member another role (owner only); repeated: changes nothing. `Conflict` for the last owner. Who is no owner any
    /// more has the invitations that they made revoked.
    async fn change_role(&self, caller: &Caller, user: UserId, role: Role) -> StoreResult<Member>;
}
