//! A turn of one person, and a model that works through a list of answers.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use serde_json::json;
use tokio::sync::Notify;

use crate::{
    clock::{Clock, Env, Random, Timestamp},
    contract::{World, world::allow_all},
    domain::{
        LeasePolicy, Locality, LogRange, MemoryFilter, Message, ModelFailure, ModelRef, NewTurn, PageRequest, Price, RetryMode,
        RetryTurn, Run, StopReason, ToolCall, TurnLimits, TurnReceipt,
    },
    ports::{ChatMessage, ChatModel, ChatRequest, ModelDirectory, ModelError, ModelEvent, ModelStream, Stores},
    run::{Advice, Driver, DriverParts},
    tools::ToolRegistry,
};

/// What a model does in one call.
pub(super) enum Answer {
    /// Says these things and ends: without a `Stop` the stream has broken off.
    Events(Vec<Result<ModelEvent, ModelError>>),
    /// Repeats this event forever.
    Endless(ModelEvent),
    /// Says these things, then stays silent.
    Silent(Vec<ModelEvent>),
    /// Says nothing until it is told to.
    Held(Arc<Notify>, Vec<ModelEvent>),
}

/// A model that works through a list of answers and records what it was asked.
#[derive(Default)]
pub(super) struct Scripted {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<ChatRequest>>,
}

struct Models(Arc<Scripted>);

impl ModelDirectory for Models {
    fn default_model(&self) -> ModelRef {
        "script/turns".parse().expect("a model's name")
    }
    fn model(&self, _: &ModelRef) -> Result<Arc<dyn ChatModel>, ModelError> {
        Ok(self.0.clone())
    }
}

#[async_trait]
impl ChatModel for Scripted {
    async fn stream(&self, request: ChatRequest) -> Result<ModelStream, ModelError> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        let answer = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        Ok(match answer {
            None => return Err(ModelError::new(ModelFailure::Unreachable, "Nobody is there.")),
            Some(Answer::Events(events)) => stream::iter(events).boxed(),
            Some(Answer::Endless(event)) => stream::repeat(Ok(event)).boxed(),
            Some(Answer::Silent(events)) => stream::iter(events).map(Ok).chain(stream::pending()).boxed(),
            Some(Answer::Held(told, events)) => {
                told.notified().await;
                stream::iter(events).map(Ok).boxed()
            }
        })
    }
    fn locality(&self) -> Locality {
        Locality::Local
    }
    fn price(&self) -> Option<Price> {
        Some(Price {
            input: u64::MAX,
            output: u64::MAX,
            ..Price::default()
        })
    }
}

/// The world's time, but waits of a minute or more end only on demand.
struct Alarm {
    env: Env,
    bell: Arc<Notify>,
}

#[async_trait]
impl Clock for Alarm {
    fn now(&self) -> Timestamp {
        self.env.now()
    }
    async fn sleep(&self, duration: Duration) {
        match duration >= Duration::from_secs(60) {
            true => self.bell.notified().await,
            false => self.env.sleep(duration).await,
        }
    }
}

impl Random for Alarm {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.env.bytes::<256>()[..buffer.len()]);
    }
}

/// A turn of the owner and the model that answers it.
pub(super) struct Play<'a> {
    world: &'a World,
    model: Arc<Scripted>,
    pub bell: Arc<Notify>,
    pub turn: TurnReceipt,
    /// The tools that the agent has.
    pub tools: ToolRegistry,
}

impl<'a> Play<'a> {
    pub async fn new(world: &'a World, limits: TurnLimits, answers: impl IntoIterator<Item = Answer>) -> Self {
        allow_all(&world.stores, &world.owner).await;
        let conversation = world.conversation(&world.owner).await;
        let turn = NewTurn {
            limits,
            ..world.turn(conversation.id, "Go on, then.")
        };
        let model = Scripted::default();
        model.answers.lock().unwrap_or_else(PoisonError::into_inner).extend(answers);
        Self {
            world,
            model: Arc::new(model),
            bell: Arc::new(Notify::new()),
            tools: ToolRegistry::companion(),
            turn: world.stores.runs.start_turn(&world.owner, turn).await.expect("turn"),
        }
    }

