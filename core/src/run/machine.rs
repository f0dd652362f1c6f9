//! What a run is: a [`Machine`] folded over an event log. The state after any log is [`Replay::of`] it, and the state alone says
//! what comes [`next`](Machine::next). So recovery is folding the log and then performing what the machine asks for.
//! No I/O, no async, no time.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    domain::{EffectId, RunEvent, RunOutcome, StoredEvent, ToolCall},
    ids::RequestId,
};

/// A kind of run.
pub trait Machine: Clone + Default {
    /// Takes in the next event of the log. An event that does not fit the state (a late outcome of abandoned work) changes
    /// nothing.
    fn apply(&mut self, event: &RunEvent);

    /// What comes next. Depends on nothing but the events applied.
    fn next(&self) -> Next;
}

/// What comes next in a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// These effects, side by side: what is not under way yet is started, and what is under way but not listed is dropped. Empty
    /// only before the first event.
    Do(Vec<(EffectId, Effect)>),
    /// Nothing until one of these comes: the run waits without a worker.
    Wait(Vec<Wait>),
    /// Nothing but to record this end.
    End(RunOutcome),
}

impl Next {
    /// Whether this effect is asked for.
    pub fn wants(&self, id: EffectId, effect: &Effect) -> bool {
        matches!(self, Self::Do(effects) if effects.iter().any(|(wanted, what)| *wanted == id && what == effect))
    }
}

/// What a run waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The decision of this request.
    Request(RequestId),
    /// A person resumes it.
    Resume,
}

/// Something to do. Its outcome comes back as an event that names the same [`EffectId`].
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Gather what the model will read. Outcome: `Context`, or `ModelFailed` when there is no such model.
    AssembleContext,
    /// Call the model. Outcome: `Delta`…, then `ModelReplied`, `ModelFailed` or `LimitReached`.
    CallModel {
        /// The attempt, from 1.
        attempt: u32,
        /// Whether tools are offered; the last step must answer without them.
        with_tools: bool,
    },
    /// Wait, then try the model again. Outcome: `RetryDue` or `LimitReached`.
    WaitForRetry {
        /// How long.
        delay: Duration,
    },
    /// Run a tool. Outcome: `ToolStarted`, then `ToolFinished`; or `Asked`, when a person has to decide first.
    RunTool {
        /// The call.
        call: ToolCall,
    },
    /// Find out whether a call whose outcome was lost has acted. Outcome: `ToolFinished`, `ToolNotDone`, or `Asked`.
    VerifyTool {
        /// The call.
        call: ToolCall,
    },
    /// End a call without making it. Outcome: `ToolFinished`.
    RefuseTool {
        /// What the model is told.
        reason: String,
    },
}

impl Effect {
    /// The event that has to be on record before the effect begins, for effects of which that is known beforehand: it is written
    /// together with the outcome that called for the effect.
    pub fn opening(&self, id: EffectId) -> Option<RunEvent> {
        match *self {
            Self::CallModel { attempt, .. } => Some(RunEvent::ModelCalled { step: id.step, attempt }),
            Self::AssembleContext
            | Self::WaitForRetry { .. }
            | Self::RunTool { .. }
            | Self::VerifyTool { .. }
            | Self::RefuseTool { .. } => None,
        }
    }
}

/// A run as far as its log goes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replay<M> {
    /// The state.
    pub machine: M,
    /// The `seq` of the newest folded event.
    pub last_seq: u64,
    /// Time worked on the run according to its log, without the waits for a worker to claim it or take it over.
    pub worked: Duration,
    /// When the log last showed work.
    heard: Option<Timestamp>,
}

impl<M: Machine> Replay<M> {
    /// The state after a log.
    pub fn of<'a>(log: impl IntoIterator<Item = &'a StoredEvent>) -> Self {
        let mut replay = Self::default();
        log.into_iter().for_each(|stored| replay.fold(stored));
        replay
    }

    /// Takes in the next event. One whose payload was redacted advances only `last_seq` and the clock: only ended runs lose
    /// payloads.
    pub fn fold(&mut self, stored: &StoredEvent) {
        self.last_seq = stored.seq;
        self.hear(stored);
        if let Some(event) = &stored.event {
            self.machine.apply(event);
        }
    }

    /// Counts the time between two signs of work.
    fn hear(&mut self, stored: &StoredEvent) {
        match &stored.event {
            Some(event) if event.is_from_outside() => {}
            Some(RunEvent::Recovered { .. } | RunEvent::Resumed { .. }) => self.heard = Some(stored.at),
            _ => {
                let since = self.heard.map_or(Duration::ZERO, |heard| stored.at.since(heard));
                self.worked = self.worked.saturating_add(since);
                self.heard = Some(stored.at);
            }
        }
    }
}
