//! The run machine: `step(state, event) -> (state, effects)`. No I/O, no async, no time.
//!
//! The state after any log is the fold of [`step`] over it. One effect is outstanding at a time; it is part of the state's phase,
//! so recovery means folding the log and then performing [`TurnState::outstanding`].

use std::time::Duration;

use crate::{
    clock::Timestamp,
    domain::{
        EffectClass, Labels, Locality, MessageStatus, ModelFailure, ModelRef, RunEvent, RunOutcome, StopReason, StoredEvent,
        ToolCall, ToolOutput, ToolStatus, TurnLimits, Usage,
    },
    ids::{AgentId, MemoryId, MessageId, RunId},
};

/// Something to do. Its outcome comes back as an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Gather what the model will read. Outcome: `Context`, or `ModelFailed` when there is no such model.
    AssembleContext,
    /// Call the model. Outcome: `ModelCalled`, `Delta`…, then `ModelReplied` or `ModelFailed`.
    CallModel {
        /// The step, from 1.
        step: u32,
        /// The attempt, from 1.
        attempt: u32,
        /// Whether tools are offered; the last step must answer without them.
        with_tools: bool,
    },
    /// Wait, then try the model again. Outcome: `RetryDue`.
    WaitForRetry {
        /// The step.
        step: u32,
        /// How long.
        delay: Duration,
    },
    /// Run a tool. Outcome: `ToolStarted`, then `ToolFinished`.
    RunTool {
        /// The step whose reply asked for it.
        step: u32,
        /// The call.
        call: ToolCall,
    },
    /// End a call without making it, and tell the model why. Outcome: `ToolFinished`.
    RefuseTool {
        /// The step whose reply asked for it.
        step: u32,
        /// The call.
        call: ToolCall,
        /// `Refused` by the loop guard, or `Unknown` when it may have acted before a crash.
        status: ToolStatus,
        /// What the model, or the person, is told.
        reason: String,
    },
    /// Close the run. Outcome: `Finished`.
    Finish {
        /// How it ends.
        outcome: RunOutcome,
        /// The status of the reply to store; `None` when there is no text to keep.
        reply: Option<MessageStatus>,
    },
}

/// What the model was given to read.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextRefs {
    /// The model.
    pub model: ModelRef,
    /// Where it computes.
    pub locality: Locality,
    /// Earlier messages, oldest first.
    pub history: Vec<MessageId>,
    /// Recalled memories, best first.
    pub recalled: Vec<MemoryId>,
    /// The joined labels of all of it.
    pub labels: Labels,
}

/// One model call and the tool calls that it asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// The attempt that is running or succeeded.
    pub attempt: u32,
    /// The text of that attempt.
    pub text: String,
    /// The longest text of an earlier, failed attempt.
    earlier: String,
    /// The calls it asked for.
    pub calls: Vec<Call>,
}

/// A tool call and its progress.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The call as the model asked for it.
    pub call: ToolCall,
    /// Set once it may have run.
    pub started: Option<EffectClass>,
    /// Its result, once it has ended.
    pub result: Option<(ToolStatus, ToolOutput)>,
}

/// What the run is waiting for.
#[derive(Clone, Debug, PartialEq)]
enum Phase {
    /// Nothing has happened.
    New,
    /// [`Effect::AssembleContext`] is outstanding.
    Context,
    /// The current step's model call is outstanding; `called` once the driver has begun it.
    Model { called: bool },
    /// The wait before another attempt is outstanding.
    Retry { delay: Duration },
    /// The current step's call at `index` is outstanding; `lost` when it may have acted and its outcome cannot be known.
    Tool { index: usize, lost: bool },
    /// The outcome is decided but not yet recorded.
    Finish { outcome: RunOutcome },
    /// The run has ended.
    Ended { outcome: RunOutcome },
}

