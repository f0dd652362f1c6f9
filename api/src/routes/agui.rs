use std::{collections::HashSet, sync::Arc};

use axum::{Extension, extract::State, response::Response};
use duet_core::{
    domain::{Decision, NewTurn},
    ids::{ConversationId, RequestId, RunId},
};
use serde::Deserialize;
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    One,
    requests::{self, deciding},
};
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
    /// another text 409. Ignored with `resume`.
    run_id: RunId,
    /// The last one is the person's, and starts the turn; those before it are ignored, and with `resume` all of them.
    messages: Vec<InputMessage>,
    /// Decisions of what the last run waits for. With any, no turn is started: the run goes on.
    #[serde(default)]
    resume: Option<Vec<ResumeEntry>>,
}

/// The answer to an interrupt, as AG-UI writes it.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResumeEntry {
    /// The request.
    interrupt_id: RequestId,
    /// Whether it was answered.
    status: ResumeStatus,
    /// The decision, as `POST …/requests/{id}/decide` takes it, or AG-UI's `{"approved": true | false, "editedArgs"?: {…}}`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    payload: Value,
}

/// What became of an interrupt.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResumeStatus {
    /// It was answered.
    Resolved,
    /// It was not: the request is dismissed.
    Cancelled,
}

/// AG-UI's way to answer about a call.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Approval {
    approved: bool,
    #[serde(default)]
    edited_args: Option<Value>,
}

impl ResumeEntry {
    fn decision(&self) -> ApiResult<Decision> {
        match self.status {
            ResumeStatus::Cancelled => Ok(Decision::Dismiss),
            ResumeStatus::Resolved if self.payload.get("approved").is_some() => {
                let approval = Approval::deserialize(&self.payload).map_err(unclear)?;
                Ok(match approval.approved {
                    true => Decision::Approve {
                        arguments: approval.edited_args,
                    },
                    false => Decision::Reject { reason: None },
                })
            }
            ResumeStatus::Resolved => Decision::deserialize(&self.payload).map_err(unclear),
        }
    }
}

fn unclear(error: serde_json::Error) -> Problem {
    Problem::invalid_field(
        "resume",
        format!("A `payload` is a decision, or `{{\"approved\": true}}`: {error}."),
    )
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
/// events of the run that answers it, until the run ends or waits for the person. With `resume` it decides what the run waits for, which
/// needs the person and not a key, and answers with the events of the run from there on. A stream that breaks cannot be resumed here:
/// send the same body again, or follow the run's events.
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
    // Before the turn or a decision: neither is made for a stream that cannot be opened.
    let slot = state.limits().stream(caller.user)?;
    if let Some(answers) = input.resume.as_deref().filter(|answers| !answers.is_empty()) {
        let follower = resume(&state, &caller, path.id, answers).await?;
        return Ok(super::events::stream(&state, &caller, follower, slot, pace));
    }
    let text = input.text()?;
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

/// Decides what a run of the conversation waits for, and follows the run from there on.
async fn resume(
    state: &AppState,
    caller: &In<Chat>,
    conversation: ConversationId,
    answers: &[ResumeEntry],
) -> ApiResult<Follower> {
    let session = deciding(state, caller.authenticated())?;
    let ids: Vec<RequestId> = answers.iter().map(|answer| answer.interrupt_id).collect();
    if ids.iter().collect::<HashSet<_>>().len() < ids.len() {
        return Err(Problem::invalid_field("resume", "Each `interruptId` is answered once."));
    }
    let decisions = answers.iter().map(ResumeEntry::decision).collect::<ApiResult<Vec<_>>>()?;
    let stores = state.stores();
    let known = stores.requests.requests(caller, &ids).await?;
    let here = |id: &RequestId| {
        known
            .iter()
            .find(|request| request.id == *id && request.conversation_id == Some(conversation))
    };
    let asked: Vec<_> = ids.iter().filter_map(here).collect();
    let run = match asked.first() {
        Some(first) if asked.len() == ids.len() && asked.iter().all(|one| one.run_id == first.run_id) => first.run_id,
        _ => {
            return Err(Problem::invalid_field(
                "resume",
                "Each `interruptId` is a request of one run of this conversation.",
            ));
        }
    };
    // All of them, or none: what is wrong with one is said before any is decided.
    for (request, decision) in asked.iter().zip(&decisions) {
        requests::check(state, caller, request, decision)?;
    }
    for (id, decision) in ids.iter().zip(decisions) {
        requests::decide(state, caller, session, *id, decision).await?;
    }
    state.wake_driver().await;
    let run = stores.runs.run(caller, run).await?;
    let run = run.ok_or_else(|| Problem::not_found("the run"))?;
    let start = Start {
        after: Follower::before_decision(&*stores.runs, caller, &run, ids[0]).await?,
        brief: false,
    };
    let runs = Arc::clone(&stores.runs);
    Ok(Follower::open(runs, &*stores.feed, (**caller).clone(), run, start).await?)
}
