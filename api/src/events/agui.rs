//! Domain events in the shapes of AG-UI 1.0. Pure: the frames of an event depend only on the log up to it, so a stream that
//! resumes anywhere sends exactly what the uncut one would have sent from there on.

use duet_core::{
    domain::{EffectId, EventKind, MessageStatus, ModelRef, Run, RunEvent, RunOutcome, StoredEvent, Taint, ToolOutput, Usage},
    ids::{ConversationId, MessageId, RunId},
    run::{machine::Replay, turn::Turn},
};
use serde_json::Value;

use super::shapes::{
    AguiCustom, AguiEvent, AguiRole, Metadata, PROTOCOL_VERSION, ReplyNamed, RunFinishedOutcome, RunResult, RunResultOutcome,
    StepAttempt, StepUsage, TokenUsage, ToolEnd,
};

/// Longest summary of a tool's arguments or result, in characters.
const SUMMARY: usize = 400;
/// Longest single text within the arguments.
const ARGUMENT: usize = 80;

/// One frame of the stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The event's `seq`, only on the last frame of an event: a client resumes after whole events.
    pub id: Option<u64>,
    /// The domain kind.
    pub kind: EventKind,
    /// The AG-UI event.
    pub data: AguiEvent,
}

/// What earlier events determine about later frames.
#[derive(Clone, Debug)]
pub struct Agui {
    run: RunId,
    conversation: ConversationId,
    reply: MessageId,
    replay: Replay<Turn>,
    /// The model that is asked.
    model: Option<ModelRef>,
    /// The model call that was announced and has not ended.
    open_step: Option<u32>,
    /// Whether `TEXT_MESSAGE_START` was sent.
    text_started: bool,
    /// Tool calls that were announced.
    announced: Vec<EffectId>,
}

impl Agui {
    /// Before the first event.
    pub fn new(run: &Run) -> Self {
        Self {
            run: run.id,
            conversation: run.conversation_id,
            reply: run.reply_id,
            replay: Replay::default(),
            model: None,
            open_step: None,
            text_started: false,
            announced: Vec::new(),
        }
    }

    /// Takes the next event of the log and returns its frames.
    pub fn frames(&mut self, stored: &StoredEvent) -> Vec<Frame> {
        let streamed = self.replay.machine.work.steps.last().map_or(0, |step| step.text.len());
        self.replay.fold(stored);
        let objects = match &stored.event {
            Some(event) => self.objects(event, streamed),
            None => self.redacted(stored.kind),
        };
        let last = objects.len().saturating_sub(1);
        objects
            .into_iter()
            .enumerate()
            .map(|(index, data)| Frame {
                id: (index == last).then_some(stored.seq),
                kind: stored.kind,
                data,
            })
            .collect()
    }

