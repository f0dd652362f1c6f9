//! Runs: every chat turn is one.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Labels, MessageStatus, MessageTrace, NewEvent, NewRequest, StoredEvent, UsedApproval, word_enum};
use crate::{
    clock::{Env, Timestamp},
    ids::{AgentId, CommitId, ConversationId, LeaseToken, MessageId, RunId, UserId, WorkspaceId},
    refusal::Refusal,
};

word_enum! {
    /// The status of a run.
    RunStatus {
        /// Waits for a worker.
        Queued = "queued",
        /// A worker drives it under a lease.
        Running = "running",
        /// Waits for a person: a decision, or to go on. No worker holds it.
        Waiting = "waiting",
        /// Finished.
        Done = "done",
        /// Ended with an error; can be retried.
        Failed = "failed",
        /// A person stopped it.
        Cancelled = "cancelled",
        /// Duet went down mid-reply; the partial reply is kept and can be continued.
        Interrupted = "interrupted",
        /// A side effect's outcome is unknown: a person has to look.
        NeedsReview = "needs_review",
        /// Gave up after too many attempts, or could not be read; the reason is recorded.
        Parked = "parked",
    }
}

impl RunStatus {
    /// Whether nothing more will happen in it.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Waiting)
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// Who started it.
    pub user_id: UserId,
    /// The conversation it answers in.
    pub conversation_id: ConversationId,
    /// The message that it answers.
    pub message_id: MessageId,
    /// The id that the reply has or will have.
    pub reply_id: MessageId,
    /// The agent that answers.
    pub agent_id: AgentId,
    /// Its status.
    pub status: RunStatus,
    /// How often a worker has claimed it.
    pub attempt: u32,
    /// The `seq` of its newest event.
    pub last_seq: u64,
    /// Why it failed or was parked: one sentence for people.
    pub reason: Option<String>,
    /// The joined labels of all that it has read. Its events record each addition; this outlives their redaction and only gets
    /// stricter.
    #[serde(default)]
    pub labels: Labels,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Run {
    /// The reason recorded when a run is parked because its log cannot be read.
    pub fn unreadable(seq: u64) -> String {
        format!("The record of this run cannot be read (event {seq}). Have the message answered again.")
    }
}

/// Limits of one turn, recorded in its first event so that a replay knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TurnLimits {
    /// Model calls in one turn; the last is made without tools so that it must answer.
    pub max_steps: u32,
    /// Identical calls (tool and arguments) before the next is refused.
    pub max_identical_calls: u32,
    /// Tokens of all model calls together.
    pub max_tokens: u64,
    /// Attempts of one model call.
    pub max_attempts: u32,
    /// Output tokens of one model call.
    pub max_output_tokens: u32,
    /// Bytes of the reply's text.
    pub max_reply_bytes: u32,
    /// Bytes of the tool calls that one model call asks for, names and arguments together.
    pub max_argument_bytes: u32,
    /// Tool calls that one model call may ask for.
    pub max_calls_per_reply: u32,
    /// Tool calls of the turn.
    pub max_calls: u32,
    /// Memories that the turn may write.
    pub max_memories: u32,
    /// Seconds of work on the turn; time spent waiting for a worker does not count.
    pub max_seconds: u32,
}

impl Default for TurnLimits {
    fn default() -> Self {
        Self {
            max_steps: 8,
            max_identical_calls: 2,
            max_tokens: 200_000,
            max_attempts: 4,
            max_output_tokens: 4_096,
            max_reply_bytes: 256 * 1024,
            max_argument_bytes: 64 * 1024,
            max_calls_per_reply: 16,
            max_calls: 64,
            max_memories: 16,
            max_seconds: 900,
        }
    }
}

/// Where a new message stands in the tree of its conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// After the newest message that is shown.
    #[default]
    Newest,
    /// After this one, beside whatever follows it already.
    After(MessageId),
    /// As another version of this one, which is the person's own.
    Instead(MessageId),
}

impl Place {
    /// The message that it follows, where that is not the newest.
    pub fn after(self) -> Option<MessageId> {
        match self {
            Self::After(message) => Some(message),
            Self::Newest | Self::Instead(_) => None,
        }
    }

    /// The message that it is another version of.
    pub fn instead(self) -> Option<MessageId> {
        match self {
            Self::Instead(message) => Some(message),
            Self::Newest | Self::After(_) => None,
        }
    }
}

/// A person's message that starts a turn.
#[derive(Clone, Debug)]
pub struct NewTurn {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The id of the new message.
    pub message_id: MessageId,
    /// The id of the run that will answer.
    pub run_id: RunId,
    /// The id that the reply will have.
    pub reply_id: MessageId,
    /// What the person wrote, 1 to [`NewTurn::MAX_TEXT`] bytes.
    pub text: String,
    /// Where it stands. Any other place than the newest moves the conversation to that branch.
    pub place: Place,
    /// A key that the client resends when it repeats the request: the same key with the same text gives the first answer again;
    /// with another text it is a conflict.
    pub idempotency_key: Option<String>,
    /// Bounds.
    pub limits: TurnLimits,
}

impl NewTurn {
    /// Longest message, in bytes.
    pub const MAX_TEXT: usize = 64 * 1024;

