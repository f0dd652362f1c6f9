//! The endpoints. Files mirror the URLs; each contains its requests and answers, its documentation and its handlers.

mod agents;
mod agui;
mod audit;
mod auth;
mod config;
mod conversations;
mod device;
mod events;
mod export;
mod feed;
mod inbox;
mod invitations;
mod keys;
mod members;
mod memories;
mod messages;
mod notices;
mod operations;
mod policy;
mod requests;
mod runs;
mod setup;
mod soul;
mod workspaces;

use duet_core::{
    Refusal,
    ids::{IdPrefix, WorkspaceId},
};
use serde::{Deserialize, Serialize};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    error::{ApiResult, Problem},
    openapi::Document,
    state::AppState,
};

/// All routes with their documentation.
pub(crate) fn all() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(config::routes())
        .merge(setup::routes())
        .merge(auth::routes())
        .merge(device::routes())
        .merge(workspaces::routes())
        .merge(members::routes())
        .merge(invitations::routes())
        .merge(agents::routes())
        .merge(soul::routes())
        .merge(conversations::routes())
        .merge(messages::routes())
        .merge(agui::routes())
        .merge(export::routes())
        .merge(runs::routes())
        .merge(events::routes())
        .merge(inbox::routes())
        .merge(requests::routes())
        .merge(feed::routes())
        .merge(policy::routes())
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

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct PrefixQuery {
    /// How the ids begin: 1 to 32 hexadecimal digits, optionally with dashes.
    prefix: String,
}

impl PrefixQuery {
    fn prefix(&self) -> ApiResult<IdPrefix> {
        self.prefix
            .parse()
            .map_err(|refusal: Refusal| Problem::from(refusal).of_field("prefix"))
    }
}

/// Ids with the requested beginning, at most ten, smallest first.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Ids {
    /// The ids.
    pub items: Vec<String>,
}

impl<T: std::fmt::Display> From<Vec<T>> for Ids {
    fn from(ids: Vec<T>) -> Self {
        Self {
            items: ids.iter().map(ToString::to_string).collect(),
        }
    }
}
