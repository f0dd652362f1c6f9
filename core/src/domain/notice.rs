//! Notices: tell a person about something that concerns their own data and that they decide on.

use serde::{Deserialize, Serialize};

use super::word_enum;
use crate::{
    clock::Timestamp,
    ids::{ConversationId, MemoryId, MessageId, NoticeId, RunId, UserId, WorkspaceId},
};

word_enum! {
    /// What a person decides about a notice.
    NoticeAction {
        /// The replies that it names are removed, with the payloads of their runs.
        Blank = "blank",
        /// They stay as they are.
        Dismiss = "dismiss",
    }
}

/// Somebody else redacted a memory that replies to this person recalled. The replies are theirs, so they decide whether to remove
/// those too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Notice {
    /// Its id.
    pub id: NoticeId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// The memory that was redacted.
    pub memory_id: MemoryId,
    /// Who redacted it.
    pub redacted_by: UserId,
    /// When they did.
    pub created_at: Timestamp,
    /// The replies to this person that recalled it, newest first, at most [`Notice::MOST_REPLIES`] of them.
    pub replies: Vec<NoticedReply>,
    /// What the person decided; absent while it is open.
    pub settled: Option<NoticeAction>,
    /// When they did.
    pub settled_at: Option<Timestamp>,
}

impl Notice {
    /// The most replies that a notice names; the decision applies to all of them.
    pub const MOST_REPLIES: usize = 50;
}

/// A reply that recalled the redacted memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NoticedReply {
    /// Its run.
    pub run_id: RunId,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// The conversation's title.
    pub title: String,
    /// The reply.
    pub message_id: MessageId,
}
