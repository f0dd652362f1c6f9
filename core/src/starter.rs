//! What a new workspace begins with.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    clock::Env,
    domain::{AgentKind, Capability, MemoryScopes, Soul},
    ids::AgentId,
    policy::{Policy, Rule},
    tools::ToolRegistry,
};

/// The two primary agents that a new workspace starts with: `(kind, prompt)`; both have the companion's name.
const PRIMARIES: [(AgentKind, &str); 2] = [
    (
        AgentKind::CompanionPrimary,
        "You are in conversation. Be warm, attentive and brief; ask when you are unsure. \
         Keep what matters to the person with the remember tool, and look things up with recall before you say that you do not know.",
    ),
    (
        AgentKind::ExecutorPrimary,
        "You get things done. Turn a goal into explicit steps, say what each should produce, and report plainly what was and was not achieved.",
    ),
];

/// What a new workspace starts with.
#[derive(Clone, Debug, Serialize)]
pub struct Starter {
    /// The two primary agents.
    pub agents: Vec<StarterAgent>,
    /// The first version of the soul that they share.
    pub soul: Soul,
    /// The first version of the policy.
    pub policy: Vec<Rule>,
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
    pub tools: BTreeSet<String>,
}

impl Starter {
    /// For a companion with this name, which both primaries share.
    pub fn new(env: &Env, companion: &str) -> Self {
        let name = companion.trim();
        let agents = PRIMARIES.iter().map(|(kind, prompt)| StarterAgent {
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
            tools: ToolRegistry::companion()
                .entries()
                .map(|entry| entry.spec.name.clone())
                .collect(),
        });
        Self {
            agents: agents.collect(),
            soul: Soul::starter(name),
            policy: Policy::starter(),
        }
    }
}
