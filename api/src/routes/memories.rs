use axum::{Json as Answer, extract::State, http::StatusCode};
use duet_core::{
    Timestamp,
    domain::{
        Agent, Conversation, Egress, KeyScope, LabelEdit, ListPage, Locality, Memory, MemoryDomain, MemoryEdit, MemoryFilter,
        Message, NewMemory, PageRequest, Provenance, RecallAnswer, RecallMode, RedactionReceipt, ReviewState, Run, Taint,
        Visibility,
    },
    ids::MemoryId,
};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Ids, One, PrefixQuery};
use crate::{
    auth::{In, MemoryRead, MemoryWrite, PersonOnly},
    error::{ApiResult, Problem, ReadProblems, WriteProblems},
    extract::{Json, Path, Query, page},
    state::AppState,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_memories, create_memory))
        .routes(routes!(search_memories))
        .routes(routes!(memory_ids))
        .routes(routes!(get_memory, edit_memory))
        .routes(routes!(clear_memory_labels))
        .routes(routes!(memory_provenance))
        .routes(routes!(redact_memory))
        .routes(routes!(redaction_receipt))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only this domain.
    domain: Option<MemoryDomain>,
    /// Only this review state; accepted ones when absent.
    review: Option<ReviewState>,
    /// Also those that no longer hold, and redacted ones.
    #[serde(default)]
    history: bool,
    /// Maximum number of items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// Memories
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/memories", tag = "memories",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid), ListQuery),
    responses((status = 200, description = "Newest first.", body = ListPage<Memory>), ReadProblems)
)]
async fn list_memories(
    State(state): State<AppState>,
    caller: In<MemoryRead>,
    Query(query): Query<ListQuery>,
) -> ApiResult<Answer<ListPage<Memory>>> {
    let page = page(query.limit, query.cursor)?;
    let filter = MemoryFilter {
        domain: query.domain,
        review: query.review,
        history: query.history,
        superseded_by: None,
    };
    Ok(Answer(state.stores().memories.list(&caller, filter, page).await?))
}

/// Something to remember.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryRequest {
    /// An id chosen by the client (a UUIDv7), so that the request can be repeated.
    id: Option<MemoryId>,
    /// Up to 16 KiB.
    text: String,
    /// `semantic` when absent.
    domain: Option<MemoryDomain>,
    /// `private` when absent.
    visibility: Option<Visibility>,
    /// Also encrypt the text separately.
    #[serde(default)]
    sensitive: bool,
    /// `any` when absent.
    egress: Option<Egress>,
    /// When it happened; now when absent.
    occurred_at: Option<Timestamp>,
    /// When it expires, a time in the future (working memories only).
    expires_at: Option<Timestamp>,
    /// The memory that it replaces.
    supersedes: Option<MemoryId>,
}

/// What a write shows of a memory: a key that may not read memories cannot read them by writing.
fn shown(caller: &In<MemoryWrite>, memory: Memory) -> Memory {
    match caller.authenticated().may(KeyScope::MemoryRead) {
        true => memory,
        false => Memory {
            text: String::new(),
            speaker: None,
            provenance: Provenance::default(),
            position: None,
            ..memory
        },
    }
}

/// Remember something
///
/// A key without `memory_read` gets the memory without its text and source.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace_id}/memories", tag = "memories", request_body = MemoryRequest,
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid)),
    responses((status = 201, description = "The memory.", body = Memory), WriteProblems)
)]
async fn create_memory(
    State(state): State<AppState>,
    caller: In<MemoryWrite>,
    Json(request): Json<MemoryRequest>,
) -> ApiResult<(StatusCode, Answer<Memory>)> {
    let memory = NewMemory {
        id: request.id.unwrap_or_else(|| state.env().id()),
        domain: request.domain.unwrap_or(MemoryDomain::Semantic),
        text: request.text,
        speaker: None,
        visibility: request.visibility.unwrap_or(Visibility::Private),
        sensitive: request.sensitive,
        egress: request.egress.unwrap_or(Egress::Any),
        taint: Taint::Trusted,
        provenance: Provenance {
            user_id: Some(caller.user),
            ..Provenance::default()
        },
        position: None,
        occurred_at: request.occurred_at.unwrap_or_else(|| state.env().now()),
        expires_at: request.expires_at,
        supersedes: request.supersedes,
    };
    memory.check()?;
    let memory = state.memories().remember(&caller, memory).await?;
    state.wake_backlog();
    Ok((StatusCode::CREATED, Answer(shown(&caller, memory))))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct SearchQuery {
    /// The question.
    q: String,
    /// How many, 1 to 100; 10 when absent.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
    /// `hybrid` when absent.
    mode: Option<RecallMode>,
    /// Only this domain.
    domain: Option<MemoryDomain>,
}

/// Recall
///
/// `mode` in the answer says what was used: `fts` if there was no vector.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/memories/search", tag = "memories",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid), SearchQuery),
    responses((status = 200, description = "Best first.", body = RecallAnswer), ReadProblems)
)]
async fn search_memories(
    State(state): State<AppState>,
    caller: In<MemoryRead>,
    Query(query): Query<SearchQuery>,
) -> ApiResult<Answer<RecallAnswer>> {
    let limit = query.limit.unwrap_or(10);
    if !(1..=100).contains(&limit) {
        return Err(Problem::invalid_field("limit", "`limit` is between 1 and 100."));
    }
    if query.q.len() > NewMemory::MAX_TEXT {
        return Err(Problem::invalid_field(
            "q",
            format!("A question has at most {} bytes.", NewMemory::MAX_TEXT),
        ));
    }
    let mode = query.mode.unwrap_or(RecallMode::Hybrid);
    let domains = query.domain.map(|domain| vec![domain]);
    // The person reads the answer themselves: nothing of theirs is withheld.
    let answer = state
        .memories()
        .recall(&caller, query.q.as_str(), mode, limit, domains, Locality::Local)
        .await?;
    Ok(Answer(answer))
}

