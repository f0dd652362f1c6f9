use axum::{
    Json as Answer,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use duet_core::{
    Caller, Refusal,
    domain::{Conversation, LabelEdit, ListPage, Message, NewTurn, Place, RetryMode, RetryTurn, TurnReceipt},
    ids::{ConversationId, MessageId, WorkspaceId},
};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::One;
use crate::{
    auth::{Chat, In, PersonOnly},
    error::{ApiResult, Code, Problem, ReadProblems, WriteProblems},
    extract::{Json, PageQuery, Path, Query},
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_messages, send_message))
        .routes(routes!(retry_message))
        .routes(routes!(show_message))
        .routes(routes!(clear_message_labels))
}

/// The messages of a conversation
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/conversations/{id}/messages", tag = "conversations",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The conversation.", format = Uuid),
        PageQuery,
    ),
    responses((status = 200, description = "Newest first.", body = ListPage<Message>), ReadProblems)
)]
async fn list_messages(
    State(state): State<AppState>,
    caller: In<Chat>,
    Path(path): Path<One<ConversationId>>,
    Query(page): Query<PageQuery>,
) -> ApiResult<Answer<ListPage<Message>>> {
    let page = page.request()?;
    let known = state.stores().conversations.conversation(&caller, path.id).await?;
    known.ok_or_else(|| Problem::not_found("the conversation"))?;
    Ok(Answer(state.stores().conversations.messages(&caller, path.id, page).await?))
}

/// What the person says.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// Markdown, up to 64 KiB.
    text: String,
    /// The message that it comes after, where that is not the newest one shown: a branch begins there.
    #[serde(default)]
    after: Option<MessageId>,
    /// The message of the person's own that it is another version of. Not together with `after`.
    #[serde(default)]
    instead: Option<MessageId>,
}

impl NewMessage {
    fn place(&self) -> ApiResult<Place> {
        match (self.after, self.instead) {
            (None, None) => Ok(Place::Newest),
            (Some(message), None) => Ok(Place::After(message)),
            (None, Some(message)) => Ok(Place::Instead(message)),
            (Some(_), Some(_)) => Err(Problem::from(Refusal::TwoPlaces).of_field("instead")),
        }
    }
}

/// The key that a client repeats when it repeats a request.
fn idempotency_key(headers: &HeaderMap) -> ApiResult<Option<String>> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else {
        return Ok(None);
    };
    let good =
        keys.next().is_none() && (1..=200).contains(&key.len()) && key.as_bytes().iter().all(|byte| (0x21..=0x7e).contains(byte));
    match key.to_str() {
        Ok(key) if good => Ok(Some(key.to_owned())),
        _ => Err(Problem::new(
            Code::InvalidRequest,
            "`Idempotency-Key` is one key of 1 to 200 visible ASCII characters.",
        )),
    }
}

/// Say something
///
/// Stores the message and queues the run that answers it. Follow the run's events to see the reply. With `after` or `instead` the
/// conversation goes on from an earlier message; what followed that is kept as another branch.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace_id}/conversations/{id}/messages", tag = "conversations", request_body = NewMessage,
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The conversation.", format = Uuid),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key with the same text gives the first answer again; with another text 409."),
    ),
    responses((status = 202, description = "Stored; a run will answer it.", body = TurnReceipt), WriteProblems)
)]
async fn send_message(
    State(state): State<AppState>,
    caller: In<Chat>,
    Path(path): Path<One<ConversationId>>,
    headers: HeaderMap,
    Json(message): Json<NewMessage>,
) -> ApiResult<(StatusCode, Answer<TurnReceipt>)> {
    let idempotency_key = idempotency_key(&headers)?;
    let turn = NewTurn {
        idempotency_key,
        place: message.place()?,
        ..NewTurn::new(state.env(), path.id, message.text)
    };
    let receipt = start(&state, &caller, turn, "text").await?;
    Ok((StatusCode::ACCEPTED, Answer(receipt)))
}

