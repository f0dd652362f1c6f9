//! The endpoints. Files mirror the URLs; each holds its requests and answers, its documentation and its handlers.

mod agents;
mod audit;
mod auth;
mod config;
mod conversations;
mod events;
mod export;
mod invitations;
mod keys;
mod members;
mod memories;
mod messages;
mod notices;
mod operations;
mod runs;
mod setup;
mod soul;
mod workspaces;

use duet_core::ids::WorkspaceId;
use serde::Deserialize;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::{openapi::Document, state::AppState};

/// All routes with their documentation.
pub(crate) fn all() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(config::routes())
        .merge(setup::routes())
        .merge(auth::routes())
        .merge(workspaces::routes())
        .merge(members::routes())
        .merge(invitations::routes())
        .merge(agents::routes())
        .merge(soul::routes())
        .merge(conversations::routes())
        .merge(messages::routes())
        .merge(export::routes())
        .merge(runs::routes())
        .merge(events::routes())
        .merge(memories::routes())
        .merge(notices::routes())
        .merge(keys::routes())
        .merge(audit::routes())
        .merge(operations::routes())
}

/// `{workspace_id}` and one more id of the path.
#[derive(Deserialize)]
struct One<T> {
    #[expect(
        dead_code,
        reason = "checked by the extractor `In`; named here so that the path's shape is complete"
    )]
    workspace_id: WorkspaceId,
    id: T,
}
