//! Model and tools in turn, until there is an answer: the part that every run of an agent shares. It knows nothing of
//! conversations; who owns it decides when it [begins](AgentLoop::begin) and what becomes of its text.

use std::time::Duration;

use super::{
    call::Call,
    machine::{Effect, Next, Wait},
};
use crate::{
    domain::{
        Decision, EffectClass, EffectId, Labels, ModelFailure, ProposedCall, RunEvent, RunOutcome, StopReason, ToolOutput,
        ToolStatus, TurnLimits, Usage,
    },
    ids::RequestId,
};

/// How many calls of one reply run side by side.
const SIDE_BY_SIDE: usize = 4;

/// The longest wait before another attempt; when a provider asks for more, the run fails with a clear error instead.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// One model call and the tool calls that it asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// The attempt that is running or succeeded.
    pub attempt: u32,
    /// The text of that attempt.
    pub text: String,
    /// The calls it asked for.
    pub calls: Vec<Call>,
    stage: Stage,
    /// The longest text of an earlier, failed attempt.
    earlier: String,
}

/// How far the model call of a step is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Stage {
    /// To be made.
    #[default]
    Due,
    /// Begun.
    Called,
    /// It failed; another attempt follows after this wait.
    Failed { delay: Duration },
    /// It succeeded.
    Replied,
}

/// The state of the loop.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentLoop {
    /// Bounds.
    pub limits: TurnLimits,
    /// Text that the answer starts with.
    pub prefix: String,
    /// Model calls so far.
    pub steps: Vec<Step>,
    /// Tokens used.
    pub usage: Usage,
    /// Cost in micro-US-dollars; `None` once the price of a call is unknown.
    pub cost_micros: Option<u64>,
    /// Set once it is decided how the run ends: nothing new is started, and what has started may finish.
    ending: Option<RunOutcome>,
    /// Whether a person has paused the run: nothing new is started.
    paused: bool,
    /// How much of it the messages tell that the run has stored already.
    told: Told,
}

/// The part of a run that stored messages already cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    /// Whether there is such a message: then the prefix is part of it.
    any: bool,
    /// Steps whose text they have.
    steps: usize,
    usage: Usage,
    cost_micros: u64,
}

impl Default for AgentLoop {
    fn default() -> Self {
        Self {
            limits: TurnLimits::default(),
            prefix: String::new(),
            steps: Vec::new(),
            usage: Usage::default(),
            cost_micros: Some(0),
            ending: None,
            paused: false,
            told: Told::default(),
        }
    }
}

impl AgentLoop {
    /// Makes the first model call due.
    pub fn begin(&mut self) {
        if self.steps.is_empty() && self.ending.is_none() {
            self.next_step();
        }
    }

    /// Whether it has begun or will not begin any more.
    pub fn has_begun(&self) -> bool {
        !self.steps.is_empty() || self.ending.is_some()
    }

    /// Whether the beginning of the current model call is on record.
    pub fn is_called(&self) -> bool {
        self.present().is_some_and(|step| step.stage == Stage::Called)
    }

    /// Whether it is decided how the run ends.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether a person has paused the run.
    pub fn is_paused(&self) -> bool {
        self.paused && self.ending.is_none()
    }

    /// The text of the message in the making: of every step that no stored message tells, after the prefix.
    pub fn text(&self) -> String {
        let prefix = if self.told.any { "" } else { &self.prefix };
        std::iter::once(prefix)
            .chain(self.untold().iter().map(|step| step.text.as_str()))
            .collect()
    }

    /// Whether this run has written any text of its own into that message.
    pub fn has_written(&self) -> bool {
        self.untold().iter().any(|step| !step.text.trim().is_empty())
    }

    /// Tokens that no stored message tells of.
    pub fn untold_usage(&self) -> Usage {
        self.usage - self.told.usage
    }

