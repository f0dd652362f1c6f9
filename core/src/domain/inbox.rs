//! The Inbox: what waits for a person, of whatever kind.

use serde::{Deserialize, Serialize};

use super::{Memory, Request, word_enum};
use crate::clock::Timestamp;

word_enum! {
    /// What an entry of the Inbox is.
    InboxKind {
        /// A call that needs a yes.
        Approval = "approval",
        /// A question.
        Question = "question",
        /// A call that may have happened.
        Review = "review",
        /// A memory that an agent proposes.
        Memory = "memory",
    }
}

/// An entry of the Inbox, by reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct InboxEntry {
    /// What it is.
    pub kind: InboxKind,
    /// The request's or the memory's id.
    pub id: uuid::Uuid,
    /// Since when it waits.
    pub at: Timestamp,
}

/// An entry of the Inbox with what it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "item", rename_all = "snake_case")]
pub enum InboxItem {
    /// A request to decide.
    Request {
        /// The request.
        request: Request,
    },
    /// A proposed memory to accept or reject.
    Memory {
        /// The memory.
        memory: Memory,
    },
}
