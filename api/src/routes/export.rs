use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use duet_core::{
    domain::{Conversation, Message, MessageRole, MessageStatus, PageRequest},
    ids::ConversationId,
};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::One;
use crate::{
    auth::{Chat, In},
    error::{ApiResult, Problem, ReadProblems},
    extract::{Path, Query},
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(export_conversation))
}

/// The shape of the file.
#[derive(Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// For people.
    #[default]
    Markdown,
    /// For programs.
    Json,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ExportQuery {
    /// `markdown` (when absent) or `json`.
    #[serde(default)]
    #[param(inline)]
    format: Format,
}

/// A whole conversation.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct ConversationExport {
    /// The conversation.
    pub conversation: Conversation,
    /// All its messages, oldest first.
    pub messages: Vec<Message>,
}

/// The whole conversation as a file
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/conversations/{id}/export", tag = "conversations",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The conversation.", format = Uuid),
        ExportQuery,
    ),
    responses(
        (status = 200, description = "The file.", content((String = "text/markdown"), (ConversationExport = "application/json"))),
        ReadProblems
    )
)]
async fn export_conversation(
    State(state): State<AppState>,
    caller: In<Chat>,
    Path(path): Path<One<ConversationId>>,
    Query(query): Query<ExportQuery>,
) -> ApiResult<Response> {
    let store = &state.stores().conversations;
    let conversation = store.conversation(&caller, path.id).await?;
    let conversation = conversation.ok_or_else(|| Problem::not_found("the conversation"))?;
    let mut messages = Vec::new();
    let mut cursor = None;
    loop {
        let page = PageRequest {
            cursor,
            limit: PageRequest::MAX,
        };
        let page = store.messages(&caller, path.id, page).await?;
        messages.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    messages.reverse();
    let (kind, extension, body) = match query.format {
        Format::Markdown => ("text/markdown; charset=utf-8", "md", markdown(&conversation, &messages)),
        Format::Json => {
            let export = ConversationExport { conversation, messages };
            let text = serde_json::to_string_pretty(&export).map_err(|_| Problem::internal())?;
            ("application/json", "json", text)
        }
    };
    let name = format!("attachment; filename=\"conversation-{}.{extension}\"", path.id);
    let disposition = HeaderValue::from_str(&name).map_err(|_| Problem::internal())?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    Ok((headers, body).into_response())
}

fn markdown(conversation: &Conversation, messages: &[Message]) -> String {
    let mut text = format!("# {}\n", conversation.title);
    for message in messages {
        let who = match message.role {
            MessageRole::User => "You",
            MessageRole::Assistant => "Companion",
        };
        let status = match message.status {
            MessageStatus::Complete => String::new(),
            other => format!(" ({other})"),
        };
        text.push_str(&format!("\n## {who}, {}{status}\n\n{}\n", message.created_at, message.text));
    }
    text
}
