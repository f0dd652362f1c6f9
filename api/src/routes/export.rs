use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use duet_core::{
    Caller, StoreError,
    domain::{Agent, Conversation, ListPage, Message, MessageRole, MessageStatus, PageRequest},
    ids::ConversationId,
    ports::ConversationStore,
};
use futures::stream;
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
    /// `markdown` (the default) or `json`.
    #[serde(default)]
    #[param(inline)]
    format: Format,
}

/// A whole conversation. Each message is one line of the file.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct ConversationExport {
    /// The conversation.
    pub conversation: Conversation,
    /// All its messages, oldest first.
    pub messages: Vec<Message>,
}

/// The whole conversation as a file
///
/// In Markdown, agents appear by name and times in UTC, to the minute. Sent in parts as it is read. An answer that breaks off is not a whole file: repeat the request.
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
    let store = Arc::clone(&state.stores().conversations);
    let conversation = store.conversation(&caller, path.id).await?;
    let conversation = conversation.ok_or_else(|| Problem::not_found("the conversation"))?;
    // A failure now becomes a problem; a later one breaks the answer off.
    let first = store.transcript(&caller, path.id, WHOLE_PAGE).await?;
    let (kind, extension) = match query.format {
        Format::Markdown => ("text/markdown; charset=utf-8", "md"),
        Format::Json => ("application/json", "json"),
    };
    let agents = match query.format {
        Format::Markdown => state.stores().agents.agents(&caller).await?,
        Format::Json => Vec::new(),
    };
    let name = format!("attachment; filename=\"conversation-{}.{extension}\"", path.id);
    let disposition = HeaderValue::from_str(&name).map_err(|_| Problem::internal())?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    let writing = Writing {
        store,
        caller: (*caller).clone(),
        format: query.format,
        conversation,
        agents,
        next: Next::Page(first),
        written: 0,
    };
    let pages = stream::try_unfold(writing, |writing| async move {
        writing
            .step()
            .await
            .inspect_err(|error| tracing::warn!(%error, "an export broke off"))
    });
    Ok((headers, Body::from_stream(pages)).into_response())
}

/// The first page of a transcript, of the largest size.
const WHOLE_PAGE: PageRequest = PageRequest {
    cursor: None,
    limit: PageRequest::MAX,
};

/// An export in progress: page by page as the reader takes it, so that a long conversation is never in memory as a whole.
struct Writing {
    store: Arc<dyn ConversationStore>,
    caller: Caller,
    format: Format,
    conversation: Conversation,
    /// For the names above what they wrote.
    agents: Vec<Agent>,
    next: Next,
    /// Messages so far.
    written: usize,
}

/// What comes next in an export.
enum Next {
    /// A page that is there.
    Page(ListPage<Message>),
    /// The page after this cursor.
    After(String),
    /// Nothing.
    End,
}

impl Writing {
    /// The next part of the file, and what is left.
    async fn step(mut self) -> Result<Option<(String, Self)>, StoreError> {
        let page = match std::mem::replace(&mut self.next, Next::End) {
            Next::Page(page) => page,
            Next::After(cursor) => {
                let page = PageRequest {
                    cursor: Some(cursor),
                    ..WHOLE_PAGE
                };
                self.store.transcript(&self.caller, self.conversation.id, page).await?
            }
            Next::End => return Ok(None),
        };
        let mut text = match self.written {
            0 => self.beginning()?,
            _ => String::new(),
        };
        for message in &page.items {
            match self.format {
                Format::Markdown => text.push_str(&self.markdown(message)),
                Format::Json => {
                    text.push_str(if self.written == 0 { "\n" } else { ",\n" });
                    text.push_str(&json(message)?);
                }
            }
            self.written += 1;
        }
        match page.next_cursor {
            Some(cursor) => self.next = Next::After(cursor),
            None => text.push_str(self.end()),
        }
        Ok(Some((text, self)))
    }

    fn beginning(&self) -> Result<String, StoreError> {
        Ok(match self.format {
            Format::Markdown => format!("# {}\n", self.conversation.title),
            Format::Json => format!("{{\"conversation\":{},\"messages\":[", json(&self.conversation)?),
        })
    }

    fn end(&self) -> &'static str {
        match self.format {
            Format::Markdown => "",
            Format::Json => "\n]}\n",
        }
    }

    /// A message as a section.
    fn markdown(&self, message: &Message) -> String {
        let who = match message.role {
            MessageRole::User => "You",
            MessageRole::Assistant => {
                let agent = self.agents.iter().find(|agent| Some(agent.id) == message.agent_id);
                agent.map_or("Companion", |agent| &agent.name)
            }
        };
        let at = message.created_at.to_the_minute();
        let status = match message.status {
            MessageStatus::Complete => String::new(),
            other => format!(" ({other})"),
        };
        format!("\n## {who}, {at}{status}\n\n{}\n", message.text)
    }
}

fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::unavailable("a message cannot be written as JSON"))
}