    pub fn driver(&self) -> Driver {
        self.driver_on(self.world.stores.clone())
    }

    pub fn driver_on(&self, stores: Stores) -> Driver {
        let alarm = Arc::new(Alarm {
            env: self.world.env.clone(),
            bell: self.bell.clone(),
        });
        Driver::new(DriverParts {
            env: Env::new(alarm.clone(), alarm),
            stores,
            models: Arc::new(Models(self.model.clone())),
            embedder: None,
            tools: Arc::new(self.tools.clone()),
            lease: LeasePolicy::default(),
            advice: Advice::Logged,
        })
    }

    /// Drives the queued run to its end and returns the run and its reply.
    pub async fn drive(&self) -> (Run, Option<Message>) {
        let claim = self.world.claim().await.expect("the run");
        let run = claim.run.id;
        self.driver().drive(claim).await.expect("an end");
        let run = self
            .world
            .stores
            .runs
            .run(&self.world.owner, run)
            .await
            .unwrap()
            .expect("a run");
        let reply = self
            .messages(&run)
            .await
            .into_iter()
            .find(|message| message.id == run.reply_id);
        (run, reply)
    }

    pub async fn messages(&self, run: &Run) -> Vec<Message> {
        let (conversations, page) = (&self.world.stores.conversations, PageRequest::first(10));
        let page = conversations.messages(&self.world.owner, run.conversation_id, page).await;
        page.expect("messages").items
    }

    /// The size of the log as JSON.
    pub async fn log_bytes(&self, run: &Run) -> usize {
        let page = self
            .world
            .stores
            .runs
            .events(&self.world.owner, run.id, LogRange::whole(0, 1_000))
            .await
            .expect("events");
        assert_eq!(page.events.len() as u64, page.last_seq, "a bounded number of events");
        page.events
            .iter()
            .filter_map(|stored| stored.event.as_ref())
            .map(|event| serde_json::to_string(event).expect("JSON").len())
            .sum()
    }

    pub async fn again(&self, mode: RetryMode) -> TurnReceipt {
        let retry = RetryTurn {
            message_id: self.turn.message_id,
            run_id: self.world.env.id(),
            reply_id: self.world.env.id(),
            mode,
            limits: TurnLimits::default(),
        };
        self.world
            .stores
            .runs
            .retry_turn(&self.world.owner, retry)
            .await
            .expect("once more")
    }

    pub fn answer(&self, answer: Answer) {
        self.model
            .answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(answer);
    }

    /// The model's last request.
    pub fn asked(&self) -> Vec<ChatMessage> {
        let asked = self.model.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.last().expect("a call").messages.clone()
    }

    pub async fn memories(&self) -> usize {
        let list = self
            .world
            .stores
            .memories
            .list(&self.world.owner, MemoryFilter::default(), PageRequest::first(200));
        list.await.expect("memories").items.len()
    }
}

pub(super) fn text(text: &str) -> ModelEvent {
    ModelEvent::Text(text.into())
}

pub(super) fn whole(events: Vec<ModelEvent>) -> Answer {
    let calls = events.iter().any(|event| matches!(event, ModelEvent::ToolCall(_)));
    let stop = if calls { StopReason::ToolUse } else { StopReason::End };
    Answer::Events(events.into_iter().chain([ModelEvent::Stop(stop)]).map(Ok).collect())
}

pub(super) fn broken(said: &str, failure: ModelFailure) -> Answer {
    Answer::Events(vec![Ok(text(said)), Err(ModelError::new(failure, "It broke off."))])
}

pub(super) fn remember(number: usize) -> ModelEvent {
    ModelEvent::ToolCall(ToolCall {
        id: format!("c{number}"),
        name: "remember".into(),
        arguments: json!({ "text": format!("Fact number {number} is so."), "kind": "fact" }),
    })
}
