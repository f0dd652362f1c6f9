//! Conversations and their messages (C1–C3, C5).

use serde::{Deserialize, Serialize};

use super::{Labels, RunStatus, Usage, word_enum};
use crate::{
    clock::Timestamp,
    ids::{AgentId, ConversationId, MemoryId, MessageId, RunId, UserId, WorkspaceId},
    refusal::Refusal,
};

/// A conversation of one person with the companion. Only that person sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// Whose it is.
    pub user_id: UserId,
    /// The agent that answers.
    pub agent_id: AgentId,
    /// Its title; made from the first message until renamed.
    pub title: String,
    /// Hidden from the list, not deleted.
    pub archived: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last got a message.
    pub updated_at: Timestamp,
    /// The run that is answering in it now, if any.
    pub active_run: Option<RunId>,
    /// The newest message of the branch that is shown.
    pub head_id: Option<MessageId>,
}

/// An edit of a conversation: only what is `Some` changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConversationEdit {
    /// A new title, 1 to 200 characters.
    pub title: Option<String>,
    /// Archive or unarchive.
    pub archived: Option<bool>,
}

/// A conversation's title as it is stored, or what is wrong with it.
pub fn check_title(title: &str) -> Result<String, Refusal> {
    let title = title.trim();
    if (1..=200).contains(&title.chars().count()) {
        Ok(title.to_owned())
    } else {
        Err(Refusal::TitleLength)
    }
}

word_enum! {
    /// Who wrote a message. Tool results are never messages.
    MessageRole {
        /// The person.
        User = "user",
        /// The companion.
        Assistant = "assistant",
    }
}

word_enum! {
    /// Whether a message is complete.
    MessageStatus {
        /// Complete.
        Complete = "complete",
        /// The person stopped it; the text so far is kept.
        Stopped = "stopped",
        /// Duet went down while it was being written; the text so far is kept and can be continued.
        Interrupted = "interrupted",
        /// A limit of the turn ended it; the text so far is kept.
        Limited = "limited",
        /// Its text was redacted.
        Redacted = "redacted",
    }
}

/// A message. The messages of a conversation are a tree: answered again, said anew or continued elsewhere, an earlier one is kept, and
/// the conversation shows one branch at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// 1, 2, 3 … in the conversation, over all its branches; it grows along each.
    pub ordinal: u64,
    /// Who wrote it.
    pub role: MessageRole,
    /// Whether it is complete.
    pub status: MessageStatus,
    /// Markdown as it was written; empty once redacted.
    pub text: String,
    /// The message before it on its branch.
    pub parent_id: Option<MessageId>,
    /// The message that it answers (for an assistant message). A late reply comes after others.
    pub answers_id: Option<MessageId>,
    /// Whether it is on another branch than the one that is shown.
    #[serde(default)]
    pub aside: bool,
    /// Its other versions, if there are any.
    pub siblings: Option<Siblings>,
    /// The run that wrote it, or the latest run that answers it.
    pub run_id: Option<RunId>,
    /// The agent that wrote it.
    pub agent_id: Option<AgentId>,
    /// How it was produced (assistant messages).
    pub trace: Option<MessageTrace>,
    /// How that run ended, once it has; explains a message without a complete reply.
    pub ended: Option<RunEnd>,
    /// The labels of its text; for a reply, the joined labels of all that the model was given to read.
    #[serde(default)]
    pub labels: Labels,
    /// When it was stored.
    pub created_at: Timestamp,
}

/// The versions of a message: those of the same role after the same one, in the order in which they were stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Siblings {
    /// Which of them this message is, from 1.
    pub nth: u64,
    /// How many there are.
    pub of: u64,
    /// The one before.
    pub previous: Option<MessageId>,
    /// The one after.
    pub next: Option<MessageId>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RunEnd {
    /// Its final status.
    pub status: RunStatus,
    /// Why it failed, was limited or was parked: one sentence for people.
    pub reason: Option<String>,
}

impl Message {
    /// Its approximate size in bytes when sent.
    pub fn weight(&self) -> usize {
        self.text.len() + self.trace.as_ref().map_or(0, MessageTrace::weight)
    }
}

/// Begins every reply of the built-in offline fallback. It tells readers of plain text and is not part of the answer.
pub const OFFLINE_LABEL: &str = "(offline fallback: no model is configured)";

/// How an assistant message was produced. Contains no text of memories or tool results, only references and counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MessageTrace {
    /// The model that wrote it.
    pub model: String,
    /// Whether the built-in offline fallback wrote it.
    pub offline: bool,
    /// Tokens used by all model calls of the turn.
    pub usage: Usage,
    /// Their cost in micro-US-dollars; absent when the model's price is not known.
    pub cost_micros: Option<u64>,
    /// The tools that were called, in order.
    pub tools: Vec<ToolTrace>,
    /// The memories that the model was given to read.
    pub recalled: Vec<MemoryId>,
    /// The memories that were written.
    pub remembered: Vec<MemoryId>,
}

impl MessageTrace {
    /// An id with its quotes and comma.
    const ID: usize = 40;

    fn weight(&self) -> usize {
        let tools = self.tools.iter().map(|tool| tool.call_id.len() + tool.name.len() + Self::ID);
        tools.sum::<usize>() + (self.recalled.len() + self.remembered.len()) * Self::ID
    }
}

/// One tool call of a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ToolTrace {
    /// The call's id within the run.
    pub call_id: String,
    /// The tool.
    pub name: String,
    /// How it ended.
    pub status: ToolStatus,
}

word_enum! {
    /// The status of a tool call.
    ToolStatus {
        /// It is running.
        Started = "started",
        /// It gave a result.
        Succeeded = "succeeded",
        /// It failed; the model was told.
        Failed = "failed",
        /// Policy, capability or the loop guard refused it; the model was told.
        Refused = "refused",
        /// Whether it acted is unknown: a person has to look.
        Unknown = "unknown",
    }
}

/// One hit of a search over conversations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MessageHit {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Its title.
    pub title: String,
    /// The message.
    pub message_id: MessageId,
    /// Who wrote it.
    pub role: MessageRole,
    /// The part that matches, plain text, at most 240 characters.
    pub snippet: String,
    /// Whether it is on another branch than the one that its conversation shows.
    #[serde(default)]
    pub aside: bool,
    /// The labels of its text.
    #[serde(default)]
    pub labels: Labels,
    /// When it was written.
    pub created_at: Timestamp,
}