/// Everything known about a turn: the fold of its events.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnState {
    phase: Phase,
    /// The agent that answers, once started.
    pub agent: Option<AgentId>,
    /// Bounds.
    pub limits: TurnLimits,
    /// Text that the reply starts with.
    pub prefix: String,
    /// The run that wrote the prefix.
    pub continues: Option<RunId>,
    /// The prefix's labels.
    pub prefix_labels: Labels,
    /// What the model was given.
    pub context: Option<ContextRefs>,
    /// Model calls so far.
    pub steps: Vec<Step>,
    /// Tokens used.
    pub usage: Usage,
    /// Cost in micro-US-dollars; `None` once the price of a call is unknown.
    pub cost_micros: Option<u64>,
    /// The `seq` of the newest folded event.
    pub last_seq: u64,
    /// Time worked on the turn according to the log, without the waits for a worker to claim it or take it over.
    pub worked: Duration,
    /// When the log last showed work.
    heard: Option<Timestamp>,
    cancelled: bool,
}

impl Default for TurnState {
    fn default() -> Self {
        Self {
            phase: Phase::New,
            agent: None,
            limits: TurnLimits::default(),
            prefix: String::new(),
            continues: None,
            prefix_labels: Labels::default(),
            context: None,
            steps: Vec::new(),
            usage: Usage::default(),
            cost_micros: Some(0),
            last_seq: 0,
            worked: Duration::ZERO,
            heard: None,
            cancelled: false,
        }
    }
}

