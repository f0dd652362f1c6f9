use std::sync::Arc;

use axum::{Extension, extract::State, response::Response};
use duet_core::{
    domain::NewTurn,
    ids::{ConversationId, RunId},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::One;
use crate::{
    auth::{Chat, In},
    error::{ApiResult, Problem, WriteProblems},
    events::{
        follow::{Follower, Pace, Start},
        shapes::StreamItem,
    },
    extract::{Json, Path},
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(run_agent))
}

/// What an AG-UI client sends. Fields of AG-UI that are not listed here are ignored: Duet keeps the conversation itself, and gives
/// its agents no tools, context or state of a client.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunAgentInput {
    /// The conversation, as in the path.
    thread_id: ConversationId,
    /// The id that the run will have, a fresh UUID. The same id with the same text gives the events of the first run again; with
    /// another text 409.
    run_id: RunId,
    /// The last one is the person's, and starts the turn; those before it are ignored.
    messages: Vec<InputMessage>,
    /// Answers to interrupts. Runs of Duet have none: an entry is refused.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    resume: Option<Vec<IgnoredAny>>,
}

/// A message as AG-UI writes it.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct InputMessage {
    /// Who says it: `user`, or anybody else in messages that are ignored.
    role: String,
    /// Markdown, up to 64 KiB, or a list of parts, of which the texts are joined and the others ignored.
    #[serde(default)]
    #[schema(value_type = Object)]
    content: Value,
}

impl RunAgentInput {
    /// What the person says.
    fn text(&self) -> ApiResult<String> {
        let said = self.messages.last().filter(|message| message.role == "user");
        let said = said.ok_or_else(|| {
            Problem::invalid_field("messages", "The last message is what the person says: its `role` is `user`.")
        })?;
        match &said.content {
            Value::String(text) => Ok(text.clone()),
            Value::Array(parts) => Ok(parts.iter().filter_map(text_part).collect()),
            _ => Err(Problem::invalid_field(
                "messages",
                "The last message's `content` is a text or a list of parts.",
            )),
        }
    }
}

/// AG-UI has parts that an agent cannot use left out, not refused.
fn text_part(part: &Value) -> Option<&str> {
    part.get("text").filter(|_| part["type"] == "text")?.as_str()
}

/// Run a turn, as AG-UI
///
/// For clients of AG-UI, such as `HttpAgent` of `@ag-ui/client`: stores the last message, as sending it does, and answers with the
/// events of the run that answers it, until the run ends. A stream that breaks cannot be resumed here: send the same body again, or
/// follow the run's events.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace_id}/conversations/{id}/agui", tag = "conversations", request_body = RunAgentInput,
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The conversation.", format = Uuid),
    ),
    responses((status = 200, description = "The events.", content((Vec<StreamItem> = "text/event-stream"))), WriteProblems)
)]
async fn run_agent(
    State(state): State<AppState>,
    caller: In<Chat>,
    Path(path): Path<One<ConversationId>>,
    pace: Option<Extension<Pace>>,
    Json(input): Json<RunAgentInput>,
) -> ApiResult<Response> {
    if input.thread_id != path.id {
        return Err(Problem::invalid_field(
            "threadId",
            "`threadId` is the id of the conversation in the address.",
        ));
    }
    if input.resume.as_ref().is_some_and(|answers| !answers.is_empty()) {
        return Err(Problem::invalid_field(
            "resume",
            "No run of this conversation waits for an answer. Leave out `resume`.",
        ));
    }
    let text = input.text()?;
    // Before the turn: it is not started for a stream that cannot be opened.
    let slot = state.limits().stream(caller.user)?;
    let turn = NewTurn {
        run_id: input.run_id,
        idempotency_key: Some(format!("agui:{}", input.run_id)),
        ..NewTurn::new(state.env(), path.id, text)
    };
    let receipt = super::messages::start(&state, &caller, turn, "messages").await?;
    let stores = state.stores();
    let run = stores.runs.run(&caller, receipt.run_id).await?;
    let run = run.ok_or_else(|| Problem::not_found("the run"))?;
    let follower = Follower::open(
        Arc::clone(&stores.runs),
        &*stores.feed,
        (*caller).clone(),
        run,
        Start::default(),
    )
    .await?;
    Ok(super::events::stream(&state, &caller, follower, slot, pace))
}
