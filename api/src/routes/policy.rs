use axum::{Json as Answer, extract::State};
use duet_core::{
    domain::{Agent, AgentKind, Decider, ListPage, PolicyVersion, Role},
    ids::AgentId,
    policy::{Call, Policy, Rule, Ruling, Say},
};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{AnyKey, In, PersonOnly},
    error::{ApiResult, Code, Problem, ReadProblems, WriteProblems},
    extract::{Json, PageQuery, Query},
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(get_policy, write_policy))
        .routes(routes!(list_policy_versions))
        .routes(routes!(explain_policy))
}

/// The policy
///
/// The strictest rule that matches a call wins; a call that none matches is denied.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/policy", tag = "policy",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid)),
    responses((status = 200, description = "The newest version.", body = PolicyVersion), ReadProblems)
)]
async fn get_policy(State(state): State<AppState>, caller: In<AnyKey>) -> ApiResult<Answer<PolicyVersion>> {
    Ok(Answer(state.stores().policies.policy(&caller).await?))
}

/// The next version.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyWrite {
    /// The version that it is based on.
    from: u32,
    /// All rules, at most 200.
    rules: Vec<Rule>,
}

/// Write the next version
///
/// Owners only, and not with a key. Approvals that were asked for or given under an earlier version, and not used yet, are void:
/// their runs go on without them.
#[utoipa::path(
    put, path = "/v1/workspaces/{workspace_id}/policy", tag = "policy", request_body = PolicyWrite,
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid)),
    responses((status = 200, description = "The new version.", body = PolicyVersion), WriteProblems)
)]
async fn write_policy(
    State(state): State<AppState>,
    caller: In<PersonOnly>,
    Json(write): Json<PolicyWrite>,
) -> ApiResult<Answer<PolicyVersion>> {
    // A rule outlasts the sign-in that writes it, and decides what is asked at all.
    if matches!(caller.authenticated().session(), Ok((session, _)) if session.by_device) {
        caller.authenticated().recent_sign_in(&state)?;
    }
    Policy::check(&write.rules).map_err(|refusal| Problem::from(refusal).of_field("rules"))?;
    let written = state.stores().policies.write_policy(&caller, write.from, write.rules).await?;
    state.wake_driver().await;
    Ok(Answer(written))
}

/// All versions
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/policy/versions", tag = "policy",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid), PageQuery),
    responses((status = 200, description = "Newest first.", body = ListPage<PolicyVersion>), ReadProblems)
)]
async fn list_policy_versions(
    State(state): State<AppState>,
    caller: In<AnyKey>,
    Query(page): Query<PageQuery>,
) -> ApiResult<Answer<ListPage<PolicyVersion>>> {
    Ok(Answer(
        state.stores().policies.policy_versions(&caller, page.request()?).await?,
    ))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct WhyQuery {
    /// The tool, by name.
    tool: String,
    /// The role of the person whose run calls it; the caller's own when absent.
    role: Option<Role>,
    /// The agent that calls it; the companion when absent.
    #[param(value_type = Option<String>, format = Uuid)]
    agent_id: Option<AgentId>,
}

/// What the policy says of a call.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct Explanation {
    /// Whether it may happen.
    pub decision: Say,
    /// Who approves it, where it has to be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decider: Option<Decider>,
    /// Why it has to be asked or is denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The rule that decides; absent when none matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<DecidingRule>,
    /// The version of the policy.
    pub version: u32,
}

/// The rule that decides.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct DecidingRule {
    /// Its place among the rules, from 0.
    pub index: usize,
    /// The rule.
    pub rule: Rule,
}

/// What the policy says of a tool, and why
///
/// By the rules alone: whether the agent has the tool and the capability for it is up to the agent.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/policy/why", tag = "policy",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid), WhyQuery),
    responses((status = 200, description = "What it says.", body = Explanation), ReadProblems)
)]
async fn explain_policy(
    State(state): State<AppState>,
    caller: In<AnyKey>,
    Query(query): Query<WhyQuery>,
) -> ApiResult<Answer<Explanation>> {
    let tool = state
        .tools()
        .get(&query.tool)
        .ok_or_else(|| unknown_tool(&state, &query.tool))?;
    let stores = state.stores();
    let (policy, agents) = futures::try_join!(stores.policies.policy(&caller), stores.agents.agents(&caller))?;
    let agent = agent(&agents, query.agent_id).ok_or_else(|| Problem::not_found("the agent"))?;
    let PolicyVersion { version, rules, .. } = policy;
    let call = Call {
        tool: &query.tool,
        category: tool.category,
        role: query.role.unwrap_or(caller.role),
        agent: agent.id,
    };
    let (ruling, place) = Policy::from(rules.clone()).explain(&call);
    let (decision, decider, why) = match ruling {
        Ruling::Allow => (Say::Allow, None, None),
        Ruling::Ask { decider, why } => (Say::Ask, Some(decider), Some(why)),
        Ruling::Deny(why) => (Say::Deny, None, Some(why)),
    };
    let rule = place.and_then(|index| {
        let rule = rules.into_iter().nth(index)?;
        Some(DecidingRule { index, rule })
    });
    Ok(Answer(Explanation {
        decision,
        decider,
        why,
        rule,
        version,
    }))
}

/// The agent with this id, or the one that answers when nothing else is said.
fn agent(agents: &[Agent], wanted: Option<AgentId>) -> Option<&Agent> {
    match wanted {
        Some(id) => agents.iter().find(|agent| agent.id == id),
        None => agents
            .iter()
            .filter(|agent| agent.active && agent.kind != AgentKind::Specialist)
            .min_by_key(|agent| (agent.kind, agent.created_at, agent.id)),
    }
}

fn unknown_tool(state: &AppState, name: &str) -> Problem {
    let known: Vec<String> = state
        .tools()
        .entries()
        .map(|entry| format!("`{}`", entry.spec.name))
        .collect();
    Problem::new(
        Code::NotFound,
        format!("There is no tool `{name}`. The tools are {}.", known.join(", ")),
    )
    .of_field("tool")
}
