use axum::{Json as Answer, extract::State, http::StatusCode};
use duet_core::domain::{Membership, Workspace};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::setup::check_name;
use crate::{
    auth::{Admin, AnyKey, Authenticated, Credential, In},
    error::{ApiResult, ReadProblems, WriteProblems},
    extract::Json,
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_workspaces, create_workspace))
        .routes(routes!(get_workspace, rename_workspace))
}

/// A person's workspaces.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct Memberships {
    /// Oldest first.
    pub items: Vec<Membership>,
}

/// The person's workspaces
///
/// An API key sees only the workspace that it opens.
#[utoipa::path(
    get, path = "/v1/workspaces", tag = "workspaces",
    responses((status = 200, description = "The workspaces.", body = Memberships), ReadProblems)
)]
async fn list_workspaces(State(state): State<AppState>, authenticated: Authenticated) -> ApiResult<Answer<Memberships>> {
    let mut items = state.stores().workspaces.memberships(authenticated.user).await?;
    if let Credential::Key(key, _) = &authenticated.credential {
        items.retain(|membership| membership.workspace.id == key.workspace_id);
    }
    Ok(Answer(Memberships { items }))
}

/// A new workspace.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWorkspace {
    /// Its name.
    name: String,
    /// Name of its companion.
    companion_name: String,
}

/// Make a workspace
///
/// The person becomes its owner.
#[utoipa::path(
    post, path = "/v1/workspaces", tag = "workspaces", request_body = NewWorkspace,
    responses((status = 201, description = "The workspace.", body = Workspace), WriteProblems)
)]
async fn create_workspace(
    State(state): State<AppState>,
    authenticated: Authenticated,
    Json(new): Json<NewWorkspace>,
) -> ApiResult<(StatusCode, Answer<Workspace>)> {
    let (_, user) = authenticated.session()?;
    let name = check_name("name", &new.name, 80)?;
    let companion = check_name("companion_name", &new.companion_name, 80)?;
    let workspace = state
        .stores()
        .workspaces
        .create(user.id, state.env().id(), &name, &companion)
        .await?;
    Ok((StatusCode::CREATED, Answer(workspace)))
}

/// A workspace
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}", tag = "workspaces",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid)),
    responses((status = 200, description = "The workspace.", body = Workspace), ReadProblems)
)]
async fn get_workspace(State(state): State<AppState>, caller: In<AnyKey>) -> ApiResult<Answer<Workspace>> {
    Ok(Answer(state.stores().workspaces.workspace(&caller).await?))
}

/// A new name.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceEdit {
    /// 1 to 80 characters.
    name: String,
}

/// Rename a workspace
#[utoipa::path(
    patch, path = "/v1/workspaces/{workspace_id}", tag = "workspaces", request_body = WorkspaceEdit,
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid)),
    responses((status = 200, description = "The workspace.", body = Workspace), WriteProblems)
)]
async fn rename_workspace(
    State(state): State<AppState>,
    caller: In<Admin>,
    Json(edit): Json<WorkspaceEdit>,
) -> ApiResult<Answer<Workspace>> {
    let name = check_name("name", &edit.name, 80)?;
    Ok(Answer(state.stores().workspaces.rename(&caller, &name).await?))
}
