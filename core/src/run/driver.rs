//! The driver: performs a claimed run's effects against the ports. Whatever happens is appended to the log before it is
//! acted on, under the claim's lease; a lost lease ends the drive at once, and nothing it does afterwards is written.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::Either, pin_mut};
use tokio::sync::watch;
use tracing::{Instrument, debug, info_span, warn};

use super::{
    context,
    machine::{Effect, TurnState, fold},
};
use crate::{
    caller::{ActingAgent, Caller},
    clock::Env,
    domain::{
        Agent, Claim, LeasePolicy, MessageStatus, MessageTrace, ModelFailure, ModelRef, NewEvent, Reply, Run, RunEvent,
        RunOutcome, RunStatus, Settlement, Soul, StopReason, ToolCall, ToolOutput, ToolStatus, ToolTrace, Usage,
    },
    error::{StoreError, StoreResult},
    ids::LeaseToken,
    memory::Memories,
    policy::{Decision, Policy},
    ports::{ChatModel, Embedder, ModelDirectory, ModelError, ModelEvent, ModelStream, Stores},
    tools::{ToolContext, ToolError, ToolRegistry},
};

/// Text is appended once this much has come …
const COALESCE_CHARS: usize = 256;
/// … or this long after the first of it.
const COALESCE_TIME: Duration = Duration::from_millis(50);
/// How often a store that cannot answer is tried again before the run is handed back.
const STORE_ATTEMPTS: u32 = 5;

/// What a driver works with.
pub struct DriverParts {
    /// Time and chance.
    pub env: Env,
    /// The stores.
    pub stores: Stores,
    /// The models.
    pub models: Arc<dyn ModelDirectory>,
    /// The embedder, if there is one.
    pub embedder: Option<Arc<dyn Embedder>>,
    /// The tools.
    pub tools: Arc<ToolRegistry>,
    /// What may happen.
    pub policy: Arc<Policy>,
    /// Lease times.
    pub lease: LeasePolicy,
}

/// Drives claimed runs. Cheap to clone.
#[derive(Clone)]
pub struct Driver {
    pub(super) parts: Arc<DriverParts>,
    memories: Memories,
}

/// Why a drive ended before its run did. The run goes on in another claim.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// Another worker has the run.
    #[error("the lease was lost")]
    LostLease,
    /// The store gave no answer, several times.
    #[error("the store cannot answer: {0}")]
    Store(StoreError),
}

impl From<StoreError> for DriveError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Stale(_) => Self::LostLease,
            error => Self::Store(error),
        }
    }
}

impl Driver {
    /// A driver of these parts.
    pub fn new(parts: DriverParts) -> Self {
        let memories = Memories::new(
            parts.env.clone(),
            parts.stores.memories.clone(),
            parts.stores.system.clone(),
            parts.embedder.clone(),
        );
        Self {
            parts: Arc::new(parts),
            memories,
        }
    }

    /// Drives one claimed run to its end and returns its final status.
    pub async fn drive(&self, claim: Claim) -> Result<RunStatus, DriveError> {
        let span = info_span!("run", run = %claim.run.id, workspace = %claim.run.workspace_id, attempt = claim.run.attempt);
        self.drive_in_span(claim).instrument(span).await
    }

    async fn drive_in_span(&self, claim: Claim) -> Result<RunStatus, DriveError> {
        let (run, lease) = (claim.run.id, claim.lease);
        let mut hints = self.parts.stores.feed.subscribe(run);
        let (news, newest) = watch::channel(claim.run.last_seq);
        let mut drive = Drive::new(self, claim, newest);
        let to_end = drive.to_end().fuse();
        let alive = self.keep_lease(run, lease, &news).fuse();
        let listen = async {
            // A lagging or closed feed costs nothing but promptness: the heartbeat sees the log's newest seq too.
            while let Ok(hint) = hints.recv().await {
                raise(&news, hint.last_seq);
            }
            std::future::pending::<()>().await;
        }
        .fuse();
        pin_mut!(to_end, alive, listen);
        futures::select_biased! {
            ended = to_end => ended,
            lost = alive => Err(lost),
            () = listen => Err(DriveError::LostLease),
        }
    }

