use axum::{Json as Answer, extract::State};
use duet_core::{
    domain::{ListPage, Notice, NoticeAction},
    ids::NoticeId,
};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::One;
use crate::{
    auth::{Chat, In},
    error::{ApiResult, ReadProblems, WriteProblems},
    extract::{Json, Path, Query, page},
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_notices))
        .routes(routes!(settle_notice))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Maximum number of items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// The person's open notices
///
/// Each one says that somebody redacted a memory which replies to this person had recalled.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/notices", tag = "notices",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid), ListQuery),
    responses((status = 200, description = "Newest first.", body = ListPage<Notice>), ReadProblems)
)]
async fn list_notices(
    State(state): State<AppState>,
    caller: In<Chat>,
    Query(query): Query<ListQuery>,
) -> ApiResult<Answer<ListPage<Notice>>> {
    let page = page(query.limit, query.cursor)?;
    Ok(Answer(state.stores().notices.list(&caller, page).await?))
}

/// A decision.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoticeRequest {
    /// Whether to remove or keep the replies.
    action: NoticeAction,
}

/// Settle a notice
///
/// `blank` removes the replies that recalled the memory, and what their runs wrote down, for good; `dismiss` keeps them. If
/// repeated, the first decision stands.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace_id}/notices/{id}", tag = "notices", request_body = NoticeRequest,
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The notice.", format = Uuid),
    ),
    responses((status = 200, description = "The settled notice.", body = Notice), WriteProblems)
)]
async fn settle_notice(
    State(state): State<AppState>,
    caller: In<Chat>,
    Path(path): Path<One<NoticeId>>,
    Json(request): Json<NoticeRequest>,
) -> ApiResult<Answer<Notice>> {
    Ok(Answer(state.stores().notices.settle(&caller, path.id, request.action).await?))
}
