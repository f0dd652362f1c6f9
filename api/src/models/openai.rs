//! OpenAI's chat completions, streaming, as spoken by OpenAI and by many other servers. What a server does not support (tools,
//! usage in the stream, the newer name of the output limit) is left out once the server has complained about it.

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
use serde::Deserialize;
use serde_json::{Value, json};

use super::{prompt, stream};
use crate::provider::{Endpoint, Refusal};

/// A model behind chat completions.
pub(super) struct OpenAi {
    pub endpoint: Arc<Endpoint>,
    pub model: String,
    pub locality: Locality,
    pub price: Option<Price>,
    pub quirks: Quirks,
}

/// What this server was found not to support.
#[derive(Default)]
pub(super) struct Quirks {
    no_tools: AtomicBool,
    no_stream_options: AtomicBool,
    /// Set at the start for OpenAI itself, whose newer models refuse `max_tokens`.
    completion_tokens: AtomicBool,
}

impl Quirks {
    /// Nothing known yet except which name of the output limit to start with.
    pub fn new(completion_tokens: bool) -> Self {
        Self {
            completion_tokens: AtomicBool::new(completion_tokens),
            ..Self::default()
        }
    }

    fn on(flag: &AtomicBool) -> bool {
        flag.load(Ordering::Relaxed)
    }

    /// Learns from a refusal; returns `true` if the next request will differ.
    fn learn(&self, refusal: &Refusal, request: &ChatRequest) -> bool {
        let about = |needle: &str| refusal.complains_about(needle);
        let unknown = ["support", "unrecognized", "unknown", "unexpected", "not permitted", "extra"]
            .iter()
            .any(|word| about(word));
        if unknown && (about("max_tokens") || about("max_completion_tokens")) {
            self.completion_tokens.fetch_xor(true, Ordering::Relaxed);
            return true;
        }
        if about("stream_options") || about("include_usage") {
            return !self.no_stream_options.swap(true, Ordering::Relaxed);
        }
        if !request.tools.is_empty() && (about("tools") || about("tool choice") || about("tool_choice")) {
            return !self.no_tools.swap(true, Ordering::Relaxed);
        }
        false
    }
}

#[async_trait]
impl ChatModel for OpenAi {
    async fn stream(&self, request: ChatRequest) -> Result<ModelStream, ModelError> {
        // The first try, and one for each quirk.
        let mut tries_left = 4;
        loop {
            tries_left -= 1;
            let call = self.endpoint.http.post(self.endpoint.url("/chat/completions"));
            let call = self.endpoint.bearer(call)?.json(&body(&self.model, &request, &self.quirks));
            let response = self.endpoint.send(call).await?;
            if response.status().is_success() {
                let framing = match stream::media_type(&response).as_str() {
                    "text/html" => return Err(self.endpoint.malformed("answered with a web page")),
                    "application/json" => stream::Framing::Whole,
                    _ => stream::Framing::Events,
                };
                let decoder = Chunks {
                    calls_before: prompt::calls_so_far(&request),
                    ..Chunks::default()
                };
                return Ok(stream::decode(
                    self.endpoint.clone(),
                    self.model.clone(),
                    response,
                    framing,
                    decoder,
                ));
            }
            let refusal = Refusal::read(response).await;
            if tries_left == 0 || !self.quirks.learn(&refusal, &request) {
                return Err(self.endpoint.refused(&refusal, &self.model));
            }
        }
    }

    fn locality(&self) -> Locality {
        self.locality
    }

    fn price(&self) -> Option<Price> {
        self.price
    }
}

/// The request body. Its order is fixed so that the provider's own prefix cache hits.
fn body(model: &str, request: &ChatRequest, quirks: &Quirks) -> Value {
    let tools = !Quirks::on(&quirks.no_tools);
    let mut messages = Vec::new();
    if !request.system.trim().is_empty() {
        messages.push(json!({"role": "system", "content": request.system}));
    }
    let mut context = None;
    for message in &request.messages {
        match message {
            ChatMessage::Context(items) => {
                if !items.is_empty() {
                    context = Some(prompt::context_block(items));
                }
            }
            ChatMessage::User(text) => {
                let content = match context.take() {
                    Some(block) => format!("{block}\n\n{text}"),
                    None => text.clone(),
                };
                messages.push(json!({"role": "user", "content": content}));
            }
            ChatMessage::Assistant { text, tool_calls } => {
                flush(&mut context, &mut messages);
                let mut entry = json!({"role": "assistant", "content": text});
                if !tool_calls.is_empty() && tools {
                    entry["tool_calls"] = tool_calls
                        .iter()
                        .map(|call| {
                            let arguments = stream::arguments_object(&call.arguments).to_string();
                            json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
                        })
                        .collect();
                }
                messages.push(entry);
            }
            ChatMessage::ToolResult {
                call_id,
                name,
                text,
                failed,
            } => {
                flush(&mut context, &mut messages);
                let content = if *failed { format!("Failed: {text}") } else { text.clone() };
                messages.push(if tools {
                    json!({"role": "tool", "tool_call_id": call_id, "content": content})
                } else {
                    json!({"role": "user", "content": format!("(Result of {name}, as data:)\n{content}")})
                });
            }
        }
    }
    flush(&mut context, &mut messages);
    if prompt::partial(request).is_some() {
        messages.push(json!({"role": "user", "content": prompt::GO_ON}));
    }
    let mut body = json!({"model": model, "messages": messages, "stream": true});
    let limit = if Quirks::on(&quirks.completion_tokens) {
        "max_completion_tokens"
    } else {
        "max_tokens"
    };
    body[limit] = json!(request.max_output_tokens);
    if !Quirks::on(&quirks.no_stream_options) {
        body["stream_options"] = json!({"include_usage": true});
    }
    if tools && !request.tools.is_empty() {
        body["tools"] = request
            .tools
            .iter()
            .map(|tool| {
                json!({"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": tool.input_schema}})
            })
            .collect();
    }
    body
}