    /// Renews the lease at a third of its time, for as long as it can.
    async fn keep_lease(&self, run: crate::ids::RunId, lease: LeaseToken, news: &watch::Sender<u64>) -> DriveError {
        loop {
            self.parts.env.sleep(self.parts.lease.duration / 3).await;
            match self.parts.stores.run_log.heartbeat(run, lease).await {
                Ok((_, last_seq)) => raise(news, last_seq),
                Err(StoreError::Stale(_)) => return DriveError::LostLease,
                Err(error) => warn!(%error, "the lease could not be renewed; trying again"),
            }
        }
    }
}

fn raise(news: &watch::Sender<u64>, seq: u64) {
    news.send_if_modified(|newest| {
        let newer = seq > *newest;
        *newest = (*newest).max(seq);
        newer
    });
}

/// One claimed run on its way.
struct Drive<'a> {
    driver: &'a Driver,
    run: Run,
    lease: LeaseToken,
    caller: Caller,
    state: TurnState,
    /// Whether the log shows that an earlier claim had begun to work.
    resumed: bool,
    newest: watch::Receiver<u64>,
}

/// The agent as it is now, with its soul and model.
struct Speaker {
    agent: Agent,
    soul: Soul,
    caller: Caller,
}

impl<'a> Drive<'a> {
    fn new(driver: &'a Driver, claim: Claim, newest: watch::Receiver<u64>) -> Self {
        let state = TurnState::replay(&claim.log);
        let resumed = claim.log.iter().any(|stored| {
            !matches!(
                stored.event,
                Some(RunEvent::Started { .. } | RunEvent::CancelRequested { .. })
            )
        });
        let caller = Caller::person(claim.run.user_id, claim.run.workspace_id, claim.role);
        Self {
            driver,
            run: claim.run,
            lease: claim.lease,
            caller,
            state,
            resumed,
            newest,
        }
    }

