//! Domain events in the shapes of AG-UI 1.0. Pure: the frames of an event depend only on the log up to it, so a stream that
//! resumes anywhere sends exactly what the uncut one would have sent from there on.

use duet_core::{
    domain::{EffectId, EventKind, Run, RunEvent, RunOutcome, StoredEvent, Taint, ToolOutput},
    ids::{ConversationId, MessageId, RunId},
    run::{machine::Replay, turn::Turn},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

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
    /// The AG-UI object.
    pub data: Value,
}

/// What an AG-UI object is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AguiType {
    /// The run began.
    RunStarted,
    /// A model call began.
    StepStarted,
    /// A model call ended.
    StepFinished,
    /// The reply begins.
    TextMessageStart,
    /// A piece of the reply.
    TextMessageContent,
    /// The reply is whole.
    TextMessageEnd,
    /// A tool is called.
    ToolCallStart,
    /// With these arguments.
    ToolCallArgs,
    /// The call is whole.
    ToolCallEnd,
    /// What the tool answered.
    ToolCallResult,
    /// Specific to Duet, told apart by its `name` and `value`.
    Custom,
    /// The run ended well, was stopped or interrupted, or reached a limit.
    RunFinished,
    /// The run failed.
    RunError,
}

/// An object of AG-UI 1.0, in its JSON form. Further fields depend on its `type`; docs/api.md lists those that Duet adds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AguiObject {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: AguiType,
    /// The fields of that type.
    #[serde(flatten)]
    pub fields: serde_json::Map<String, Value>,
}

/// One server-sent event of a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StreamItem {
    /// `id:`, the event's `seq`; only on the last object of an event.
    pub id: Option<u64>,
    /// `event:`, the domain kind.
    pub event: EventKind,
    /// `data:`, as JSON on one line.
    pub data: AguiObject,
}

/// What earlier events determine about later frames.
#[derive(Clone, Debug)]
pub struct Agui {
    run: RunId,
    conversation: ConversationId,
    reply: MessageId,
    replay: Replay<Turn>,
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
            None => vec![custom("redacted", json!({ "kind": stored.kind }))],
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
    fn objects(&mut self, event: &RunEvent, streamed: usize) -> Vec<Value> {
        match event {
            RunEvent::Started { prefix, .. } => self.started(prefix),
            RunEvent::Context {
                model,
                recalled,
                text_only_recall,
                labels,
                ..
            } => vec![custom(
                "context",
                json!({
                    "model": model,
                    "offline": model.provider() == "offline",
                    "recalled": recalled,
                    "text_only_recall": text_only_recall,
                    "untrusted": labels.integrity == Taint::Untrusted,
                    "labels": labels,
                }),
            )],
            RunEvent::ModelCalled { step, attempt } => {
                vec![json!({"type": "STEP_STARTED", "stepName": step_name(*step), "step": step, "attempt": attempt})]
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
                objects.push(json!({
                    "type": "STEP_FINISHED",
                    "stepName": step_name(*step),
                    "step": step,
                    "usage": usage,
                    "cost_micros": cost_micros,
                    "stop": stop,
                }));
                objects
            }
            RunEvent::ModelFailed {
                step,
                attempt,
                failure,
                message,
                ..
            } => vec![custom(
                "retry",
                json!({"step": step, "attempt": attempt, "failure": failure, "message": message, "text": self.text_so_far()}),
            )],
            RunEvent::LimitReached { message, usage, .. } => {
                vec![custom(
                    "limit",
                    json!({"message": message, "usage": usage, "text": self.text_so_far()}),
                )]
            }
            RunEvent::RetryDue { step } => vec![custom("retry_due", json!({ "step": step }))],
            RunEvent::ToolStarted { effect, .. } => match self.announce(*effect) {
                // A call repeated after a crash is the same call.
                again if again.is_empty() => vec![tool_repeated(*effect)],
                objects => objects,
            },
            RunEvent::ToolNotDone { effect } => vec![tool_repeated(*effect)],
            RunEvent::ToolFinished { effect, status, output } => {
                // A refused call never started; readers still need to see which call the result belongs to.
                let mut objects = self.announce(*effect);
                objects.push(json!({
                    "type": "TOOL_CALL_RESULT",
                    "messageId": self.reply,
                    "toolCallId": effect.to_string(),
                    "status": status,
                    "content": result_summary(output),
                    "memories": output.memories,
                    "remembered": output.remembered,
                }));
                objects
            }
            RunEvent::CancelRequested { .. } => vec![custom("cancel_requested", json!({}))],
            RunEvent::Recovered { attempt } => {
                vec![custom("recovered", json!({"attempt": attempt, "text": self.text_so_far()}))]
            }
            RunEvent::Finished {
                outcome,
                reply,
                usage,
                cost_micros,
            } => self.finished(outcome, reply.map(|status| json!(status)), json!(usage), *cost_micros),
        }
    }