/// Ids of memories by their beginning
///
/// For people who type part of an id. Includes memories that no longer hold, or were redacted.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/memories/ids", tag = "memories",
    params(("workspace_id" = String, Path, description = "The workspace.", format = Uuid), PrefixQuery),
    responses((status = 200, description = "The ids; none where nothing begins so.", body = Ids), ReadProblems)
)]
async fn memory_ids(
    State(state): State<AppState>,
    caller: In<MemoryRead>,
    Query(query): Query<PrefixQuery>,
) -> ApiResult<Answer<Ids>> {
    let ids = state.stores().memories.ids(&caller, query.prefix()?).await?;
    Ok(Answer(ids.into()))
}

async fn memory(state: &AppState, caller: &duet_core::Caller, id: MemoryId) -> ApiResult<Memory> {
    let found = state.stores().memories.memories(caller, &[id]).await?;
    found.into_iter().next().ok_or_else(|| Problem::not_found("the memory"))
}

/// A memory
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/memories/{id}", tag = "memories",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The memory.", format = Uuid),
    ),
    responses((status = 200, description = "The memory.", body = Memory), ReadProblems)
)]
async fn get_memory(
    State(state): State<AppState>,
    caller: In<MemoryRead>,
    Path(path): Path<One<MemoryId>>,
) -> ApiResult<Answer<Memory>> {
    Ok(Answer(memory(&state, &caller, path.id).await?))
}

/// Review, share or restrict a memory
///
/// A new text is a new memory that supersedes this one. A key without `memory_read` gets the memory without its text and source.
#[utoipa::path(
    patch, path = "/v1/workspaces/{workspace_id}/memories/{id}", tag = "memories", request_body = MemoryEdit,
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The memory.", format = Uuid),
    ),
    responses((status = 200, description = "The memory.", body = Memory), WriteProblems)
)]
async fn edit_memory(
    State(state): State<AppState>,
    caller: In<MemoryWrite>,
    Path(path): Path<One<MemoryId>>,
    Json(edit): Json<MemoryEdit>,
) -> ApiResult<Answer<Memory>> {
    let memory = state.stores().memories.edit(&caller, path.id, edit).await?;
    Ok(Answer(shown(&caller, memory)))
}

/// Clear labels of a memory
///
/// The person, not one of their keys, declares that the labels do not apply: `integrity` makes the memory trusted, `egress` lets
/// any model read it, `sensitive` (only for its own person, and not where it replaces another person's memory) has its text
/// stored and found like any other. Each label separately; one that the memory does not have is ignored. What was made from it
/// before keeps its labels, and a proposal stays one. The change is on record.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace_id}/memories/{id}/labels", tag = "memories", request_body = LabelEdit,
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The memory.", format = Uuid),
    ),
    responses((status = 200, description = "The memory.", body = Memory), WriteProblems)
)]
async fn clear_memory_labels(
    State(state): State<AppState>,
    caller: In<PersonOnly>,
    Path(path): Path<One<MemoryId>>,
    Json(edit): Json<LabelEdit>,
) -> ApiResult<Answer<Memory>> {
    let memory = state.stores().memories.clear_labels(&caller, path.id, edit).await?;
    // An embedder elsewhere may now read it.
    state.wake_backlog();
    Ok(Answer(memory))
}

