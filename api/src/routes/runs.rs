use axum::{Json as Answer, extract::State, http::StatusCode};
use duet_core::{domain::Run, ids::RunId};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::One;
use crate::{
    auth::{Chat, In},
    error::{ApiResult, Problem, ReadProblems, WriteProblems},
    extract::Path,
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get_run)).routes(routes!(cancel_run))
}

/// A run
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/runs/{id}", tag = "runs",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The run.", format = Uuid),
    ),
    responses((status = 200, description = "The run.", body = Run), ReadProblems)
)]
async fn get_run(State(state): State<AppState>, caller: In<Chat>, Path(path): Path<One<RunId>>) -> ApiResult<Answer<Run>> {
    let run = state.stores().runs.run(&caller, path.id).await?;
    run.map(Answer).ok_or_else(|| Problem::not_found("the run"))
}

/// Stop a run
///
/// The reply's text so far is kept. A run that has ended is returned as it is.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace_id}/runs/{id}/cancel", tag = "runs",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The run.", format = Uuid),
    ),
    responses((status = 202, description = "It was asked to stop.", body = Run), WriteProblems)
)]
async fn cancel_run(
    State(state): State<AppState>,
    caller: In<Chat>,
    Path(path): Path<One<RunId>>,
) -> ApiResult<(StatusCode, Answer<Run>)> {
    let run = state.stores().runs.cancel(&caller, path.id).await?;
    state.wake_driver().await;
    Ok((StatusCode::ACCEPTED, Answer(run)))
}