    /// Their cost.
    pub fn untold_cost(&self) -> Option<u64> {
        self.cost_micros.map(|sum| sum.saturating_sub(self.told.cost_micros))
    }

    fn untold(&self) -> &[Step] {
        self.steps.get(self.told.steps..).unwrap_or_default()
    }

    /// Whether the run has said anything at all, in a stored message or since.
    fn has_text(&self) -> bool {
        self.told.any || !self.text().trim().is_empty()
    }

    /// Results of all tool calls that have ended, in the order of the calls.
    pub fn results(&self) -> impl Iterator<Item = (ToolStatus, &ToolOutput)> {
        self.all_calls().filter_map(Call::result)
    }

    /// The joined labels of what tools have returned.
    pub fn labels(&self) -> Labels {
        Labels::of_all(self.results().map(|(_, output)| output.labels))
    }

    /// Tool calls that models have asked for so far, with their names in the log, in order.
    pub fn calls(&self) -> impl Iterator<Item = (EffectId, &Call)> {
        (1..).zip(&self.steps).flat_map(|(number, step)| {
            let calls = step.calls.iter().enumerate();
            calls.map(move |(position, call)| (EffectId::tool(number, position), call))
        })
    }

    /// The call of this name.
    pub fn call(&self, id: EffectId) -> Option<&Call> {
        self.calls().find(|(known, _)| *known == id).map(|(_, call)| call)
    }

    /// Memories that tools have written so far.
    pub fn remembered(&self) -> usize {
        self.results().map(|(_, output)| output.remembered.len()).sum()
    }

    /// Takes in an event.
    pub fn apply(&mut self, event: &RunEvent) {
        match event {
            RunEvent::ModelCalled { attempt, .. } => self.called(*attempt),
            RunEvent::Delta { text, .. } => self.wrote(text),
            RunEvent::ModelReplied {
                text,
                tool_calls,
                usage,
                cost_micros,
                stop,
                ..
            } => {
                if self.listens() {
                    self.spend(usage, *cost_micros);
                    self.replied(text, tool_calls, *stop);
                }
            }
            RunEvent::ModelFailed {
                attempt,
                failure,
                message,
                retry_after_ms,
                ..
            } => self.failed(*attempt, *failure, message, *retry_after_ms),
            RunEvent::LimitReached {
                message,
                usage,
                cost_micros,
            } => {
                self.spend(usage, *cost_micros);
                if self.ending.is_none() {
                    self.limited(message.clone());
                }
            }
            RunEvent::RetryDue { .. } => self.retry_due(),
            // Once the end is decided, the driver drops a call that was about to begin.
            RunEvent::ToolStarted { effect } if self.ending.is_none() => self.on_call(*effect, Call::start),
            RunEvent::ToolNotDone { effect } => self.on_call(*effect, Call::not_done),
            RunEvent::Asked {
                effect, request, kind, ..
            } => self.on_call(*effect, |call| call.ask(*request, *kind)),
            RunEvent::Decided {
                effect,
                request,
                decision,
                ..
            } => self.decided(*effect, *request, decision),
            RunEvent::PauseRequested { .. } => self.pause(),
            RunEvent::ResumeRequested { .. } => self.paused = false,
            RunEvent::Suspended { reply: Some(_), .. } => self.tell(),
            RunEvent::ToolFinished { effect, status, output } => self.finished(*effect, *status, output),
            RunEvent::CancelRequested { .. } if self.ending.is_none() => self.end(RunOutcome::Cancelled),
            RunEvent::Recovered { .. } => self.recovered(),
            RunEvent::Started { .. }
            | RunEvent::Context { .. }
            | RunEvent::ToolStarted { .. }
            | RunEvent::Suspended { .. }
            | RunEvent::Resumed { .. }
            | RunEvent::CancelRequested { .. }
            | RunEvent::Finished { .. } => {}
        }
    }

