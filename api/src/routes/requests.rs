use axum::{Json as Answer, extract::State};
use duet_core::{
    Caller,
    domain::{Decision, ListPage, Request, RequestFilter},
    ids::{ConversationId, RequestId, SessionId},
};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Ids, One, PrefixQuery};
use crate::{
    auth::{Authenticated, In, PersonOnly},
    error::{ApiResult, Code, Problem, ReadProblems, WriteProblems},
    extract::{Json, Path, Query, page},
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_requests))
        .routes(routes!(request_ids))
        .routes(routes!(get_request))
        .routes(routes!(decide_request))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only those of this conversation of the person's.
    #[param(value_type = Option<String>, format = Uuid)]
    conversation_id: Option<ConversationId>,
    /// Only those that wait for a decision.
    #[serde(default)]
    open: bool,
    /// Maximum number of items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// Requests
///
/// What runs ask: those of the person's own runs, and for an owner those that wait for an owner. Not with a key.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/requests", tag = "inbox",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid), ListQuery),
    responses((status = 200, description = "Newest first.", body = ListPage<Request>), ReadProblems)
)]
async fn list_requests(
    State(state): State<AppState>,
    caller: In<PersonOnly>,
    Query(query): Query<ListQuery>,
) -> ApiResult<Answer<ListPage<Request>>> {
    let page = page(query.limit, query.cursor)?;
    let filter = RequestFilter {
        conversation: query.conversation_id,
        open: query.open,
    };
    Ok(Answer(state.stores().requests.list(&caller, filter, page).await?))
}

/// Ids of requests
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/requests/ids", tag = "inbox",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid), PrefixQuery),
    responses((status = 200, description = "Smallest first.", body = Ids), ReadProblems)
)]
async fn request_ids(
    State(state): State<AppState>,
    caller: In<PersonOnly>,
    Query(query): Query<PrefixQuery>,
) -> ApiResult<Answer<Ids>> {
    let ids = state.stores().requests.ids(&caller, query.prefix()?).await?;
    Ok(Answer(ids.into()))
}

/// A request
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/requests/{id}", tag = "inbox",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The request.", format = Uuid),
    ),
    responses((status = 200, description = "The request.", body = Request), ReadProblems)
)]
async fn get_request(
    State(state): State<AppState>,
    caller: In<PersonOnly>,
    Path(path): Path<One<RequestId>>,
) -> ApiResult<Answer<Request>> {
    Ok(Answer(find(&state, &caller, path.id).await?))
}

/// A request, if this person sees it.
pub(super) async fn find(state: &AppState, caller: &Caller, id: RequestId) -> ApiResult<Request> {
    let found = state.stores().requests.requests(caller, &[id]).await?;
    found.into_iter().next().ok_or_else(|| Problem::not_found("the request"))
}

/// Decide a request
///
/// Only the person themselves: not with a key, and not by the sign-in that a server keeps for the commands of its machine, which any
/// program of that machine's user could use. An approved call is made once, with exactly the arguments that were approved; arguments
/// that the person changed are decided by policy again. The same decision again gives the same answer. 409 when another was made, or
/// it is too late. The decision is on record, by ids and the word alone.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace_id}/requests/{id}/decide", tag = "inbox", request_body = Decision,
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The request.", format = Uuid),
    ),
    responses((status = 200, description = "The decided request.", body = Request), WriteProblems)
)]
async fn decide_request(
    State(state): State<AppState>,
    caller: In<PersonOnly>,
    Path(path): Path<One<RequestId>>,
    Json(decision): Json<Decision>,
) -> ApiResult<Answer<Request>> {
    let session = deciding(&state, caller.authenticated())?;
    let decided = decide(&state, &caller, session, path.id, decision).await?;
    state.wake_driver().await;
    Ok(Answer(decided))
}

/// Decides a request. Changed arguments have to fit the tool: a yes to what cannot be done would be lost.
pub(super) async fn decide(
    state: &AppState,
    caller: &Caller,
    session: SessionId,
    id: RequestId,
    decision: Decision,
) -> ApiResult<Request> {
    if let Decision::Approve { arguments: Some(_) } = &decision {
        check(state, caller, &find(state, caller, id).await?, &decision)?;
    }
    Ok(state.stores().requests.decide(caller, session, id, decision).await?)
}

/// Whether this decision can be taken, as far as that can be known before.
pub(super) fn check(state: &AppState, caller: &Caller, request: &Request, decision: &Decision) -> ApiResult<()> {
    let due = request.takes(decision, caller.user, caller.role, state.env().now())?;
    if let Decision::Approve {
        arguments: Some(changed),
    } = decision
        && due
        && let Some(Err(reason)) = state.tools().get(&request.tool).map(|tool| tool.check(changed))
    {
        return Err(Problem::invalid_field("arguments", reason));
    }
    Ok(())
}

/// The sign-in by which somebody decides.
pub(super) fn deciding(state: &AppState, authenticated: &Authenticated) -> ApiResult<SessionId> {
    let (session, _) = authenticated.session()?;
    match state.has_vouched_for(session.id) {
        false => Ok(session.id),
        true => Err(Problem::new(
            Code::Denied,
            "This takes a person's own sign-in, not the one that the server keeps for commands. Sign in with your password.",
        )),
    }
}
