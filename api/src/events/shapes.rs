//! The shapes of AG-UI 1.0 that a stream has. AG-UI names the types and their fields. What only Duet says is `CUSTOM`, or under
//! `duet` in the `metadata` of an event: clients of AG-UI drop fields that it does not name.

use duet_core::{
    domain::{EventKind, Labels, MessageStatus, ModelFailure, ModelRef, RequestKind, StopReason, ToolStatus, Usage},
    ids::{ConversationId, MemoryId, MessageId, RequestId, RunId, UserId},
};
use serde::{Deserialize, Serialize};

/// The version of AG-UI that a stream speaks.
pub const PROTOCOL_VERSION: &str = "1.0";

/// An event of AG-UI. More types may come: ignore those that you do not know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AguiEvent {
    /// The run began, or goes on after it has waited: each stretch between two waits is a run of AG-UI.
    #[serde(rename_all = "camelCase")]
    RunStarted {
        /// The conversation.
        thread_id: ConversationId,
        /// The run; from its second stretch on with the stretch's number, `<run>:2`.
        run_id: String,
        /// The run that goes on; absent at its beginning.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent_run_id: Option<RunId>,
        /// The version of AG-UI: `1.0`.
        protocol_version: String,
        /// The reply to come.
        metadata: Metadata<ReplyNamed>,
    },
    /// A model call began.
    #[serde(rename_all = "camelCase")]
    StepStarted {
        /// Names the step.
        step_name: String,
        /// Its number and the attempt.
        metadata: Metadata<StepAttempt>,
    },
    /// A model call ended.
    #[serde(rename_all = "camelCase")]
    StepFinished {
        /// Names the step.
        step_name: String,
        /// What the call used; absent when it failed or was abandoned.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<Metadata<StepUsage>>,
    },
    /// The reply begins.
    #[serde(rename_all = "camelCase")]
    TextMessageStart {
        /// The reply.
        message_id: MessageId,
        /// Who writes it.
        role: AguiRole,
    },
    /// A piece of the reply.
    #[serde(rename_all = "camelCase")]
    TextMessageContent {
        /// The reply.
        message_id: MessageId,
        /// What follows its text so far.
        delta: String,
    },
    /// The reply is whole.
    #[serde(rename_all = "camelCase")]
    TextMessageEnd {
        /// The reply.
        message_id: MessageId,
    },
    /// A tool is called.
    #[serde(rename_all = "camelCase")]
    ToolCallStart {
        /// The call, unique in the conversation.
        tool_call_id: String,
        /// The tool.
        tool_call_name: String,
        /// The reply that asked for it.
        parent_message_id: MessageId,
    },
    /// The arguments of a call.
    #[serde(rename_all = "camelCase")]
    ToolCallArgs {
        /// The call.
        tool_call_id: String,
        /// The arguments as JSON, shortened.
        delta: String,
    },
    /// The arguments are whole.
    #[serde(rename_all = "camelCase")]
    ToolCallEnd {
        /// The call.
        tool_call_id: String,
    },
    /// What the tool answered.
    #[serde(rename_all = "camelCase")]
    ToolCallResult {
        /// The answer as a message of its own: in AG-UI it is one. Duet stores it with the reply.
        message_id: String,
        /// The call.
        tool_call_id: String,
        /// A summary of the answer, without recalled text.
        content: String,
        /// How the call ended, and its memories.
        metadata: Metadata<ToolEnd>,
    },
    /// What only Duet says.
    Custom(AguiCustom),
    /// The run completed, was stopped or interrupted, or reached a limit; or it waits for a person.
    #[serde(rename_all = "camelCase")]
    RunFinished {
        /// The conversation.
        thread_id: ConversationId,
        /// As in `RUN_STARTED`.
        run_id: String,
        /// Whether it completed.
        outcome: RunFinishedOutcome,
        /// Tokens used by this stretch, in AG-UI's form; absent when no model was asked.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        usage: Vec<TokenUsage>,
        /// How it ended.
        metadata: Metadata<RunResult>,
    },
    /// The run failed.
    RunError {
        /// What kind of failure.
        code: String,
        /// What to do, as a sentence.
        message: String,
        /// Tokens used by this stretch, in AG-UI's form; absent when no model was asked.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        usage: Vec<TokenUsage>,
        /// How it ended.
        metadata: Metadata<RunResult>,
    },
}

