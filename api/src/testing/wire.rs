//! A scripted reply as each provider writes it, following the shapes in the providers' documentation.

use duet_core::domain::StopReason;
use serde_json::{Value, json};

use super::script::{Piece, Scripted};

/// A provider's wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Anthropic,
    OpenAi,
    Ollama,
}

/// A reply as frames: what comes before the parts, each part, and the end.
pub(super) struct Framed {
    pub head: String,
    pub parts: Vec<String>,
    pub tail: String,
}

impl Format {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Ollama => "application/x-ndjson",
            _ => "text/event-stream; charset=utf-8",
        }
    }

    pub fn frames(self, script: &Scripted) -> Framed {
        match self {
            Self::Anthropic => anthropic(script),
            Self::OpenAi => openai(script),
            Self::Ollama => ollama(script),
        }
    }

    /// A frame with broken JSON.
    pub fn malformed(self) -> &'static str {
        match self {
            Self::Ollama => "{\"model\":\"x\",\"message\":{\"role\":\n",
            _ => "data: {\"type\": \"content_block_delta\", \"choices\": [\n\n",
        }
    }

    /// A frame that does not end.
    pub fn giant(self, bytes: usize) -> String {
        let start = if self == Self::Ollama {
            "{\"a\":\""
        } else {
            "data: {\"a\":\""
        };
        format!("{start}{}", "x".repeat(bytes))
    }

    /// An error in the stream.
    pub fn error(self, kind: &str) -> String {
        let error = json!({"type": kind, "message": "quoted CANARY text"});
        match self {
            Self::Anthropic => event("error", &json!({"type": "error", "error": error})),
            Self::OpenAi => format!("data: {}\n\n", json!({"error": error})),
            Self::Ollama => format!("{}\n", json!({"error": format!("an error was encountered: {kind} CANARY")})),
        }
    }

    /// The body of an answer with an error status.
    pub fn refusal(self, status: u16) -> Value {
        let message = "quoted CANARY text";
        match self {
            Self::Anthropic => {
                let kind = match status {
                    401 => "authentication_error",
                    403 => "permission_error",
                    404 => "not_found_error",
                    413 => "request_too_large",
                    429 => "rate_limit_error",
                    500 => "api_error",
                    529 => "overloaded_error",
                    _ => "invalid_request_error",
                };
                json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"})
            }
            Self::OpenAi => json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": null}}),
            Self::Ollama if status == 404 => json!({"error": "model 'scripted' not found"}),
            Self::Ollama => json!({"error": message}),
        }
    }
}

fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn anthropic(script: &Scripted) -> Framed {
    let usage = script.usage;
    let uncached = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens;
    let head = event(
        "message_start",
        &json!({"type": "message_start", "message": {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "scripted", "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": uncached, "cache_creation_input_tokens": usage.cache_write_tokens, "cache_read_input_tokens": usage.cached_input_tokens, "output_tokens": 1}
        }}),
    ) + &event("ping", &json!({"type": "ping"}));
    let mut parts = Vec::new();
    for (index, piece) in script.pieces.iter().enumerate() {
        // Each part is a separate block; the API sends several deltas per block, which makes no difference to a reader.
        let start = |block: Value| {
            event(
                "content_block_start",
                &json!({"type": "content_block_start", "index": index, "content_block": block}),
            )
        };
        let delta = |delta: Value| {
            event(
                "content_block_delta",
                &json!({"type": "content_block_delta", "index": index, "delta": delta}),
            )
        };
        let stop = event("content_block_stop", &json!({"type": "content_block_stop", "index": index}));
        parts.push(match piece {
            Piece::Text(text) => {
                start(json!({"type": "text", "text": ""})) + &delta(json!({"type": "text_delta", "text": text})) + &stop
            }
            Piece::Call { id, name, arguments } => {
                let written = arguments.to_string();
                let (a, b) = written.split_at(written.floor_char_boundary(written.len() / 2));
                start(json!({"type": "tool_use", "id": id, "name": name, "input": {}}))
                    + &[String::new(), a.to_owned(), b.to_owned()]
                        .map(|part| delta(json!({"type": "input_json_delta", "partial_json": part})))
                        .concat()
                    + &stop
            }
        });
    }
    let reason = match script.stop {
        StopReason::End => "end_turn",
        StopReason::ToolUse => "tool_use",
        StopReason::Length => "max_tokens",
        StopReason::Filtered => "refusal",
    };
    let tail = event(
        "message_delta",
        &json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": {"output_tokens": usage.output_tokens}}),
    ) + &event("message_stop", &json!({"type": "message_stop"}));
    Framed { head, parts, tail }
}

fn openai(script: &Scripted) -> Framed {
    let chunk = |delta: Value, finish: Option<&str>| {
        let chunk = json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted",
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}], "usage": null
        });
        format!("data: {chunk}\n\n")
    };
    let head = chunk(json!({"role": "assistant", "content": ""}), None);
    let mut parts = Vec::new();
    let mut calls = 0;
    for piece in &script.pieces {
        parts.push(match piece {
            Piece::Text(text) => chunk(json!({"content": text}), None),
            Piece::Call { id, name, arguments } => {
                let written = arguments.to_string();
                let (a, b) = written.split_at(written.floor_char_boundary(written.len() / 2));
                let index = calls;
                calls += 1;
                chunk(json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]}), None)
                    + &[a, b].map(|part| chunk(json!({"tool_calls": [{"index": index, "function": {"arguments": part}}]}), None)).concat()
            }
        });
    }
    let reason = match script.stop {
        StopReason::End => "stop",
        StopReason::ToolUse => "tool_calls",
        StopReason::Length => "length",
        StopReason::Filtered => "content_filter",
    };
    let usage = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted", "choices": [],
        "usage": {
            "prompt_tokens": script.usage.input_tokens, "completion_tokens": script.usage.output_tokens, "total_tokens": script.usage.total(),
            "prompt_tokens_details": {"cached_tokens": script.usage.cached_input_tokens}
        }
    });
    let tail = chunk(json!({}), Some(reason)) + &format!("data: {usage}\n\ndata: [DONE]\n\n");
    Framed { head, parts, tail }
}

fn ollama(script: &Scripted) -> Framed {
    let line = |message: Value| {
        let line = json!({"model": "scripted", "created_at": "2026-11-21T00:00:00Z", "message": message, "done": false});
        format!("{line}\n")
    };
    let parts = script
        .pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => line(json!({"role": "assistant", "content": text})),
            Piece::Call { name, arguments, .. } => line(
                json!({"role": "assistant", "content": "", "tool_calls": [{"function": {"name": name, "arguments": arguments}}]}),
            ),
        })
        .collect();
    let reason = if script.stop == StopReason::Length { "length" } else { "stop" };
    let end = json!({
        "model": "scripted", "created_at": "2026-11-21T00:00:01Z", "message": {"role": "assistant", "content": ""}, "done_reason": reason, "done": true,
        "total_duration": 1, "load_duration": 1, "prompt_eval_count": script.usage.input_tokens, "eval_count": script.usage.output_tokens
    });
    Framed {
        head: String::new(),
        parts,
        tail: format!("{end}\n"),
    }
}