    /// What comes next. Empty before it has begun.
    pub fn next(&self) -> Next {
        let number = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        let model = |effect| Next::Do(vec![(EffectId::model(number), effect)]);
        match (&self.ending, self.present()) {
            (Some(outcome), present) => {
                let open = present.map(|step| self.due_calls(number, step)).unwrap_or_default();
                match open.is_empty() {
                    true => Next::End(outcome.clone()),
                    false => Next::Do(open),
                }
            }
            (None, None) => Next::Do(Vec::new()),
            (None, Some(step)) => match step.stage {
                Stage::Due | Stage::Called | Stage::Failed { .. } if self.paused => Next::Wait(vec![Wait::Resume]),
                Stage::Due | Stage::Called => model(Effect::CallModel {
                    attempt: step.attempt,
                    with_tools: number < self.limits.max_steps,
                }),
                Stage::Failed { delay } => model(Effect::WaitForRetry { delay }),
                Stage::Replied => {
                    let due = self.due_calls(number, step);
                    match due.is_empty() {
                        true => Next::Wait(self.waits(step)),
                        false => Next::Do(due),
                    }
                }
            },
        }
    }

    fn waits(&self, step: &Step) -> Vec<Wait> {
        let requests = step.calls.iter().filter_map(Call::asked).map(Wait::Request);
        self.paused.then_some(Wait::Resume).into_iter().chain(requests).collect()
    }

    /// The calls to perform now: those that have begun, and beside them the first ones that have not, as long as none of them changes
    /// anything; one that does is performed alone. While the run ends or is paused, only what has begun. A call that waits for a person
    /// holds back none of the others, so that all of them can be asked about at once: their order is not kept across a wait.
    fn due_calls(&self, number: u32, step: &Step) -> Vec<(EffectId, Effect)> {
        let open = || {
            let calls = step.calls.iter().enumerate();
            calls.filter(|(_, call)| call.result().is_none() && call.asked().is_none())
        };
        // A lost call may have to act again, which can wait for the end of a pause.
        let goes_on = |call: &Call| !(call.is_proposed() || self.is_paused() && call.is_lost());
        let mut due: Vec<(usize, &Call)> = open().filter(|(_, call)| goes_on(call)).collect();
        let proposed = open().filter(|(_, call)| call.is_proposed());
        for (position, call) in proposed.take_while(|_| !self.begins_nothing()) {
            let alone = |call: &Call| call.class() != EffectClass::Repeatable;
            let beside_others = !due.is_empty();
            if due.len() >= SIDE_BY_SIDE || (beside_others && alone(call)) || due.iter().any(|(_, begun)| alone(begun)) {
                break;
            }
            due.push((position, call));
        }
        due.sort_by_key(|(position, _)| *position);
        due.into_iter()
            .map(|(position, call)| (EffectId::tool(number, position), self.perform(call)))
            .collect()
    }

    /// Whether only what has begun may go on.
    fn begins_nothing(&self) -> bool {
        self.ending.is_some() || self.paused
    }

    fn perform(&self, call: &Call) -> Effect {
        // Repeating it could act for the first time, which a run that ends must not do.
        if call.is_lost() && (self.ending.is_some() || !call.class().may_be_repeated()) {
            return Effect::VerifyTool { call: call.call.clone() };
        }
        let earlier = self
            .all_calls()
            .take_while(|other| !std::ptr::eq(*other, call))
            .filter(|other| other.call.name == call.call.name && other.call.arguments == call.call.arguments)
            .count();
        // One that has begun may have acted; only its outcome ends it.
        if call.is_proposed() && earlier >= self.limits.max_identical_calls as usize {
            return Effect::RefuseTool {
                reason: "The same call was made before in this turn; its result has not changed. Answer with what is known."
                    .into(),
            };
        }
        Effect::RunTool { call: call.call.clone() }
    }

    fn all_calls(&self) -> impl Iterator<Item = &Call> {
        self.steps.iter().flat_map(|step| &step.calls)
    }

