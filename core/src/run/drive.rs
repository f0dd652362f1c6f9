//! Driving one claimed run: its state, its lease, and how an effect becomes events.

use std::{sync::Arc, time::Duration};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
    pin_mut,
};
use tokio::sync::watch;
use tracing::{Instrument, info_span, warn};

use super::{
    context,
    driver::{DriveError, Driver},
    machine::{Effect, TurnState, fold},
    tool_call::told,
};
use crate::{
    caller::{ActingAgent, Caller},
    domain::{
        Agent, Claim, Locality, MessageStatus, MessageTrace, NewEvent, Reply, Run, RunEvent, RunOutcome, RunStatus, Settlement,
        Soul, ToolTrace,
    },
    error::{StoreError, StoreResult},
    ids::{CommitId, LeaseToken},
    ports::Stores,
};

/// How often a store that cannot answer is tried before the run is handed back.
const STORE_ATTEMPTS: u32 = 5;

/// A claimed run being driven.
pub(super) struct Drive<'a> {
    pub(super) driver: &'a Driver,
    pub(super) run: Run,
    lease: LeaseToken,
    /// While this drive lives, the run is held.
    _hold: Arc<()>,
    caller: Caller,
    pub(super) state: TurnState,
    /// The runs that this one continues, as a model with this locality may read them.
    earlier: Option<(Locality, Arc<[TurnState]>)>,
    /// Whether the log shows that an earlier claim had begun to work.
    resumed: bool,
    pub(super) newest: watch::Receiver<u64>,
    /// Resolves when the turn's time is up.
    pub(super) time: Shared<BoxFuture<'static, ()>>,
}

/// The agent as it is now, with its soul and model.
pub(super) struct Speaker {
    pub(super) agent: Agent,
    pub(super) soul: Soul,
    pub(super) caller: Caller,
}

impl Speaker {
    /// Where its model computes.
    pub(super) fn locality(&self) -> Locality {
        self.caller.agent.as_ref().map_or(Locality::Remote, |acting| acting.locality)
    }
}

impl<'a> Drive<'a> {
    pub(super) fn new(driver: &'a Driver, claim: Claim, newest: watch::Receiver<u64>) -> Self {
        let state = TurnState::replay(&claim.log);
        let resumed = claim.log.iter().any(|stored| {
            !matches!(
                stored.event,
                Some(RunEvent::Started { .. } | RunEvent::CancelRequested { .. })
            )
        });
        let caller = Caller::person(claim.run.user_id, claim.run.workspace_id, claim.role);
        let env = driver.parts.env.clone();
        let left = Duration::from_secs(state.limits.max_seconds.into()).saturating_sub(state.worked);
        Self {
            time: async move { env.sleep(left).await }.boxed().shared(),
            driver,
            run: claim.run,
            lease: claim.lease,
            _hold: claim.hold,
            caller,
            state,
            earlier: None,
            resumed,
            newest,
        }
    }

    pub(super) fn stores(&self) -> &'a Stores {
        &self.driver.parts.stores
    }

    #[expect(clippy::wrong_self_convention, reason = "it drives to the end; nothing is converted")]
    pub(super) async fn to_end(&mut self) -> Result<RunStatus, DriveError> {
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
            if !self.state.is_finishing() && self.time.clone().now_or_never().is_some() {
                self.out_of_time().await?;
                continue;
            }
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

    /// Appends events and folds them, after any that others appended first.
    pub(super) async fn append(&mut self, events: Vec<NewEvent>) -> Result<(), DriveError> {
        let (log, run, lease, after) = (&self.stores().run_log, self.run.id, self.lease, self.state.last_seq);
        let commit = self.commit();
        let appended = self.insist(|| log.append(run, lease, after, commit, events.clone())).await?;
        for stored in appended.interleaved.iter().chain(&appended.own) {
            self.state = fold(std::mem::take(&mut self.state), stored).0;
        }
        Ok(())
    }

    /// Names one write, so that repeating it is safe.
    fn commit(&self) -> CommitId {
        self.driver.parts.env.id()
    }

    /// Retries a few times while the store cannot answer.
    pub(super) async fn insist<T, F>(&self, mut ask: impl FnMut() -> F) -> Result<T, DriveError>
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

    /// Folds events that others have appended, if any; `true` when the run has to finish.
    pub(super) async fn catch_up(&mut self) -> Result<bool, DriveError> {
        if *self.newest.borrow_and_update() > self.state.last_seq {
            self.append(Vec::new()).await?;
        }
        Ok(self.state.is_finishing())
    }

    /// Waits for `work`; `None` if the person stops the run first.
    pub(super) async fn unless_cancelled<T>(&mut self, work: impl Future<Output = T>) -> Result<Option<T>, DriveError> {
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
            // Keep polling `work` meanwhile: suspended in the middle of a call, it would hold on to its connection to the store.
            let mut finished = None;
            let stops = {
                let caught_up = self.catch_up().fuse();
                pin_mut!(caught_up);
                loop {
                    futures::select_biased! {
                        stops = caught_up => break stops?,
                        done = work => finished = Some(done),
                    }
                }
            };
            match finished {
                _ if stops => return Ok(None),
                Some(done) => return Ok(Some(done)),
                None => {}
            }
        }
    }

    /// Where the turn's model computes: where its context was gathered for, or stricter. A model that cannot be found counts as
    /// remote.
    fn locality(&self, agent: &Agent) -> Locality {
        let gathered = self.state.context.as_ref().map(|context| context.locality);
        match (gathered, self.model(agent)) {
            (None | Some(Locality::Local), Ok((_, model))) => model.locality(),
            _ => Locality::Remote,
        }
    }

    /// The agent and soul as they are now; `None` when the agent is missing or switched off.
    pub(super) async fn speaker(&self) -> Result<Option<Speaker>, DriveError> {
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
            locality: self.locality(&agent),
        });
        Ok(Some(Speaker {
            agent,
            soul: soul.soul,
            caller,
        }))
    }

    /// The runs that this one continues: read once, and again only when the model's locality changes.
    pub(super) async fn earlier(&mut self, speaker: &Speaker) -> Result<Arc<[TurnState]>, DriveError> {
        let locality = speaker.locality();
        if let Some((_, earlier)) = self.earlier.as_ref().filter(|(read_for, _)| *read_for == locality) {
            return Ok(earlier.clone());
        }
        let (stores, continues) = (self.stores(), self.state.continues);
        let earlier = self.insist(|| context::earlier(&speaker.caller, stores, continues)).await?;
        let earlier: Arc<[TurnState]> = earlier.into();
        self.earlier = Some((locality, earlier.clone()));
        Ok(earlier)
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
        let commit = self.commit();
        match self
            .insist(|| log.settle(run, lease, after, commit, settlement.clone()))
            .await
        {
            Ok(_) => {
                let event = settlement.events.into_iter().next().map(|event| event.event);
                if let Some(event) = event {
                    self.state = super::step(std::mem::take(&mut self.state), &event).0;
                }
                Ok(())
            }
            // Either the lease is lost, which this call reports, or somebody appended: fold that, then decide again.
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
            "Duet went down while “{tool}” was running. Check whether it happened; it was not repeated."
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
