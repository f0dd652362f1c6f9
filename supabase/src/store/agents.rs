//! Agents and the soul.

use async_trait::async_trait;
use duet_core::{
    Caller, StoreResult, cursor,
    domain::{Agent, AgentEdit, ListPage, PageRequest, Soul, SoulVersion},
    ids::AgentId,
    ports::AgentStore,
};
use serde_json::{Map, Value, json};

use super::contract::{self, Contract};
use crate::rpc::Call;

/// The agents in the database.
pub struct Agents(pub(super) Contract);

/// An edit with only the changed fields: `"model": null` resets the model, an absent `model` leaves it.
fn changes(edit: AgentEdit) -> Value {
    let AgentEdit {
        name,
        prompt,
        model,
        capabilities,
        memory_scopes,
        tools,
        active,
    } = edit;
    let fields = [
        ("name", name.map(Value::from)),
        ("prompt", prompt.map(Value::from)),
        ("model", model.map(|model| json!(model))),
        ("capabilities", capabilities.map(|capabilities| json!(capabilities))),
        ("memory_scopes", memory_scopes.map(|scopes| json!(scopes))),
        ("tools", tools.map(|tools| json!(tools))),
        ("active", active.map(Value::from)),
    ];
    let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect::<Map<_, _>>())
}

/// A version as the database's integer; one out of range matches nothing.
fn version(version: u32) -> i32 {
    i32::try_from(version).unwrap_or(i32::MAX)
}

#[async_trait]
impl AgentStore for Agents {
    async fn agents(&self, caller: &Caller) -> StoreResult<Vec<Agent>> {
        let call = Call::repeatable("agent_list").id("p_workspace", caller.workspace);
        self.0.as_caller(caller, call).await
    }

    async fn agent(&self, caller: &Caller, id: AgentId) -> StoreResult<Option<Agent>> {
        let call = Call::repeatable("agent_read")
            .id("p_workspace", caller.workspace)
            .id("p_id", id);
        self.0.as_caller(caller, call).await
    }

    async fn edit_agent(&self, caller: &Caller, id: AgentId, from: u32, edit: AgentEdit) -> StoreResult<Agent> {
        const ACTION: &str = "edit an agent";
        caller.require_owner(ACTION)?;
        edit.check()?;
        let call = Call::new("agent_edit")
            .of("the agent")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_id", id)
            .arg("p_version", version(from))
            .arg("p_edit", changes(edit));
        self.0.as_caller(caller, call).await
    }

    async fn soul(&self, caller: &Caller) -> StoreResult<SoulVersion> {
        let call = Call::repeatable("soul_read")
            .of("the workspace")
            .id("p_workspace", caller.workspace);
        self.0.as_caller(caller, call).await
    }

    async fn soul_versions(&self, caller: &Caller, request: PageRequest) -> StoreResult<ListPage<SoulVersion>> {
        let call = Call::repeatable("soul_versions")
            .id("p_workspace", caller.workspace)
            .arg("p_before", cursor::number(request.cursor.as_deref())?)
            .arg("p_limit", contract::limit(&request));
        let versions: Vec<SoulVersion> = self.0.as_caller(caller, call).await?;
        Ok(cursor::page(versions, request.size(), |soul| soul.version.to_string()))
    }

    async fn write_soul(&self, caller: &Caller, from: u32, soul: Soul) -> StoreResult<SoulVersion> {
        const ACTION: &str = "change the soul";
        caller.require_owner(ACTION)?;
        soul.check()?;
        let call = Call::new("soul_write")
            .of("the workspace")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .arg("p_version", version(from))
            .arg("p_soul", json!(soul));
        self.0.as_caller(caller, call).await
    }
}