impl TurnState {
    /// The state after a whole log. Events whose payload was redacted are skipped: only ended runs lose payloads.
    pub fn replay<'a>(log: impl IntoIterator<Item = &'a StoredEvent>) -> Self {
        log.into_iter().fold(Self::default(), |state, stored| fold(state, stored).0)
    }

    /// The reply's text so far: the continued prefix, then every step's text.
    pub fn text(&self) -> String {
        std::iter::once(self.prefix.as_str())
            .chain(self.steps.iter().map(|step| step.text.as_str()))
            .collect()
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<&RunOutcome> {
        match &self.phase {
            Phase::Ended { outcome } => Some(outcome),
            _ => None,
        }
    }

    /// Whether the driver has to drop what it is doing and finish.
    pub fn is_finishing(&self) -> bool {
        matches!(self.phase, Phase::Finish { .. } | Phase::Ended { .. })
    }

    /// The joined labels of all that the model has read in this turn, which also apply to all that it writes from here on.
    pub fn labels(&self) -> Labels {
        let context = self.context.as_ref().map(|context| context.labels);
        let read = self.results().map(|(_, output)| output.labels);
        Labels::of_all(read.chain(context)).join(self.prefix_labels)
    }

    /// Results of all tool calls that have ended, in order.
    pub fn results(&self) -> impl Iterator<Item = &(ToolStatus, ToolOutput)> {
        self.steps
            .iter()
            .flat_map(|step| &step.calls)
            .filter_map(|call| call.result.as_ref())
    }

    /// The effect that has no outcome yet.
    pub fn outstanding(&self) -> Option<Effect> {
        let step = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        match &self.phase {
            Phase::New | Phase::Ended { .. } => None,
            Phase::Context => Some(Effect::AssembleContext),
            Phase::Model { .. } => Some(Effect::CallModel {
                step,
                attempt: self.present().map_or(1, |present| present.attempt),
                with_tools: step < self.limits.max_steps,
            }),
            Phase::Retry { delay } => Some(Effect::WaitForRetry { step, delay: *delay }),
            Phase::Tool { index, lost } => {
                let call = self.present()?.calls.get(*index)?;
                Some(self.tool_effect(step, call, *lost))
            }
            Phase::Finish { outcome } => Some(Effect::Finish {
                outcome: outcome.clone(),
                reply: self.reply_status(outcome),
            }),
        }
    }

    fn tool_effect(&self, step: u32, call: &Call, lost: bool) -> Effect {
        let refuse = |status, reason: &str| Effect::RefuseTool {
            step,
            call: call.call.clone(),
            status,
            reason: reason.into(),
        };
        if lost {
            return refuse(
                ToolStatus::Unknown,
                "Duet went down while this was running; it is not known whether it happened.",
            );
        }
        let earlier = self
            .steps
            .iter()
            .flat_map(|step| &step.calls)
            .take_while(|other| !std::ptr::eq(*other, call))
            .filter(|other| other.call.name == call.call.name && other.call.arguments == call.call.arguments)
            .count();
        if earlier >= self.limits.max_identical_calls as usize {
            return refuse(
                ToolStatus::Refused,
                "The same call was made before in this turn; its result has not changed. Answer with what is known.",
            );
        }
        Effect::RunTool {
            step,
            call: call.call.clone(),
        }
    }

    fn reply_status(&self, outcome: &RunOutcome) -> Option<MessageStatus> {
        if self.text().trim().is_empty() {
            return None;
        }
        match outcome {
            RunOutcome::Completed => Some(MessageStatus::Complete),
            RunOutcome::Cancelled => Some(MessageStatus::Stopped),
            RunOutcome::Interrupted => Some(MessageStatus::Interrupted),
            RunOutcome::Limited { .. } => Some(MessageStatus::Limited),
            // Text from an earlier run keeps its status; text that this run added can be continued.
            RunOutcome::Failed { .. } => {
                let written = self.steps.iter().any(|step| !step.text.trim().is_empty());
                written.then_some(MessageStatus::Interrupted)
            }
            RunOutcome::NeedsReview { .. } => Some(MessageStatus::Stopped),
        }
    }

    fn present(&self) -> Option<&Step> {
        self.steps.last()
    }

    fn finish(&mut self, outcome: RunOutcome) {
        self.phase = Phase::Finish { outcome };
    }

    /// Ends the turn at a limit, keeping the text so far; without any text the turn has failed.
    fn limited(&mut self, message: String) {
        self.keep_longest();
        let outcome = match self.text().trim().is_empty() {
            true => RunOutcome::Failed {
                failure: ModelFailure::Limited,
                message,
            },
            false => RunOutcome::Limited { message },
        };
        self.finish(outcome);
    }

    /// After the last attempt, the current step keeps the longest text that any of its attempts wrote.
    fn keep_longest(&mut self) {
        if let Some(present) = self.steps.last_mut() {
            let earlier = std::mem::take(&mut present.earlier);
            if earlier.len() > present.text.len() {
                present.text = earlier;
            }
        }
    }

    /// Tool calls that models have asked for so far.
    pub fn calls(&self) -> usize {
        self.steps.iter().map(|step| step.calls.len()).sum()
    }

    /// Memories that tools have written so far.
    pub fn remembered(&self) -> usize {
        self.results().map(|(_, output)| output.remembered.len()).sum()
    }

    /// Counts the time between two signs of work.
    fn hear(&mut self, stored: &StoredEvent) {
        match &stored.event {
            Some(RunEvent::Started { .. } | RunEvent::CancelRequested { .. }) => {}
            Some(RunEvent::Recovered { .. }) => self.heard = Some(stored.at),
            _ => {
                let since = self.heard.map_or(Duration::ZERO, |heard| stored.at.since(heard));
                self.worked = self.worked.saturating_add(since);
                self.heard = Some(stored.at);
            }
        }
    }

    /// Moves on to the next model call, unless the person has asked to stop or the tokens are used up.
    fn next_step(&mut self) {
        if self.cancelled {
            self.finish(RunOutcome::Cancelled);
        } else if self.usage.total() >= self.limits.max_tokens {
            self.limited(format!(
                "This reply used {} tokens; the limit is {}.",
                self.usage.total(),
                self.limits.max_tokens
            ));
        } else if self.steps.len() >= self.limits.max_steps as usize {
            self.limited(format!("This reply used all of its {} model calls.", self.limits.max_steps));
        } else {
            self.steps.push(Step {
                attempt: 1,
                ..Step::default()
            });
            self.phase = Phase::Model { called: false };
        }
    }

    /// Moves on to the current step's first call without a result, or to the next step.
    fn next_call(&mut self) {
        let next = self
            .present()
            .and_then(|step| step.calls.iter().position(|call| call.result.is_none()));
        match next {
            Some(_) if self.cancelled => self.finish(RunOutcome::Cancelled),
            Some(index) => self.phase = Phase::Tool { index, lost: false },
            None => self.next_step(),
        }
    }

    /// Resets work in progress after a worker was lost: a model call is repeated, and so is a tool call unless it may have acted.
    fn forget_progress(&mut self) {
        let class = match self.phase {
            Phase::Tool { index, .. } => self
                .present()
                .and_then(|step| step.calls.get(index))
                .and_then(|call| call.started),
            _ => None,
        };
        match &mut self.phase {
            Phase::Model { called } => *called = false,
            Phase::Tool { lost, .. } => *lost = class == Some(EffectClass::Effect),
            _ => {}
        }
    }

    fn spend(&mut self, usage: &Usage, cost_micros: Option<u64>) {
        self.usage += *usage;
        self.cost_micros = self.cost_micros.zip(cost_micros).map(|(sum, cost)| sum.saturating_add(cost));
    }

    fn call_mut(&mut self, call_id: &str) -> Option<&mut Call> {
        self.steps
            .last_mut()?
            .calls
            .iter_mut()
            .find(|call| call.call.id == call_id && call.result.is_none())
    }
}