    fn present(&self) -> Option<&Step> {
        self.steps.last()
    }

    /// The current step's call of this name, if it has no result yet.
    fn open_call(&mut self, id: EffectId) -> Option<&mut Call> {
        if id.step as usize != self.steps.len() {
            return None;
        }
        let call = self.steps.last_mut()?.calls.get_mut(id.position()?)?;
        call.result().is_none().then_some(call)
    }

    /// Whether the model's words still count. Text that was on its way when the person asked to stop has been shown, so it stays.
    fn listens(&self) -> bool {
        self.is_called() && matches!(self.ending, None | Some(RunOutcome::Cancelled))
    }

    fn called(&mut self, attempt: u32) {
        let open = self.ending.is_none();
        if let Some(
            step @ Step {
                stage: Stage::Due | Stage::Called,
                ..
            },
        ) = self.steps.last_mut()
            && open
        {
            step.stage = Stage::Called;
            step.attempt = attempt;
        }
    }

    fn wrote(&mut self, text: &str) {
        let open = self.listens();
        if let (true, Some(step)) = (open, self.steps.last_mut()) {
            step.text.push_str(text);
        }
    }

    fn replied(&mut self, text: &str, calls: &[ProposedCall], stop: StopReason) {
        let Some(step) = self.steps.last_mut() else { return };
        step.stage = Stage::Replied;
        text.clone_into(&mut step.text);
        step.earlier.clear();
        if self.ending.is_some() {
            return;
        }
        step.calls = calls.iter().map(Call::new).collect();
        match stop {
            // The last step offers no tools; if the model calls some anyway, the run ends here.
            _ if !calls.is_empty() && self.steps.len() >= self.limits.max_steps as usize => self.next_step(),
            _ if !calls.is_empty() => {}
            StopReason::Length => self.limited("The reply reached the model's output limit.".into()),
            StopReason::Filtered => self.limited("The model's provider withheld the rest of the reply.".into()),
            StopReason::End | StopReason::ToolUse if !self.has_text() => self.end(RunOutcome::Failed {
                failure: ModelFailure::Malformed,
                message: "The model gave an empty reply. Try again, or choose another model.".into(),
            }),
            StopReason::End | StopReason::ToolUse => self.end(RunOutcome::Completed),
        }
    }

    fn failed(&mut self, attempt: u32, failure: ModelFailure, message: &str, retry_after_ms: Option<u64>) {
        if self.ending.is_some() {
            return;
        }
        let limits = &self.limits;
        let delay = backoff(attempt, retry_after_ms);
        let again = failure.is_transient() && attempt < limits.max_attempts && delay <= MAX_WAIT;
        match self.steps.last_mut() {
            Some(step) if matches!(step.stage, Stage::Due | Stage::Called) => {
                let written = std::mem::take(&mut step.text);
                if written.len() > step.earlier.len() {
                    step.earlier = written;
                }
                if again {
                    step.stage = Stage::Failed { delay };
                    return;
                }
            }
            Some(_) => return,
            None => {}
        }
        self.keep_longest();
        self.end(RunOutcome::Failed {
            failure,
            message: message.into(),
        });
    }

    fn on_call(&mut self, id: EffectId, change: impl FnOnce(&mut Call)) {
        if let Some(call) = self.open_call(id) {
            change(call);
        }
    }

    fn retry_due(&mut self) {
        if let Some(
            step @ Step {
                stage: Stage::Failed { .. },
                ..
            },
        ) = self.steps.last_mut()
        {
            step.attempt += 1;
            step.stage = Stage::Due;
        }
    }

    fn decided(&mut self, id: EffectId, request: RequestId, decision: &Decision) {
        let result = self.open_call(id).and_then(|call| call.decide(request, decision));
        if let Some((status, output)) = result {
            self.closed(id, status, output);
        }
    }

