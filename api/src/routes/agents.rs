use std::collections::BTreeSet;

use axum::{Json as Answer, extract::State};
use duet_core::{
    domain::{Agent, AgentEdit, Capability, MemoryScopes, ModelRef},
    ids::AgentId,
};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::One;
use crate::{
    auth::{Admin, AnyKey, In},
    error::{ApiResult, Problem, ReadProblems, WriteProblems},
    extract::{Json, Path},
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_agents))
        .routes(routes!(get_agent, edit_agent))
}

/// The agents of a workspace.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct Agents {
    /// Primaries first, then by name.
    pub items: Vec<Agent>,
}

/// The agents
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/agents", tag = "agents",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid)),
    responses((status = 200, description = "All agents.", body = Agents), ReadProblems)
)]
async fn list_agents(State(state): State<AppState>, caller: In<AnyKey>) -> ApiResult<Answer<Agents>> {
    let items = state.stores().agents.agents(&caller).await?;
    Ok(Answer(Agents { items }))
}

/// An agent
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/agents/{id}", tag = "agents",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The agent.", format = Uuid),
    ),
    responses((status = 200, description = "The agent.", body = Agent), ReadProblems)
)]
async fn get_agent(
    State(state): State<AppState>,
    caller: In<AnyKey>,
    Path(path): Path<One<AgentId>>,
) -> ApiResult<Answer<Agent>> {
    let agent = state.stores().agents.agent(&caller, path.id).await?;
    agent.map(Answer).ok_or_else(|| Problem::not_found("the agent"))
}

/// An edit: absent fields stay as they are.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentPatch {
    /// The version that the edit is based on.
    version: u32,
    /// A new name, 1 to 80 characters.
    name: Option<String>,
    /// New instructions, up to 32 KiB.
    prompt: Option<String>,
    /// A new model; `null` restores the default.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<ModelRef>)]
    model: Option<Option<ModelRef>>,
    /// New capabilities.
    capabilities: Option<BTreeSet<Capability>>,
    /// New memory scopes.
    memory_scopes: Option<MemoryScopes>,
    /// New tools, by name.
    tools: Option<BTreeSet<String>>,
    /// Active or not.
    active: Option<bool>,
}

/// Distinguishes `"model": null` (back to the default) from an absent `model` (keep).
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<ModelRef>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Edit an agent
///
/// Owners only. A model that is not configured is refused.
#[utoipa::path(
    patch, path = "/v1/workspaces/{workspace_id}/agents/{id}", tag = "agents", request_body = AgentPatch,
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The agent.", format = Uuid),
    ),
    responses((status = 200, description = "The agent in its new version.", body = Agent), WriteProblems)
)]
async fn edit_agent(
    State(state): State<AppState>,
    caller: In<Admin>,
    Path(path): Path<One<AgentId>>,
    Json(patch): Json<AgentPatch>,
) -> ApiResult<Answer<Agent>> {
    if let Some(Some(model)) = &patch.model {
        let known = state.models().model(model).map(|_| ());
        known.map_err(|error| Problem::invalid_field("model", error.message))?;
    }
    let edit = AgentEdit {
        name: patch.name,
        prompt: patch.prompt,
        model: patch.model,
        capabilities: patch.capabilities,
        memory_scopes: patch.memory_scopes,
        tools: patch.tools,
        active: patch.active,
    };
    edit.check()?;
    let agent = state
        .stores()
        .agents
        .edit_agent(&caller, path.id, patch.version, edit)
        .await?;
    Ok(Answer(agent))
}