/// What only Duet says about an event of AG-UI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Metadata<T> {
    /// Duet's part; AG-UI leaves the other keys to others.
    pub duet: T,
}

impl<T> Metadata<T> {
    /// With this as Duet's part.
    pub fn of(duet: T) -> Self {
        Self { duet }
    }
}

/// Names the reply of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReplyNamed {
    /// The id that the reply has or will have.
    pub reply_id: MessageId,
}

/// Which model call began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StepAttempt {
    /// The step, from 1.
    pub step: u32,
    /// The attempt at it, from 1.
    pub attempt: u32,
}

/// What a model call used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StepUsage {
    /// The step, from 1.
    pub step: u32,
    /// Tokens used.
    pub usage: Usage,
    /// Cost in micro-US-dollars, where the price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<u64>,
    /// Why the model stopped.
    pub stop: StopReason,
}

/// How a tool call ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ToolEnd {
    /// In a word.
    pub status: ToolStatus,
    /// The memories that belong to the answer.
    pub memories: Vec<MemoryId>,
    /// Of those, the ones that the call wrote.
    pub remembered: Vec<MemoryId>,
}

/// AG-UI's word for the end of a run that did not fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RunFinishedOutcome {
    /// The reply is complete.
    Success,
    /// The run waits for a person's decisions, and goes on in another stretch.
    Interrupt {
        /// What it waits for; at least one.
        interrupts: Vec<Interrupt>,
    },
    /// The run ended before that, and did not fail, or is paused: `metadata` says which.
    Cancelled,
}

/// A request that a run waits for. What is asked is kept with the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Interrupt {
    /// The request.
    pub id: String,
    /// What it is about.
    pub reason: RequestKind,
    /// The call that it is about.
    pub tool_call_id: String,
    /// The same in Duet's words.
    pub metadata: Metadata<RequestNamed>,
}

/// Names a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RequestNamed {
    /// The request.
    pub request: RequestId,
    /// What it is about.
    pub kind: RequestKind,
}

/// Tokens in AG-UI's form. A count that is absent is zero or unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenUsage {
    /// The model's provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model's name at that provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tokens read, cached ones included.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Both together.
    pub total_tokens: u64,
    /// Input tokens read from the provider's prompt cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input_tokens: Option<u64>,
    /// Input tokens written to the provider's prompt cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_input_tokens: Option<u64>,
}

impl TokenUsage {
    /// What this model used; nothing when it was not asked.
    pub fn of(model: Option<&ModelRef>, usage: Usage) -> Option<Self> {
        let reported = |tokens: u64| (tokens > 0).then_some(tokens);
        reported(usage.total()).map(|total_tokens| Self {
            provider: model.map(|model| model.provider().to_owned()),
            model: model.map(|model| model.name().to_owned()),
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            total_tokens,
            cached_input_tokens: reported(usage.cached_input_tokens),
            cache_write_input_tokens: reported(usage.cache_write_tokens),
        })
    }
}

