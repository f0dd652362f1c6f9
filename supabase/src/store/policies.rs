//! The policy.

use async_trait::async_trait;
use duet_core::{
    Caller, StoreResult, cursor,
    domain::{ListPage, PageRequest, PolicyVersion},
    policy::{Policy, Rule},
    ports::PolicyStore,
};
use serde_json::json;

use super::{
    contract::{self, Contract},
    relay::LiveFeed,
};
use crate::rpc::Call;

/// The policies in the database.
pub struct Policies {
    pub(super) contract: Contract,
    pub(super) feed: std::sync::Arc<LiveFeed>,
}

#[async_trait]
impl PolicyStore for Policies {
    async fn policy(&self, caller: &Caller) -> StoreResult<PolicyVersion> {
        const ACTION: &str = "read the policy";
        caller.require_person(ACTION)?;
        let call = Call::repeatable("policy_read")
            .of("the workspace")
            .to(ACTION)
            .id("p_workspace", caller.workspace);
        self.contract.as_caller(caller, call).await
    }

    async fn policy_versions(&self, caller: &Caller, request: PageRequest) -> StoreResult<ListPage<PolicyVersion>> {
        const ACTION: &str = "read the policy";
        caller.require_person(ACTION)?;
        let call = Call::repeatable("policy_versions")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .arg("p_before", cursor::number(request.cursor.as_deref())?)
            .arg("p_limit", contract::limit(&request));
        let versions: Vec<PolicyVersion> = self.contract.as_caller(caller, call).await?;
        Ok(cursor::page(versions, request.size(), |policy| policy.version.to_string()))
    }

    async fn write_policy(&self, caller: &Caller, from: u32, rules: Vec<Rule>) -> StoreResult<PolicyVersion> {
        const ACTION: &str = "change the policy";
        caller.require_owner(ACTION)?;
        Policy::check(&rules)?;
        let call = Call::new("policy_write")
            .of("the workspace")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .arg("p_version", i32::try_from(from).unwrap_or(i32::MAX))
            .arg("p_rules", json!(rules));
        let written = self.contract.as_caller(caller, call).await?;
        self.feed.stirred();
        Ok(written)
    }
}