    /// `streamed` bytes of the current step's text were folded before this event.
    fn objects(&mut self, event: &RunEvent, streamed: usize) -> Vec<AguiEvent> {
        match event {
            RunEvent::Started { prefix, .. } => self.started(prefix),
            RunEvent::Context {
                model,
                recalled,
                text_only_recall,
                labels,
                ..
            } => {
                self.model = Some(model.clone());
                vec![AguiEvent::Custom(AguiCustom::Context {
                    model: model.clone(),
                    offline: model.provider() == "offline",
                    recalled: recalled.clone(),
                    text_only_recall: *text_only_recall,
                    untrusted: labels.integrity == Taint::Untrusted,
                    labels: *labels,
                })]
            }
            RunEvent::ModelCalled { step, attempt } => {
                // A call that was lost with its worker is still open.
                let mut objects = self.end_step(None);
                self.open_step = Some(*step);
                objects.push(AguiEvent::StepStarted {
                    step_name: step_name(*step),
                    metadata: Metadata::of(StepAttempt {
                        step: *step,
                        attempt: *attempt,
                    }),
                });
                objects
            }
            RunEvent::Delta { text, .. } => self.text(text),
            RunEvent::ModelReplied {
                step,
                text,
                usage,
                cost_micros,
                stop,
                ..
            } => {
                // Where the deltas were left out, the text comes as a whole.
                let rest = text.get(streamed..).unwrap_or_default();
                let mut objects = if rest.is_empty() { Vec::new() } else { self.text(rest) };
                objects.extend(self.end_step(Some(Metadata::of(StepUsage {
                    step: *step,
                    usage: *usage,
                    cost_micros: *cost_micros,
                    stop: *stop,
                }))));
                objects
            }
            RunEvent::ModelFailed {
                step,
                attempt,
                failure,
                message,
                ..
            } => {
                let mut objects = self.end_step(None);
                objects.push(AguiEvent::Custom(AguiCustom::Retry {
                    step: *step,
                    attempt: *attempt,
                    failure: *failure,
                    message: message.clone(),
                    text: self.text_so_far(),
                }));
                objects
            }
            RunEvent::LimitReached { message, usage, .. } => vec![AguiEvent::Custom(AguiCustom::Limit {
                message: message.clone(),
                usage: *usage,
                text: self.text_so_far(),
            })],
            RunEvent::RetryDue { step } => vec![AguiEvent::Custom(AguiCustom::RetryDue { step: *step })],
            RunEvent::ToolStarted { effect } => match self.announce(*effect) {
                // A call repeated after a crash is the same call.
                again if again.is_empty() => vec![self.tool_repeated(*effect)],
                objects => objects,
            },
            RunEvent::ToolNotDone { effect } => vec![self.tool_repeated(*effect)],
            RunEvent::ToolFinished { effect, status, output } => {
                // A refused call never started; readers still need to see which call the result belongs to.
                let mut objects = self.announce(*effect);
                objects.push(AguiEvent::ToolCallResult {
                    message_id: self.tool_call_id(*effect),
                    tool_call_id: self.tool_call_id(*effect),
                    content: result_summary(output),
                    metadata: Metadata::of(ToolEnd {
                        status: *status,
                        memories: output.memories.clone(),
                        remembered: output.remembered.clone(),
                    }),
                });
                objects
            }
            RunEvent::CancelRequested { .. } => vec![AguiEvent::Custom(AguiCustom::CancelRequested {})],
            RunEvent::Recovered { attempt } => vec![AguiEvent::Custom(AguiCustom::Recovered {
                attempt: *attempt,
                text: self.text_so_far(),
            })],
            RunEvent::Finished {
                outcome,
                reply,
                usage,
                cost_micros,
            } => self.finished(outcome, *reply, *usage, *cost_micros),
        }
    }

    fn started(&mut self, prefix: &str) -> Vec<AguiEvent> {
        let mut objects = vec![AguiEvent::RunStarted {
            thread_id: self.conversation,
            run_id: self.run,
            protocol_version: PROTOCOL_VERSION.to_owned(),
            metadata: Metadata::of(ReplyNamed { reply_id: self.reply }),
        }];
        if !prefix.is_empty() {
            objects.extend(self.text(prefix));
        }
        objects
    }

    /// A run begins with its boundary, whether or not its beginning is still known.
    fn redacted(&mut self, kind: EventKind) -> Vec<AguiEvent> {
        let mut objects = match kind {
            EventKind::Started => self.started(""),
            _ => Vec::with_capacity(1),
        };
        objects.push(AguiEvent::Custom(AguiCustom::Redacted { kind }));
        objects
    }

    /// The end of the model call that is open, if one is.
    fn end_step(&mut self, metadata: Option<Metadata<StepUsage>>) -> Vec<AguiEvent> {
        let step = self.open_step.take();
        step.map(|step| AguiEvent::StepFinished {
            step_name: step_name(step),
            metadata,
        })
        .into_iter()
        .collect()
    }

    fn text(&mut self, text: &str) -> Vec<AguiEvent> {
        let mut objects = Vec::with_capacity(2);
        if !self.text_started {
            self.text_started = true;
            objects.push(AguiEvent::TextMessageStart {
                message_id: self.reply,
                role: AguiRole::Assistant,
            });
        }
        objects.push(AguiEvent::TextMessageContent {
            message_id: self.reply,
            delta: text.to_owned(),
        });
        objects
    }

    fn text_so_far(&self) -> String {
        self.replay.machine.work.text()
    }

