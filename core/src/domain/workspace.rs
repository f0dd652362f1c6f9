//! Workspaces, their members and roles.

use serde::{Deserialize, Serialize};

use super::word_enum;
use crate::{
    clock::Timestamp,
    ids::{UserId, WorkspaceId},
};

word_enum! {
    /// What a member may do (W2).
    Role {
        /// Creates and edits agents, policy, members.
        Owner = "owner",
        /// Chats, keeps memories, uses what owners set up.
        Member = "member",
    }
}

/// A workspace: people, agents and memories that belong together and never meet another workspace's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A workspace as one of its members sees it in the list of theirs.
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
    /// Their e-mail address.
    pub email: String,
    /// The name they go by.
    pub display_name: String,
    /// Their role here.
    pub role: Role,
    /// Since when.
    pub joined_at: Timestamp,
}