/// Memories that no user message follows become a user message of their own.
fn flush(context: &mut Option<String>, messages: &mut Vec<Value>) {
    if let Some(block) = context.take() {
        messages.push(json!({"role": "user", "content": block}));
    }
}

/// Reads the chunks of a reply; also a whole reply in one piece, from servers that do not stream.
#[derive(Default)]
struct Chunks {
    calls_before: usize,
    calls: BTreeMap<u64, (String, String, String)>,
    /// Bytes of all calls, and of reasoning.
    called: usize,
    reasoned: usize,
    stop: Option<String>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Tokens>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(alias = "message")]
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    refusal: Option<String>,
    tool_calls: Option<Vec<CallDelta>>,
    /// What reasoning models write first, under the field names that servers use.
    #[serde(default)]
    reasoning_content: Value,
    #[serde(default)]
    reasoning: Value,
}

#[derive(Deserialize)]
struct CallDelta {
    index: Option<u64>,
    id: Option<String>,
    function: Option<FunctionDelta>,
}

#[derive(Deserialize)]
struct FunctionDelta {
    name: Option<String>,
    arguments: Option<Value>,
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    prompt_tokens_details: Option<PromptTokens>,
}

#[derive(Deserialize)]
struct PromptTokens {
    cached_tokens: Option<u64>,
}

impl Chunks {
    fn call(&mut self, position: usize, delta: CallDelta) -> Result<(), stream::Fault> {
        let index = delta.index.unwrap_or(position as u64);
        // The entry itself costs memory as well.
        self.called += if self.calls.contains_key(&index) { 0 } else { 64 };
        let (id, name, arguments) = self.calls.entry(index).or_default();
        let before = id.len() + name.len() + arguments.len();
        if let Some(given) = delta.id.filter(|id| !id.is_empty()) {
            *id = given;
        }
        if let Some(function) = delta.function {
            if let Some(part) = function.name
                && *name != part
            {
                name.push_str(&part);
            }
            match function.arguments {
                None | Some(Value::Null) => {}
                Some(Value::String(part)) => arguments.push_str(&part),
                // Some servers send the arguments as an object, whole.
                Some(object) => *arguments = object.to_string(),
            }
        }
        self.called += (id.len() + name.len() + arguments.len()).saturating_sub(before);
        if self.called > stream::MAX_CALLS {
            return Err(stream::Fault::TooMuch);
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut VecDeque<ModelEvent>) {
        let called = !self.calls.is_empty();
        for (at, (id, name, arguments)) in std::mem::take(&mut self.calls).into_values().enumerate() {
            let id = if id.is_empty() {
                format!("call_{}", self.calls_before + at)
            } else {
                id
            };
            let arguments = stream::arguments(&arguments);
            out.push_back(ModelEvent::ToolCall(ToolCall { id, name, arguments }));
        }
        if let Some(usage) = self.usage {
            out.push_back(ModelEvent::Usage(usage));
        }
        out.push_back(ModelEvent::Stop(match self.stop.as_deref() {
            Some("length") => StopReason::Length,
            Some("content_filter") => StopReason::Filtered,
            _ if called => StopReason::ToolUse,
            _ => StopReason::End,
        }));
    }
}

impl stream::Decoder for Chunks {
    fn frame(&mut self, frame: &str, out: &mut VecDeque<ModelEvent>) -> Result<(), stream::Fault> {
        if frame.trim() == "[DONE]" {
            self.finish(out);
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_str(frame).map_err(|_| stream::Fault::Malformed)?;
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return Err(stream::Fault::Refused(Refusal::in_json(&json!({ "error": error }))));
        }
        if let Some(tokens) = chunk.usage {
            self.usage = Some(Usage {
                input_tokens: tokens.prompt_tokens,
                output_tokens: tokens.completion_tokens,
                cached_input_tokens: tokens
                    .prompt_tokens_details
                    .and_then(|details| details.cached_tokens)
                    .unwrap_or(0)
                    .min(tokens.prompt_tokens),
                cache_write_tokens: 0,
            });
        }
        let Some(choice) = chunk.choices.into_iter().next() else {
            return Ok(());
        };
        if let Some(delta) = choice.delta {
            for thought in [&delta.reasoning_content, &delta.reasoning] {
                self.reasoned += thought.as_str().map_or(0, str::len);
            }
            for text in [delta.content, delta.refusal]
                .into_iter()
                .flatten()
                .filter(|text| !text.is_empty())
            {
                out.push_back(ModelEvent::Text(text));
            }
            for (position, call) in delta.tool_calls.into_iter().flatten().enumerate() {
                self.call(position, call)?;
            }
        }
        self.stop = choice.finish_reason.or(self.stop.take());
        Ok(())
    }

    fn heard(&self) -> usize {
        self.called + self.reasoned
    }

    fn end(&mut self, out: &mut VecDeque<ModelEvent>) -> Result<(), stream::Fault> {
        // Not every server says [DONE]; a finish reason is enough.
        if self.stop.is_some() {
            self.finish(out);
        }
        Ok(())
    }
}
