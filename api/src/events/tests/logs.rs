//! Logs of runs to make frames of.

use duet_core::{Timestamp, domain::*, ids::*};
use serde_json::{Value, json};
use uuid::Uuid;

pub fn id<T: Id>(number: u128) -> T {
    T::from_uuid(Uuid::from_u128(number))
}

pub fn run() -> Run {
    Run {
        id: id(1),
        workspace_id: id(2),
        user_id: id(3),
        conversation_id: id(4),
        message_id: id(5),
        reply_id: id(6),
        agent_id: id(7),
        status: RunStatus::Running,
        attempt: 1,
        last_seq: 0,
        reason: None,
        labels: Labels::default(),
        created_at: Timestamp::from_millis(0),
        updated_at: Timestamp::from_millis(0),
    }
}

pub fn stored(events: Vec<RunEvent>) -> Vec<StoredEvent> {
    (1..)
        .zip(events)
        .map(|(seq, event)| StoredEvent {
            seq,
            kind: event.kind(),
            event: Some(event),
            at: Timestamp::from_millis(0),
        })
        .collect()
}

pub fn started(prefix: &str) -> RunEvent {
    RunEvent::Started {
        agent_id: id(7),
        message_id: id(5),
        reply_id: id(6),
        prefix: prefix.into(),
        continues: None,
        limits: TurnLimits::default(),
        labels: Labels::default(),
    }
}

pub fn context() -> RunEvent {
    RunEvent::Context {
        model: "ollama/llama3.2".parse().unwrap(),
        locality: Locality::Local,
        history: vec![id(8)],
        recalled: vec![id(9)],
        text_only_recall: true,
        labels: Labels::default(),
    }
}

pub fn called(step: u32, attempt: u32) -> RunEvent {
    RunEvent::ModelCalled { step, attempt }
}

pub fn delta(step: u32, text: &str) -> RunEvent {
    RunEvent::Delta { step, text: text.into() }
}

pub fn replied(step: u32, text: &str, tool_calls: Vec<ToolCall>) -> RunEvent {
    let class = EffectClass::Repeatable;
    RunEvent::ModelReplied {
        step,
        text: text.into(),
        stop: if tool_calls.is_empty() {
            StopReason::End
        } else {
            StopReason::ToolUse
        },
        tool_calls: tool_calls.into_iter().map(|call| ProposedCall { call, class }).collect(),
        usage: Usage {
            input_tokens: 10,
            output_tokens: 5,
            ..Usage::default()
        },
        cost_micros: Some(7),
    }
}

pub fn failed(step: u32, attempt: u32) -> RunEvent {
    RunEvent::ModelFailed {
        step,
        attempt,
        failure: ModelFailure::Busy,
        message: "The model is busy.".into(),
        retry_after_ms: None,
    }
}

pub fn finished(outcome: RunOutcome, reply: Option<MessageStatus>) -> RunEvent {
    RunEvent::Finished {
        outcome,
        reply,
        usage: Usage::default(),
        cost_micros: Some(7),
    }
}

fn asked(position: usize, request: u128, kind: RequestKind) -> RunEvent {
    RunEvent::Asked {
        effect: EffectId::tool(1, position),
        request: id(request),
        kind,
        hash: "00".into(),
    }
}

fn decided(position: usize, request: u128, decision: Decision) -> RunEvent {
    let nobody = matches!(decision, Decision::Expired | Decision::Voided { .. });
    RunEvent::Decided {
        effect: EffectId::tool(1, position),
        request: id(request),
        decision,
        by: (!nobody).then(|| id(3)),
    }
}

pub fn suspended(reply: Option<MessageStatus>, next_reply: u128, output_tokens: u64) -> RunEvent {
    RunEvent::Suspended {
        reply,
        next_reply: id(next_reply),
        usage: Usage {
            output_tokens,
            ..Usage::default()
        },
        cost_micros: Some(7),
    }
}