    /// A message with all that the run has said so far has been stored.
    fn tell(&mut self) {
        self.steps.iter_mut().flat_map(|step| &mut step.calls).for_each(Call::tell);
        self.told = Told {
            any: true,
            steps: self.steps.iter().filter(|step| step.stage == Stage::Replied).count(),
            usage: self.usage,
            cost_micros: self.cost_micros.unwrap_or_default(),
        };
    }

    /// Nothing new begins; a model call under way is given up, and made again later.
    fn pause(&mut self) {
        self.paused = true;
        if let Some(step) = self.steps.last_mut()
            && step.stage == Stage::Called
            && self.ending.is_none()
        {
            step.stage = Stage::Due;
            step.text.clear();
        }
    }

    fn finished(&mut self, id: EffectId, status: ToolStatus, output: &ToolOutput) {
        let Some(tool) = self.open_call(id).map(|call| call.call.name.clone()) else {
            return;
        };
        if status == ToolStatus::Unknown {
            // Whatever else ends the run, a person has to know of this.
            self.end(RunOutcome::NeedsReview { tool });
        }
        self.closed(id, status, output.clone());
    }

    /// Ends a call; after the last one of a step, the next begins.
    fn closed(&mut self, id: EffectId, status: ToolStatus, output: ToolOutput) {
        self.on_call(id, |call| call.finish(status, output));
        let done = self
            .present()
            .is_some_and(|step| step.calls.iter().all(|call| call.result().is_some()));
        if done && self.ending.is_none() {
            self.next_step();
        }
    }

    /// Takes back what was under way when the worker was lost: a model call is made again, unless some of its text has been shown;
    /// a tool call that changes nothing is made again, any other may have acted.
    fn recovered(&mut self) {
        let Some(step) = self.steps.last_mut() else { return };
        if step.stage == Stage::Called {
            match step.text.is_empty() {
                true => step.stage = Stage::Due,
                false if self.ending.is_none() => self.ending = Some(RunOutcome::Interrupted),
                false => {}
            }
        }
        step.calls.iter_mut().for_each(Call::lose);
    }

    /// Moves on to the next model call, unless a limit has been reached.
    fn next_step(&mut self) {
        if self.usage.total() >= self.limits.max_tokens {
            let (used, most) = (self.usage.total(), self.limits.max_tokens);
            self.limited(format!("This reply used {used} tokens; the limit is {most}."));
        } else if self.steps.len() >= self.limits.max_steps as usize {
            self.limited(format!("This reply used all of its {} model calls.", self.limits.max_steps));
        } else {
            self.steps.push(Step {
                attempt: 1,
                ..Step::default()
            });
        }
    }

    fn end(&mut self, outcome: RunOutcome) {
        self.ending = Some(outcome);
    }

    /// Ends the run at a limit, keeping the text so far; without any text the run has failed.
    fn limited(&mut self, message: String) {
        self.keep_longest();
        self.end(match !self.has_text() {
            true => RunOutcome::Failed {
                failure: ModelFailure::Limited,
                message,
            },
            false => RunOutcome::Limited { message },
        });
    }

    /// After the last attempt, the current step keeps the longest text that any of its attempts wrote.
    fn keep_longest(&mut self) {
        if let Some(step) = self.steps.last_mut() {
            let earlier = std::mem::take(&mut step.earlier);
            if earlier.len() > step.text.len() {
                step.text = earlier;
            }
        }
    }

    fn spend(&mut self, usage: &Usage, cost_micros: Option<u64>) {
        self.usage += *usage;
        self.cost_micros = self.cost_micros.zip(cost_micros).map(|(sum, cost)| sum.saturating_add(cost));
    }
}

/// Half a second, doubled with each attempt, up to eight seconds; at least what the provider asked for.
fn backoff(attempt: u32, retry_after_ms: Option<u64>) -> Duration {
    let own = Duration::from_millis(500 << attempt.saturating_sub(1).min(4));
    own.max(Duration::from_millis(retry_after_ms.unwrap_or(0)))
}
