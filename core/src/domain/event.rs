//! Run events: the append-only truth about a run. The machine in [`crate::run`] folds over them.

use serde::{Deserialize, Serialize};

use super::{Decision, Labels, Locality, MessageStatus, ModelRef, RequestKind, ToolStatus, TurnLimits, Usage, word_enum};
use crate::{
    clock::Timestamp,
    ids::{AgentId, MemoryId, MessageId, RequestId, RunId, UserId, WorkspaceId},
};

word_enum! {
    /// The kind of an event: the `event:` field of the stream, and what is still known of an event whose payload was redacted.
    /// Workers name the kinds they know when they claim, and get no run with any other kind, so an event that older workers cannot
    /// read gets its own kind.
    EventKind {
        /// The run began.
        Started = "started",
        /// What the model was given to read.
        Context = "context",
        /// A model call began.
        Model = "model",
        /// A piece of the reply's text.
        Delta = "delta",
        /// A model call succeeded.
        Reply = "reply",
        /// A model call failed.
        Retry = "retry",
        /// A tool call started or ended.
        Tool = "tool",
        /// A limit of the turn was reached.
        Limit = "limit",
        /// A person asked to stop.
        Cancel = "cancel",
        /// The run asks a person something.
        Asked = "asked",
        /// A person decided, or nobody did in time.
        Decided = "decided",
        /// A person asked to pause, or to go on.
        Pause = "pause",
        /// The run waits, and no worker holds it.
        Suspended = "suspended",
        /// A worker took the run up after it had waited.
        Resumed = "resumed",
        /// A worker took over from one that was lost.
        Recovered = "recovered",
        /// The run completed, was stopped, or was interrupted.
        Done = "done",
        /// The run ended with an error.
        Error = "error",
    }
}

/// What happened. Memories are named by id; their text never enters an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RunEvent {
    /// The run began. Written together with the run itself.
    Started {
        /// The agent that answers.
        agent_id: AgentId,
        /// The message that it answers.
        message_id: MessageId,
        /// The id of the reply.
        reply_id: MessageId,
        /// The text that the reply starts with, when an interrupted or stopped one is continued.
        prefix: String,
        /// The run that wrote that text; the model reads its tool results again.
        #[serde(default)]
        continues: Option<RunId>,
        /// Bounds.
        limits: TurnLimits,
        /// The prefix's labels.
        #[serde(default)]
        labels: Labels,
    },
    /// What the driver gathered for the model, by reference: the prompt is rebuilt from these after a crash.
    Context {
        /// The model that will be asked.
        model: ModelRef,
        /// Where it computes: this decided which memories may be in the prompt.
        locality: Locality,
        /// Earlier messages of the conversation, oldest first.
        history: Vec<MessageId>,
        /// Recalled memories, best first.
        recalled: Vec<MemoryId>,
        /// Whether recall had to do without vectors.
        text_only_recall: bool,
        /// The joined labels of all of it.
        #[serde(default)]
        labels: Labels,
    },
    /// The driver is about to call the model.
    ModelCalled {
        /// The step: 1 for the first call of the turn.
        step: u32,
        /// The attempt at this step, from 1.
        attempt: u32,
    },
    /// Text arrived. Coalesced: about 50 ms or 256 characters.
    Delta {
        /// The step it belongs to.
        step: u32,
        /// The text.
        text: String,
    },
    /// The model call succeeded.
    ModelReplied {
        /// The step.
        step: u32,
        /// Its whole text, so that a reader of a step that has ended needs none of its deltas.
        text: String,
        /// The tools that it wants called, in its order.
        tool_calls: Vec<ProposedCall>,
        /// Tokens used.
        usage: Usage,
        /// Cost in micro-US-dollars, where the price is known.
        cost_micros: Option<u64>,
        /// Why it stopped.
        stop: StopReason,
    },
    /// The model call failed. Text from this attempt is discarded if another attempt follows; after the last one, the longest text
    /// of any attempt is kept.
    ModelFailed {
        /// The step.
        step: u32,
        /// The attempt.
        attempt: u32,
        /// What kind of failure.
        failure: ModelFailure,
        /// One sentence for people; no secret, no prompt.
        message: String,
        /// How long the provider asked to wait, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// A limit of the turn was reached: what has arrived so far is kept, and only the end follows.
    LimitReached {
        /// Which one, as a sentence.
        message: String,
        /// Tokens used by the abandoned model call, as far as its provider reported them.
        usage: Usage,
        /// Their cost in micro-US-dollars, where the price is known.
        cost_micros: Option<u64>,
    },
    /// The wait before another attempt is over.
    RetryDue {
        /// The step.
        step: u32,
    },
    /// The driver is about to run a tool. From here on the call may have acted.
    ToolStarted {
        /// The call.
        effect: EffectId,
    },
    /// The tool looked, after its outcome was lost, and found that the call had not acted: it is due again.
    ToolNotDone {
        /// The call.
        effect: EffectId,
    },
    /// A tool call ended.
    ToolFinished {
        /// The call.
        effect: EffectId,
        /// How it ended.
        status: ToolStatus,
        /// What the model is told. References memories as `{"memory": id}` where recalled text would be.
        output: ToolOutput,
    },
    /// A call waits for a person. What is asked is kept with the request.
    Asked {
        /// The call.
        effect: EffectId,
        /// The request.
        request: RequestId,
        /// What it is about.
        kind: RequestKind,
        /// The salted hash of the arguments that the request shows, in hex.
        hash: String,
    },
    /// A request was decided. Written by the decision, not by the driver.
    Decided {
        /// The call.
        effect: EffectId,
        /// The request.
        request: RequestId,
        /// What was decided.
        decision: Decision,
        /// Who decided; `None` when nobody did.
        by: Option<UserId>,
    },
    /// A person asked to pause. Written by the request, not by the driver.
    PauseRequested {
        /// Who asked.
        by: UserId,
    },
    /// A person asked to go on. Written by the request, not by the driver.
    ResumeRequested {
        /// Who asked.
        by: UserId,
    },
    /// The run waits without a worker. What it had to say so far is a message of its own.
    Suspended {
        /// The status of the message stored with this; `None` when there was no text to keep.
        reply: Option<MessageStatus>,
        /// The id of the message that comes next.
        next_reply: MessageId,
        /// Tokens used so far.
        usage: Usage,
        /// Their cost in micro-US-dollars, where the price is known.
        cost_micros: Option<u64>,
    },
    /// A worker took the run up after it had waited.
    Resumed {
        /// The claim's number.
        attempt: u32,
    },
    /// A person asked to stop. Written by the request, not by the driver.
    CancelRequested {
        /// Who asked.
        by: UserId,
    },
    /// A worker took over the log from one that was lost.
    Recovered {
        /// The claim's number.
        attempt: u32,
    },
    /// The end. Nothing follows.
    Finished {
        /// How it ended.
        outcome: RunOutcome,
        /// The status of the stored reply; `None` when none was stored.
        reply: Option<MessageStatus>,
        /// Tokens used by the whole run.
        usage: Usage,
        /// What it cost in micro-US-dollars, where the price is known.
        cost_micros: Option<u64>,
    },
}

