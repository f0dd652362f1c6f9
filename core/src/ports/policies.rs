use async_trait::async_trait;

use crate::{
    caller::Caller,
    domain::{ListPage, PageRequest, PolicyVersion},
    error::StoreResult,
    policy::Rule,
};

/// The policy of a workspace. Members read it; owners change it.
#[async_trait]
pub trait PolicyStore: Send + Sync {
    /// The newest version.
    async fn policy(&self, caller: &Caller) -> StoreResult<PolicyVersion>;

    /// All versions, newest first.
    async fn policy_versions(&self, caller: &Caller, page: PageRequest) -> StoreResult<ListPage<PolicyVersion>>;

    /// Replaces the rules (an owner only). `Stale` unless `from` is the newest version. Approvals that were asked for or given under
    /// an earlier version, and not used yet, are void: their runs go on without. On record as `policy.write`.
    async fn write_policy(&self, caller: &Caller, from: u32, rules: Vec<Rule>) -> StoreResult<PolicyVersion>;
}
