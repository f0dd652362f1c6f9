//! The order that AG-UI demands of a run's events, checked on logs of every kind.

use std::collections::HashSet;

use duet_core::domain::*;

use super::{
    shapes::AguiEvent,
    tests::{called, delta, eventful, failed, finished, frames, started, stored},
};

/// Checks a stream from its beginning; if `whole`, it has its end.
fn check(log: &[StoredEvent], whole: bool) {
    let events: Vec<AguiEvent> = frames(log).into_iter().map(|frame| frame.data).collect();
    assert!(matches!(events[0], AguiEvent::RunStarted { .. }), "{events:?}");
    let (mut steps, mut texts, mut calls) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut messages = HashSet::new();
    let mut ended = false;
    for event in &events[1..] {
        assert!(!ended, "{event:?} follows the end");
        match event.clone() {
            AguiEvent::RunStarted { .. } => panic!("a run begins once"),
            AguiEvent::StepStarted { step_name, .. } => assert!(steps.insert(step_name), "{event:?}"),
            AguiEvent::StepFinished { step_name, .. } => assert!(steps.remove(&step_name), "{event:?}"),
            AguiEvent::TextMessageStart { message_id, .. } => assert!(texts.insert(message_id), "{event:?}"),
            AguiEvent::TextMessageContent { message_id, .. } => assert!(texts.contains(&message_id), "{event:?}"),
            AguiEvent::TextMessageEnd { message_id } => assert!(texts.remove(&message_id), "{event:?}"),
            AguiEvent::ToolCallStart { tool_call_id, .. } => assert!(calls.insert(tool_call_id), "{event:?}"),
            AguiEvent::ToolCallArgs { tool_call_id, .. } => assert!(calls.contains(&tool_call_id), "{event:?}"),
            AguiEvent::ToolCallEnd { tool_call_id } => assert!(calls.remove(&tool_call_id), "{event:?}"),
            AguiEvent::ToolCallResult { message_id, .. } => assert!(messages.insert(message_id), "{event:?}"),
            AguiEvent::Custom(_) => {}
            AguiEvent::RunFinished { .. } => {
                assert!(steps.is_empty() && texts.is_empty() && calls.is_empty(), "{events:?}");
                ended = true;
            }
            AguiEvent::RunError { .. } => ended = true,
        }
    }
    assert_eq!(ended, whole);
}

#[test]
fn runs_keep_aguis_order_wherever_they_are_cut() {
    let log = eventful();
    for length in 1..=log.len() {
        check(&log[..length], length == log.len());
    }
}

#[test]
fn a_call_that_nobody_ended_is_closed() {
    let stopped = || finished(RunOutcome::Cancelled, Some(MessageStatus::Stopped));
    for log in [
        vec![started(""), called(1, 1), delta(1, "Half"), stopped()],
        vec![
            started(""),
            called(1, 1),
            RunEvent::Recovered { attempt: 2 },
            called(1, 2),
            stopped(),
        ],
        vec![started(""), called(1, 1), failed(1, 1), stopped()],
    ] {
        check(&stored(log), true);
    }
}

#[test]
fn a_redacted_event_takes_no_boundary_with_it() {
    let whole = eventful();
    for redacted in 0..whole.len() - 1 {
        let mut log = whole.clone();
        log[redacted].event = None;
        check(&log, true);
    }
}
