//! Anthropic's Messages API, streaming.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use duet_core::{
    domain::{Locality, Price, StopReason, ToolCall, Usage},
    ports::{ChatMessage, ChatModel, ChatRequest, ModelError, ModelEvent, ModelStream},
};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{prompt, stream};
use crate::provider::{Endpoint, Refusal};

/// The version of the API that this adapter speaks.
pub(super) const VERSION: &str = "2023-06-01";

/// A model at Anthropic.
pub(super) struct Anthropic {
    pub endpoint: Arc<Endpoint>,
    pub model: String,
    pub locality: Locality,
    pub price: Option<Price>,
    /// Whether the model refuses to be given the start of its reply (models since 4.6 do).
    pub refuses_prefill: AtomicBool,
}

#[async_trait]
impl ChatModel for Anthropic {
    async fn stream(&self, request: ChatRequest) -> Result<ModelStream, ModelError> {
        let key = self.endpoint.key()?;
        loop {
            let prefill = !self.refuses_prefill.load(Ordering::Relaxed);
            let mut call = self
                .endpoint
                .http
                .post(self.endpoint.url(if self.endpoint.base.path().ends_with("/v1") {
                    "/messages"
                } else {
                    "/v1/messages"
                }))
                .header("anthropic-version", VERSION)
                .json(&body(&self.model, &request, prefill));
            if let Some(key) = &key {
                call = call.header("x-api-key", key.expose_secret());
            }
            let response = self.endpoint.send(call).await?;
            if response.status().is_success() {
                if stream::media_type(&response) == "text/html" {
                    return Err(self.endpoint.malformed("answered with a web page"));
                }
                let decoder = Events {
                    trim_start: prefill && prompt::partial(&request).is_some_and(|text| text.ends_with(char::is_whitespace)),
                    ..Events::default()
                };
                let (endpoint, model) = (self.endpoint.clone(), self.model.clone());
                return Ok(stream::decode(endpoint, model, response, stream::Framing::Events, decoder));
            }
            let refusal = Refusal::read(response).await;
            if prefill && prompt::partial(&request).is_some() && refusal.complains_about("prefill") {
                self.refuses_prefill.store(true, Ordering::Relaxed);
                continue;
            }
            return Err(self.endpoint.refused(&refusal, &self.model));
        }
    }

    fn locality(&self) -> Locality {
        self.locality
    }

    fn price(&self) -> Option<Price> {
        self.price
    }
}