    fn stores(&self) -> &'a Stores {
        &self.driver.parts.stores
    }

    async fn to_end(&mut self) -> Result<RunStatus, DriveError> {
        if self.resumed {
            self.append(vec![
                RunEvent::Recovered {
                    attempt: self.run.attempt,
                }
                .into(),
            ])
            .await?;
        }
        while let Some(effect) = self.state.outstanding() {
            let span = info_span!("effect", kind = name(&effect), seq = self.state.last_seq);
            self.perform(effect).instrument(span).await?;
        }
        Ok(self.state.outcome().map_or(RunStatus::Failed, status_of))
    }

    async fn perform(&mut self, effect: Effect) -> Result<(), DriveError> {
        match effect {
            Effect::AssembleContext => self.assemble().await,
            Effect::CallModel {
                step,
                attempt,
                with_tools,
            } => self.call_model(step, attempt, with_tools).await,
            Effect::WaitForRetry { step, delay } => self.wait(step, delay).await,
            Effect::RunTool { step, call } => self.run_tool(step, call).await,
            Effect::RefuseTool {
                step,
                call,
                status,
                reason,
            } => self.finish_tool(step, call.id, status, told(reason)).await,
            Effect::Finish { outcome, reply } => self.settle(outcome, reply).await,
        }
    }

    /// Appends events and folds them, with what others had appended before them.
    async fn append(&mut self, events: Vec<NewEvent>) -> Result<(), DriveError> {
        let (log, run, lease, after) = (&self.stores().run_log, self.run.id, self.lease, self.state.last_seq);
        let appended = self.insist(|| log.append(run, lease, after, events.clone())).await?;
        for stored in appended.interleaved.iter().chain(&appended.own) {
            self.state = fold(std::mem::take(&mut self.state), stored).0;
        }
        Ok(())
    }

    /// Asks a store that cannot answer a few times more.
    async fn insist<T, F>(&self, mut ask: impl FnMut() -> F) -> Result<T, DriveError>
    where
        F: Future<Output = StoreResult<T>>,
    {
        let mut attempt = 1;
        loop {
            match ask().await {
                Err(StoreError::Unavailable(reason)) if attempt < STORE_ATTEMPTS => {
                    warn!(%reason, attempt, "the store cannot answer; trying again");
                    self.driver.parts.env.sleep(Duration::from_millis(100 << attempt)).await;
                    attempt += 1;
                }
                answer => return answer.map_err(DriveError::from),
            }
        }
    }

    /// Folds what others have appended, when there is news; `true` when the run has to finish.
    async fn catch_up(&mut self) -> Result<bool, DriveError> {
        if *self.newest.borrow_and_update() > self.state.last_seq {
            self.append(Vec::new()).await?;
        }
        Ok(self.state.is_finishing())
    }

    /// The agent and soul as they are now; `None` when the agent is gone.
    async fn speaker(&self) -> Result<Option<Speaker>, DriveError> {
        let (agents, caller, id) = (&self.stores().agents, &self.caller, self.run.agent_id);
        let Some(agent) = self.insist(|| agents.agent(caller, id)).await? else {
            return Ok(None);
        };
        let soul = self.insist(|| agents.soul(caller)).await?.soul;
        let caller = self.caller.with_agent(ActingAgent {
            agent: agent.id,
            run: self.run.id,
            capabilities: agent.capabilities.clone(),
            memory_scopes: agent.memory_scopes.clone(),
        });
        Ok(Some(Speaker { agent, soul, caller }))
    }

    /// The model that a turn uses: the one its context was gathered for, else the agent's, else the default.
    fn model(&self, agent: &Agent) -> Result<(ModelRef, Arc<dyn ChatModel>), ModelError> {
        let models = &self.driver.parts.models;
        let name = match &self.state.context {
            Some(context) => context.model.clone(),
            None => agent.model.clone().unwrap_or_else(|| models.default_model()),
        };
        let model = models.model(&name)?;
        Ok((name, model))
    }

    async fn assemble(&mut self) -> Result<(), DriveError> {
        let Some(speaker) = self.speaker().await? else {
            return self.model_failed(1, 1, no_agent()).await;
        };
        let (name, model) = match self.model(&speaker.agent) {
            Ok(found) => found,
            Err(error) => return self.model_failed(1, 1, error).await,
        };
        let (stores, memories, run) = (self.stores(), &self.driver.memories, &self.run);
        let locality = model.locality();
        let event = self
            .insist(|| context::gather(&speaker.caller, run, stores, memories, &name, locality))
            .await?;
        let mentions = match &event {
            RunEvent::Context { recalled, .. } => recalled.clone(),
            _ => Vec::new(),
        };
        self.append(vec![NewEvent { event, mentions }]).await
    }

    async fn model_failed(&mut self, step: u32, attempt: u32, error: ModelError) -> Result<(), DriveError> {
        debug!(failure = %error.failure, step, attempt, "the model call failed");
        let ModelError {
            failure,
            message,
            retry_after_ms,
        } = error;
        self.append(vec![
            RunEvent::ModelFailed {
                step,
                attempt,
                failure,
                message,
                retry_after_ms,
            }
            .into(),
        ])
        .await
    }

    async fn wait(&mut self, step: u32, delay: Duration) -> Result<(), DriveError> {
        let env = self.driver.parts.env.clone();
        match self.unless_cancelled(env.sleep(delay)).await? {
            Some(()) => self.append(vec![RunEvent::RetryDue { step }.into()]).await,
            None => Ok(()),
        }
    }

    async fn call_model(&mut self, step: u32, attempt: u32, with_tools: bool) -> Result<(), DriveError> {
        let Some(speaker) = self.speaker().await? else {
            return self.model_failed(step, attempt, no_agent()).await;
        };
        let (_, model) = match self.model(&speaker.agent) {
            Ok(found) => found,
            Err(error) => return self.model_failed(step, attempt, error).await,
        };
        self.append(vec![RunEvent::ModelCalled { step, attempt }.into()]).await?;
        if self.state.is_finishing() {
            return Ok(());
        }
        let registry = &self.driver.parts.tools;
        let offered = registry
            .entries()
            .filter(|entry| with_tools && speaker.agent.tools.contains(&entry.spec.name));
        let tools = offered.map(|entry| entry.spec.clone()).collect();
        let (run, stores, state) = (&self.run, self.stores(), &self.state);
        let persona = || context::Persona {
            agent: &speaker.agent,
            soul: &speaker.soul,
            tools: Vec::clone(&tools),
        };
        let request = self
            .insist(|| context::prompt(&speaker.caller, run, stores, state, persona()))
            .await?;
        self.receive(step, attempt, &*model, model.stream(request)).await
    }

    /// Takes a reply in, coalescing its text into events.
    async fn receive(
        &mut self,
        step: u32,
        attempt: u32,
        model: &dyn ChatModel,
        opening: impl Future<Output = Result<ModelStream, ModelError>>,
    ) -> Result<(), DriveError> {
        let Some(opened) = self.unless_cancelled(opening).await? else {
            return Ok(());
        };
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(error) => return self.model_failed(step, attempt, error).await,
        };
        let mut incoming = Incoming::new(self.state.text());
        let env = self.driver.parts.env.clone();
        let mut flush = Box::pin(std::future::pending().left_future()).fuse();
        loop {
            let next = futures::select_biased! {
                event = stream.next().fuse() => Either::Left(event),
                () = flush => Either::Right(false),
                changed = std::pin::pin!(self.newest.changed().fuse()) => match changed {
                    Ok(()) => Either::Right(true),
                    Err(_) => return Err(DriveError::LostLease),
                },
            };
            match next {
                Either::Left(Some(Ok(ModelEvent::Text(text)))) => {
                    if incoming.push(&text) {
                        let env = env.clone();
                        flush = Box::pin(async move { env.sleep(COALESCE_TIME).await }.right_future()).fuse();
                    }
                    if incoming.buffer.len() < COALESCE_CHARS {
                        continue;
                    }
                }
                Either::Left(Some(Ok(ModelEvent::ToolCall(call)))) => {
                    incoming.calls.push(call);
                    continue;
                }
                Either::Left(Some(Ok(ModelEvent::Usage(usage)))) => {
                    incoming.usage = usage;
                    continue;
                }
                Either::Left(Some(Ok(ModelEvent::Stop(stop)))) => {
                    let events = incoming.replied(step, stop, model);
                    return self.append(events).await;
                }
                Either::Left(Some(Err(error))) => return self.model_failed(step, attempt, error).await,
                Either::Left(None) => {
                    let error = ModelError::new(ModelFailure::Malformed, "The model's reply broke off before its end.");
                    return self.model_failed(step, attempt, error).await;
                }
                Either::Right(true) => {
                    if self.catch_up().await? {
                        return Ok(());
                    }
                    continue;
                }
                Either::Right(false) => {}
            }
            flush = Box::pin(std::future::pending().left_future()).fuse();
            self.append(incoming.flushed(step)).await?;
            if self.state.is_finishing() {
                return Ok(());
            }
        }
    }

    /// Waits for `work`, unless the person stops the run first: then `None`.
    async fn unless_cancelled<T>(&mut self, work: impl Future<Output = T>) -> Result<Option<T>, DriveError> {
        let work = work.fuse();
        pin_mut!(work);
        loop {
            futures::select_biased! {
                done = work => return Ok(Some(done)),
                changed = std::pin::pin!(self.newest.changed().fuse()) => {
                    if changed.is_err() {
                        return Err(DriveError::LostLease);
                    }
                }
            }
            if self.catch_up().await? {
                return Ok(None);
            }
        }
    }

    async fn run_tool(&mut self, step: u32, call: ToolCall) -> Result<(), DriveError> {
        let driver = self.driver;
        let Some(speaker) = self.speaker().await? else {
            return self
                .finish_tool(
                    step,
                    call.id,
                    ToolStatus::Failed,
                    told("The agent does not exist any more.".into()),
                )
                .await;
        };
        let Some(entry) = driver.parts.tools.get(&call.name) else {
            return self
                .finish_tool(
                    step,
                    call.id,
                    ToolStatus::Failed,
                    told(format!("There is no tool `{}`.", call.name)),
                )
                .await;
        };
        let offered = speaker.agent.tools.contains(&call.name);
        let refusal = match driver
            .parts
            .policy
            .decide(&speaker.caller, &call.name, entry.category, offered)
        {
            Decision::Allow => None,
            Decision::Ask(reason) => Some(format!(
                "Not done: this needs a person's approval ({reason}), and approvals cannot be given in a chat turn."
            )),
            Decision::Deny(reason) => Some(format!("Refused: {reason}.")),
        };
        if let Some(reason) = refusal {
            return self.finish_tool(step, call.id, ToolStatus::Refused, told(reason)).await;
        }
        self.append(vec![
            RunEvent::ToolStarted {
                step,
                call_id: call.id.clone(),
                class: entry.class,
            }
            .into(),
        ])
        .await?;
        if self.state.is_finishing() {
            return Ok(());
        }
        let recalled = self
            .state
            .context
            .as_ref()
            .map(|context| context.recalled.clone())
            .unwrap_or_default();
        let context = ToolContext {
            caller: &speaker.caller,
            env: &driver.parts.env,
            stores: self.stores(),
            memories: &driver.memories,
            run: self.run.id,
            key: format!("{step}/{}", call.id),
            conversation: self.run.conversation_id,
            message: self.run.message_id,
            locality: self
                .state
                .context
                .as_ref()
                .map_or(crate::domain::Locality::Remote, |context| context.locality),
            recalled: &recalled,
            untrusted: self.state.is_untrusted(),
        };
        let (status, output) = match entry.call(&context, call.arguments).await {
            Ok(output) => (ToolStatus::Succeeded, output),
            Err(ToolError::Tell(reason)) => (ToolStatus::Failed, told(reason)),
            // Nothing was written; the run goes on from here in another claim.
            Err(ToolError::Store(error)) => return Err(DriveError::Store(error)),
        };
        self.finish_tool(step, call.id, status, output).await
    }

    async fn finish_tool(
        &mut self,
        step: u32,
        call_id: String,
        status: ToolStatus,
        output: ToolOutput,
    ) -> Result<(), DriveError> {
        let mentions = output.memories.clone();
        self.append(vec![NewEvent {
            event: RunEvent::ToolFinished {
                step,
                call_id,
                status,
                output,
            },
            mentions,
        }])
        .await
    }

    async fn settle(&mut self, outcome: RunOutcome, reply: Option<MessageStatus>) -> Result<(), DriveError> {
        let (usage, cost_micros) = (self.state.usage, self.state.cost_micros);
        let settlement = Settlement {
            status: status_of(&outcome),
            reason: reason(&outcome),
            events: vec![
                RunEvent::Finished {
                    outcome,
                    reply,
                    usage,
                    cost_micros,
                }
                .into(),
            ],
            reply: reply.map(|status| Reply {
                status,
                text: self.state.text(),
                trace: self.trace(),
            }),
        };
        let (log, run, lease, after) = (&self.stores().run_log, self.run.id, self.lease, self.state.last_seq);
        match self.insist(|| log.settle(run, lease, after, settlement.clone())).await {
            Ok(_) => {
                let event = settlement.events.into_iter().next().map(|event| event.event);
                if let Some(event) = event {
                    self.state = super::step(std::mem::take(&mut self.state), &event).0;
                }
                Ok(())
            }
            // Either the lease is lost, which this finds out, or somebody appended: fold it, then decide again.
            Err(DriveError::LostLease) => self.append(Vec::new()).await,
            Err(error) => Err(error),
        }
    }

    fn trace(&self) -> MessageTrace {
        let context = self.state.context.as_ref();
        let calls = self.state.steps.iter().flat_map(|step| &step.calls);
        MessageTrace {
            model: context.map(|context| context.model.to_string()).unwrap_or_default(),
            offline: context.is_some_and(|context| context.model.provider() == "offline"),
            usage: self.state.usage,
            cost_micros: self.state.cost_micros,
            tools: calls
                .filter_map(|call| {
                    let (status, _) = call.result.as_ref()?;
                    Some(ToolTrace {
                        call_id: call.call.id.clone(),
                        name: call.call.name.clone(),
                        status: *status,
                    })
                })
                .collect(),
            recalled: context.map(|context| context.recalled.clone()).unwrap_or_default(),
            remembered: self
                .state
                .results()
                .flat_map(|(_, output)| output.remembered.iter().copied())
                .collect(),
        }
    }
}

