use async_trait::async_trait;

use crate::{
    caller::Caller,
    domain::{Agent, AgentEdit, ListPage, PageRequest, Soul, SoulVersion},
    error::StoreResult,
    ids::AgentId,
};

/// Agents and the soul that the primaries share.
#[async_trait]
pub trait AgentStore: Send + Sync {
    /// All agents, primaries first, then by name.
    async fn agents(&self, caller: &Caller) -> StoreResult<Vec<Agent>>;

    /// One agent.
    async fn agent(&self, caller: &Caller, id: AgentId) -> StoreResult<Option<Agent>>;

    /// Applies an edit to the given version (owner only). `Stale` when the agent is now at another version, `Invalid` when the edit
    /// is bad, `Conflict` when it would leave no primary active.
    async fn edit_agent(&self, caller: &Caller, id: AgentId, version: u32, edit: AgentEdit) -> StoreResult<Agent>;

    /// The soul as it is now.
    async fn soul(&self, caller: &Caller) -> StoreResult<SoulVersion>;

    /// Its versions, newest first.
    async fn soul_versions(&self, caller: &Caller, page: PageRequest) -> StoreResult<ListPage<SoulVersion>>;

    /// Writes the next version (owner only). `Stale` when `version` is not the newest.
    async fn write_soul(&self, caller: &Caller, version: u32, soul: Soul) -> StoreResult<SoulVersion>;
}