/// Why something is remembered.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct MemoryProvenance {
    /// The memory.
    pub memory: Memory,
    /// The message it was said in, if the person may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
    /// The conversation it was said in, if the person may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Conversation>,
    /// Whether the conversation it was said in, one of the person's own, was deleted.
    #[serde(default)]
    pub conversation_deleted: bool,
    /// The run that wrote it, if the person may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// The agent that wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    /// The memories that it replaced, newest first.
    pub superseded: Vec<Memory>,
}

/// Why do you remember this?
///
/// A key without `chat` gets no message, no conversation and no run.
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/memories/{id}/provenance", tag = "memories",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The memory.", format = Uuid),
    ),
    responses((status = 200, description = "What it came from.", body = MemoryProvenance), ReadProblems)
)]
async fn memory_provenance(
    State(state): State<AppState>,
    caller: In<MemoryRead>,
    Path(path): Path<One<MemoryId>>,
) -> ApiResult<Answer<MemoryProvenance>> {
    let memory = memory(&state, &caller, path.id).await?;
    let stores = state.stores();
    let from = &memory.provenance;
    // Reading what was said in a conversation takes `chat`.
    let chat = caller.authenticated().may(KeyScope::Chat);
    let message = match from.message_id.filter(|_| chat) {
        Some(id) => stores.conversations.messages_by_id(&caller, &[id]).await?.into_iter().next(),
        None => None,
    };
    let conversation = match from.conversation_id.filter(|_| chat) {
        Some(id) => stores.conversations.conversation(&caller, id).await?,
        None => None,
    };
    let run = match from.run_id.filter(|_| chat) {
        Some(id) => stores.runs.run(&caller, id).await?,
        None => None,
    };
    let agent = match from.agent_id {
        Some(id) => stores.agents.agent(&caller, id).await?,
        None => None,
    };
    let superseded = superseded(&state, &caller, path.id).await?;
    Ok(Answer(MemoryProvenance {
        // People may see what was said to them until they delete it; a key that may not read chats learns nothing about them.
        conversation_deleted: chat && conversation.is_none() && from.conversation_id.is_some() && memory.user_id == caller.user,
        memory,
        message,
        conversation,
        run,
        agent,
        superseded,
    }))
}

/// Longest history returned.
const MOST_SUPERSEDED: usize = 100;

/// The memories that led to this one, newest first: the one it replaced, the one that had replaced, and so on.
async fn superseded(state: &AppState, caller: &duet_core::Caller, id: MemoryId) -> ApiResult<Vec<Memory>> {
    let mut found: Vec<Memory> = Vec::new();
    while found.len() < MOST_SUPERSEDED {
        let filter = MemoryFilter {
            history: true,
            superseded_by: Some(found.last().map_or(id, |memory| memory.id)),
            ..MemoryFilter::default()
        };
        let page = state.stores().memories.list(caller, filter, PageRequest::first(1)).await?;
        match page.items.into_iter().next() {
            Some(memory) => found.push(memory),
            None => break,
        }
    }
    Ok(found)
}

/// Redact a memory
///
/// Removes its text everywhere it went, for good. Repeating the request returns the first receipt.
#[utoipa::path(
    post, path = "/v1/workspaces/{workspace_id}/memories/{id}/redact", tag = "memories",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The memory.", format = Uuid),
    ),
    responses((status = 200, description = "What was removed where.", body = RedactionReceipt), WriteProblems)
)]
async fn redact_memory(
    State(state): State<AppState>,
    caller: In<MemoryWrite>,
    Path(path): Path<One<MemoryId>>,
) -> ApiResult<Answer<RedactionReceipt>> {
    Ok(Answer(
        state.stores().memories.redact(&caller, path.id, state.env().id()).await?,
    ))
}

/// The receipt of a redaction
#[utoipa::path(
    get, path = "/v1/workspaces/{workspace_id}/memories/{id}/receipt", tag = "memories",
    params(
        ("workspace_id" = String, Path, description = "The workspace.", format = Uuid),
        ("id" = String, Path, description = "The memory.", format = Uuid),
    ),
    responses((status = 200, description = "What was removed where.", body = RedactionReceipt), ReadProblems)
)]
async fn redaction_receipt(
    State(state): State<AppState>,
    caller: In<MemoryRead>,
    Path(path): Path<One<MemoryId>>,
) -> ApiResult<Answer<RedactionReceipt>> {
    let receipt = state.stores().memories.receipt(&caller, path.id).await?;
    receipt
        .map(Answer)
        .ok_or_else(|| Problem::not_found("a receipt for this memory"))
}