/// A reply on its way in.
struct Incoming {
    buffer: String,
    calls: Vec<ToolCall>,
    usage: Usage,
    /// Put before the first text, so that the texts of two steps do not run together.
    gap: &'static str,
}

impl Incoming {
    fn new(before: String) -> Self {
        let gap = if before.is_empty() || before.ends_with('\n') {
            ""
        } else {
            "\n\n"
        };
        Self {
            buffer: String::new(),
            calls: Vec::new(),
            usage: Usage::default(),
            gap,
        }
    }

    /// Takes text in; `true` when it is the first since the last flush.
    fn push(&mut self, text: &str) -> bool {
        let first = self.buffer.is_empty() && !text.is_empty();
        if first {
            self.buffer.push_str(std::mem::take(&mut self.gap));
        }
        self.buffer.push_str(text);
        first
    }

    fn flushed(&mut self, step: u32) -> Vec<NewEvent> {
        let text = std::mem::take(&mut self.buffer);
        if text.is_empty() {
            Vec::new()
        } else {
            vec![RunEvent::Delta { step, text }.into()]
        }
    }

    fn replied(&mut self, step: u32, stop: StopReason, model: &dyn ChatModel) -> Vec<NewEvent> {
        let mut events = self.flushed(step);
        let tool_calls = with_unique_ids(step, std::mem::take(&mut self.calls));
        let cost_micros = model.price().map(|price| price.cost_micros(&self.usage));
        events.push(
            RunEvent::ModelReplied {
                step,
                tool_calls,
                usage: self.usage,
                cost_micros,
                stop,
            }
            .into(),
        );
        events
    }
}