/// Folds a stored event; a redacted one advances only `last_seq` and the clock.
pub fn fold(mut state: TurnState, stored: &StoredEvent) -> (TurnState, Vec<Effect>) {
    state.last_seq = stored.seq;
    state.hear(stored);
    match &stored.event {
        Some(event) => step(state, event),
        None => (state, Vec::new()),
    }
}

/// One step of the fold. Returns the effects that this event triggers; events that only report progress of an effect under way
/// trigger none. An event that does not fit the state (a late outcome of abandoned work) changes nothing.
pub fn step(mut state: TurnState, event: &RunEvent) -> (TurnState, Vec<Effect>) {
    let before = state.outstanding();
    let redo = apply(&mut state, event);
    let effects = match state.outstanding() {
        Some(effect) if redo || Some(&effect) != before.as_ref() => vec![effect],
        _ => Vec::new(),
    };
    (state, effects)
}

/// Applies the event; `true` when the outstanding effect has to be performed again.
fn apply(state: &mut TurnState, event: &RunEvent) -> bool {
    if matches!(state.phase, Phase::Ended { .. }) {
        return false;
    }
    match event {
        RunEvent::Started {
            agent_id,
            prefix,
            continues,
            limits,
            labels,
            ..
        } => {
            if state.phase == Phase::New {
                state.agent = Some(*agent_id);
                state.prefix.clone_from(prefix);
                state.continues = *continues;
                state.prefix_labels = *labels;
                state.limits = limits.clone();
                state.phase = Phase::Context;
            }
        }
        RunEvent::Context {
            model,
            locality,
            history,
            recalled,
            labels,
            ..
        } => {
            if state.phase == Phase::Context {
                state.context = Some(ContextRefs {
                    model: model.clone(),
                    locality: *locality,
                    history: history.clone(),
                    recalled: recalled.clone(),
                    labels: *labels,
                });
                state.next_step();
            }
        }
        RunEvent::ModelCalled { attempt, .. } => {
            if let Phase::Model { called } = &mut state.phase {
                *called = true;
                if let Some(present) = state.steps.last_mut() {
                    present.attempt = *attempt;
                }
            }
        }
        RunEvent::Delta { text, .. } => {
            // Text already in flight when the person asked to stop has been shown, so it stays part of the reply.
            let open = matches!(
                state.phase,
                Phase::Model { called: true }
                    | Phase::Finish {
                        outcome: RunOutcome::Cancelled
                    }
            );
            if let (true, Some(present)) = (open, state.steps.last_mut()) {
                present.text.push_str(text);
            }
        }
        RunEvent::ModelReplied {
            tool_calls,
            usage,
            cost_micros,
            stop,
            ..
        } => model_replied(state, tool_calls, usage, *cost_micros, *stop),
        RunEvent::ModelFailed {
            attempt,
            failure,
            message,
            retry_after_ms,
            ..
        } => {
            model_failed(state, *attempt, *failure, message, *retry_after_ms);
        }
        RunEvent::LimitReached {
            message,
            usage,
            cost_micros,
        } => {
            state.spend(usage, *cost_micros);
            if !state.is_finishing() {
                state.limited(message.clone());
            }
        }
        RunEvent::RetryDue { .. } => {
            if let (Phase::Retry { .. }, Some(present)) = (&state.phase, state.steps.last_mut()) {
                present.attempt += 1;
                state.phase = Phase::Model { called: false };
            }
        }
        RunEvent::ToolStarted { call_id, class, .. } => {
            if let Some(call) = state.call_mut(call_id) {
                call.started = Some(*class);
            }
        }
        RunEvent::ToolFinished {
            call_id, status, output, ..
        } => {
            if let Some(call) = state.call_mut(call_id) {
                let tool = call.call.name.clone();
                call.result = Some((*status, output.clone()));
                match status {
                    ToolStatus::Unknown => state.finish(RunOutcome::NeedsReview { tool }),
                    _ => state.next_call(),
                }
            }
        }
        RunEvent::CancelRequested { .. } => {
            state.cancelled = true;
            let tool_runs = matches!(state.phase, Phase::Tool { index, lost: false }
                if state.present().and_then(|step| step.calls.get(index)).is_some_and(|call| call.started.is_some()));
            // A tool that has started may finish, so that its outcome is known and recorded.
            if !tool_runs && !state.is_finishing() {
                state.finish(RunOutcome::Cancelled);
            }
        }
        RunEvent::Recovered { .. } => {
            let half_written =
                matches!(state.phase, Phase::Model { called: true }) && state.present().is_some_and(|step| !step.text.is_empty());
            if half_written {
                state.finish(RunOutcome::Interrupted);
            } else {
                state.forget_progress();
            }
            return true;
        }
        RunEvent::Finished { outcome, .. } => {
            state.phase = Phase::Ended {
                outcome: outcome.clone(),
            }
        }
    }
    false
}

