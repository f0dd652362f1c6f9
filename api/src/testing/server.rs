//! The scripted server itself.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    script::{EmbedFault, Fault, Scripted},
    wire::{Format, Framed},
};
use crate::{
    embedders::Lexical,
    models::{ProviderConfig, ProviderKind},
};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its path.
    pub path: String,
    /// Its headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its JSON body; null when there was none.
    pub body: Value,
    /// When it was read.
    pub arrived: Instant,
    /// When the first part of the answer was handed to the connection.
    pub began: Option<Instant>,
    /// When the last byte of the answer was handed to the connection.
    pub answered: Option<Instant>,
}

/// A model provider on a free loopback port. Base URLs: [`ScriptedModel::url`] for Anthropic and Ollama, the same with
/// `/v1` for OpenAI. It stops when dropped.
pub struct ScriptedModel {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Shared(Mutex<Inner>);

/// Chooses a reply by the request's body.
type Choice = Arc<dyn Fn(&Value) -> Scripted + Send + Sync>;

struct Inner {
    queue: VecDeque<Scripted>,
    otherwise: Scripted,
    choice: Option<Choice>,
    embed_faults: VecDeque<EmbedFault>,
    dimensions: usize,
    models: Vec<String>,
    key: Option<String>,
    refuses_prefill: bool,
    unknown_fields: Vec<&'static str>,
    record: bool,
    requests: Vec<Recorded>,
    served: usize,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            otherwise: Scripted::text(["This is ", "the scripted model."]),
            choice: None,
            embed_faults: VecDeque::new(),
            dimensions: 8,
            models: vec!["scripted".into()],
            key: None,
            refuses_prefill: false,
            unknown_fields: Vec::new(),
            record: true,
            requests: Vec::new(),
            served: 0,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::disallowed_methods, reason = "measures real time for the load bench")]
fn now() -> Instant {
    Instant::now()
}