impl RunEvent {
    /// The labels of what the run read with this event; the store joins them to the run's labels in the transaction that appends
    /// it.
    pub fn labels(&self) -> Labels {
        match self {
            Self::Started { labels, .. } | Self::Context { labels, .. } => *labels,
            Self::ToolFinished { output, .. } => output.labels,
            Self::ModelCalled { .. }
            | Self::Delta { .. }
            | Self::ModelReplied { .. }
            | Self::ModelFailed { .. }
            | Self::RetryDue { .. }
            | Self::ToolStarted { .. }
            | Self::ToolNotDone { .. }
            | Self::Asked { .. }
            | Self::Decided { .. }
            | Self::PauseRequested { .. }
            | Self::ResumeRequested { .. }
            | Self::Suspended { .. }
            | Self::Resumed { .. }
            | Self::CancelRequested { .. }
            | Self::Recovered { .. }
            | Self::LimitReached { .. }
            | Self::Finished { .. } => Labels::default(),
        }
    }

    /// The kind, for the stream and the header.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Started { .. } => EventKind::Started,
            Self::Context { .. } => EventKind::Context,
            Self::ModelCalled { .. } => EventKind::Model,
            Self::Delta { .. } => EventKind::Delta,
            Self::ModelReplied { .. } => EventKind::Reply,
            Self::ModelFailed { .. } | Self::RetryDue { .. } => EventKind::Retry,
            Self::ToolStarted { .. } | Self::ToolNotDone { .. } | Self::ToolFinished { .. } => EventKind::Tool,
            Self::LimitReached { .. } => EventKind::Limit,
            Self::Asked { .. } => EventKind::Asked,
            Self::Decided { .. } => EventKind::Decided,
            Self::PauseRequested { .. } | Self::ResumeRequested { .. } => EventKind::Pause,
            Self::Suspended { .. } => EventKind::Suspended,
            Self::Resumed { .. } => EventKind::Resumed,
            Self::CancelRequested { .. } => EventKind::Cancel,
            Self::Recovered { .. } => EventKind::Recovered,
            Self::Finished { outcome, .. } => match outcome {
                RunOutcome::Failed { .. } | RunOutcome::NeedsReview { .. } => EventKind::Error,
                RunOutcome::Completed | RunOutcome::Cancelled | RunOutcome::Interrupted | RunOutcome::Limited { .. } => {
                    EventKind::Done
                }
            },
        }
    }

    /// Whether something other than a worker wrote it.
    pub fn is_from_outside(&self) -> bool {
        matches!(
            self,
            Self::Started { .. }
                | Self::CancelRequested { .. }
                | Self::PauseRequested { .. }
                | Self::ResumeRequested { .. }
                | Self::Decided { .. }
        )
    }

    /// Whether this event is the outcome of an effect, so that the run has advanced since its claim. Events that a worker can write
    /// repeatedly without getting anywhere are not progress.
    pub fn is_progress(&self) -> bool {
        match self {
            Self::Context { .. }
            | Self::ModelReplied { .. }
            | Self::ModelFailed { .. }
            | Self::LimitReached { .. }
            | Self::RetryDue { .. }
            | Self::ToolFinished { .. }
            | Self::Asked { .. }
            | Self::Decided { .. }
            | Self::Suspended { .. }
            | Self::Finished { .. } => true,
            Self::Started { .. }
            | Self::ModelCalled { .. }
            | Self::Delta { .. }
            | Self::ToolStarted { .. }
            // Or a tool that takes its worker down would be tried for ever.
            | Self::ToolNotDone { .. }
            | Self::PauseRequested { .. }
            | Self::ResumeRequested { .. }
            | Self::Resumed { .. }
            | Self::CancelRequested { .. }
            | Self::Recovered { .. } => false,
        }
    }
}

