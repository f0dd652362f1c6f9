use axum::{Json as Answer, extract::State, http::StatusCode};
use duet_core::{Caller, domain::Run, ids::RunId};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::One;
use crate::{
    auth::{Chat, In},
    error::{ApiResult, Problem, ReadProblems, WriteProblems},
    extract::Path,
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(get_run))
        .routes(routes!(cancel_run))
        .routes(routes!(pause_run))
        .routes(routes!(resume_run))
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
/// The reply's text so far is kept, and what the run asks cannot be decided any more. A run that has ended is returned as it is.
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

/// Pause a run
///
/// Nothing new is begun until the run is resumed, and a model call under way is given up, to be made again then. What has been said
/// so far becomes a message. 409 once the run has ended; a run that is paused already stays so.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace_id}/runs/{id}/pause", tag = "runs",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The run.", format = Uuid),
    ),
    responses((status = 202, description = "It was asked to pause.", body = Run), WriteProblems)
)]
async fn pause_run(
    State(state): State<AppState>,
    caller: In<Chat>,
    Path(path): Path<One<RunId>>,
) -> ApiResult<(StatusCode, Answer<Run>)> {
    pause(&state, &caller, path.id, true).await
}

/// Resume a paused run
///
/// 409 once the run has ended; a run that is not paused goes on as it does.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace_id}/runs/{id}/resume", tag = "runs",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The run.", format = Uuid),
    ),
    responses((status = 202, description = "It was asked to go on.", body = Run), WriteProblems)
)]
async fn resume_run(
    State(state): State<AppState>,
    caller: In<Chat>,
    Path(path): Path<One<RunId>>,
) -> ApiResult<(StatusCode, Answer<Run>)> {
    pause(&state, &caller, path.id, false).await
}

async fn pause(state: &AppState, caller: &Caller, id: RunId, pause: bool) -> ApiResult<(StatusCode, Answer<Run>)> {
    let run = state.stores().runs.pause(caller, id, pause).await?;
    state.wake_driver().await;
    Ok((StatusCode::ACCEPTED, Answer(run)))
}