fn model_replied(state: &mut TurnState, tool_calls: &[ToolCall], usage: &Usage, cost_micros: Option<u64>, stop: StopReason) {
    if !matches!(state.phase, Phase::Model { .. }) {
        return;
    }
    state.spend(usage, cost_micros);
    if let Some(present) = state.steps.last_mut() {
        present.calls = tool_calls
            .iter()
            .map(|call| Call {
                call: call.clone(),
                started: None,
                result: None,
            })
            .collect();
    }
    match stop {
        // The last step offers no tools; if the model calls some anyway, the turn ends here.
        _ if !tool_calls.is_empty() && state.steps.len() >= state.limits.max_steps as usize => state.next_step(),
        _ if !tool_calls.is_empty() => state.next_call(),
        StopReason::Length => state.limited("The reply reached the model's output limit.".into()),
        StopReason::Filtered => state.limited("The model's provider withheld the rest of the reply.".into()),
        StopReason::End | StopReason::ToolUse if state.text().trim().is_empty() => state.finish(RunOutcome::Failed {
            failure: ModelFailure::Malformed,
            message: "The model gave an empty reply. Try again, or choose another model.".into(),
        }),
        StopReason::End | StopReason::ToolUse => state.finish(RunOutcome::Completed),
    }
}

fn model_failed(state: &mut TurnState, attempt: u32, failure: ModelFailure, message: &str, retry_after_ms: Option<u64>) {
    if !matches!(state.phase, Phase::Model { .. } | Phase::Context) {
        return;
    }
    if let Some(present) = state.steps.last_mut() {
        let written = std::mem::take(&mut present.text);
        if written.len() > present.earlier.len() {
            present.earlier = written;
        }
    }
    let delay = backoff(attempt, retry_after_ms);
    if matches!(state.phase, Phase::Model { .. })
        && failure.is_transient()
        && attempt < state.limits.max_attempts
        && delay <= MAX_WAIT
    {
        state.phase = Phase::Retry { delay };
    } else {
        state.keep_longest();
        state.finish(RunOutcome::Failed {
            failure,
            message: message.into(),
        });
    }
}

/// The longest wait before another attempt; when a provider asks for more, the run fails with a clear error instead.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Half a second, doubled with each attempt, up to eight seconds; at least what the provider asked for.
fn backoff(attempt: u32, retry_after_ms: Option<u64>) -> Duration {
    let own = Duration::from_millis(500 << attempt.saturating_sub(1).min(4));
    own.max(Duration::from_millis(retry_after_ms.unwrap_or(0)))
}