impl ScriptedModel {
    /// Starts the server.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let router = Router::new()
            .route(
                "/v1/messages",
                post(|state, headers, uri, body| chat(Format::Anthropic, state, headers, uri, body)),
            )
            .route(
                "/v1/chat/completions",
                post(|state, headers, uri, body| chat(Format::OpenAi, state, headers, uri, body)),
            )
            .route(
                "/api/chat",
                post(|state, headers, uri, body| chat(Format::Ollama, state, headers, uri, body)),
            )
            .route(
                "/v1/embeddings",
                post(|state, headers, uri, body| embed(Format::OpenAi, state, headers, uri, body)),
            )
            .route(
                "/api/embed",
                post(|state, headers, uri, body| embed(Format::Ollama, state, headers, uri, body)),
            )
            .route("/v1/models", get(|state, headers| list(Format::OpenAi, state, headers)))
            .route("/api/tags", get(|state, headers| list(Format::Ollama, state, headers)))
            .layer(DefaultBodyLimit::max(64 * 1024 * 1024))
            .with_state(shared.clone());
        let listener = listener.tap_io(|connection| {
            // Otherwise measurements would show the scripted model's own delays.
            connection.set_nodelay(true).expect("a loopback connection takes its options");
        });
        let server = tokio::spawn(async move {
            // Ends with the task; an accept error would show in the test as a refused connection.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, shared, server })
    }

    /// Its address, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A provider entry that points here, with short timeouts.
    pub fn provider(&self, kind: ProviderKind) -> ProviderConfig {
        let url = if kind == ProviderKind::OpenAi {
            format!("{}/v1", self.url())
        } else {
            self.url()
        };
        ProviderConfig {
            timeout_seconds: 5,
            idle_timeout_seconds: 1,
            ..ProviderConfig::at(kind, url)
        }
    }

    /// Adds a reply to the queue; each request takes one.
    pub fn push(&self, reply: Scripted) {
        self.shared.lock().queue.push_back(reply);
    }

    /// What is said when the queue is empty.
    pub fn otherwise(&self, reply: Scripted) {
        self.shared.lock().otherwise = reply;
    }

    /// When the queue is empty, chooses what is said by the request's body: for many conversations at once.
    pub fn choose(&self, choice: impl Fn(&Value) -> Scripted + Send + Sync + 'static) {
        self.shared.lock().choice = Some(Arc::new(choice));
    }

    /// Says this many parts with a wait before each, for every request, and records no requests: for load.
    pub fn throughput(&self, chunks: usize, pause: Duration) {
        let mut inner = self.shared.lock();
        inner.otherwise = Scripted::throughput(chunks, pause);
        inner.record = false;
    }

    /// Adds a fault for the next embedding request.
    pub fn push_embed_fault(&self, fault: EmbedFault) {
        self.shared.lock().embed_faults.push_back(fault);
    }

    /// Sets the length of its embeddings (8 unless set).
    pub fn dimensions(&self, dimensions: usize) {
        self.shared.lock().dimensions = dimensions;
    }

    /// Sets the models that it lists (`scripted` unless set).
    pub fn models(&self, models: &[&str]) {
        self.shared.lock().models = models.iter().map(|model| (*model).to_owned()).collect();
    }

    /// Refuses requests without this key.
    pub fn require_key(&self, key: &str) {
        self.shared.lock().key = Some(key.to_owned());
    }

    /// Refuses a request that ends with the start of a reply, as Anthropic's newer models do.
    pub fn refuse_prefill(&self) {
        self.shared.lock().refuses_prefill = true;
    }

    /// Refuses requests with this field, like servers that do not know it.
    pub fn refuse_field(&self, field: &'static str) {
        self.shared.lock().unknown_fields.push(field);
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.lock().requests.clone()
    }

    /// How many chat requests were taken, recorded or not.
    pub fn served(&self) -> usize {
        self.shared.lock().served
    }
}

impl Drop for ScriptedModel {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Records a request; returns its place, and a refusal if its key is wrong.
fn record(format: Format, shared: &Shared, headers: &HeaderMap, path: &str, body: &Value) -> (Option<usize>, Option<Response>) {
    let headers: BTreeMap<String, String> = headers
        .iter()
        .map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    let mut inner = shared.lock();
    let given = headers
        .get("x-api-key")
        .map(String::as_str)
        .or_else(|| headers.get("authorization")?.strip_prefix("Bearer "));
    let refused = inner.key.as_deref().is_some_and(|key| given != Some(key));
    let place = inner.record.then(|| {
        inner.requests.push(Recorded {
            path: path.to_owned(),
            headers,
            body: body.clone(),
            arrived: now(),
            began: None,
            answered: None,
        });
        inner.requests.len() - 1
    });
    (place, refused.then(|| refusal(401, None, format.refusal(401))))
}

fn refusal(status: u16, retry_after: Option<&str>, body: Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, axum::Json(body)).into_response();
    if let Some(value) = retry_after.and_then(|value| value.parse().ok()) {
        response.headers_mut().insert("retry-after", value);
    }
    response
}

async fn chat(format: Format, State(shared): State<Arc<Shared>>, headers: HeaderMap, uri: Uri, body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return refusal(400, None, format.refusal(400));
    };
    let (place, refused) = record(format, &shared, &headers, uri.path(), &body);
    if let Some(refused) = refused {
        return refused;
    }
    if let Some(complaint) = complaint(format, &shared.lock(), &headers, &body) {
        let mut refused = format.refusal(400);
        match format {
            Format::Ollama => refused["error"] = json!(complaint),
            _ => refused["error"]["message"] = json!(complaint),
        }
        return refusal(400, None, refused);
    }
    let script = {
        let mut inner = shared.lock();
        inner.served += 1;
        match (inner.queue.pop_front(), inner.choice.clone()) {
            (Some(next), _) => next,
            (None, None) => inner.otherwise.clone(),
            (None, Some(choice)) => {
                drop(inner);
                choice(&body)
            }
        }
    };
    tokio::time::sleep(script.first_byte).await;
    if let Some(Fault::Status {
        status,
        retry_after,
        body,
    }) = &script.fault
    {
        return refusal(
            *status,
            retry_after.as_deref(),
            body.clone().unwrap_or_else(|| format.refusal(*status)),
        );
    }
    let content_type = match (&script.raw, &script.fault) {
        (Some((content_type, _)), _) | (None, Some(Fault::ContentType(content_type))) => content_type,
        _ => format.content_type(),
    };
    let chunks = chunks(format, &script);
    let pause = script.pause;
    let stream = futures::stream::iter(chunks).then(move |chunk| {
        let shared = shared.clone();
        async move {
            match chunk {
                Chunk::Bytes(bytes, wait) => {
                    if wait && !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                    if wait
                        && let Some(place) = place
                        && let Some(recorded) = shared.lock().requests.get_mut(place)
                    {
                        recorded.began.get_or_insert_with(now);
                    }
                    Ok(Bytes::from(bytes))
                }
                Chunk::Stall => std::future::pending().await,
                Chunk::Cut => {
                    // What was sent before must be on its way first.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Err(io::Error::other("cut by the script"))
                }
                Chunk::End => {
                    if let Some(place) = place
                        && let Some(recorded) = shared.lock().requests.get_mut(place)
                    {
                        recorded.answered = Some(now());
                    }
                    Ok(Bytes::new())
                }
            }
        }
    });
    let stream = stream.filter(|chunk| std::future::ready(!matches!(chunk, Ok(bytes) if bytes.is_empty())));
    ([("content-type", content_type)], Body::from_stream(stream)).into_response()
}