/// Starts a turn within the deployment's limits; `field` is where the request has the text.
pub(super) async fn start(state: &AppState, caller: &Caller, turn: NewTurn, field: &str) -> ApiResult<TurnReceipt> {
    turn.check().map_err(|refusal| Problem::from(refusal).of_field(field))?;
    let turn = NewTurn {
        limits: state.turn_limits(),
        ..turn
    };
    let receipt = state.stores().runs.start_turn(caller, turn).await?;
    state.wake_driver().await;
    Ok(receipt)
}

/// How to answer again.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// `restart`: from the beginning, as another version of the reply; `continue`: from where the reply ends.
    mode: RetryMode,
}

#[derive(Deserialize)]
struct MessagePath {
    #[expect(dead_code, reason = "checked by the extractor `In`")]
    workspace_id: WorkspaceId,
    id: ConversationId,
    message_id: MessageId,
}

/// Answer a message again
///
/// `message_id` is a message of the person's. To continue, it is the newest one that is shown. Otherwise the conversation goes on from
/// there with the new reply, and what followed is kept as another branch.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace_id}/conversations/{id}/messages/{message_id}/retry", tag = "conversations",
    request_body = Retry,
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The conversation.", format = Uuid),
        ("message_id" = String, Path, description = "The person's message.", format = Uuid),
    ),
    responses((status = 202, description = "Another run will answer it.", body = TurnReceipt), WriteProblems)
)]
async fn retry_message(
    State(state): State<AppState>,
    caller: In<Chat>,
    Path(path): Path<MessagePath>,
    Json(retry): Json<Retry>,
) -> ApiResult<(StatusCode, Answer<TurnReceipt>)> {
    let message = super::events::message_of(&state, &caller, path.id, path.message_id).await?;
    let env = state.env();
    let turn = RetryTurn {
        message_id: message.id,
        run_id: env.id(),
        reply_id: env.id(),
        mode: retry.mode,
        limits: state.turn_limits(),
    };
    let receipt = state.stores().runs.retry_turn(&caller, turn).await?;
    state.wake_driver().await;
    Ok((StatusCode::ACCEPTED, Answer(receipt)))
}

/// Show the branch of a message
///
/// The conversation then shows this message, what came before it, and the newest that has followed it. `siblings` of a message names its
/// other versions. 409 while a reply is being written.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace_id}/conversations/{id}/messages/{message_id}/show", tag = "conversations",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The conversation.", format = Uuid),
        ("message_id" = String, Path, description = "The message.", format = Uuid),
    ),
    responses((status = 200, description = "The conversation.", body = Conversation), WriteProblems)
)]
async fn show_message(
    State(state): State<AppState>,
    caller: In<Chat>,
    Path(path): Path<MessagePath>,
) -> ApiResult<Answer<Conversation>> {
    let conversations = &state.stores().conversations;
    Ok(Answer(conversations.show(&caller, path.id, path.message_id).await?))
}

/// Clear labels of a message
///
/// The person, not one of their keys, declares that the labels do not apply: `integrity` makes the message trusted, `egress` lets
/// any model read it, `sensitive` lets what is made from it be stored like other text, `others` lets it be shared. Each label
/// separately; one that the message does not have is ignored. Turns that begin afterwards read it without them; runs and what was
/// made from it before keep their labels. The change is on record. 409 while a run answers the message or writes it.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace_id}/conversations/{id}/messages/{message_id}/labels", tag = "conversations",
    request_body = LabelEdit,
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The conversation.", format = Uuid),
        ("message_id" = String, Path, description = "The message.", format = Uuid),
    ),
    responses((status = 200, description = "The message.", body = Message), WriteProblems)
)]
async fn clear_message_labels(
    State(state): State<AppState>,
    caller: In<PersonOnly>,
    Path(path): Path<MessagePath>,
    Json(edit): Json<LabelEdit>,
) -> ApiResult<Answer<Message>> {
    let message = super::events::message_of(&state, &caller, path.id, path.message_id).await?;
    Ok(Answer(
        state.stores().conversations.clear_labels(&caller, message.id, edit).await?,
    ))
}