word_enum! {
    /// What performing a call means, from harmless to final. It decides what runs beside what, and what happens to a call that had
    /// started when its worker was lost: nothing that may have acted is repeated unless repeating it is known to be safe.
    EffectClass {
        /// Changes nothing. Repeated, and run beside others of its kind.
        Repeatable = "repeatable",
        /// Changes something, once: whoever receives it knows the call's key. Repeated with the same key.
        Idempotent = "idempotent",
        /// Changes something that can be taken back. Not repeated unless the tool can see that it did not happen.
        Reversible = "reversible",
        /// Changes something for good. Not repeated unless the tool can see that it did not happen.
        Irreversible = "irreversible",
    }
}

impl EffectClass {
    /// Whether a call that may have acted can simply be performed again.
    pub fn may_be_repeated(self) -> bool {
        matches!(self, Self::Repeatable | Self::Idempotent)
    }
}

/// Names an effect within its run: the model call of a step, or one of the tool calls that the step's reply asked for. Providers'
/// own ids of calls repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EffectId {
    /// The step, from 1; 0 for what precedes the first.
    pub step: u32,
    /// 0 for the model call, then the tool calls from 1 in the reply's order.
    pub index: u32,
}

impl EffectId {
    /// The model call of this step.
    pub fn model(step: u32) -> Self {
        Self { step, index: 0 }
    }

    /// The tool call of this step at `position`, which counts from 0.
    pub fn tool(step: u32, position: usize) -> Self {
        let index = u32::try_from(position).unwrap_or(u32::MAX).saturating_add(1);
        Self { step, index }
    }

    /// The position of a tool call in its reply, from 0; `None` for a model call.
    pub fn position(self) -> Option<usize> {
        usize::try_from(self.index.checked_sub(1)?).ok()
    }
}

/// `step.index`, as readers of the stream see it.
impl std::fmt::Display for EffectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.step, self.index)
    }
}

/// A tool call of a reply, with what performing it means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProposedCall {
    /// The call, as the model asked for it.
    #[serde(flatten)]
    pub call: ToolCall,
    /// The class of its tool when the reply arrived; a tool that does not exist changes nothing.
    pub class: EffectClass,
}

/// A tool call that a model asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ToolCall {
    /// The provider's id for it, unique in its step.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments, as the model wrote them; not yet checked.
    #[schema(value_type = Object)]
    pub arguments: serde_json::Value,
}

/// A tool's result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolOutput {
    /// What the model reads. The driver appends the current text of `memories`, if any.
    pub text: String,
    /// Memories that belong to the output, by id: their text is fetched when the prompt is built, so that memories redacted since,
    /// or not allowed to leave this machine, are left out.
    pub memories: Vec<MemoryId>,
    /// Of those, the ones that this call wrote.
    pub remembered: Vec<MemoryId>,
    /// Messages that belong to the output, by id, for the same reason.
    #[serde(default)]
    pub messages: Vec<MessageId>,
    /// The joined labels of all of it.
    #[serde(default)]
    pub labels: Labels,
}

