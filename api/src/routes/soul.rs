use axum::{Json as Answer, extract::State};
use duet_core::domain::{ListPage, Soul, SoulVersion};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Admin, AnyKey, In},
    error::{ApiResult, ReadProblems, WriteProblems},
    extract::{Json, PageQuery, Query},
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(get_soul, write_soul))
        .routes(routes!(list_soul_versions))
}

/// The current soul
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/soul", tag = "agents",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid)),
    responses((status = 200, description = "The newest version.", body = SoulVersion), ReadProblems)
)]
async fn get_soul(State(state): State<AppState>, caller: In<AnyKey>) -> ApiResult<Answer<SoulVersion>> {
    Ok(Answer(state.stores().agents.soul(&caller).await?))
}

/// The next version.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SoulWrite {
    /// The version that it is based on.
    version: u32,
    /// The whole soul.
    soul: Soul,
}

/// Write the next version
///
/// Owners only.
#[utoipa::path(
    put, path = "/v1/workspaces/{workspace_id}/soul", tag = "agents", request_body = SoulWrite,
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid)),
    responses((status = 200, description = "The new version.", body = SoulVersion), WriteProblems)
)]
async fn write_soul(
    State(state): State<AppState>,
    caller: In<Admin>,
    Json(write): Json<SoulWrite>,
) -> ApiResult<Answer<SoulVersion>> {
    write.soul.check()?;
    Ok(Answer(
        state.stores().agents.write_soul(&caller, write.version, write.soul).await?,
    ))
}

/// All versions
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/soul/versions", tag = "agents",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid), PageQuery),
    responses((status = 200, description = "Newest first.", body = ListPage<SoulVersion>), ReadProblems)
)]
async fn list_soul_versions(
    State(state): State<AppState>,
    caller: In<AnyKey>,
    Query(page): Query<PageQuery>,
) -> ApiResult<Answer<ListPage<SoulVersion>>> {
    Ok(Answer(state.stores().agents.soul_versions(&caller, page.request()?).await?))
}