/// What a strict provider would refuse in a request.
fn complaint(format: Format, inner: &Inner, headers: &HeaderMap, body: &Value) -> Option<String> {
    if let Some(field) = inner.unknown_fields.iter().find(|field| body.get(**field).is_some()) {
        return Some(match format {
            Format::Ollama => format!("registry.ollama.ai/library/scripted:latest does not support {field}"),
            _ => format!("Unsupported parameter: '{field}' is not supported with this model."),
        });
    }
    if format != Format::Anthropic {
        return None;
    }
    if headers.get("anthropic-version").is_none() {
        return Some("anthropic-version: header is required".into());
    }
    let messages = body["messages"].as_array()?;
    if messages.first()?["role"] != "user" {
        return Some("messages: first message must use the \"user\" role".into());
    }
    let blocks = || {
        messages
            .iter()
            .flat_map(|message| message["content"].as_array().into_iter().flatten())
    };
    if blocks().any(|block| block["type"] == "text" && block["text"].as_str().is_none_or(|text| text.trim().is_empty())) {
        return Some("messages: text content blocks must be non-empty".into());
    }
    let all = blocks()
        .chain(body["system"].as_array().into_iter().flatten())
        .chain(body["tools"].as_array().into_iter().flatten());
    if all.filter(|block| block.get("cache_control").is_some()).count() > 4 {
        return Some("A maximum of 4 blocks with cache_control may be provided.".into());
    }
    let last = messages.last()?;
    if last["role"] == "assistant" {
        if inner.refuses_prefill {
            return Some(
                "This model does not support assistant message prefill. The conversation must end with a user message.".into(),
            );
        }
        let text = last["content"].as_array()?.last()?["text"].as_str()?;
        if text != text.trim_end() {
            return Some("messages: final assistant content cannot end with trailing whitespace".into());
        }
    }
    None
}

enum Chunk {
    /// Bytes; whether the script's pause comes before them.
    Bytes(Vec<u8>, bool),
    Stall,
    Cut,
    End,
}