word_enum! {
    /// Why a model stopped writing.
    StopReason {
        /// It was done.
        End = "end",
        /// It wants tools called.
        ToolUse = "tool_use",
        /// It reached its output limit.
        Length = "length",
        /// The provider withheld something.
        Filtered = "filtered",
    }
}

word_enum! {
    /// What went wrong with a model call; decides whether it is repeated.
    ModelFailure {
        /// Could not be reached, or the stream broke off.
        Unreachable = "unreachable",
        /// Nothing arrived for too long.
        TimedOut = "timed_out",
        /// Too many requests, or overloaded.
        Busy = "busy",
        /// The response did not follow the protocol.
        Malformed = "malformed",
        /// The key was refused.
        Unauthorized = "unauthorized",
        /// No such model, or no such provider configured.
        UnknownModel = "unknown_model",
        /// The provider refused the request as it is (too long, not allowed).
        Rejected = "rejected",
        /// The reply exceeded a limit of the turn, in size or time.
        Limited = "limited",
    }
}

impl ModelFailure {
    /// Whether the same call may succeed later.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut | Self::Busy | Self::Malformed)
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum RunOutcome {
    /// The reply is complete.
    Completed,
    /// A person stopped it.
    Cancelled,
    /// Duet went down mid-reply.
    Interrupted,
    /// A limit of the turn ended it.
    Limited {
        /// Which one, as a sentence.
        message: String,
    },
    /// The model did not answer, or not to the end; any text it wrote is kept as interrupted.
    Failed {
        /// What kind of failure.
        failure: ModelFailure,
        /// What to do, as a sentence.
        message: String,
    },
    /// A side effect started and its outcome is unknown.
    NeedsReview {
        /// The tool.
        tool: String,
    },
}

/// An event to be appended.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// What happened.
    pub event: RunEvent,
    /// Memories whose redaction has to remove this event's payload.
    pub mentions: Vec<MemoryId>,
}

impl From<RunEvent> for NewEvent {
    fn from(event: RunEvent) -> Self {
        Self {
            event,
            mentions: Vec::new(),
        }
    }
}

/// An event of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvent {
    /// 1, 2, 3 … without gaps in the run.
    pub seq: u64,
    /// What kind; known even after the payload is redacted.
    pub kind: EventKind,
    /// What happened; `None` once redacted.
    pub event: Option<RunEvent>,
    /// When it was appended.
    pub at: Timestamp,
}

/// Which part of a run's log to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// Only events after this `seq`.
    pub after: u64,
    /// At most this many.
    pub limit: usize,
    /// Leaves out the deltas before the newest `reply` up to this `seq`: of the steps that have ended by then, the replies have the
    /// text. 0 leaves out nothing.
    pub closed_by: u64,
}

impl LogRange {
    /// Everything after `after`, at most `limit` events.
    pub fn whole(after: u64, limit: usize) -> Self {
        Self {
            after,
            limit,
            closed_by: 0,
        }
    }

    /// What folding the log takes.
    pub fn brief(after: u64, limit: usize) -> Self {
        Self {
            closed_by: u64::MAX,
            ..Self::whole(after, limit)
        }
    }
}

/// A page of a run's log.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// The events of the requested range, in order; without gaps but for what the range leaves out.
    pub events: Vec<StoredEvent>,
    /// The run's newest `seq` when the page was read.
    pub last_seq: u64,
    /// Whether no worker will add to it by itself: the run has ended, or it waits for a person.
    pub ended: bool,
}

/// A hint that a run's log has grown. It may be lost, doubled or late; the log is the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventHint {
    /// The run.
    pub run: RunId,
    /// The newest `seq` that this hint knows of.
    pub last_seq: u64,
}

word_enum! {
    /// What of a person's may have changed.
    Changed {
        /// Which runs they have, and where those stand.
        Runs = "runs",
        /// What waits for them.
        Inbox = "inbox",
    }
}

/// A hint that something of a person's has changed. It may be lost, doubled or late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PersonHint {
    /// Where.
    pub workspace: WorkspaceId,
    /// Whose.
    pub user: UserId,
    /// What.
    pub changed: Changed,
}

/// What the outbox holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hint", rename_all = "snake_case")]
pub enum Hint {
    /// For those who follow a run.
    Run(EventHint),
    /// For a person's pages.
    Person(PersonHint),
    /// For workers: a run waits to be claimed.
    Queued,
}