    /// In AG-UI the calls of all runs are in one conversation, so their ids name the run too.
    fn tool_call_id(&self, effect: EffectId) -> String {
        format!("{}:{effect}", self.run)
    }

    fn tool_repeated(&self, effect: EffectId) -> AguiEvent {
        AguiEvent::Custom(AguiCustom::ToolRepeated {
            step: effect.step,
            tool_call_id: self.tool_call_id(effect),
        })
    }

    /// The call's name and arguments, unless they were sent already.
    fn announce(&mut self, effect: EffectId) -> Vec<AguiEvent> {
        if self.announced.contains(&effect) {
            return vec![];
        }
        self.announced.push(effect);
        let id = self.tool_call_id(effect);
        let mut calls = self.replay.machine.work.calls();
        let call = calls.find(|(id, _)| *id == effect).map(|(_, call)| &call.call);
        vec![
            AguiEvent::ToolCallStart {
                tool_call_id: id.clone(),
                tool_call_name: call.map_or("redacted", |call| call.name.as_str()).to_owned(),
                parent_message_id: self.reply,
            },
            AguiEvent::ToolCallArgs {
                tool_call_id: id.clone(),
                delta: call.map(|call| arguments_summary(&call.arguments)).unwrap_or_default(),
            },
            AguiEvent::ToolCallEnd { tool_call_id: id },
        ]
    }

    fn finished(
        &mut self,
        outcome: &RunOutcome,
        status: Option<MessageStatus>,
        usage: Usage,
        cost_micros: Option<u64>,
    ) -> Vec<AguiEvent> {
        let result = |outcome, limit: Option<&String>| {
            Metadata::of(RunResult {
                outcome,
                message_id: status.map(|_| self.reply),
                status,
                usage,
                cost_micros,
                message: limit.cloned(),
            })
        };
        let tokens = TokenUsage::of(self.model.as_ref(), usage).into_iter().collect();
        let (outcome, metadata) = match outcome {
            RunOutcome::Completed => (RunFinishedOutcome::Success, result(RunResultOutcome::Completed, None)),
            RunOutcome::Cancelled => (RunFinishedOutcome::Cancelled, result(RunResultOutcome::Cancelled, None)),
            RunOutcome::Interrupted => (RunFinishedOutcome::Cancelled, result(RunResultOutcome::Interrupted, None)),
            RunOutcome::Limited { message } => (
                RunFinishedOutcome::Cancelled,
                result(RunResultOutcome::Limited, Some(message)),
            ),
            RunOutcome::Failed { failure, message } => {
                return vec![AguiEvent::RunError {
                    code: failure.as_str().to_owned(),
                    message: message.clone(),
                    usage: tokens,
                    metadata: result(RunResultOutcome::Failed, None),
                }];
            }
            RunOutcome::NeedsReview { tool } => {
                return vec![AguiEvent::RunError {
                    code: "needs_review".to_owned(),
                    message: format!(
                        "Duet went down while “{tool}” was running, and it is not known whether it finished. Check before you continue."
                    ),
                    usage: tokens,
                    metadata: result(RunResultOutcome::NeedsReview, None),
                }];
            }
        };
        // Whatever the run opened is closed before it.
        let mut objects = self.end_step(None);
        if self.text_started {
            objects.push(AguiEvent::TextMessageEnd { message_id: self.reply });
        }
        objects.push(AguiEvent::RunFinished {
            thread_id: self.conversation,
            run_id: self.run,
            outcome,
            usage: tokens,
            metadata,
        });
        objects
    }
}

fn step_name(step: u32) -> String {
    format!("model {step}")
}

fn cut(text: &str, characters: usize) -> String {
    let mut short: String = text.chars().take(characters).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// The arguments as JSON, long texts cut.
fn arguments_summary(arguments: &Value) -> String {
    fn shorten(value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(cut(text, ARGUMENT)),
            Value::Array(items) => items.iter().map(shorten).collect(),
            Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shorten(value))).collect(),
            other => other.clone(),
        }
    }
    cut(&shorten(arguments).to_string(), SUMMARY)
}

/// What a tool returned, cut. Memories' text is not in it: outputs name memories by id.
fn result_summary(output: &ToolOutput) -> String {
    cut(&output.text, SUMMARY)
}