/// Some servers leave call ids empty or repeat them; results are matched by id.
fn with_unique_ids(step: u32, mut calls: Vec<ToolCall>) -> Vec<ToolCall> {
    for index in 0..calls.len() {
        let (before, rest) = calls.split_at_mut(index);
        if rest[0].id.is_empty() || before.iter().any(|call| call.id == rest[0].id) {
            rest[0].id = format!("call-{step}-{index}");
        }
    }
    calls
}

fn told(text: String) -> ToolOutput {
    ToolOutput {
        text,
        ..ToolOutput::default()
    }
}

fn no_agent() -> ModelError {
    ModelError::new(
        ModelFailure::Rejected,
        "The agent of this conversation does not exist any more. Start a new conversation.",
    )
}

fn status_of(outcome: &RunOutcome) -> RunStatus {
    match outcome {
        RunOutcome::Completed | RunOutcome::Limited { .. } => RunStatus::Done,
        RunOutcome::Cancelled => RunStatus::Cancelled,
        RunOutcome::Interrupted => RunStatus::Interrupted,
        RunOutcome::Failed { .. } => RunStatus::Failed,
        RunOutcome::NeedsReview { .. } => RunStatus::NeedsReview,
    }
}

fn reason(outcome: &RunOutcome) -> Option<String> {
    match outcome {
        RunOutcome::Limited { message } | RunOutcome::Failed { message, .. } => Some(message.clone()),
        RunOutcome::NeedsReview { tool } => Some(format!(
            "Duet went down while `{tool}` was running. Check whether it happened; it was not repeated."
        )),
        RunOutcome::Completed | RunOutcome::Cancelled | RunOutcome::Interrupted => None,
    }
}

fn name(effect: &Effect) -> &'static str {
    match effect {
        Effect::AssembleContext => "assemble_context",
        Effect::CallModel { .. } => "call_model",
        Effect::WaitForRetry { .. } => "wait_for_retry",
        Effect::RunTool { .. } => "run_tool",
        Effect::RefuseTool { .. } => "refuse_tool",
        Effect::Finish { .. } => "finish",
    }
}
