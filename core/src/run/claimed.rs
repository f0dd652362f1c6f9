//! What the effects of a claimed run work with.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::{BoxFuture, Shared};
use tracing::warn;

use super::{context, turn::Turn};
use crate::{
    caller::{ActingAgent, Caller},
    clock::Env,
    domain::{Agent, LeasePolicy, Locality, ModelRef, Run, Soul},
    error::{StoreError, StoreResult},
    memory::Memories,
    policy::Policy,
    ports::{ChatModel, Embedder, ModelDirectory, ModelError, Stores},
    tools::ToolRegistry,
};

/// How often a store that cannot answer is tried before the run is handed back.
const STORE_ATTEMPTS: u32 = 5;

/// What a driver works with.
pub struct DriverParts {
    /// Time and randomness.
    pub env: Env,
    /// The stores.
    pub stores: Stores,
    /// The models.
    pub models: Arc<dyn ModelDirectory>,
    /// The embedder, if there is one.
    pub embedder: Option<Arc<dyn Embedder>>,
    /// The tools.
    pub tools: Arc<ToolRegistry>,
    /// Lease times.
    pub lease: LeasePolicy,
    /// Where advice about a failing model goes.
    pub advice: Advice,
}

/// Where [`ModelError::advice`](crate::ports::ModelError::advice) goes. It names settings, which only the operator can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// To the log: the person chatting may not be the operator.
    Logged,
    /// To the person chatting, who is the operator: a command on the file itself, for example.
    Told,
}

/// Why a drive ended before its run did. The run continues under another claim.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// Another worker has the run.
    #[error("the lease was lost")]
    LostLease,
    /// The store gave no answer, several times.
    #[error("the store cannot answer: {0}")]
    Store(StoreError),
    /// The log and the machine do not fit: nothing is left to do, or something was done and is asked for again.
    #[error("the run does not advance")]
    NoProgress,
}

impl From<StoreError> for DriveError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Stale(_) => Self::LostLease,
            error => Self::Store(error),
        }
    }
}

/// A claimed run, and what its effects need to know and to reach.
pub(super) struct Claimed<'a> {
    pub parts: &'a DriverParts,
    pub memories: &'a Memories,
    pub run: Run,
    caller: Caller,
    /// Resolves when the turn's time is up.
    pub time: Shared<BoxFuture<'static, ()>>,
    /// The runs that this one continues, as a model with this locality may read them.
    earlier: Mutex<Option<(Locality, Arc<[Turn]>)>>,
    /// What gathering the context has read, for the model call that follows at once.
    gathered: Mutex<Option<(Speaker, context::Texts)>>,
}

/// The policy as it is now.
pub(super) struct InForce {
    pub rules: Policy,
    pub version: u32,
}

/// The agent as it is now, with its soul and model.
pub(super) struct Speaker {
    pub agent: Agent,
    pub soul: Soul,
    pub caller: Caller,
}

impl Speaker {
    /// Where its model computes.
    pub fn locality(&self) -> Locality {
        self.caller.agent.as_ref().map_or(Locality::Remote, |acting| acting.locality)
    }
}

impl<'a> Claimed<'a> {
    pub fn new(
        parts: &'a DriverParts,
        memories: &'a Memories,
        run: Run,
        caller: Caller,
        time: Shared<BoxFuture<'static, ()>>,
    ) -> Self {
        Self {
            parts,
            memories,
            run,
            caller,
            time,
            earlier: Mutex::new(None),
            gathered: Mutex::new(None),
        }
    }

    pub fn stores(&self) -> &'a Stores {
        &self.parts.stores
    }

    /// Retries a few times while the store cannot answer.
    pub async fn insist<T, F>(&self, mut ask: impl FnMut() -> F) -> Result<T, DriveError>
    where
        F: Future<Output = StoreResult<T>>,
    {
        let mut attempt = 1;
        loop {
            match ask().await {
                Err(StoreError::Unavailable(reason)) if attempt < STORE_ATTEMPTS => {
                    warn!(%reason, attempt, "the store cannot answer; trying again");
                    self.parts.env.sleep(Duration::from_millis(100 << attempt)).await;
                    attempt += 1;
                }
                answer => return answer.map_err(DriveError::from),
            }
        }
    }

    /// The model that a turn uses: the one its context was gathered for, else the agent's, else the default.
    pub fn model(&self, turn: &Turn, agent: &Agent) -> Result<(ModelRef, Arc<dyn ChatModel>), ModelError> {
        let models = &self.parts.models;
        let name = match &turn.context {
            Some(context) => context.model.clone(),
            None => agent.model.clone().unwrap_or_else(|| models.default_model()),
        };
        let model = models.model(&name)?;
        Ok((name, model))
    }

    /// Where the turn's model computes: where its context was gathered for, or stricter. A model that cannot be found counts as
    /// remote.
    fn locality(&self, turn: &Turn, agent: &Agent) -> Locality {
        let gathered = turn.context.as_ref().map(|context| context.locality);
        match (gathered, self.model(turn, agent)) {
            (None | Some(Locality::Local), Ok((_, model))) => model.locality(),
            _ => Locality::Remote,
        }
    }

    /// The agent and soul as they are now; `None` when the agent is missing or switched off.
    pub async fn speaker(&self, turn: &Turn) -> Result<Option<Speaker>, DriveError> {
        let (agents, caller, id) = (&self.stores().agents, &self.caller, self.run.agent_id);
        let (agent, soul) = futures::try_join!(self.insist(|| agents.agent(caller, id)), self.insist(|| agents.soul(caller)))?;
        let Some(agent) = agent.filter(|agent| agent.active) else {
            return Ok(None);
        };
        let caller = self.caller.with_agent(ActingAgent {
            agent: agent.id,
            run: self.run.id,
            capabilities: agent.capabilities.clone(),
            memory_scopes: agent.memory_scopes.clone(),
            locality: self.locality(turn, &agent),
        });
        Ok(Some(Speaker {
            agent,
            soul: soul.soul,
            caller,
        }))
    }

    /// The workspace's policy as it is now.
    pub async fn policy(&self) -> Result<InForce, DriveError> {
        let newest = self.insist(|| self.stores().policies.policy(&self.caller)).await?;
        Ok(InForce {
            version: newest.version,
            rules: newest.rules.into(),
        })
    }

    /// The runs that this one continues: read once, and again only when the model's locality changes.
    pub async fn earlier(&self, turn: &Turn, speaker: &Speaker) -> Result<Arc<[Turn]>, DriveError> {
        let locality = speaker.locality();
        let known = self.earlier.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, earlier)) = known.filter(|(read_for, _)| *read_for == locality) {
            return Ok(earlier);
        }
        let (stores, continues) = (self.stores(), turn.continues);
        let earlier = self.insist(|| context::earlier(&speaker.caller, stores, continues)).await?;
        let earlier: Arc<[Turn]> = earlier.into();
        *self.earlier.lock().unwrap_or_else(PoisonError::into_inner) = Some((locality, earlier.clone()));
        Ok(earlier)
    }

    /// Keeps what gathering the context has read.
    pub fn keep_gathered(&self, speaker: Speaker, texts: context::Texts) {
        *self.gathered.lock().unwrap_or_else(PoisonError::into_inner) = Some((speaker, texts));
    }

    /// What gathering the context has read, once: a later call reads it anew, since anything may have changed.
    pub fn take_gathered(&self) -> Option<(Speaker, context::Texts)> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
