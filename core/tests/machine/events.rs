//! Events as a driver writes them.

use duet_core::{
    domain::{
        Decision, EffectClass, EffectId, Labels, Locality, MessageStatus, ModelFailure, ProposedCall, RequestKind, RunEvent,
        RunOutcome, StopReason, ToolCall, ToolOutput, ToolStatus, TurnLimits, Usage,
    },
    ids::{AgentId, Id, MessageId, RequestId, UserId},
    run::{
        machine::{Effect, Machine, Next, Wait},
        turn::Turn,
    },
};
use uuid::Uuid;

pub fn id<T: Id>() -> T {
    T::from_uuid(Uuid::nil())
}

pub fn started(limits: TurnLimits) -> RunEvent {
    RunEvent::Started {
        agent_id: id::<AgentId>(),
        message_id: id::<MessageId>(),
        reply_id: id(),
        prefix: String::new(),
        continues: None,
        limits,
        labels: Labels::default(),
    }
}

pub fn context() -> RunEvent {
    RunEvent::Context {
        model: "script/one".parse().expect("a model reference"),
        locality: Locality::Local,
        history: vec![],
        recalled: vec![],
        text_only_recall: false,
        labels: Labels::default(),
    }
}

pub fn called(step: u32, attempt: u32) -> RunEvent {
    RunEvent::ModelCalled { step, attempt }
}

pub fn delta(step: u32, text: &str) -> RunEvent {
    RunEvent::Delta { step, text: text.into() }
}

pub fn call(id: &str, name: &str, word: &str) -> ToolCall {
    ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: serde_json::json!({ "query": word }),
    }
}

pub fn replied(step: u32, calls: Vec<ToolCall>) -> RunEvent {
    proposed(step, calls, EffectClass::Repeatable)
}

/// A reply whose calls all have this class.
pub fn proposed(step: u32, calls: Vec<ToolCall>, class: EffectClass) -> RunEvent {
    RunEvent::ModelReplied {
        step,
        text: String::new(),
        stop: match calls.is_empty() {
            true => StopReason::End,
            false => StopReason::ToolUse,
        },
        tool_calls: calls.into_iter().map(|call| ProposedCall { call, class }).collect(),
        usage: Usage {
            input_tokens: 10,
            output_tokens: 5,
            ..Usage::default()
        },
        cost_micros: Some(3),
    }
}

/// The call at this position of a step's reply starts.
pub fn tool_started(step: u32, position: usize) -> RunEvent {
    RunEvent::ToolStarted {
        effect: EffectId::tool(step, position),
    }
}

pub fn tool_finished(step: u32, position: usize, status: ToolStatus) -> RunEvent {
    RunEvent::ToolFinished {
        effect: EffectId::tool(step, position),
        status,
        output: ToolOutput {
            text: "ok".into(),
            ..ToolOutput::default()
        },
    }
}

pub fn failed(step: u32, attempt: u32, failure: ModelFailure) -> RunEvent {
    RunEvent::ModelFailed {
        step,
        attempt,
        failure,
        message: "It failed.".into(),
        retry_after_ms: None,
    }
}

pub fn cancel() -> RunEvent {
    RunEvent::CancelRequested { by: id::<UserId>() }
}

/// The name of a request of the run.
pub fn request(number: u128) -> RequestId {
    RequestId::from_uuid(Uuid::from_u128(number))
}

/// The call at this position of a step's reply waits for a person.
pub fn asked(step: u32, position: usize, number: u128, kind: RequestKind) -> RunEvent {
    RunEvent::Asked {
        effect: EffectId::tool(step, position),
        request: request(number),
        kind,
        hash: "00".repeat(32),
    }
}

pub fn decided(step: u32, position: usize, number: u128, decision: Decision) -> RunEvent {
    RunEvent::Decided {
        effect: EffectId::tool(step, position),
        request: request(number),
        decision,
        by: Some(id::<UserId>()),
    }
}

pub fn pause() -> RunEvent {
    RunEvent::PauseRequested { by: id::<UserId>() }
}

pub fn resume() -> RunEvent {
    RunEvent::ResumeRequested { by: id::<UserId>() }
}

/// The run begins to wait; what it has said is a message now, if it has said anything.
pub fn suspended(reply: Option<MessageStatus>) -> RunEvent {
    RunEvent::Suspended {
        reply,
        next_reply: id::<MessageId>(),
        usage: Usage::default(),
        cost_micros: None,
    }
}

pub fn resumed() -> RunEvent {
    RunEvent::Resumed { attempt: 2 }
}

/// Waits for the decisions of these requests.
pub fn waits(numbers: &[u128]) -> Next {
    Next::Wait(numbers.iter().map(|number| Wait::Request(request(*number))).collect())
}

pub fn recovered() -> RunEvent {
    RunEvent::Recovered { attempt: 2 }
}

/// Plays events from a fresh state. A reply gets the text that its attempt has written, as a driver writes it.
pub fn play(events: &[RunEvent]) -> (Turn, Next) {
    let mut turn = Turn::default();
    let mut written = String::new();
    for event in events {
        let mut event = event.clone();
        match &mut event {
            RunEvent::ModelCalled { .. } => written.clear(),
            RunEvent::Delta { text, .. } => written.push_str(text),
            RunEvent::ModelReplied { text, .. } => text.clone_from(&written),
            _ => {}
        }
        turn.apply(&event);
    }
    let next = turn.next();
    (turn, next)
}

/// The state that is about to end like this leaves such a reply.
pub fn leaves(turn: &Turn, next: &Next) -> (RunOutcome, Option<MessageStatus>) {
    let Next::End(outcome) = next else {
        panic!("not at its end: {next:?}")
    };
    (outcome.clone(), turn.reply(outcome).map(|reply| reply.status))
}

pub fn call_model(step: u32, attempt: u32) -> Next {
    let effect = Effect::CallModel {
        attempt,
        with_tools: true,
    };
    Next::Do(vec![(EffectId::model(step), effect)])
}

pub fn run_tool(step: u32, position: usize, call: &ToolCall) -> (EffectId, Effect) {
    (EffectId::tool(step, position), Effect::RunTool { call: call.clone() })
}

pub fn begun(limits: TurnLimits) -> Vec<RunEvent> {
    vec![started(limits), context()]
}

pub fn with(mut events: Vec<RunEvent>, more: impl IntoIterator<Item = RunEvent>) -> Vec<RunEvent> {
    events.extend(more);
    events
}
