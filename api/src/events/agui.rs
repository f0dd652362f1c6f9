//! Domain events in the shapes of AG-UI 1.0. Pure: the frames of an event depend only on the log up to it, so a stream that
//! resumes anywhere sends exactly what the uncut one would have sent from there on.
//!
//! In AG-UI a run that needs something from outside ends, and what continues it is another run. So each stretch of a run between two
//! waits is a run of AG-UI.

use duet_core::{
    domain::{
        Decision, EffectId, EventKind, MessageStatus, ModelRef, RequestKind, Run, RunEvent, RunOutcome, StoredEvent, Taint,
        ToolOutput, ToolStatus, Usage,
    },
    ids::{ConversationId, MessageId, RequestId, RunId, UserId},
    run::{
        machine::{Machine, Next, Replay, Wait},
        turn::Turn,
    },
};
use serde_json::Value;

use super::shapes::{
    AguiCustom, AguiEvent, AguiRole, Interrupt, Metadata, PROTOCOL_VERSION, ReplyNamed, RequestNamed, RunFinishedOutcome,
    RunResult, RunResultOutcome, StepAttempt, StepUsage, TokenUsage, ToolEnd,
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
    /// The message in the making.
    reply: MessageId,
    /// How many stretches have begun.
    stretch: u32,
    /// Whether the run waits, so that what comes next begins a stretch.
    waits: bool,
    /// What the earlier stretches used.
    used: Usage,
    replay: Replay<Turn>,
    /// The model that is asked.
    model: Option<ModelRef>,
    /// The model call that was announced and has not ended.
    open_step: Option<u32>,
    /// Whether `TEXT_MESSAGE_START` was sent.
    text_started: bool,
    /// Whether a model call was given up for a pause, so that what still comes of it does not count.
    given_up: bool,
    /// Tool calls that were announced.
    announced: Vec<EffectId>,
    /// Those that have begun.
    begun: Vec<EffectId>,
    /// What was asked, about which call.
    asked: Vec<(RequestNamed, EffectId)>,
}

/// What was known before an event was folded.
struct Before {
    /// Bytes of the current step's text.
    streamed: usize,
    /// Whether the call that the event decides about had no result yet.
    undecided: bool,
}

impl Agui {
    /// Before the first event.
    pub fn new(run: &Run) -> Self {
        Self {
            run: run.id,
            conversation: run.conversation_id,
            reply: run.reply_id,
            stretch: 0,
            waits: false,
            used: Usage::default(),
            replay: Replay::default(),
            model: None,
            open_step: None,
            text_started: false,
            given_up: false,
            announced: Vec::new(),
            begun: Vec::new(),
            asked: Vec::new(),
        }
    }

