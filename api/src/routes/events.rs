use std::sync::Arc;

use async_trait::async_trait;
use axum::{
    Extension, Json as Answer,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use duet_core::{
    Caller,
    domain::{EventKind, Message, Run},
    ids::{ConversationId, MessageId, RunId, WorkspaceId},
};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::One;
use crate::{
    auth::{Authenticated, Chat, In, Needs},
    error::{ApiResult, Code, Problem, ReadProblems},
    events::{
        agui::Frame,
        follow::{self, Follower, Pace, Start, StillAllowed},
        shapes::{AguiEvent, StreamItem},
        sse,
    },
    extract::{Path, Query},
    limits::StreamSlot,
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(run_events))
        .routes(routes!(message_stream))
}

/// Most events in one JSON page.
const PAGE: usize = 200;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    /// Only events after this `seq`; `Last-Event-ID` takes precedence.
    after: Option<u64>,
    /// Leaves out the pieces of text of model calls that had ended before: their text comes as a whole.
    brief: Option<bool>,
}

/// A page of a run's events.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventsPage {
    /// In order; without gaps, but for what `brief` leaves out.
    pub events: Vec<EventItem>,
    /// The run's newest `seq`.
    pub last_seq: u64,
    /// Whether nothing follows this page by itself: the run has ended, or it waits for a person.
    pub ended: bool,
}

/// One event.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventItem {
    /// 1, 2, 3 … in the run.
    pub seq: u64,
    /// Its domain kind.
    pub kind: EventKind,
    /// Its AG-UI objects.
    pub data: Vec<AguiEvent>,
}

/// The events of a run
///
/// Server-sent events: first those that are missing, then new ones as they come, until the run ends or waits for a person. `id:` is
/// the event's `seq`, `event:` its kind, `data:` an AG-UI object; an event that becomes several objects carries its `id:` on the last
/// one. With `Accept: application/json` the answer is one page instead.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/runs/{id}/events", tag = "runs",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The run.", format = Uuid),
        ("Last-Event-ID" = Option<u64>, Header, description = "The last `seq` that the client has."),
        EventsQuery,
    ),
    responses(
        (status = 200, description = "The events.", content((Vec<StreamItem> = "text/event-stream"), (EventsPage = "application/json"))),
        ReadProblems
    )
)]
async fn run_events(
    State(state): State<AppState>,
    caller: In<Chat>,
    Path(path): Path<One<RunId>>,
    Query(query): Query<EventsQuery>,
    pace: Option<Extension<Pace>>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let run = state.stores().runs.run(&caller, path.id).await?;
    let run = run.ok_or_else(|| Problem::not_found("the run"))?;
    open(
        &state,
        &caller,
        run,
        start(&headers, query.after, query.brief)?,
        pace,
        &headers,
    )
    .await
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct StreamQuery {
    /// The person's message (or the reply).
    #[param(value_type = String, format = Uuid)]
    message_id: MessageId,
    /// Only events after this `seq`; `Last-Event-ID` takes precedence.
    after: Option<u64>,
    /// Leaves out the pieces of text of model calls that had ended before: their text comes as a whole.
    brief: Option<bool>,
}

/// The events of the run that answers a message
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/conversations/{id}/stream", tag = "conversations",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The conversation.", format = Uuid),
        ("Last-Event-ID" = Option<u64>, Header, description = "The last `seq` that the client has."),
        StreamQuery,
    ),
    responses(
        (status = 200, description = "The events.", content((Vec<StreamItem> = "text/event-stream"), (EventsPage = "application/json"))),
        ReadProblems
    )
)]
async fn message_stream(
    State(state): State<AppState>,
    caller: In<Chat>,
    Path(path): Path<One<ConversationId>>,
    Query(query): Query<StreamQuery>,
    pace: Option<Extension<Pace>>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let message = message_of(&state, &caller, path.id, query.message_id).await?;
    let run = match message.run_id {
        Some(run) => state.stores().runs.run(&caller, run).await?,
        None => None,
    };
    let run = run.ok_or_else(|| Problem::not_found("a run that answers this message"))?;
    open(
        &state,
        &caller,
        run,
        start(&headers, query.after, query.brief)?,
        pace,
        &headers,
    )
    .await
}

