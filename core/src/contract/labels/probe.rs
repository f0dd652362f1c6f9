//! Models and an embedder that record what they were given, and a driver around them.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::super::{World, world::allow_all};
use crate::{
    caller::Caller,
    domain::{
        AgentEdit, Capability, EffectClass, Embedding, EmbeddingModel, LeasePolicy, Locality, Message, ModelRef, Price,
        RetryMode, RetryTurn, Run, StopReason, ToolCall, ToolOutput, TurnLimits, TurnReceipt,
    },
    ids::{AgentId, ConversationId, MessageId},
    memory::Memories,
    policy::ToolCategory,
    ports::{ChatModel, ChatRequest, EmbedError, EmbedPurpose, Embedder, ModelDirectory, ModelError, ModelEvent, ModelStream},
    run::{Advice, Driver, DriverParts},
    tools::{Tool, ToolContext, ToolError, ToolRegistry},
};

/// A model that records what it is asked and says what it was told to, or else one word.
struct Probe {
    locality: Locality,
    asked: Mutex<Vec<ChatRequest>>,
    script: Mutex<VecDeque<Vec<ModelEvent>>>,
}

impl Probe {
    fn of(locality: Locality) -> Arc<Self> {
        Arc::new(Self {
            locality,
            asked: Mutex::default(),
            script: Mutex::default(),
        })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl ChatModel for Probe {
    async fn stream(&self, request: ChatRequest) -> Result<ModelStream, ModelError> {
        locked(&self.asked).push(request);
        let events = locked(&self.script).pop_front().unwrap_or_else(|| says("Understood."));
        Ok(stream::iter(events.into_iter().map(Ok)).boxed())
    }
    fn locality(&self) -> Locality {
        self.locality
    }
    fn price(&self) -> Option<Price> {
        None
    }
}

/// A reply.
pub(super) fn says(text: &str) -> Vec<ModelEvent> {
    vec![ModelEvent::Text(text.into()), ModelEvent::Stop(StopReason::End)]
}

/// A reply that calls tools.
pub(super) fn calls(calls: &[(&str, Value)]) -> Vec<ModelEvent> {
    let calls = calls.iter().enumerate().map(|(index, (name, arguments))| {
        ModelEvent::ToolCall(ToolCall {
            id: format!("c{index}"),
            name: (*name).into(),
            arguments: arguments.clone(),
        })
    });
    calls.chain([ModelEvent::Stop(StopReason::ToolUse)]).collect()
}

/// `local/probe` and `remote/probe`.
struct Models {
    local: Arc<Probe>,
    remote: Arc<Probe>,
}

impl ModelDirectory for Models {
    fn default_model(&self) -> ModelRef {
        "local/probe".parse().expect("a model's name")
    }
    fn model(&self, model: &ModelRef) -> Result<Arc<dyn ChatModel>, ModelError> {
        Ok(match model.provider() {
            "remote" => self.remote.clone(),
            _ => self.local.clone(),
        })
    }
}

/// Finds everything alike, and records what it was given.
struct Vectors {
    locality: Locality,
    given: Mutex<Vec<String>>,
}

#[async_trait]
impl Embedder for Vectors {
    fn model(&self) -> EmbeddingModel {
        EmbeddingModel {
            id: format!("{}/vectors", self.locality),
            dimensions: 2,
        }
    }
    fn locality(&self) -> Locality {
        self.locality
    }
    async fn embed(&self, _: EmbedPurpose, texts: &[String]) -> Result<Vec<Embedding>, EmbedError> {
        locked(&self.given).extend_from_slice(texts);
        Ok(texts
            .iter()
            .map(|_| Embedding::new(self.model(), vec![1.0, 0.0]).expect("a direction"))
            .collect())
    }
}

/// A tool that sends a text away, and records what it sent.
struct Post(Arc<Mutex<Vec<String>>>);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Posted {
    text: String,
}

#[async_trait]
impl Tool for Post {
    type Input = Posted;
    const NAME: &'static str = "post";
    const DESCRIPTION: &'static str = "Sends a text away.";
    const CATEGORY: ToolCategory = ToolCategory::External;
    const CLASS: EffectClass = EffectClass::Irreversible;

    async fn call(&self, _: &ToolContext<'_>, posted: Posted) -> Result<ToolOutput, ToolError> {
        locked(&self.0).push(posted.text);
        Ok(ToolOutput {
            text: "Sent.".into(),
            ..ToolOutput::default()
        })
    }
}

/// A person who talks to their workspace's companion, through a local or a remote model.
pub(super) struct Talk<'a> {
    pub world: &'a World,
    pub person: Caller,
    pub conversation: ConversationId,
    agent: AgentId,
    local: Arc<Probe>,
    remote: Arc<Probe>,
    vectors: [Arc<Vectors>; 2],
    posted: Arc<Mutex<Vec<String>>>,
    embeds: Option<Locality>,
}

impl<'a> Talk<'a> {
    /// Starts a new conversation; the agent may do everything with memories.
    pub async fn new(world: &'a World, person: &Caller) -> Self {
        let conversation = world.conversation(person).await;
        allow_all(&world.stores, &world.owner).await;
        let vectors = |locality| {
            Arc::new(Vectors {
                locality,
                given: Mutex::default(),
            })
        };
        let talk = Self {
            world,
            person: person.clone(),
            conversation: conversation.id,
            agent: conversation.agent_id,
            local: Probe::of(Locality::Local),
            remote: Probe::of(Locality::Remote),
            vectors: [vectors(Locality::Local), vectors(Locality::Remote)],
            posted: Arc::default(),
            embeds: None,
        };
        let tools: BTreeSet<String> = talk.registry().entries().map(|entry| entry.spec.name.clone()).collect();
        talk.edit(AgentEdit {
            capabilities: Some(Capability::ALL.iter().copied().collect()),
            tools: Some(tools),
            ..AgentEdit::default()
        })
        .await;
        talk
    }

