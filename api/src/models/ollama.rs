//! Ollama's own chat API: one JSON object per line.

use std::{
    collections::VecDeque,
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

/// A model in Ollama.
pub(super) struct Ollama {
    pub endpoint: Arc<Endpoint>,
    pub model: String,
    pub locality: Locality,
    pub price: Option<Price>,
    pub context_tokens: Option<u32>,
    /// Whether the model was found to have no template for tools.
    pub no_tools: AtomicBool,
}

#[async_trait]
impl ChatModel for Ollama {
    async fn stream(&self, request: ChatRequest) -> Result<ModelStream, ModelError> {
        loop {
            let tools = !self.no_tools.load(Ordering::Relaxed);
            let call = self
                .endpoint
                .bearer(self.endpoint.http.post(self.endpoint.url("/api/chat")))?;
            let call = call.json(&body(&self.model, &request, tools, self.context_tokens));
            let response = self.endpoint.send(call).await?;
            if response.status().is_success() {
                if stream::media_type(&response) == "text/html" {
                    return Err(self.endpoint.malformed("answered with a web page"));
                }
                let decoder = Lines {
                    calls: prompt::calls_so_far(&request),
                    called: false,
                    heard: 0,
                };
                let (endpoint, model) = (self.endpoint.clone(), self.model.clone());
                return Ok(stream::decode(endpoint, model, response, stream::Framing::Lines, decoder));
            }
            let refusal = Refusal::read(response).await;
            if tools && refusal.complains_about("does not support tools") {
                self.no_tools.store(true, Ordering::Relaxed);
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

/// The request body.
fn body(model: &str, request: &ChatRequest, tools: bool, context_tokens: Option<u32>) -> Value {
    let mut messages = Vec::new();
    if !request.system.trim().is_empty() {
        messages.push(json!({"role": "system", "content": request.system}));
    }
    let mut context = String::new();
    for message in &request.messages {
        match message {
            ChatMessage::Context(items) => {
                if !items.is_empty() {
                    context = format!("{}\n\n", prompt::context_block(items));
                }
            }
            ChatMessage::User(text) => {
                messages.push(json!({"role": "user", "content": format!("{}{text}", std::mem::take(&mut context))}));
            }
            ChatMessage::Assistant { text, tool_calls } => {
                let mut entry = json!({"role": "assistant", "content": text});
                if tools && !tool_calls.is_empty() {
                    entry["tool_calls"] = tool_calls
                        .iter()
                        .map(|call| json!({"function": {"name": call.name, "arguments": stream::arguments_object(&call.arguments)}}))
                        .collect();
                }
                messages.push(entry);
            }
            ChatMessage::ToolResult { name, text, failed, .. } => {
                let content = if *failed { format!("Failed: {text}") } else { text.clone() };
                messages.push(if tools {
                    json!({"role": "tool", "tool_name": name, "content": content})
                } else {
                    json!({"role": "user", "content": format!("(Result of {name}, as data:)\n{content}")})
                });
            }
        }
    }
    if !context.is_empty() {
        messages.push(json!({"role": "user", "content": context.trim_end()}));
    }
    if prompt::partial(request).is_some() {
        messages.push(json!({"role": "user", "content": prompt::GO_ON}));
    }
    let mut options = json!({"num_predict": request.max_output_tokens});
    if let Some(tokens) = context_tokens {
        options["num_ctx"] = json!(tokens);
    }
    let mut body = json!({"model": model, "messages": messages, "stream": true, "options": options});
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

/// Reads the lines of a reply.
struct Lines {
    /// Numbers the calls: Ollama gives them no id.
    calls: usize,
    called: bool,
    /// Bytes of reasoning.
    heard: usize,
}

#[derive(Deserialize)]
struct Line {
    message: Option<Message>,
    #[serde(default)]
    done: bool,
    done_reason: Option<String>,
    prompt_eval_count: Option<u64>,
    eval_count: Option<u64>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: String,
    thinking: Option<String>,
    tool_calls: Option<Vec<Call>>,
}

#[derive(Deserialize)]
struct Call {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: Value,
}

impl stream::Decoder for Lines {
    fn frame(&mut self, frame: &str, out: &mut VecDeque<ModelEvent>) -> Result<(), stream::Fault> {
        let line: Line = serde_json::from_str(frame).map_err(|_| stream::Fault::Malformed)?;
        if let Some(error) = line.error {
            return Err(stream::Fault::Refused(Refusal::in_json(&json!({ "error": error }))));
        }
        if let Some(message) = line.message {
            self.heard += message.thinking.map_or(0, |text| text.len());
            if !message.content.is_empty() {
                out.push_back(ModelEvent::Text(message.content));
            }
            for Call { function } in message.tool_calls.into_iter().flatten() {
                let arguments = match function.arguments {
                    Value::Null => json!({}),
                    Value::String(text) => stream::arguments(&text),
                    arguments => arguments,
                };
                out.push_back(ModelEvent::ToolCall(ToolCall {
                    id: format!("call_{}", self.calls),
                    name: function.name,
                    arguments,
                }));
                self.calls += 1;
                self.called = true;
            }
        } else if !line.done {
            return Err(stream::Fault::Malformed);
        }
        if line.done {
            out.push_back(ModelEvent::Usage(Usage {
                input_tokens: line.prompt_eval_count.unwrap_or(0),
                output_tokens: line.eval_count.unwrap_or(0),
                ..Usage::default()
            }));
            out.push_back(ModelEvent::Stop(match line.done_reason.as_deref() {
                Some("length") => StopReason::Length,
                _ if self.called => StopReason::ToolUse,
                _ => StopReason::End,
            }));
        }
        Ok(())
    }

    fn heard(&self) -> usize {
        self.heard
    }
}