fn chunks(format: Format, script: &Scripted) -> Vec<Chunk> {
    let framed = match &script.raw {
        Some((_, body)) => Framed {
            head: body.clone(),
            parts: Vec::new(),
            tail: String::new(),
        },
        None => format.frames(script),
    };
    let text = |text: String| {
        if script.crlf {
            text.replace('\n', "\r\n").into_bytes()
        } else {
            text.into_bytes()
        }
    };
    let parts_before = match script.fault {
        Some(
            Fault::Stall { after }
            | Fault::Cut { after }
            | Fault::EndEarly { after }
            | Fault::MalformedJson { after }
            | Fault::Garbage { after },
        ) => after,
        Some(Fault::ErrorInStream { after, .. }) => after,
        Some(Fault::GiantLine { .. }) => 0,
        Some(Fault::Status { .. } | Fault::ContentType(_)) | None => usize::MAX,
    };
    let mut chunks = vec![Chunk::Bytes(text(framed.head), false)];
    chunks.extend(
        framed
            .parts
            .into_iter()
            .take(parts_before)
            .map(|part| Chunk::Bytes(text(part), true)),
    );
    match &script.fault {
        None | Some(Fault::ContentType(_) | Fault::Status { .. }) => chunks.push(Chunk::Bytes(text(framed.tail), false)),
        Some(Fault::Stall { .. }) => chunks.push(Chunk::Stall),
        Some(Fault::Cut { .. }) => chunks.push(Chunk::Cut),
        Some(Fault::EndEarly { .. }) => {}
        Some(Fault::MalformedJson { .. }) => chunks.push(Chunk::Bytes(text(format.malformed().into()), false)),
        Some(Fault::Garbage { .. }) => chunks.push(Chunk::Bytes(b"data: \xff\xfe\x00\xc3\x28\n\n".to_vec(), false)),
        Some(Fault::GiantLine { bytes }) => chunks.push(Chunk::Bytes(text(format.giant(*bytes)), false)),
        Some(Fault::ErrorInStream { kind, .. }) => chunks.push(Chunk::Bytes(text(format.error(kind)), false)),
    }
    if let Some(size) = script.chunk_bytes {
        let mut split = Vec::new();
        for chunk in chunks {
            match chunk {
                Chunk::Bytes(bytes, wait) => {
                    split.extend(
                        bytes
                            .chunks(size.max(1))
                            .enumerate()
                            .map(|(at, part)| Chunk::Bytes(part.to_vec(), wait && at == 0)),
                    );
                }
                other => split.push(other),
            }
        }
        chunks = split;
    }
    chunks.push(Chunk::End);
    chunks
}

async fn embed(format: Format, State(shared): State<Arc<Shared>>, headers: HeaderMap, uri: Uri, body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return refusal(400, None, format.refusal(400));
    };
    if let (_, Some(refused)) = record(format, &shared, &headers, uri.path(), &body) {
        return refused;
    }
    let (fault, dimensions) = {
        let mut inner = shared.lock();
        (inner.embed_faults.pop_front(), inner.dimensions)
    };
    let texts: Vec<String> = body["input"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|text| Some(text.as_str()?.to_owned()))
        .collect();
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        return refusal(400, None, format.refusal(400));
    }
    let mut vectors: Vec<Vec<f32>> = texts
        .iter()
        .map(|text| {
            let vector = Lexical::vector(text);
            (0..dimensions).map(|at| vector[at % vector.len()] + 0.001).collect()
        })
        .collect();
    match fault {
        Some(EmbedFault::Status(status)) => return refusal(status, None, format.refusal(status)),
        Some(EmbedFault::Malformed) => return ([("content-type", "application/json")], "{\"data\": [").into_response(),
        Some(EmbedFault::TooFew) => {
            vectors.pop();
        }
        Some(EmbedFault::WrongDimensions) => vectors.iter_mut().for_each(|vector| vector.push(1.0)),
        Some(EmbedFault::Zero) => vectors.iter_mut().for_each(|vector| vector.fill(0.0)),
        Some(EmbedFault::Reversed) | None => {}
    }
    axum::Json(match format {
        Format::Ollama => json!({"model": "scripted", "embeddings": vectors, "total_duration": 1, "prompt_eval_count": 1}),
        _ => {
            let mut data: Vec<Value> = vectors
                .iter()
                .enumerate()
                .map(|(index, vector)| json!({"object": "embedding", "index": index, "embedding": vector}))
                .collect();
            if fault == Some(EmbedFault::Reversed) {
                data.reverse();
            }
            json!({"object": "list", "data": data, "model": "scripted", "usage": {"prompt_tokens": 1, "total_tokens": 1}})
        }
    })
    .into_response()
}

async fn list(format: Format, State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if let (_, Some(refused)) = record(format, &shared, &headers, "/models", &Value::Null) {
        return refused;
    }
    let models = shared.lock().models.clone();
    axum::Json(match format {
        Format::Ollama => json!({"models": models.iter().map(|name| json!({"name": name, "model": name})).collect::<Vec<_>>()}),
        _ => json!({"object": "list", "data": models.iter().map(|id| json!({"id": id, "object": "model"})).collect::<Vec<_>>(), "has_more": false}),
    })
    .into_response()
}