    /// A turn with fresh ids and the usual bounds.
    pub fn new(env: &Env, conversation_id: ConversationId, text: impl Into<String>) -> Self {
        Self {
            conversation_id,
            message_id: env.id(),
            run_id: env.id(),
            reply_id: env.id(),
            text: text.into(),
            place: Place::default(),
            idempotency_key: None,
            limits: TurnLimits::default(),
        }
    }

    /// Checks the text; the message says what to fix.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.text.trim().is_empty() {
            return Err(Refusal::MessageEmpty);
        }
        if self.text.len() > Self::MAX_TEXT {
            return Err(Refusal::MessageLength {
                most: Self::MAX_TEXT,
                has: self.text.len(),
            });
        }
        Ok(())
    }
}

word_enum! {
    /// How to answer a message once more.
    RetryMode {
        /// From scratch: the new reply is another version of the one that is shown.
        Restart = "restart",
        /// From where the interrupted or stopped reply ends.
        Continue = "continue",
    }
}

/// Another run for an existing message (C6: the turn can be retried).
#[derive(Clone, Debug)]
pub struct RetryTurn {
    /// The person's message to answer.
    pub message_id: MessageId,
    /// The id of the new run.
    pub run_id: RunId,
    /// The id that a new reply will have; continuing keeps the old reply's id.
    pub reply_id: MessageId,
    /// From scratch or from where the reply ends.
    pub mode: RetryMode,
    /// Bounds.
    pub limits: TurnLimits,
}

/// The answer to a started turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TurnReceipt {
    /// The person's message.
    pub message_id: MessageId,
    /// The run that answers it.
    pub run_id: RunId,
    /// The id that the reply will have.
    pub reply_id: MessageId,
}

/// A run claimed by a worker, with all it needs to continue.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The run.
    pub run: Run,
    /// The person's role as it is now, not as it was when the run started.
    pub role: super::Role,
    /// Fresh for this claim; every write carries it.
    pub lease: LeaseToken,
    /// Held for as long as somebody works on the run. A store whose workers all live in this process uses it to see that a run was
    /// dropped, and needs no clock; other stores rely on the lease's expiry.
    pub hold: Arc<()>,
    /// The whole log so far, in order.
    pub log: Vec<StoredEvent>,
}

/// Why a worker gives a run back unfinished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandBack {
    /// The worker is leaving. This costs the run nothing, however often it happens.
    Leaving,
    /// The worker cannot continue this run. The claim counts as one without progress, so that this does not repeat forever.
    Stuck,
}

/// How long leases hold and how often a run is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeasePolicy {
    /// How long a lease lasts without a heartbeat, where several processes share the store.
    pub duration: Duration,
    /// The number of claims in a row without progress after which the run is parked.
    pub max_attempts: u32,
}

impl Default for LeasePolicy {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(30),
            max_attempts: 5,
        }
    }
}

/// A worker's write to the run that it holds: all of it in one transaction, or nothing.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Names the write. When its answer is lost, the driver cannot know whether it happened and repeats it under the same id; if it
    /// did happen, the store gives the first answer, even if the lease has ended since.
    pub id: CommitId,
    /// What happened.
    pub events: Vec<NewEvent>,
    /// What the run asks with these events.
    pub asks: Vec<NewRequest>,
    /// The approvals that these events make use of: each holds once.
    pub uses: Vec<UsedApproval>,
    /// What becomes of the run.
    pub then: Then,
}

impl Commit {
    /// Only these events.
    pub fn of(id: CommitId, events: Vec<NewEvent>) -> Self {
        Self {
            id,
            events,
            asks: Vec::new(),
            uses: Vec::new(),
            then: Then::Keep,
        }
    }

    /// These events, and then the end.
    pub fn ending(id: CommitId, events: Vec<NewEvent>, settlement: Settlement) -> Self {
        Self {
            then: Then::Settle(settlement),
            ..Self::of(id, events)
        }
    }
}

/// What becomes of a run with a write of its worker.
#[derive(Clone, Debug)]
pub enum Then {
    /// The worker keeps it.
    Keep,
    /// It waits without a worker.
    Suspend(Suspension),
    /// It ends.
    Settle(Settlement),
}

/// How a run begins to wait: its lease ends, and its conversation is free for the next turn.
#[derive(Clone, Debug)]
pub struct Suspension {
    /// What it has said since it last waited; `None` when there is no text to keep.
    pub reply: Option<Reply>,
    /// The id of its next reply, if this one is stored.
    pub next_reply: MessageId,
}

/// How a run ends: nothing follows, and it has no lease any more.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The final status.
    pub status: RunStatus,
    /// Why it failed, if it did.
    pub reason: Option<String>,
    /// The reply; `None` when there is no text to keep.
    pub reply: Option<Reply>,
}

/// An assistant message as a run leaves it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Whether it is complete.
    pub status: MessageStatus,
    /// The whole text, including what an earlier run wrote if this one continued it.
    pub text: String,
    /// How it was produced.
    pub trace: MessageTrace,
}

/// The answer to a write: the new events as stored, and those that others (a person's cancel) appended before them.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// Events between the writer's `after` and its own first one, in order.
    pub interleaved: Vec<StoredEvent>,
    /// The writer's own events as stored, in order.
    pub own: Vec<StoredEvent>,
}
