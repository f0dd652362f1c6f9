use async_trait::async_trait;

use crate::{
    caller::Caller,
    domain::{Member, Membership, Page, PageRequest, Role, Workspace},
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
    async fn members(&self, caller: &Caller, page: PageRequest) -> StoreResult<Page<Member>>;

    /// Lets a person with an account in (owner only); repeated: changes nothing. `NotFound` for an unknown account.
    async fn add_member(&self, caller: &Caller, user: UserId, role: Role) -> StoreResult<Member>;
}