/// The turns of a request: consecutive blocks of the same role form one message, as the API requires.
#[derive(Default)]
struct Turns(Vec<(&'static str, Vec<Value>)>);

impl Turns {
    fn push(&mut self, role: &'static str, block: Value) {
        if self.0.is_empty() && role == "assistant" {
            self.push(
                "user",
                json!({"type": "text", "text": "(The start of this conversation is left out.)"}),
            );
        }
        match self.0.last_mut() {
            Some((last, blocks)) if *last == role => blocks.push(block),
            _ => self.0.push((role, vec![block])),
        }
    }

    fn text(&mut self, role: &'static str, text: &str) {
        // The API refuses empty text blocks.
        if !text.trim().is_empty() {
            self.push(role, json!({"type": "text", "text": text}));
        }
    }

    /// Lets the provider cache everything up to here.
    fn cache(&mut self) {
        if let Some(Value::Object(block)) = self.0.last_mut().and_then(|(_, blocks)| blocks.last_mut()) {
            block.insert("cache_control".into(), json!({"type": "ephemeral"}));
        }
    }
}

/// The request body. Cache breakpoints (four are allowed): tools, system, the conversation before this turn, and inside a tool
/// loop everything the loop has so far.
fn body(model: &str, request: &ChatRequest, prefill: bool) -> Value {
    let mut turns = Turns::default();
    let turn_start = prompt::turn_start(&request.messages);
    let partial = prompt::partial(request);
    for (at, message) in request.messages.iter().enumerate() {
        if turn_start == Some(at) {
            turns.cache();
        }
        match message {
            ChatMessage::User(text) => turns.text("user", text),
            ChatMessage::Context(items) if items.is_empty() => {}
            ChatMessage::Context(items) => turns.text("user", &prompt::context_block(items)),
            ChatMessage::Assistant { .. } if partial.is_some() && at + 1 == request.messages.len() => {
                // The API refuses a start that ends in white space; the decoder trims it from what follows.
                turns.text("assistant", partial.unwrap_or_default().trim_end());
                if !prefill {
                    turns.text("user", prompt::GO_ON);
                }
            }
            ChatMessage::Assistant { text, tool_calls } => {
                turns.text("assistant", text);
                for call in tool_calls {
                    let input = stream::arguments_object(&call.arguments);
                    turns.push(
                        "assistant",
                        json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input}),
                    );
                }
            }
            ChatMessage::ToolResult {
                call_id, text, failed, ..
            } => {
                let content = if text.is_empty() { "(empty)" } else { text };
                turns.push(
                    "user",
                    json!({"type": "tool_result", "tool_use_id": call_id, "content": content, "is_error": failed}),
                );
            }
        }
    }
    if matches!(request.messages.last(), Some(ChatMessage::ToolResult { .. })) {
        turns.cache();
    }
    let messages: Vec<Value> = turns
        .0
        .into_iter()
        .map(|(role, content)| json!({"role": role, "content": content}))
        .collect();
    let mut body = json!({
        "model": model,
        "max_tokens": request.max_output_tokens,
        "stream": true,
        "messages": messages,
    });
    if !request.system.trim().is_empty() {
        body["system"] = json!([{"type": "text", "text": request.system, "cache_control": {"type": "ephemeral"}}]);
    }
    if !request.tools.is_empty() {
        let mut tools: Vec<Value> = request
            .tools
            .iter()
            .map(|tool| json!({"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}))
            .collect();
        if let Some(last) = tools.last_mut() {
            last["cache_control"] = json!({"type": "ephemeral"});
        }
        body["tools"] = Value::Array(tools);
    } else if uses_tools(request) {
        // A conversation with tool blocks needs the tools' definitions; `none` keeps the model from calling them again.
        body["tools"] = named_tools(request);
        body["tool_choice"] = json!({"type": "none"});
    }
    body
}

fn uses_tools(request: &ChatRequest) -> bool {
    prompt::calls_so_far(request) > 0
}

fn named_tools(request: &ChatRequest) -> Value {
    let names: std::collections::BTreeSet<&str> = request
        .messages
        .iter()
        .flat_map(|message| match message {
            ChatMessage::Assistant { tool_calls, .. } => tool_calls.as_slice(),
            _ => &[],
        })
        .map(|call| call.name.as_str())
        .collect();
    names
        .into_iter()
        .map(|name| json!({"name": name, "description": "Not available any more in this turn.", "input_schema": {"type": "object"}}))
        .collect()
}

/// Reads the events of a reply.
#[derive(Default)]
struct Events {
    usage: Usage,
    stop: Option<StopReason>,
    /// Tool calls being written, by content block.
    calls: BTreeMap<u64, (String, String, Value, String)>,
    called: bool,
    /// Bytes of the parts of calls, and of thinking.
    parts: usize,
    thought: usize,
    /// The partial reply ended in white space that was not sent: the model will write it again.
    trim_start: bool,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Started,
    },
    ContentBlockStart {
        index: u64,
        content_block: Block,
    },
    ContentBlockDelta {
        index: u64,
        delta: Delta,
    },
    ContentBlockStop {
        index: u64,
    },
    MessageDelta {
        #[serde(default)]
        delta: Stopping,
        #[serde(default)]
        usage: Tokens,
    },
    MessageStop,
    Error,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Started {
    #[serde(default)]
    usage: Tokens,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        #[serde(default)]
        text: String,
    },
    ToolUse {
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(other)]
    Other,
}

#[derive(Default, Deserialize)]
struct Stopping {
    stop_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Tokens {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
}

impl Events {
    /// The API counts cached input separately from `input_tokens`; Duet includes it.
    fn count(&mut self, tokens: &Tokens) {
        let cached = self.usage.cached_input_tokens.saturating_add(self.usage.cache_write_tokens);
        let uncached = self.usage.input_tokens.saturating_sub(cached);
        self.usage.cached_input_tokens = tokens.cache_read_input_tokens.unwrap_or(self.usage.cached_input_tokens);
        self.usage.cache_write_tokens = tokens.cache_creation_input_tokens.unwrap_or(self.usage.cache_write_tokens);
        self.usage.input_tokens = tokens
            .input_tokens
            .unwrap_or(uncached)
            .saturating_add(self.usage.cached_input_tokens)
            .saturating_add(self.usage.cache_write_tokens);
        self.usage.output_tokens = tokens.output_tokens.unwrap_or(self.usage.output_tokens);
    }

    fn text(&mut self, mut text: String, out: &mut VecDeque<ModelEvent>) {
        if self.trim_start {
            text = text.trim_start().to_owned();
            self.trim_start = text.is_empty();
        }
        if !text.is_empty() {
            out.push_back(ModelEvent::Text(text));
        }
    }
}

impl stream::Decoder for Events {
    fn frame(&mut self, frame: &str, out: &mut VecDeque<ModelEvent>) -> Result<(), stream::Fault> {
        match serde_json::from_str(frame).map_err(|_| stream::Fault::Malformed)? {
            Event::MessageStart { message } => {
                self.count(&message.usage);
                out.push_back(ModelEvent::Usage(self.usage));
            }
            Event::ContentBlockStart { index, content_block } => match content_block {
                Block::Text { text } => self.text(text, out),
                Block::ToolUse { id, name, input } => {
                    // The entry itself costs memory as well.
                    self.parts += 64 + id.len() + name.len() + input.to_string().len();
                    if self.parts > stream::MAX_CALLS {
                        return Err(stream::Fault::TooMuch);
                    }
                    self.calls.insert(index, (id, name, input, String::new()));
                }
                Block::Other => {}
            },
            Event::ContentBlockDelta { index, delta } => match delta {
                Delta::Text { text } => self.text(text, out),
                Delta::InputJson { partial_json } => {
                    let (.., json) = self.calls.get_mut(&index).ok_or(stream::Fault::Malformed)?;
                    self.parts += partial_json.len();
                    if self.parts > stream::MAX_CALLS {
                        return Err(stream::Fault::TooMuch);
                    }
                    json.push_str(&partial_json);
                }
                Delta::Thinking { thinking } => self.thought += thinking.len(),
                Delta::Other => {}
            },
            Event::ContentBlockStop { index } => {
                if let Some((id, name, input, json)) = self.calls.remove(&index) {
                    let given = json.is_empty() && input.is_object();
                    let arguments = if given { input } else { stream::arguments(&json) };
                    self.called = true;
                    out.push_back(ModelEvent::ToolCall(ToolCall { id, name, arguments }));
                }
            }
            Event::MessageDelta { delta, usage } => {
                self.count(&usage);
                self.stop = delta
                    .stop_reason
                    .map(|reason| match reason.as_str() {
                        "max_tokens" | "model_context_window_exceeded" => StopReason::Length,
                        "tool_use" if self.called => StopReason::ToolUse,
                        "refusal" => StopReason::Filtered,
                        _ => StopReason::End,
                    })
                    .or(self.stop);
            }
            Event::MessageStop => {
                out.push_back(ModelEvent::Usage(self.usage));
                out.push_back(ModelEvent::Stop(self.stop.unwrap_or(StopReason::End)));
            }
            Event::Error => {
                let json: Value = serde_json::from_str(frame).map_err(|_| stream::Fault::Malformed)?;
                return Err(stream::Fault::Refused(Refusal::in_json(&json)));
            }
            Event::Other => {}
        }
        Ok(())
    }

    fn heard(&self) -> usize {
        self.parts + self.thought
    }
}
