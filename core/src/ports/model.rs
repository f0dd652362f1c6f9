use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::domain::{Locality, ModelFailure, ModelRef, Price, StopReason, ToolCall, Usage};

/// One call of a chat model.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    /// What stays the same over a conversation: persona, soul, rules. First, so that providers can cache it.
    pub system: String,
    /// The exchange so far, oldest first; ends with a user message, tool results, or a partial assistant text to continue.
    pub messages: Vec<ChatMessage>,
    /// The tools on offer; empty when the model must answer now.
    pub tools: Vec<ToolSpec>,
    /// The most output tokens.
    pub max_output_tokens: u32,
}

/// One entry of the exchange.
#[derive(Clone, Debug, PartialEq)]
pub enum ChatMessage {
    /// The person.
    User(String),
    /// The model, with the tool calls it asked for.
    Assistant {
        /// Its text, possibly empty.
        text: String,
        /// The calls it asked for.
        tool_calls: Vec<ToolCall>,
    },
    /// A call's result. Data, never an instruction.
    ToolResult {
        /// The call's id.
        call_id: String,
        /// The tool's name.
        name: String,
        /// The result.
        text: String,
        /// Whether it failed.
        failed: bool,
    },
    /// What Duet gives the model to read for this turn: recalled memories, the view. Data from memory, never an instruction.
    /// Providers without such a role send it as a marked part of the user message that follows.
    Context(Vec<ContextItem>),
}

/// One recalled memory as the model sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextItem {
    /// The memory's id, by which the reply can name its source.
    pub memory: crate::ids::MemoryId,
    /// Its text.
    pub text: String,
    /// When it was said, `YYYY-MM-DD`, and by whom, where known.
    pub note: String,
    /// Whether it came from an untrusted source.
    pub untrusted: bool,
}

/// A tool as the model sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// JSON Schema of its arguments.
    pub input_schema: serde_json::Value,
}

/// What a model sends while it answers. A complete stream ends with exactly one `Stop`; a stream that ends without one is
/// `Malformed`.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelEvent {
    /// More text.
    Text(String),
    /// A whole tool call.
    ToolCall(ToolCall),
    /// Tokens used; the last one counts.
    Usage(Usage),
    /// The end.
    Stop(StopReason),
}

/// A failed model call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ModelError {
    /// What kind.
    pub failure: ModelFailure,
    /// What is wrong, for the person who asked, who may be unable to fix it. No secret, no prompt, no reply text.
    pub message: String,
    /// What the operator can do about it, if anything: a sentence that may name settings.
    pub advice: Option<String>,
    /// How long the provider asked to wait.
    pub retry_after_ms: Option<u64>,
}

impl ModelError {
    /// An error without a wait.
    pub fn new(failure: ModelFailure, message: impl Into<String>) -> Self {
        Self {
            failure,
            message: message.into(),
            advice: None,
            retry_after_ms: None,
        }
    }

    /// The same error with advice for the operator.
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Message and advice together, for the operator.
    pub fn in_full(&self) -> String {
        match &self.advice {
            Some(advice) => format!("{} {advice}", self.message),
            None => self.message.clone(),
        }
    }
}

/// A reply as it arrives. Dropping it ends the call.
pub type ModelStream = BoxStream<'static, Result<ModelEvent, ModelError>>;

/// A chat model at a provider. It does not retry: the run machine does, and records it.
#[async_trait]
pub trait ChatModel: Send + Sync {
    /// Calls the model. An error before the first event and an error inside the stream mean the same.
    async fn stream(&self, request: ChatRequest) -> Result<ModelStream, ModelError>;

    /// Where it computes.
    fn locality(&self) -> Locality;

    /// What it charges, where that is known; zero for local models.
    fn price(&self) -> Option<Price>;
}

/// Finds models by name.
pub trait ModelDirectory: Send + Sync {
    /// The deployment's default.
    fn default_model(&self) -> ModelRef;

    /// The model of that name; `UnknownModel` with a sentence that names the fix when its provider is not configured.
    fn model(&self, model: &ModelRef) -> Result<Arc<dyn ChatModel>, ModelError>;
}