/// A message, if it is in that conversation.
pub(super) async fn message_of(
    state: &AppState,
    caller: &Caller,
    conversation: ConversationId,
    message: MessageId,
) -> ApiResult<Message> {
    let found = state.stores().conversations.messages_by_id(caller, &[message]).await?;
    found
        .into_iter()
        .find(|message| message.conversation_id == conversation)
        .ok_or_else(|| Problem::not_found("the message"))
}

fn start(headers: &HeaderMap, query: Option<u64>, brief: Option<bool>) -> ApiResult<Start> {
    Ok(Start {
        after: after(headers, query)?,
        brief: brief.unwrap_or(false),
    })
}

/// Where to resume. A browser that reconnects on its own repeats the old `?after=` with a newer `Last-Event-ID`.
fn after(headers: &HeaderMap, query: Option<u64>) -> ApiResult<u64> {
    let Some(header) = headers.get("last-event-id") else {
        return Ok(query.unwrap_or(0));
    };
    let number = header.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| {
        Problem::new(
            Code::InvalidRequest,
            "`Last-Event-ID` is the `seq` of an event, a whole number.",
        )
    })
}

/// Whether the client asks for a page rather than a stream.
fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    accept.contains("application/json") && !accept.contains("text/event-stream")
}

/// `pace` is the deployment's, if its platform has limits of its own.
async fn open(
    state: &AppState,
    caller: &In<Chat>,
    run: Run,
    start: Start,
    pace: Option<Extension<Pace>>,
    headers: &HeaderMap,
) -> ApiResult<Response> {
    let stores = state.stores();
    let runs = Arc::clone(&stores.runs);
    let mut follower = Follower::open(runs, &*stores.feed, (**caller).clone(), run, start).await?;
    if wants_page(headers) {
        return Ok(Answer(page(&mut follower).await?).into_response());
    }
    let slot = state.limits().stream(caller.user)?;
    Ok(stream(state, caller, follower, slot, pace))
}

/// The events as they come, in one of the person's slots.
pub(super) fn stream(
    state: &AppState,
    caller: &In<Chat>,
    follower: Follower,
    slot: StreamSlot,
    pace: Option<Extension<Pace>>,
) -> Response {
    let guard = (slot, state.metrics().stream_opened());
    sse::response(follow::bytes(
        follower,
        Membership::of(state, caller),
        state.closing(),
        pace.map(|Extension(pace)| pace).unwrap_or_default(),
        guard,
    ))
}

async fn page(follower: &mut Follower) -> ApiResult<EventsPage> {
    let mut events: Vec<EventItem> = Vec::new();
    let mut data = Vec::new();
    let mut cut = false;
    while !cut && !follower.ended() {
        let frames = follower.read().await?;
        if frames.is_empty() {
            break;
        }
        for Frame { id, kind, data: object } in frames {
            if events.len() >= PAGE {
                cut = true;
                break;
            }
            data.push(object);
            if let Some(seq) = id {
                events.push(EventItem {
                    seq,
                    kind,
                    data: std::mem::take(&mut data),
                });
            }
        }
    }
    Ok(EventsPage {
        last_seq: follower.last_seq(),
        ended: follower.ended() && !cut,
        events,
    })
}

/// Whether the person of a stream may still read it.
pub(super) struct Membership {
    state: AppState,
    authenticated: Authenticated,
    workspace: WorkspaceId,
}

impl Membership {
    /// The caller's.
    pub(super) fn of<N: Needs>(state: &AppState, caller: &In<N>) -> Arc<dyn StillAllowed> {
        Arc::new(Self {
            state: state.clone(),
            authenticated: caller.authenticated().clone(),
            workspace: caller.workspace,
        })
    }
}

#[async_trait]
impl StillAllowed for Membership {
    async fn still_allowed(&self) -> bool {
        match self.authenticated.still_opens(&self.state, self.workspace).await {
            Ok(()) => true,
            // A store that cannot answer now has not refused; the next check asks again.
            Err(problem) => problem.status >= 500,
        }
    }
}
