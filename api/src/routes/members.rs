use axum::{Json as Answer, extract::State, http::StatusCode};
use duet_core::{
    domain::{ListPage, Member, Role},
    ids::UserId,
};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::One;
use crate::{
    auth::{AnyKey, In, PersonOnly},
    error::{ApiResult, ReadProblems, WriteProblems},
    extract::{Json, PageQuery, Path, Query},
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_members))
        .routes(routes!(change_role, remove_member))
        .routes(routes!(leave))
}

/// Its members
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/members", tag = "workspaces",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid), PageQuery),
    responses((status = 200, description = "By the time they joined.", body = ListPage<Member>), ReadProblems)
)]
async fn list_members(
    State(state): State<AppState>,
    caller: In<AnyKey>,
    Query(page): Query<PageQuery>,
) -> ApiResult<Answer<ListPage<Member>>> {
    Ok(Answer(state.stores().workspaces.members(&caller, page.request()?).await?))
}

/// Another role.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleChange {
    /// `owner` or `member`.
    role: Role,
}

/// Change a member's role
///
/// For owners. Making somebody an owner takes a sign-in of the last 15 minutes, not an access token: an older sign-in is answered
/// with `sign_in_again`. The last owner stays one. A person who is no longer an owner has the invitations they made revoked.
#[utoipa::path(
    patch, path = "/v1/workspaces/{workspace_id}/members/{id}", tag = "workspaces", request_body = RoleChange,
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The person.", format = Uuid),
    ),
    responses((status = 200, description = "The member.", body = Member), WriteProblems)
)]
async fn change_role(
    State(state): State<AppState>,
    caller: In<PersonOnly>,
    Path(path): Path<One<UserId>>,
    Json(change): Json<RoleChange>,
) -> ApiResult<Answer<Member>> {
    if change.role == Role::Owner {
        // The new owner outlasts the sign-in.
        caller.authenticated().recent_sign_in(&state)?;
    }
    let workspaces = &state.stores().workspaces;
    Ok(Answer(workspaces.change_role(&caller, path.id, change.role).await?))
}

/// Remove a member
///
/// For owners. Ends the member's access at once: their API keys of the workspace stop working, their event streams end within
/// five seconds, and their unfinished runs are parked. They keep their sign-ins and their other workspaces.
#[utoipa::path(
    delete, path = "/v1/workspaces/{workspace_id}/members/{id}", tag = "workspaces",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The person.", format = Uuid),
    ),
    responses((status = 204, description = "Removed."), WriteProblems)
)]
async fn remove_member(
    State(state): State<AppState>,
    caller: In<PersonOnly>,
    Path(path): Path<One<UserId>>,
) -> ApiResult<StatusCode> {
    state.stores().workspaces.remove_member(&caller, path.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Leave a workspace
///
/// As if an owner removed the person. The last owner cannot leave.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace_id}/leave", tag = "workspaces",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid)),
    responses((status = 204, description = "Left."), WriteProblems)
)]
async fn leave(State(state): State<AppState>, caller: In<PersonOnly>) -> ApiResult<StatusCode> {
    state.stores().workspaces.remove_member(&caller, caller.user).await?;
    Ok(StatusCode::NO_CONTENT)
}
