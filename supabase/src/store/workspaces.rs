//! Workspaces and members.

use async_trait::async_trait;
use duet_core::{
    Caller, StoreResult, cursor,
    domain::{ListPage, Member, Membership, PageRequest, Role, Workspace, check_name},
    ids::{UserId, WorkspaceId},
    ports::WorkspaceStore,
    refusal::Named,
    starter::Starter,
};
use serde_json::json;

use super::contract::{self, Contract};
use crate::rpc::Call;

/// The workspaces in the database.
pub struct Workspaces(pub(super) Contract);

#[async_trait]
impl WorkspaceStore for Workspaces {
    async fn memberships(&self, user: UserId) -> StoreResult<Vec<Membership>> {
        self.0.as_user(user, Call::repeatable("workspace_memberships")).await
    }

    async fn role(&self, user: UserId, workspace: WorkspaceId) -> StoreResult<Option<Role>> {
        let call = Call::repeatable("workspace_role").id("p_workspace", workspace);
        self.0.as_user(user, call).await
    }

    async fn create(&self, user: UserId, id: WorkspaceId, name: &str, companion_name: &str) -> StoreResult<Workspace> {
        check_name(name, Named::Workspace)?;
        check_name(companion_name, Named::Companion)?;
        let call = Call::repeatable("workspace_create")
            .to("make a workspace")
            .id("p_id", id)
            .arg("p_name", name)
            .arg("p_starter", json!(Starter::new(&self.0.env, companion_name)));
        self.0.as_user(user, call).await
    }

    async fn workspace(&self, caller: &Caller) -> StoreResult<Workspace> {
        let call = Call::repeatable("workspace_read")
            .of("the workspace")
            .id("p_workspace", caller.workspace);
        self.0.as_caller(caller, call).await
    }

    async fn rename(&self, caller: &Caller, name: &str) -> StoreResult<Workspace> {
        const ACTION: &str = "rename the workspace";
        caller.require_person(ACTION)?;
        let call = Call::repeatable("workspace_rename")
            .of("the workspace")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .arg("p_name", name);
        self.0.as_caller(caller, call).await
    }

    async fn members(&self, caller: &Caller, request: PageRequest) -> StoreResult<ListPage<Member>> {
        let (after, after_id) = contract::moment(&request)?;
        let call = Call::repeatable("workspace_members")
            .id("p_workspace", caller.workspace)
            .arg("p_after", after)
            .arg("p_after_id", after_id)
            .arg("p_limit", contract::limit(&request));
        let members: Vec<Member> = self.0.as_caller(caller, call).await?;
        Ok(cursor::page(members, request.size(), |member| {
            cursor::after(member.joined_at.millis(), member.user_id)
        }))
    }

    async fn remove_member(&self, caller: &Caller, user: UserId) -> StoreResult<()> {
        const ACTION: &str = "remove a member";
        caller.require_person(ACTION)?;
        let call = Call::new("workspace_remove_member")
            .of("the member")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_user", user);
        self.0.as_caller(caller, call).await
    }

    async fn change_role(&self, caller: &Caller, user: UserId, role: Role) -> StoreResult<Member> {
        const ACTION: &str = "change a role";
        caller.require_person(ACTION)?;
        let call = Call::repeatable("workspace_change_role")
            .of("the member")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_user", user)
            .arg("p_role", role.as_str());
        self.0.as_caller(caller, call).await
    }
}
