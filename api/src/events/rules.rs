//! The order that AG-UI demands of a run's events, checked on logs of every kind.

use std::collections::HashSet;

use duet_core::domain::*;

use super::{
    shapes::{AguiEvent, RunFinishedOutcome},
    tests::{frames, logs::*},
};

/// Checks a stream from its beginning; if `whole`, it ends with the end of a run of AG-UI.
fn check(log: &[StoredEvent], whole: bool) {
    let events: Vec<AguiEvent> = frames(log).into_iter().map(|frame| frame.data).collect();
    let (mut steps, mut texts, mut calls) = (HashSet::new(), HashSet::new(), HashSet::new());
    let (mut runs, mut messages, mut announced) = (HashSet::new(), HashSet::new(), HashSet::new());
    let (mut ended, mut run) = (true, None);
    for event in &events {
        let begins = matches!(event, AguiEvent::RunStarted { .. });
        assert_eq!(ended, begins, "{event:?} in {events:?}");
        match event.clone() {
            AguiEvent::RunStarted {
                run_id, parent_run_id, ..
            } => {
                assert_eq!(parent_run_id.is_some(), !runs.is_empty());
                assert!(runs.insert(run_id.clone()), "{event:?}");
                (ended, run) = (false, Some(run_id));
            }
            AguiEvent::StepStarted { step_name, .. } => assert!(steps.insert(step_name), "{event:?}"),
            AguiEvent::StepFinished { step_name, .. } => assert!(steps.remove(&step_name), "{event:?}"),
            AguiEvent::TextMessageStart { message_id, .. } => assert!(texts.insert(message_id), "{event:?}"),
            AguiEvent::TextMessageContent { message_id, .. } => assert!(texts.contains(&message_id), "{event:?}"),
            AguiEvent::TextMessageEnd { message_id } => assert!(texts.remove(&message_id), "{event:?}"),
            AguiEvent::ToolCallStart { tool_call_id, .. } => {
                assert!(announced.insert(tool_call_id.clone()), "{event:?} again");
                assert!(calls.insert(tool_call_id), "{event:?}");
            }
            AguiEvent::ToolCallArgs { tool_call_id, .. } => assert!(calls.contains(&tool_call_id), "{event:?}"),
            AguiEvent::ToolCallEnd { tool_call_id } => assert!(calls.remove(&tool_call_id), "{event:?}"),
            AguiEvent::ToolCallResult {
                message_id,
                tool_call_id,
                ..
            } => {
                assert!(announced.contains(&tool_call_id), "{event:?}");
                assert!(messages.insert(message_id), "{event:?}");
            }
            AguiEvent::Custom(_) => {}
            AguiEvent::RunFinished { run_id, outcome, .. } => {
                assert!(steps.is_empty() && texts.is_empty() && calls.is_empty(), "{events:?}");
                assert_eq!(Some(run_id), run);
                if let RunFinishedOutcome::Interrupt { interrupts } = outcome {
                    assert!(!interrupts.is_empty(), "{event:?} waits for nothing");
                    assert!(
                        interrupts.iter().all(|interrupt| announced.contains(&interrupt.tool_call_id)),
                        "{event:?}"
                    );
                }
                ended = true;
            }
            AguiEvent::RunError { .. } => ended = true,
        }
    }
    assert_eq!(ended, whole);
}

#[test]
fn runs_keep_aguis_order_wherever_they_are_cut() {
    for log in [eventful(), waiting()] {
        for length in 1..=log.len() {
            let closed = length == log.len() || log[length - 1].kind == EventKind::Suspended;
            check(&log[..length], closed);
        }
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
    for whole in [eventful(), waiting()] {
        for redacted in 0..whole.len() - 1 {
            let mut log = whole.clone();
            log[redacted].event = None;
            check(&log, true);
        }
    }
}

#[test]
fn a_run_that_is_stopped_or_fails_while_it_waits_begins_another_stretch_to_say_so() {
    let by = duet_core::ids::Id::from_uuid(uuid::Uuid::from_u128(3));
    let waits = || vec![started(""), context(), RunEvent::PauseRequested { by }, suspended(None, 7, 0)];
    for end in [
        vec![RunEvent::CancelRequested { by }, finished(RunOutcome::Cancelled, None)],
        vec![finished(RunOutcome::NeedsReview { tool: "send".into() }, None)],
    ] {
        check(&stored(waits().into_iter().chain(end).collect()), true);
    }
}
