//! Agents (A1–A5).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{MemoryDomain, word_enum};
use crate::{
    clock::Timestamp,
    domain::ModelRef,
    ids::{AgentId, WorkspaceId},
    refusal::{Named, Refusal},
};

word_enum! {
    /// What an agent is for.
    AgentKind {
        /// Tone, roleplay, continuity.
        CompanionPrimary = "companion_primary",
        /// Planning, delegation, synthesis.
        ExecutorPrimary = "executor_primary",
        /// Defined by the owner.
        Specialist = "specialist",
    }
}

word_enum! {
    /// What an agent may do at all; tools need one or more of these.
    Capability {
        /// Recall and search.
        ReadMemory = "read_memory",
        /// Remember.
        WriteMemory = "write_memory",
        /// Call tools that are neither memory nor outside world.
        RunTool = "run_tool",
        /// Hand work to other agents.
        Delegate = "delegate",
        /// Act on the outside world.
        ExternalAction = "external_action",
    }
}

/// Which memories an agent may read and write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MemoryScopes {
    /// The domains that it sees.
    pub domains: BTreeSet<MemoryDomain>,
    /// Whether it sees the person's private memories besides the shared ones.
    pub private: bool,
}

impl MemoryScopes {
    /// Everything the person themselves can see.
    pub fn all() -> Self {
        Self {
            domains: MemoryDomain::ALL.iter().copied().collect(),
            private: true,
        }
    }
}

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// What it is for.
    pub kind: AgentKind,
    /// The name people see.
    pub name: String,
    /// Instructions: for a primary its tone, for a specialist its job.
    pub prompt: String,
    /// The model it talks through; unset means the deployment's default.
    pub model: Option<ModelRef>,
    /// What it may do.
    pub capabilities: BTreeSet<Capability>,
    /// Which memories it may see.
    pub memory_scopes: MemoryScopes,
    /// The tools it is offered, by name.
    pub tools: BTreeSet<String>,
    /// Whether it is active; at least one primary always is.
    pub active: bool,
    /// Counts edits, from 1; an edit names the version it started from.
    pub version: u32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// An edit of an agent: only what is `Some` changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentEdit {
    /// A new name.
    pub name: Option<String>,
    /// New instructions.
    pub prompt: Option<String>,
    /// A new model; `Some(None)` (JSON `null`) resets it to the default.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ModelRef>)]
    pub model: Option<Option<ModelRef>>,
    /// New capabilities.
    pub capabilities: Option<BTreeSet<Capability>>,
    /// New memory scopes.
    pub memory_scopes: Option<MemoryScopes>,
    /// New tools.
    pub tools: Option<BTreeSet<String>>,
    /// Active or not.
    pub active: Option<bool>,
}

/// Distinguishes `"model": null` (reset) from an absent `model` (keep).
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<ModelRef>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl AgentEdit {
    /// Longest prompt, in bytes.
    pub const MAX_PROMPT: usize = 32 * 1024;

    /// Checks the edit on its own; the message says what to fix.
    pub fn check(&self) -> Result<(), Refusal> {
        if let Some(name) = &self.name {
            let length = name.trim().chars().count();
            if length == 0 || length > 80 {
                return Err(Refusal::NameLength { what: Named::Agent });
            }
        }
        match &self.prompt {
            Some(prompt) if prompt.len() > Self::MAX_PROMPT => Err(Refusal::AgentPrompt {
                most: Self::MAX_PROMPT,
                has: prompt.len(),
            }),
            _ => Ok(()),
        }
    }

    /// The agent as it is after this edit.
    pub fn apply(self, agent: &Agent, now: Timestamp) -> Agent {
        Agent {
            name: self.name.map_or_else(|| agent.name.clone(), |name| name.trim().to_owned()),
            prompt: self.prompt.unwrap_or_else(|| agent.prompt.clone()),
            model: self.model.unwrap_or_else(|| agent.model.clone()),
            capabilities: self.capabilities.unwrap_or_else(|| agent.capabilities.clone()),
            memory_scopes: self.memory_scopes.unwrap_or_else(|| agent.memory_scopes.clone()),
            tools: self.tools.unwrap_or_else(|| agent.tools.clone()),
            active: self.active.unwrap_or(agent.active),
            version: agent.version + 1,
            updated_at: now,
            ..agent.clone()
        }
    }
}
