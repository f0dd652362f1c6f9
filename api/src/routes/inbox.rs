use axum::{Json as Answer, extract::State};
use duet_core::{
    domain::{InboxItem, InboxKind},
    inbox,
};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{In, PersonOnly},
    error::{ApiResult, ReadProblems},
    extract::{Query, page},
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_inbox)).routes(routes!(count_inbox))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct InboxQuery {
    /// Only this kind.
    kind: Option<InboxKind>,
    /// Maximum number of items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// A page of the Inbox.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct InboxPage {
    /// Newest first.
    pub items: Vec<InboxItem>,
    /// Where the next page starts; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// How many entries the whole Inbox has, of all kinds; counts up to 1000.
    pub waiting: u64,
}

/// How much waits.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct InboxCount {
    /// How many entries the Inbox has; counts up to 1000.
    pub waiting: u64,
}

/// The Inbox
///
/// All that waits for this person: approvals, questions and reviews of their own runs, what waits for an owner if they are one, and
/// proposed memories. Not with a key.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/inbox", tag = "inbox",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid), InboxQuery),
    responses((status = 200, description = "Newest first.", body = InboxPage), ReadProblems)
)]
async fn list_inbox(
    State(state): State<AppState>,
    caller: In<PersonOnly>,
    Query(query): Query<InboxQuery>,
) -> ApiResult<Answer<InboxPage>> {
    let page = page(query.limit, query.cursor)?;
    let stores = state.stores();
    let (entries, waiting) = futures::try_join!(
        inbox::page(stores, &caller, query.kind, page),
        stores.requests.waiting(&caller)
    )?;
    Ok(Answer(InboxPage {
        items: entries.items,
        next_cursor: entries.next_cursor,
        waiting,
    }))
}

/// How much waits in the Inbox
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/inbox/count", tag = "inbox",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid)),
    responses((status = 200, description = "The count.", body = InboxCount), ReadProblems)
)]
async fn count_inbox(State(state): State<AppState>, caller: In<PersonOnly>) -> ApiResult<Answer<InboxCount>> {
    let waiting = state.stores().requests.waiting(&caller).await?;
    Ok(Answer(InboxCount { waiting }))
}
