//! A chat turn: context in, the agent's loop, a reply out.

use super::{
    agent_loop::AgentLoop,
    machine::{Effect, Machine, Next, Wait},
};
use crate::{
    domain::{EffectId, Labels, Locality, MessageStatus, MessageTrace, ModelRef, Reply, RunEvent, RunOutcome, ToolTrace},
    ids::{AgentId, MemoryId, MessageId, RunId},
};

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

/// Everything known about a turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// The agent that answers, once started.
    pub agent: Option<AgentId>,
    /// The run whose reply this one continues.
    pub continues: Option<RunId>,
    /// The labels of the continued text.
    prefix_labels: Labels,
    /// What the model was given.
    pub context: Option<ContextRefs>,
    /// The answer in the making.
    pub work: AgentLoop,
    ended: Option<RunOutcome>,
}

impl Turn {
    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<&RunOutcome> {
        self.ended.as_ref()
    }

    /// The joined labels of all that the model has read in this turn, which also apply to all that it writes from here on.
    pub fn labels(&self) -> Labels {
        let context = self.context.as_ref().map(|context| context.labels);
        Labels::of_all(context).join(self.work.labels()).join(self.prefix_labels)
    }

    /// The message stored when a turn starts to wait; `None` when it has said nothing since it last waited.
    pub fn word(&self) -> Option<Reply> {
        let text = self.work.text();
        (!text.trim().is_empty()).then(|| Reply {
            status: MessageStatus::Complete,
            text,
            trace: self.trace(),
        })
    }

    /// The reply that a turn with this end leaves; `None` when there is no text to keep.
    pub fn reply(&self, outcome: &RunOutcome) -> Option<Reply> {
        let text = self.work.text();
        let status = match outcome {
            _ if text.trim().is_empty() => return None,
            RunOutcome::Completed => MessageStatus::Complete,
            RunOutcome::Cancelled | RunOutcome::NeedsReview { .. } => MessageStatus::Stopped,
            RunOutcome::Interrupted => MessageStatus::Interrupted,
            RunOutcome::Limited { .. } => MessageStatus::Limited,
            // Text from an earlier run keeps its status; text that this run added can be continued.
            RunOutcome::Failed { .. } if self.work.has_written() => MessageStatus::Interrupted,
            RunOutcome::Failed { .. } => return None,
        };
        Some(Reply {
            status,
            text,
            trace: self.trace(),
        })
    }

    fn trace(&self) -> MessageTrace {
        let context = self.context.as_ref();
        let untold = || self.work.calls().filter(|(_, call)| call.is_untold());
        MessageTrace {
            model: context.map(|context| context.model.to_string()).unwrap_or_default(),
            offline: context.is_some_and(|context| context.model.provider() == "offline"),
            usage: self.work.untold_usage(),
            cost_micros: self.work.untold_cost(),
            tools: untold()
                .filter_map(|(id, call)| {
                    let (status, _) = call.result()?;
                    Some(ToolTrace {
                        call_id: id.to_string(),
                        name: call.call.name.clone(),
                        status,
                    })
                })
                .collect(),
            recalled: context.map(|context| context.recalled.clone()).unwrap_or_default(),
            remembered: untold()
                .filter_map(|(_, call)| call.result())
                .flat_map(|(_, output)| output.remembered.iter().copied())
                .collect(),
        }
    }
}

impl Machine for Turn {
    fn apply(&mut self, event: &RunEvent) {
        if self.ended.is_some() {
            return;
        }
        match event {
            RunEvent::Started {
                agent_id,
                prefix,
                continues,
                limits,
                labels,
                ..
            } if self.agent.is_none() => {
                self.agent = Some(*agent_id);
                self.continues = *continues;
                self.prefix_labels = *labels;
                self.work.prefix.clone_from(prefix);
                self.work.limits = limits.clone();
            }
            RunEvent::Context {
                model,
                locality,
                history,
                recalled,
                labels,
                ..
            } if self.agent.is_some() && !self.work.has_begun() => {
                self.context = Some(ContextRefs {
                    model: model.clone(),
                    locality: *locality,
                    history: history.clone(),
                    recalled: recalled.clone(),
                    labels: *labels,
                });
                self.work.begin();
            }
            RunEvent::Finished { outcome, .. } => self.ended = Some(outcome.clone()),
            event if self.agent.is_some() => self.work.apply(event),
            _ => {}
        }
    }

    fn next(&self) -> Next {
        match (&self.ended, self.agent) {
            (Some(outcome), _) => Next::End(outcome.clone()),
            (None, Some(_)) if self.work.is_paused() && !self.work.has_begun() => Next::Wait(vec![Wait::Resume]),
            (None, Some(_)) if !self.work.has_begun() => Next::Do(vec![(EffectId::model(0), Effect::AssembleContext)]),
            (None, _) => self.work.next(),
        }
    }
}
