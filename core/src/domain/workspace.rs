//! Workspaces, their members and roles.

use serde::{Deserialize, Serialize};

use super::word_enum;
use crate::{
    clock::Timestamp,
    ids::{UserId, WorkspaceId},
    refusal::{Named, Refusal},
};

word_enum! {
    /// What a member may do.
    Role {
        /// Creates and edits agents, policy, members.
        Owner = "owner",
        /// Chats, keeps memories, uses what owners set up.
        Member = "member",
    }
}

/// A workspace: people, agents and memories that belong together, isolated from every other workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A workspace as it appears in a member's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Membership {
    /// The workspace.
    pub workspace: Workspace,
    /// The person's role in it.
    pub role: Role,
}

/// A person in a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Member {
    /// The person.
    pub user_id: UserId,
    /// Their email address.
    pub email: String,
    /// The name they go by.
    pub display_name: String,
    /// Their role here.
    pub role: Role,
    /// When they joined.
    pub joined_at: Timestamp,
}

/// Checks that a name has 1 to 80 characters, not counting surrounding white space; `what` is the thing being named.
pub fn check_name(name: &str, what: Named) -> Result<(), Refusal> {
    let length = name.trim().chars().count();
    if (1..=80).contains(&length) {
        Ok(())
    } else {
        Err(Refusal::NameLength { what })
    }
}
