//! Who is asking: the first argument of every port method.

use std::collections::BTreeSet;

use crate::{
    domain::{Capability, Locality, MemoryDomain, MemoryScopes, Role, Visibility},
    error::StoreError,
    ids::{AgentId, RunId, UserId, WorkspaceId},
    refusal::Refusal,
};

/// A person in a workspace, or an agent acting for them there. Adapters filter by it and never widen it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The person on whose behalf this happens.
    pub user: UserId,
    /// The only workspace this call can see.
    pub workspace: WorkspaceId,
    /// The person's role in it.
    pub role: Role,
    /// The agent that acts, when the call comes from inside a run.
    pub agent: Option<ActingAgent>,
    /// The person's own access token, where a transport must pass it on (PostgREST). Never logged.
    pub access_token: Option<secrecy::SecretString>,
}

/// An agent at work inside a run, with what it may do there.
#[derive(Clone, Debug)]
pub struct ActingAgent {
    /// Which agent.
    pub agent: AgentId,
    /// The run that it works in.
    pub run: RunId,
    /// What it may do.
    pub capabilities: BTreeSet<Capability>,
    /// Which memories it may see.
    pub memory_scopes: MemoryScopes,
    /// Where its model computes: text that may not go there is invisible to it.
    pub locality: Locality,
}

impl Caller {
    /// A person acting themselves.
    pub fn person(user: UserId, workspace: WorkspaceId, role: Role) -> Self {
        Self {
            user,
            workspace,
            role,
            agent: None,
            access_token: None,
        }
    }

    /// The same person, with an agent acting for them.
    pub fn with_agent(&self, agent: ActingAgent) -> Self {
        Self {
            agent: Some(agent),
            ..self.clone()
        }
    }

    /// Refuses agents, for actions that only a person may take.
    pub fn require_person(&self, action: &'static str) -> Result<(), StoreError> {
        match self.agent {
            None => Ok(()),
            Some(_) => Err(Refusal::PeopleOnly.of(action)),
        }
    }

    /// Refuses everyone but an owner acting themselves.
    pub fn require_owner(&self, action: &'static str) -> Result<(), StoreError> {
        self.require_person(action)?;
        match self.role {
            Role::Owner => Ok(()),
            Role::Member => Err(Refusal::OwnersOnly.of(action)),
        }
    }

    /// Refuses an agent that lacks a capability; a person passes.
    pub fn require_capability(&self, capability: Capability, action: &'static str) -> Result<(), StoreError> {
        match &self.agent {
            Some(acting) if !acting.capabilities.contains(&capability) => Err(Refusal::NoCapability { capability }.of(action)),
            _ => Ok(()),
        }
    }

    /// Refuses an agent whose memory scopes do not include this kind of memory; a person passes.
    pub fn require_scope(&self, domain: MemoryDomain, visibility: Visibility, action: &'static str) -> Result<(), StoreError> {
        let Some(acting) = &self.agent else { return Ok(()) };
        if !acting.memory_scopes.domains.contains(&domain) {
            return Err(Refusal::NoDomain { domain }.of(action));
        }
        if visibility == Visibility::Private && !acting.memory_scopes.private {
            return Err(Refusal::NoPrivateMemories.of(action));
        }
        Ok(())
    }
}
