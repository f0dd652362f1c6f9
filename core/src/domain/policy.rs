//! The versions of a workspace's policy.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::{UserId, WorkspaceId},
    policy::Rule,
};

/// One version of a workspace's policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PolicyVersion {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// 1, 2, 3 …
    pub version: u32,
    /// The rules. The strictest that matches a call wins; a call that none matches is denied.
    pub rules: Vec<Rule>,
    /// Who wrote it.
    pub author: UserId,
    /// When.
    pub created_at: Timestamp,
}