    fn registry(&self) -> ToolRegistry {
        ToolRegistry::companion().with(Post(self.posted.clone()))
    }

    /// Uses an embedder with this locality from now on.
    pub fn embedding(&mut self, locality: Locality) {
        self.embeds = Some(locality);
    }

    /// Gives the agent a model with this locality from now on.
    pub async fn thinks(&self, locality: Locality) {
        let model = format!("{locality}/probe").parse().expect("a model's name");
        self.edit(AgentEdit {
            model: Some(Some(model)),
            ..AgentEdit::default()
        })
        .await;
    }

    async fn edit(&self, edit: AgentEdit) {
        let (agents, owner) = (&self.world.stores.agents, &self.world.owner);
        let agent = agents.agent(owner, self.agent).await.expect("read").expect("the companion");
        agents.edit_agent(owner, agent.id, agent.version, edit).await.expect("edited");
    }

    /// What the models say next, one reply per call, wherever they compute.
    pub fn script(&self, replies: Vec<Vec<ModelEvent>>) {
        for probe in [&self.local, &self.remote] {
            *locked(&probe.script) = replies.iter().cloned().collect();
        }
    }

    fn embedder(&self) -> Option<Arc<dyn Embedder>> {
        let wanted = self.embeds?;
        let found = self.vectors.iter().find(|vectors| vectors.locality == wanted)?;
        Some(found.clone())
    }

    /// Memories with the current embedder.
    pub fn memories(&self) -> Memories {
        let stores = &self.world.stores;
        Memories::new(
            self.world.env.clone(),
            stores.memories.clone(),
            stores.system.clone(),
            self.embedder(),
        )
    }

    /// Says something and drives the answering run to its end.
    pub async fn turn(&self, text: &str) -> (Run, Option<Message>) {
        let receipt = self.world.ask(&self.person, self.conversation, text).await;
        self.drive(receipt).await
    }

    /// Has the newest message answered again.
    pub async fn retry(&self, message_id: MessageId, mode: RetryMode) -> (Run, Option<Message>) {
        let env = &self.world.env;
        let retry = RetryTurn {
            message_id,
            run_id: env.id(),
            reply_id: env.id(),
            mode,
            limits: TurnLimits::default(),
        };
        let receipt = self.world.stores.runs.retry_turn(&self.person, retry).await.expect("retried");
        self.drive(receipt).await
    }

    async fn drive(&self, receipt: TurnReceipt) -> (Run, Option<Message>) {
        let stores = &self.world.stores;
        let driver = Driver::new(DriverParts {
            env: self.world.env.clone(),
            stores: stores.clone(),
            models: Arc::new(Models {
                local: self.local.clone(),
                remote: self.remote.clone(),
            }),
            embedder: self.embedder(),
            tools: Arc::new(self.registry()),
            lease: LeasePolicy::default(),
            advice: Advice::Logged,
        });
        let claim = self.world.claim().await.expect("the run to claim");
        assert_eq!(claim.run.id, receipt.run_id);
        driver.drive(claim).await.expect("driven");
        let run = stores
            .runs
            .run(&self.person, receipt.run_id)
            .await
            .expect("read")
            .expect("the run");
        let mut replies = stores
            .conversations
            .messages_by_id(&self.person, &[receipt.reply_id])
            .await
            .expect("read");
        (run, replies.pop())
    }

    /// All that models with this locality were asked so far, as text.
    pub fn asked(&self, locality: Locality) -> String {
        let probe = match locality {
            Locality::Local => &self.local,
            Locality::Remote => &self.remote,
        };
        format!("{:?}", locked(&probe.asked))
    }

    /// All that was sent away so far.
    pub fn posted(&self) -> String {
        locked(&self.posted).join("\n")
    }

    /// All that embedders with this locality were given so far.
    pub fn embedded(&self, locality: Locality) -> String {
        let given = self.vectors.iter().filter(|vectors| vectors.locality == locality);
        given.map(|vectors| locked(&vectors.given).join("\n")).collect()
    }
}
