use std::time::Duration;

use axum::{Extension, extract::State, response::Response};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::events::Membership;
use crate::{
    auth::{In, PersonOnly},
    error::{ApiResult, ReadProblems},
    events::{
        follow::Pace,
        people::{self, FeedItem, Listener},
        sse,
    },
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(person_feed))
}

/// How often everything counts as changed on a platform that brings no hints.
const UNTOLD: Duration = Duration::from_secs(10);

/// What of mine has changed
///
/// Server-sent events: `event: changed` with `data: {"changed": "runs" | "inbox"}`, whenever that of the person's may have changed;
/// read it again then. It begins with both, so that nothing is missed between two connections. There are no ids. Not with a key.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/feed", tag = "inbox",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid)),
    responses((status = 200, description = "The hints.", content((Vec<FeedItem> = "text/event-stream"))), ReadProblems)
)]
async fn person_feed(
    State(state): State<AppState>,
    caller: In<PersonOnly>,
    pace: Option<Extension<Pace>>,
) -> ApiResult<Response> {
    let slot = state.limits().stream(caller.user)?;
    let listener = Listener {
        user: caller.user,
        hints: state.stores().feed.people(caller.workspace),
        allowed: Membership::of(&state, &caller),
        closing: state.closing(),
        // A deployment with a pace of its own asks its database again and again instead of being told.
        untold: pace.as_ref().map(|_| UNTOLD),
        pace: pace.map(|Extension(pace)| pace).unwrap_or_default(),
    };
    Ok(sse::response(people::bytes(
        listener,
        (slot, state.metrics().stream_opened()),
    )))
}
