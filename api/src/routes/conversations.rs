use axum::{Json as Answer, extract::State, http::StatusCode};
use duet_core::{
    domain::{Conversation, ConversationEdit, ListPage, MessageHit, Run},
    ids::{AgentId, ConversationId},
};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Ids, One, PrefixQuery, setup::check_name};
use crate::{
    auth::{Chat, In},
    error::{ApiResult, Problem, ReadProblems, WriteProblems},
    extract::{Json, PageQuery, Path, Query, page},
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_conversations, create_conversation))
        .routes(routes!(search_conversations))
        .routes(routes!(conversation_ids))
        .routes(routes!(get_conversation, edit_conversation, delete_conversation))
        .routes(routes!(list_runs))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only archived conversations, instead of the others.
    #[serde(default)]
    archived: bool,
    /// Maximum number of items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// The person's conversations
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/conversations", tag = "conversations",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid), ListQuery),
    responses((status = 200, description = "Latest message first.", body = ListPage<Conversation>), ReadProblems)
)]
async fn list_conversations(
    State(state): State<AppState>,
    caller: In<Chat>,
    Query(query): Query<ListQuery>,
) -> ApiResult<Answer<ListPage<Conversation>>> {
    let page = page(query.limit, query.cursor)?;
    Ok(Answer(
        state.stores().conversations.list(&caller, query.archived, page).await?,
    ))
}

/// A new conversation.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConversation {
    /// An id chosen by the client (a UUIDv7), so that the request can be repeated.
    id: Option<ConversationId>,
    /// The agent that answers; the companion when absent.
    agent_id: Option<AgentId>,
    /// A title; made from the first message when absent.
    title: Option<String>,
}

/// Begin a conversation
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace_id}/conversations", tag = "conversations", request_body = NewConversation,
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid)),
    responses((status = 201, description = "The conversation.", body = Conversation), WriteProblems)
)]
async fn create_conversation(
    State(state): State<AppState>,
    caller: In<Chat>,
    Json(new): Json<NewConversation>,
) -> ApiResult<(StatusCode, Answer<Conversation>)> {
    let title = new.title.map(|title| check_name("title", &title, 200)).transpose()?;
    let id = new.id.unwrap_or_else(|| state.env().id());
    let conversation = state
        .stores()
        .conversations
        .create(&caller, id, new.agent_id, title.as_deref())
        .await?;
    Ok((StatusCode::CREATED, Answer(conversation)))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct SearchQuery {
    /// What to look for; any text will do.
    q: String,
    /// Maximum number of items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// Search the person's messages
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/conversations/search", tag = "conversations",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid), SearchQuery),
    responses((status = 200, description = "Newest first.", body = ListPage<MessageHit>), ReadProblems)
)]
async fn search_conversations(
    State(state): State<AppState>,
    caller: In<Chat>,
    Query(query): Query<SearchQuery>,
) -> ApiResult<Answer<ListPage<MessageHit>>> {
    let page = page(query.limit, query.cursor)?;
    Ok(Answer(state.stores().conversations.search(&caller, &query.q, page).await?))
}

/// Ids of the person's conversations by their beginning
///
/// For people who type part of an id. Archived conversations are included.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/conversations/ids", tag = "conversations",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid), PrefixQuery),
    responses((status = 200, description = "The ids; none where nothing begins so.", body = Ids), ReadProblems)
)]
async fn conversation_ids(
    State(state): State<AppState>,
    caller: In<Chat>,
    Query(query): Query<PrefixQuery>,
) -> ApiResult<Answer<Ids>> {
    let ids = state.stores().conversations.ids(&caller, query.prefix()?).await?;
    Ok(Answer(ids.into()))
}

/// A conversation
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/conversations/{id}", tag = "conversations",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The conversation.", format = Uuid),
    ),
    responses((status = 200, description = "The conversation.", body = Conversation), ReadProblems)
)]
async fn get_conversation(
    State(state): State<AppState>,
    caller: In<Chat>,
    Path(path): Path<One<ConversationId>>,
) -> ApiResult<Answer<Conversation>> {
    let conversation = state.stores().conversations.conversation(&caller, path.id).await?;
    conversation.map(Answer).ok_or_else(|| Problem::not_found("the conversation"))
}

/// Rename, archive or restore a conversation
#[utoipa::path(
    patch, path = "/v1/workspaces/{workspace_id}/conversations/{id}", tag = "conversations", request_body = ConversationEdit,
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The conversation.", format = Uuid),
    ),
    responses((status = 200, description = "The conversation.", body = Conversation), WriteProblems)
)]
async fn edit_conversation(
    State(state): State<AppState>,
    caller: In<Chat>,
    Path(path): Path<One<ConversationId>>,
    Json(mut edit): Json<ConversationEdit>,
) -> ApiResult<Answer<Conversation>> {
    edit.title = edit.title.map(|title| check_name("title", &title, 200)).transpose()?;
    Ok(Answer(state.stores().conversations.edit(&caller, path.id, edit).await?))
}

/// Delete a conversation
///
/// For good: its messages are removed, also from the search, and so is what was recorded of its runs, except that they took
/// place. Memories that came from it stay; redact those that should be removed as well. 409 while a reply is being written.
#[utoipa::path(
    delete, path = "/v1/workspaces/{workspace_id}/conversations/{id}", tag = "conversations",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The conversation.", format = Uuid),
    ),
    responses((status = 204, description = "It is gone."), WriteProblems)
)]
async fn delete_conversation(
    State(state): State<AppState>,
    caller: In<Chat>,
    Path(path): Path<One<ConversationId>>,
) -> ApiResult<StatusCode> {
    state.stores().conversations.delete(&caller, path.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The runs of a conversation
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/conversations/{id}/runs", tag = "runs",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The conversation.", format = Uuid),
        PageQuery,
    ),
    responses((status = 200, description = "Newest first.", body = ListPage<Run>), ReadProblems)
)]
async fn list_runs(
    State(state): State<AppState>,
    caller: In<Chat>,
    Path(path): Path<One<ConversationId>>,
    Query(page): Query<PageQuery>,
) -> ApiResult<Answer<ListPage<Run>>> {
    let page = page.request()?;
    // Someone else's conversation looks like one that does not exist, not like one without runs.
    let known = state.stores().conversations.conversation(&caller, path.id).await?;
    known.ok_or_else(|| Problem::not_found("the conversation"))?;
    Ok(Answer(state.stores().runs.runs(&caller, path.id, page).await?))
}