    fn started(&mut self, prefix: &str) -> Vec<Value> {
        let mut objects = vec![json!({
            "type": "RUN_STARTED",
            "threadId": self.conversation,
            "runId": self.run,
            "replyId": self.reply,
        })];
        if !prefix.is_empty() {
            objects.extend(self.text(prefix));
        }
        objects
    }

    fn text(&mut self, text: &str) -> Vec<Value> {
        let mut objects = Vec::with_capacity(2);
        if !self.text_started {
            self.text_started = true;
            objects.push(json!({"type": "TEXT_MESSAGE_START", "messageId": self.reply, "role": "assistant"}));
        }
        objects.push(json!({"type": "TEXT_MESSAGE_CONTENT", "messageId": self.reply, "delta": text}));
        objects
    }

    fn text_so_far(&self) -> String {
        self.replay.machine.work.text()
    }

    /// The call's name and arguments, unless they were sent already.
    fn announce(&mut self, effect: EffectId) -> Vec<Value> {
        if self.announced.contains(&effect) {
            return vec![];
        }
        self.announced.push(effect);
        let mut calls = self.replay.machine.work.calls();
        let call = calls.find(|(id, _)| *id == effect).map(|(_, call)| &call.call);
        let id = effect.to_string();
        vec![
            json!({
                "type": "TOOL_CALL_START",
                "toolCallId": id,
                "toolCallName": call.map_or("redacted", |call| call.name.as_str()),
                "parentMessageId": self.reply,
            }),
            json!({
                "type": "TOOL_CALL_ARGS",
                "toolCallId": id,
                "delta": call.map(|call| arguments_summary(&call.arguments)).unwrap_or_default(),
            }),
            json!({"type": "TOOL_CALL_END", "toolCallId": id}),
        ]
    }

    fn finished(&mut self, outcome: &RunOutcome, reply: Option<Value>, usage: Value, cost_micros: Option<u64>) -> Vec<Value> {
        let (code, message) = match outcome {
            RunOutcome::Failed { failure, message } => (failure.as_str(), message.clone()),
            RunOutcome::NeedsReview { tool } => (
                "needs_review",
                format!(
                    "Duet went down while “{tool}” was running, and it is not known whether it finished. Check before you continue."
                ),
            ),
            RunOutcome::Completed | RunOutcome::Cancelled | RunOutcome::Interrupted | RunOutcome::Limited { .. } => {
                return self.ended_well(outcome, reply, usage, cost_micros);
            }
        };
        let mut error = json!({"type": "RUN_ERROR", "code": code, "message": message, "runId": self.run});
        if let (Some(status), Some(object)) = (reply, error.as_object_mut()) {
            object.insert("status".into(), status);
        }
        vec![error]
    }

    fn ended_well(&self, outcome: &RunOutcome, reply: Option<Value>, usage: Value, cost_micros: Option<u64>) -> Vec<Value> {
        let word = match outcome {
            RunOutcome::Completed => "completed",
            RunOutcome::Cancelled => "cancelled",
            RunOutcome::Interrupted => "interrupted",
            _ => "limited",
        };
        let mut result = serde_json::Map::new();
        result.insert("outcome".into(), word.into());
        if let Some(status) = reply {
            result.insert("message_id".into(), json!(self.reply));
            result.insert("status".into(), status);
        }
        result.insert("usage".into(), usage);
        if let Some(cost) = cost_micros {
            result.insert("cost_micros".into(), cost.into());
        }
        if let RunOutcome::Limited { message } = outcome {
            result.insert("message".into(), message.clone().into());
        }
        let mut objects = Vec::with_capacity(2);
        if self.text_started {
            objects.push(json!({"type": "TEXT_MESSAGE_END", "messageId": self.reply}));
        }
        objects.push(json!({"type": "RUN_FINISHED", "threadId": self.conversation, "runId": self.run, "result": result}));
        objects
    }
}

fn step_name(step: u32) -> String {
    format!("model {step}")
}

fn tool_repeated(effect: EffectId) -> Value {
    custom(
        "tool_repeated",
        json!({"step": effect.step, "toolCallId": effect.to_string()}),
    )
}

fn custom(name: &str, value: Value) -> Value {
    json!({"type": "CUSTOM", "name": name, "value": value})
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