    /// Takes the next event of the log and returns its frames.
    pub fn frames(&mut self, stored: &StoredEvent) -> Vec<Frame> {
        let before = self.before(stored);
        self.replay.fold(stored);
        // A decision, or another word from outside, comes before the worker that heeds it.
        let mut objects = match std::mem::take(&mut self.waits) {
            true => vec![self.begin()],
            false => Vec::with_capacity(2),
        };
        objects.extend(match &stored.event {
            Some(event) => self.objects(event, &before),
            None => self.redacted(stored.kind),
        });
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

    fn before(&self, stored: &StoredEvent) -> Before {
        let work = &self.replay.machine.work;
        Before {
            streamed: work.steps.last().map_or(0, |step| step.text.len()),
            undecided: match &stored.event {
                Some(RunEvent::Decided { effect, .. }) => work.call(*effect).is_some_and(|call| call.result().is_none()),
                _ => false,
            },
        }
    }

    fn objects(&mut self, event: &RunEvent, before: &Before) -> Vec<AguiEvent> {
        match event {
            RunEvent::Started { prefix, reply_id, .. } => {
                // A run that has waited has another one by now.
                self.reply = *reply_id;
                self.started(prefix)
            }
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
                self.given_up = false;
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
            RunEvent::Delta { .. } | RunEvent::ModelReplied { .. } if self.given_up => {
                vec![AguiEvent::Custom(AguiCustom::Discarded { kind: event.kind() })]
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
                let rest = text.get(before.streamed..).unwrap_or_default();
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
            RunEvent::ToolStarted { effect } => self.tool_started(*effect),
            RunEvent::ToolNotDone { effect } => vec![self.tool_repeated(*effect)],
            RunEvent::ToolFinished { effect, status, output } => self.tool_finished(*effect, *status, output),
            RunEvent::Asked {
                effect, request, kind, ..
            } => self.ask(*effect, *request, *kind),
            RunEvent::Decided {
                effect,
                request,
                decision,
                by,
            } => {
                let mut objects = vec![self.decision(*effect, *request, decision, *by)];
                let call = self.replay.machine.work.call(*effect).filter(|_| before.undecided);
                if let Some((status, output)) =
                    call.and_then(|call| call.result().map(|(status, output)| (status, output.clone())))
                {
                    objects.extend(self.tool_finished(*effect, status, &output));
                }
                objects
            }
            RunEvent::PauseRequested { .. } => {
                self.given_up = self.open_step.is_some();
                let mut objects = self.end_step(None);
                objects.push(AguiEvent::Custom(AguiCustom::PauseRequested {
                    text: self.text_so_far(),
                }));
                objects
            }
            RunEvent::ResumeRequested { .. } => vec![AguiEvent::Custom(AguiCustom::ResumeRequested {})],
            RunEvent::Suspended {
                reply,
                next_reply,
                usage,
                cost_micros,
            } => {
                let objects = self.suspended(*reply, *usage, *cost_micros);
                if reply.is_some() {
                    self.reply = *next_reply;
                }
                objects
            }
            RunEvent::Resumed { attempt } => vec![AguiEvent::Custom(AguiCustom::Resumed { attempt: *attempt })],
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
        let mut objects = vec![self.begin()];
        if !prefix.is_empty() {
            objects.extend(self.text(prefix));
        }
        objects
    }

    /// The beginning of the next stretch.
    fn begin(&mut self) -> AguiEvent {
        self.stretch += 1;
        AguiEvent::RunStarted {
            thread_id: self.conversation,
            run_id: self.stretch_id(),
            parent_run_id: (self.stretch > 1).then_some(self.run),
            protocol_version: PROTOCOL_VERSION.to_owned(),
            metadata: Metadata::of(ReplyNamed { reply_id: self.reply }),
        }
    }

    fn stretch_id(&self) -> String {
        match self.stretch {
            0 | 1 => self.run.to_string(),
            later => format!("{}:{later}", self.run),
        }
    }

    /// A stretch has its boundaries, whether or not its beginning and its end are still known.
    fn redacted(&mut self, kind: EventKind) -> Vec<AguiEvent> {
        let mut objects = match kind {
            EventKind::Started => self.started(""),
            _ => Vec::with_capacity(2),
        };
        objects.push(AguiEvent::Custom(AguiCustom::Redacted { kind }));
        if kind == EventKind::Suspended {
            objects.extend(self.suspended(None, self.used, None));
        }
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

    fn tool_started(&mut self, effect: EffectId) -> Vec<AguiEvent> {
        let again = self.begun.contains(&effect);
        self.begun.push(effect);
        let announced = self.announce(effect);
        match (again, announced.is_empty()) {
            // A call repeated after a crash is the same call.
            (true, _) => vec![self.tool_repeated(effect)],
            // It was announced when it was asked about.
            (false, true) => vec![AguiEvent::Custom(AguiCustom::ToolStarted {
                step: effect.step,
                tool_call_id: self.tool_call_id(effect),
            })],
            (false, false) => announced,
        }
    }

    fn tool_finished(&mut self, effect: EffectId, status: ToolStatus, output: &ToolOutput) -> Vec<AguiEvent> {
        // A refused call never started; readers still need to see which call the result belongs to.
        let mut objects = self.announce(effect);
        objects.push(AguiEvent::ToolCallResult {
            message_id: self.tool_call_id(effect),
            tool_call_id: self.tool_call_id(effect),
            content: result_summary(output),
            metadata: Metadata::of(ToolEnd {
                status,
                memories: output.memories.clone(),
                remembered: output.remembered.clone(),
            }),
        });
        objects
    }

    fn ask(&mut self, effect: EffectId, request: RequestId, kind: RequestKind) -> Vec<AguiEvent> {
        self.asked.push((RequestNamed { request, kind }, effect));
        let mut objects = self.announce(effect);
        objects.push(AguiEvent::Custom(AguiCustom::Asked {
            request,
            kind,
            step: effect.step,
            tool_call_id: self.tool_call_id(effect),
        }));
        objects
    }

    fn decision(&self, effect: EffectId, request: RequestId, decision: &Decision, by: Option<UserId>) -> AguiEvent {
        AguiEvent::Custom(AguiCustom::Decided {
            request,
            decision: decision.word().to_owned(),
            by,
            step: effect.step,
            tool_call_id: self.tool_call_id(effect),
            arguments: match decision {
                Decision::Approve { arguments } => arguments.as_ref().map(arguments_summary),
                _ => None,
            },
        })
    }

    /// The end of a stretch after which the run waits.
    fn suspended(&mut self, status: Option<MessageStatus>, usage: Usage, cost_micros: Option<u64>) -> Vec<AguiEvent> {
        let waits = match self.replay.machine.next() {
            Next::Wait(waits) => waits,
            Next::Do(_) | Next::End(_) => Vec::new(),
        };
        let asked = waits.iter().filter_map(|wait| match wait {
            Wait::Request(request) => self.asked.iter().find(|(named, _)| named.request == *request),
            Wait::Resume => None,
        });
        let interrupts: Vec<Interrupt> = asked
            .map(|(named, effect)| Interrupt {
                id: named.request.to_string(),
                reason: named.kind,
                tool_call_id: self.tool_call_id(*effect),
                metadata: Metadata::of(*named),
            })
            .collect();
        // A run that has just been told to pause asks for nothing.
        let (outcome, told) = match interrupts.is_empty() {
            true => (RunFinishedOutcome::Cancelled, RunResultOutcome::Paused),
            false => (RunFinishedOutcome::Interrupt { interrupts }, RunResultOutcome::Waiting),
        };
        let metadata = Metadata::of(RunResult {
            outcome: told,
            message_id: status.map(|_| self.reply),
            status,
            usage,
            cost_micros,
            message: None,
        });
        let objects = self.end(outcome, usage, metadata);
        self.waits = true;
        objects
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
                    usage: self.tokens(usage),
                    metadata: result(RunResultOutcome::Failed, None),
                }];
            }
            RunOutcome::NeedsReview { tool } => {
                return vec![AguiEvent::RunError {
                    code: "needs_review".to_owned(),
                    message: format!(
                        "Duet went down while “{tool}” was running, and it is not known whether it finished. Check before you continue."
                    ),
                    usage: self.tokens(usage),
                    metadata: result(RunResultOutcome::NeedsReview, None),
                }];
            }
        };
        self.end(outcome, usage, metadata)
    }

    /// The end of a stretch. Whatever it opened is closed before it.
    fn end(&mut self, outcome: RunFinishedOutcome, usage: Usage, metadata: Metadata<RunResult>) -> Vec<AguiEvent> {
        let mut objects = self.end_step(None);
        if std::mem::take(&mut self.text_started) {
            objects.push(AguiEvent::TextMessageEnd { message_id: self.reply });
        }
        objects.push(AguiEvent::RunFinished {
            thread_id: self.conversation,
            run_id: self.stretch_id(),
            outcome,
            usage: self.tokens(usage),
            metadata,
        });
        self.used = usage;
        objects
    }

    /// What this stretch used, if the whole run has used this much: what others used, they have reported.
    fn tokens(&self, usage: Usage) -> Vec<TokenUsage> {
        TokenUsage::of(self.model.as_ref(), usage - self.used).into_iter().collect()
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
