//! Workspaces, their members and roles.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{AgentKind, Capability, MemoryScopes, PRIMARY_AGENTS, STARTER_TOOLS, Soul, word_enum};
use crate::{
    clock::{Env, Timestamp},
    ids::{AgentId, UserId, WorkspaceId},
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

/// What a new workspace starts with.
#[derive(Clone, Debug, Serialize)]
pub struct Starter {
    /// The two primary agents.
    pub agents: Vec<StarterAgent>,
    /// The first version of the soul that they share.
    pub soul: Soul,
}

/// A primary agent of a new workspace.
#[derive(Clone, Debug, Serialize)]
pub struct StarterAgent {
    /// Its id.
    pub id: AgentId,
    /// Which of the two.
    pub kind: AgentKind,
    /// Its name.
    pub name: String,
    /// Its instructions.
    pub prompt: &'static str,
    /// What it may do: everything but acting on the outside world.
    pub capabilities: BTreeSet<Capability>,
    /// All memories.
    pub memory_scopes: MemoryScopes,
    /// The tools that come with Duet.
    pub tools: [&'static str; STARTER_TOOLS.len()],
}

impl Starter {
    /// For a companion with this name, which both primaries share.
    pub fn new(env: &Env, companion: &str) -> Self {
        let name = companion.trim();
        let agents = PRIMARY_AGENTS.iter().map(|(kind, prompt)| StarterAgent {
            id: env.id(),
            kind: *kind,
            name: name.to_owned(),
            prompt,
            capabilities: Capability::ALL
                .iter()
                .copied()
                .filter(|capability| *capability != Capability::ExternalAction)
                .collect(),
            memory_scopes: MemoryScopes::all(),
            tools: STARTER_TOOLS,
        });
        Self {
            agents: agents.collect(),
            soul: Soul::starter(name),
        }
    }
}