/// What only Duet says, told apart by `name`. More names may come: ignore those that you do not know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "name", content = "value", rename_all = "snake_case")]
pub enum AguiCustom {
    /// What the model was given.
    Context {
        /// The model.
        model: ModelRef,
        /// Whether it is the built-in one, which asks nobody.
        offline: bool,
        /// The recalled memories, best first.
        recalled: Vec<MemoryId>,
        /// Whether recall had to do without vectors.
        text_only_recall: bool,
        /// Whether any of it is untrusted.
        untrusted: bool,
        /// The joined labels of all of it.
        labels: Labels,
    },
    /// A model call failed. The text of that attempt is void.
    Retry {
        /// The step.
        step: u32,
        /// The attempt that failed.
        attempt: u32,
        /// What kind of failure.
        failure: ModelFailure,
        /// One sentence for people.
        message: String,
        /// The reply's text without that attempt.
        text: String,
    },
    /// The wait before another attempt is over.
    RetryDue {
        /// The step.
        step: u32,
    },
    /// A limit of the turn was reached; only the end follows.
    Limit {
        /// Which one, as a sentence.
        message: String,
        /// Tokens used by the abandoned model call.
        usage: Usage,
        /// The reply's text so far.
        text: String,
    },
    /// A call is repeated after a crash.
    ToolRepeated {
        /// The step that asked for it.
        step: u32,
        /// The call.
        #[serde(rename = "toolCallId")]
        tool_call_id: String,
    },
    /// A call waits for a person. What is asked is kept with the request.
    Asked {
        /// The request.
        request: RequestId,
        /// What it is about.
        kind: RequestKind,
        /// The step that asked for the call.
        step: u32,
        /// The call.
        #[serde(rename = "toolCallId")]
        tool_call_id: String,
    },
    /// A request was decided. If that ends the call, its result follows.
    Decided {
        /// The request.
        request: RequestId,
        /// The decision in a word.
        decision: String,
        /// Who decided; absent when nobody did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<UserId>,
        /// The step that asked for the call.
        step: u32,
        /// The call.
        #[serde(rename = "toolCallId")]
        tool_call_id: String,
        /// The other arguments that the call was approved with, as JSON, shortened.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        arguments: Option<String>,
    },
    /// A call that waited for a person is made.
    ToolStarted {
        /// The step that asked for it.
        step: u32,
        /// The call.
        #[serde(rename = "toolCallId")]
        tool_call_id: String,
    },
    /// A person asked to pause. A model call under way is given up.
    PauseRequested {
        /// The reply's text without that call.
        text: String,
    },
    /// A person asked to go on.
    ResumeRequested {},
    /// A worker took the run up after it had waited.
    Resumed {
        /// The number of its claim.
        attempt: u32,
    },
    /// Something of a model call came after it had been given up, and does not count.
    Discarded {
        /// Its domain kind.
        kind: EventKind,
    },
    /// A person asked to stop.
    CancelRequested {},
    /// A worker took over from one that was lost.
    Recovered {
        /// The number of its claim.
        attempt: u32,
        /// The reply's text so far.
        text: String,
    },
    /// An event whose payload was redacted.
    Redacted {
        /// Its domain kind.
        kind: EventKind,
    },
}

/// Who writes a message that is streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AguiRole {
    /// The agent.
    Assistant,
}

/// How a run ended, or where it stands while it waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RunResult {
    /// In a word.
    pub outcome: RunResultOutcome,
    /// The reply, or what there was of it when the run began to wait, if it was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// Its status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<MessageStatus>,
    /// Tokens used by the whole run so far.
    pub usage: Usage,
    /// What it cost in micro-US-dollars, where the price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<u64>,
    /// Which limit ended it, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The ways in which a run ends or waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunResultOutcome {
    /// The reply is complete.
    Completed,
    /// A person stopped it.
    Cancelled,
    /// Duet went down mid-reply.
    Interrupted,
    /// A limit of the turn ended it.
    Limited,
    /// The model did not answer, or not to the end.
    Failed,
    /// A side effect started and its outcome is unknown.
    NeedsReview,
    /// It has not ended: it waits for a person's decisions.
    Waiting,
    /// It has not ended: a person has paused it.
    Paused,
}

/// One server-sent event of a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StreamItem {
    /// `id:`, the event's `seq`; only on the last object of an event.
    pub id: Option<u64>,
    /// `event:`, the domain kind.
    pub event: EventKind,
    /// `data:`, as JSON on one line.
    pub data: AguiEvent,
}