/// A turn that waits four times: for two requests, for the other of them, for a pause in the middle of a sentence, and for a review
/// of what was lost in a crash.
pub fn waiting() -> Vec<StoredEvent> {
    let call = |id: &str, name: &str, class| ProposedCall {
        call: ToolCall {
            id: id.into(),
            name: name.into(),
            arguments: json!({"to": id}),
        },
        class,
    };
    let RunEvent::ModelReplied { usage, cost_micros, .. } = replied(1, "", vec![]) else {
        unreachable!()
    };
    let started_call = || RunEvent::ToolStarted {
        effect: EffectId::tool(1, 1),
    };
    stored(vec![
        started(""),
        context(),
        called(1, 1),
        RunEvent::ModelReplied {
            step: 1,
            text: "I will.".into(),
            tool_calls: vec![
                call("a", "ask_user", EffectClass::Repeatable),
                call("b", "send", EffectClass::Irreversible),
            ],
            usage,
            cost_micros,
            stop: StopReason::ToolUse,
        },
        asked(0, 11, RequestKind::Question),
        asked(1, 12, RequestKind::Approval),
        suspended(Some(MessageStatus::Complete), 20, 5),
        decided(
            0,
            11,
            Decision::Respond {
                answers: [("answer".to_owned(), json!("Blue"))].into(),
            },
        ),
        RunEvent::Resumed { attempt: 2 },
        suspended(None, 21, 5),
        decided(
            1,
            12,
            Decision::Approve {
                arguments: Some(json!({"to": "c"})),
            },
        ),
        RunEvent::Resumed { attempt: 3 },
        started_call(),
        RunEvent::Recovered { attempt: 4 },
        asked(1, 13, RequestKind::Review),
        suspended(None, 22, 5),
        decided(1, 13, Decision::DidNot),
        RunEvent::Resumed { attempt: 5 },
        asked(1, 14, RequestKind::Approval),
        suspended(None, 23, 5),
        decided(1, 14, Decision::Expired),
        RunEvent::Resumed { attempt: 6 },
        called(2, 1),
        delta(2, "Half"),
        RunEvent::PauseRequested { by: id(3) },
        delta(2, " of it"),
        suspended(None, 24, 5),
        RunEvent::ResumeRequested { by: id(3) },
        RunEvent::Resumed { attempt: 7 },
        called(2, 1),
        delta(2, "All of it"),
        replied(2, "All of it.", vec![]),
        RunEvent::Finished {
            outcome: RunOutcome::Completed,
            reply: Some(MessageStatus::Complete),
            usage: Usage {
                output_tokens: 12,
                ..Usage::default()
            },
            cost_micros: Some(7),
        },
    ])
}

/// A turn in which nearly everything happens: a continued reply, a failed attempt, two tools, a crash, a stop.
pub fn eventful() -> Vec<StoredEvent> {
    let call = |id: &str, name: &str, arguments: Value| ToolCall {
        id: id.into(),
        name: name.into(),
        arguments,
    };
    let result = |position, status, memories: Vec<MemoryId>| RunEvent::ToolFinished {
        effect: EffectId::tool(1, position),
        status,
        output: ToolOutput {
            text: "found".into(),
            memories: memories.clone(),
            remembered: memories,
            ..ToolOutput::default()
        },
    };
    stored(vec![
        started("Once upon "),
        context(),
        called(1, 1),
        delta(1, "a tame "),
        failed(1, 1),
        RunEvent::RetryDue { step: 1 },
        called(1, 2),
        delta(1, "a time\n\nthere — \u{1f43b}"),
        delta(1, " was."),
        replied(
            1,
            "a time\n\nthere — \u{1f43b} was.",
            vec![
                call(
                    "c1",
                    "recall",
                    json!({"query": "bears, and a very long question ".repeat(10)}),
                ),
                call("c2", "remember", json!({"text": "x"})),
            ],
        ),
        RunEvent::ToolStarted {
            effect: EffectId::tool(1, 0),
        },
        RunEvent::Recovered { attempt: 2 },
        RunEvent::ToolStarted {
            effect: EffectId::tool(1, 0),
        },
        result(0, ToolStatus::Succeeded, vec![id(9)]),
        result(1, ToolStatus::Refused, vec![]),
        called(2, 1),
        delta(2, " The end"),
        RunEvent::CancelRequested { by: id(3) },
        finished(RunOutcome::Cancelled, Some(MessageStatus::Stopped)),
    ])
}
