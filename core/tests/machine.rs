//! The run machine by itself: no I/O, no async.

use duet_core::{
    Timestamp,
    domain::{
        EffectClass, Labels, Locality, MessageStatus, ModelFailure, RunEvent, RunOutcome, StopReason, StoredEvent, ToolCall,
        ToolOutput, ToolStatus, TurnLimits, Usage,
    },
    ids::{AgentId, Id, MessageId, UserId},
    run::{
        machine::{Effect, TurnState},
        step,
    },
};
use proptest::prelude::*;
use uuid::Uuid;

fn id<T: Id>() -> T {
    T::from_uuid(Uuid::nil())
}

fn started(limits: TurnLimits) -> RunEvent {
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

fn context() -> RunEvent {
    RunEvent::Context {
        model: "script/one".parse().expect("a model reference"),
        locality: Locality::Local,
        history: vec![],
        recalled: vec![],
        text_only_recall: false,
        labels: Labels::default(),
    }
}

fn called(step: u32, attempt: u32) -> RunEvent {
    RunEvent::ModelCalled { step, attempt }
}

fn delta(step: u32, text: &str) -> RunEvent {
    RunEvent::Delta { step, text: text.into() }
}

fn call(id: &str, name: &str, word: &str) -> ToolCall {
    ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: serde_json::json!({ "query": word }),
    }
}

fn replied(step: u32, tool_calls: Vec<ToolCall>) -> RunEvent {
    let stop = if tool_calls.is_empty() {
        StopReason::End
    } else {
        StopReason::ToolUse
    };
    let usage = Usage {
        input_tokens: 10,
        output_tokens: 5,
        ..Usage::default()
    };
    RunEvent::ModelReplied {
        step,
        tool_calls,
        usage,
        cost_micros: Some(3),
        stop,
    }
}

fn tool_started(step: u32, call: &str, class: EffectClass) -> RunEvent {
    RunEvent::ToolStarted {
        step,
        call_id: call.into(),
        class,
    }
}

fn tool_finished(step: u32, call: &str, status: ToolStatus) -> RunEvent {
    RunEvent::ToolFinished {
        step,
        call_id: call.into(),
        status,
        output: ToolOutput {
            text: "ok".into(),
            ..ToolOutput::default()
        },
    }
}

fn failed(step: u32, attempt: u32, failure: ModelFailure) -> RunEvent {
    RunEvent::ModelFailed {
        step,
        attempt,
        failure,
        message: "It failed.".into(),
        retry_after_ms: None,
    }
}

fn cancel() -> RunEvent {
    RunEvent::CancelRequested { by: id::<UserId>() }
}

fn recovered() -> RunEvent {
    RunEvent::Recovered { attempt: 2 }
}

/// Plays events from a fresh state; the effects are those of the last one.
fn play(events: &[RunEvent]) -> (TurnState, Vec<Effect>) {
    events
        .iter()
        .fold((TurnState::default(), Vec::new()), |(state, _), event| step(state, event))
}

fn begun(limits: TurnLimits) -> Vec<RunEvent> {
    vec![started(limits), context()]
}

fn with(mut events: Vec<RunEvent>, more: impl IntoIterator<Item = RunEvent>) -> Vec<RunEvent> {
    events.extend(more);
    events
}

#[test]
fn a_turn_gathers_context_calls_the_model_and_finishes() {
    let limits = TurnLimits::default();
    assert_eq!(play(&[started(limits.clone())]).1, [Effect::AssembleContext]);
    assert_eq!(
        play(&begun(limits.clone())).1,
        [Effect::CallModel {
            step: 1,
            attempt: 1,
            with_tools: true
        }]
    );
    let events = with(begun(limits), [called(1, 1), delta(1, "Hel"), delta(1, "lo")]);
    assert_eq!(play(&events).1, [], "progress calls for nothing");
    let (state, effects) = play(&with(events, [replied(1, vec![])]));
    assert_eq!(
        effects,
        [Effect::Finish {
            outcome: RunOutcome::Completed,
            reply: Some(MessageStatus::Complete)
        }]
    );
    assert_eq!(
        (state.text().as_str(), state.usage.total(), state.cost_micros),
        ("Hello", 15, Some(3))
    );
}

#[test]
fn tools_run_one_after_the_other_then_the_model_goes_on() {
    let calls = vec![call("a", "recall", "x"), call("b", "recall", "y")];
    let events = with(begun(TurnLimits::default()), [called(1, 1), replied(1, calls.clone())]);
    assert_eq!(
        play(&events).1,
        [Effect::RunTool {
            step: 1,
            call: calls[0].clone()
        }]
    );
    let events = with(
        events,
        [
            tool_started(1, "a", EffectClass::Repeatable),
            tool_finished(1, "a", ToolStatus::Succeeded),
        ],
    );
    assert_eq!(
        play(&events).1,
        [Effect::RunTool {
            step: 1,
            call: calls[1].clone()
        }]
    );
    let events = with(events, [tool_finished(1, "b", ToolStatus::Failed)]);
    assert_eq!(
        play(&events).1,
        [Effect::CallModel {
            step: 2,
            attempt: 1,
            with_tools: true
        }]
    );
}

#[test]
fn the_last_step_has_no_tools_and_the_turn_ends_there() {
    let limits = TurnLimits {
        max_steps: 2,
        ..TurnLimits::default()
    };
    let one = with(
        begun(limits),
        [
            called(1, 1),
            replied(1, vec![call("a", "recall", "x")]),
            tool_finished(1, "a", ToolStatus::Succeeded),
        ],
    );
    assert_eq!(
        play(&one).1,
        [Effect::CallModel {
            step: 2,
            attempt: 1,
            with_tools: false
        }]
    );
    let (_, effects) = play(&with(
        one,
        [called(2, 1), delta(2, "so far"), replied(2, vec![call("b", "recall", "y")])],
    ));
    let message = "The turn used its 2 model calls.".to_owned();
    assert_eq!(
        effects,
        [Effect::Finish {
            outcome: RunOutcome::Limited { message },
            reply: Some(MessageStatus::Limited)
        }]
    );
}

#[test]
fn an_identical_call_is_refused_the_third_time() {
    let mut events = begun(TurnLimits::default());
    for step in 1..=2 {
        let again = [
            called(step, 1),
            replied(step, vec![call("a", "recall", "same")]),
            tool_finished(step, "a", ToolStatus::Succeeded),
        ];
        events = with(events, again);
    }
    let (_, effects) = play(&with(
        events.clone(),
        [called(3, 1), replied(3, vec![call("a", "recall", "same")])],
    ));
    assert!(
        matches!(
            &effects[..],
            [Effect::RefuseTool {
                status: ToolStatus::Refused,
                ..
            }]
        ),
        "{effects:?}"
    );
    let (_, effects) = play(&with(events, [called(3, 1), replied(3, vec![call("a", "recall", "other")])]));
    assert!(matches!(&effects[..], [Effect::RunTool { .. }]), "{effects:?}");
}

#[test]
fn used_up_tokens_end_the_turn() {
    let limits = TurnLimits {
        max_tokens: 15,
        ..TurnLimits::default()
    };
    let asked = [
        called(1, 1),
        delta(1, "text"),
        replied(1, vec![call("a", "recall", "x")]),
        tool_finished(1, "a", ToolStatus::Succeeded),
    ];
    let (_, effects) = play(&with(begun(limits), asked));
    assert!(
        matches!(
            &effects[..],
            [Effect::Finish {
                outcome: RunOutcome::Limited { .. },
                reply: Some(MessageStatus::Limited)
            }]
        ),
        "{effects:?}"
    );
}

#[test]
fn the_longest_attempt_is_kept_when_none_comes_to_an_end() {
    let limits = TurnLimits {
        max_attempts: 3,
        ..TurnLimits::default()
    };
    let mut events = begun(limits);
    for (attempt, text) in [(1, "a word"), (2, "a word more"), (3, "a")] {
        events = with(
            events,
            [
                called(1, attempt),
                delta(1, text),
                failed(1, attempt, ModelFailure::Unreachable),
            ],
        );
        if attempt < 3 {
            assert_eq!(play(&events).0.text(), "");
            events.push(RunEvent::RetryDue { step: 1 });
        }
    }
    let (state, effects) = play(&events);
    assert_eq!(state.text(), "a word more");
    assert!(
        matches!(
            &effects[..],
            [Effect::Finish {
                outcome: RunOutcome::Failed { .. },
                reply: Some(MessageStatus::Interrupted)
            }]
        ),
        "{effects:?}"
    );
}

/// Whatever bound ends a turn: with words of a reply it is limited, without a word it has failed.
#[test]
fn bounds_without_a_reply_are_failures() {
    let one_step = TurnLimits {
        max_steps: 1,
        ..TurnLimits::default()
    };
    let few_tokens = TurnLimits {
        max_tokens: 1,
        ..TurnLimits::default()
    };
    let reached = || RunEvent::LimitReached {
        message: "Enough.".into(),
        usage: Usage::default(),
        cost_micros: Some(0),
    };
    let stopped = |stop| RunEvent::ModelReplied {
        step: 1,
        tool_calls: vec![],
        usage: Usage::default(),
        cost_micros: None,
        stop,
    };
    let calls = || replied(1, vec![call("a", "recall", "x")]);
    let ends: [(TurnLimits, Vec<RunEvent>); 5] = [
        (one_step, vec![calls()]),
        (few_tokens, vec![calls(), tool_finished(1, "a", ToolStatus::Succeeded)]),
        (TurnLimits::default(), vec![reached()]),
        (TurnLimits::default(), vec![stopped(StopReason::Length)]),
        (TurnLimits::default(), vec![stopped(StopReason::Filtered)]),
    ];
    for (limits, end) in ends {
        let silent = with(with(begun(limits.clone()), [called(1, 1)]), end.clone());
        assert!(
            matches!(
                &play(&silent).1[..],
                [Effect::Finish {
                    outcome: RunOutcome::Failed {
                        failure: ModelFailure::Limited,
                        ..
                    },
                    reply: None
                }]
            ),
            "{end:?}"
        );
        let spoken = with(with(begun(limits), [called(1, 1), delta(1, "Hm.")]), end.clone());
        assert!(
            matches!(
                &play(&spoken).1[..],
                [Effect::Finish {
                    outcome: RunOutcome::Limited { .. },
                    reply: Some(MessageStatus::Limited)
                }]
            ),
            "{end:?}"
        );
    }
}

/// The time of a turn is the time that somebody worked on it.
#[test]
fn waiting_for_a_worker_takes_no_time_of_the_turn() {
    let log = [
        (started(TurnLimits::default()), 0),
        (context(), 90_000),
        (called(1, 1), 91_000),
        (delta(1, "x"), 93_000),
        (recovered(), 500_000),
        (called(1, 1), 504_000),
        (cancel(), 505_000),
    ];
    let stored = (1..).zip(log).map(|(seq, (event, millis))| StoredEvent {
        seq,
        kind: event.kind(),
        event: Some(event),
        at: Timestamp::from_millis(millis),
    });
    let worked = TurnState::replay(&stored.collect::<Vec<_>>()).worked;
    assert_eq!(worked.as_millis(), 3_000 + 4_000);
}

#[test]
fn failures_by_kind() {
    use ModelFailure::*;
    let kinds = [
        (Unreachable, true),
        (TimedOut, true),
        (Busy, true),
        (Malformed, true),
        (Unauthorized, false),
        (UnknownModel, false),
        (Rejected, false),
        (Limited, false),
    ];
    for (failure, retried) in kinds {
        let (state, effects) = play(&with(
            begun(TurnLimits::default()),
            [called(1, 1), delta(1, "half"), failed(1, 1, failure)],
        ));
        let (kept, why) = match retried {
            true => ("", "what a failed attempt wrote is void"),
            false => ("half", "what the last one wrote is kept"),
        };
        assert_eq!(state.text(), kept, "{why}");
        match &effects[..] {
            [Effect::WaitForRetry { step: 1, .. }] => assert!(retried, "{failure}"),
            [
                Effect::Finish {
                    outcome: RunOutcome::Failed { .. },
                    reply: Some(MessageStatus::Interrupted),
                },
            ] => assert!(!retried, "{failure}"),
            other => panic!("{failure}: {other:?}"),
        }
    }
}

#[test]
fn attempts_are_bounded_and_wait_longer_each_time() {
    let limits = TurnLimits::default();
    let mut events = begun(limits.clone());
    let mut waited = std::time::Duration::ZERO;
    for attempt in 1..limits.max_attempts {
        events = with(events, [called(1, attempt), failed(1, attempt, ModelFailure::Busy)]);
        let Some(Effect::WaitForRetry { delay, .. }) = play(&events).0.outstanding() else {
            panic!("attempt {attempt}")
        };
        assert!(delay > waited);
        waited = delay;
        events.push(RunEvent::RetryDue { step: 1 });
        assert_eq!(
            play(&events).1,
            [Effect::CallModel {
                step: 1,
                attempt: attempt + 1,
                with_tools: true
            }]
        );
    }
    let events = with(
        events,
        [
            called(1, limits.max_attempts),
            failed(1, limits.max_attempts, ModelFailure::Busy),
        ],
    );
    assert!(matches!(
        play(&events).1[..],
        [Effect::Finish {
            outcome: RunOutcome::Failed { .. },
            reply: None
        }]
    ));
}

#[test]
fn a_provider_that_asks_for_a_long_wait_gets_an_error_instead() {
    let wait = |retry_after_ms| RunEvent::ModelFailed {
        step: 1,
        attempt: 1,
        failure: ModelFailure::Busy,
        message: "Busy.".into(),
        retry_after_ms,
    };
    let after = |ms| play(&with(begun(TurnLimits::default()), [called(1, 1), wait(Some(ms))])).1;
    assert!(matches!(&after(7_000)[..], [Effect::WaitForRetry { delay, .. }] if delay.as_millis() == 7_000));
    assert!(matches!(&after(3_600_000)[..], [Effect::Finish { .. }]));
}

#[test]
fn an_empty_reply_is_a_failure() {
    let (_, effects) = play(&with(
        begun(TurnLimits::default()),
        [called(1, 1), delta(1, " \n"), replied(1, vec![])],
    ));
    assert!(
        matches!(
            &effects[..],
            [Effect::Finish {
                outcome: RunOutcome::Failed { .. },
                reply: None
            }]
        ),
        "{effects:?}"
    );
}

#[test]
fn stopping_keeps_what_was_written() {
    let finish = |reply| {
        vec![Effect::Finish {
            outcome: RunOutcome::Cancelled,
            reply,
        }]
    };
    assert_eq!(play(&[started(TurnLimits::default()), cancel()]).1, finish(None));
    let writing = with(begun(TurnLimits::default()), [called(1, 1), delta(1, "Half a")]);
    assert_eq!(
        play(&with(writing.clone(), [cancel()])).1,
        finish(Some(MessageStatus::Stopped))
    );
    let (state, _) = play(&with(writing.clone(), [cancel(), delta(1, " reply")]));
    assert_eq!(state.text(), "Half a reply", "text on its way when the stop came was shown");
    let waiting = with(writing, [failed(1, 1, ModelFailure::Busy), cancel()]);
    assert_eq!(play(&waiting).1, finish(None), "cancel beats retry");
}

#[test]
fn stopping_lets_a_begun_tool_finish() {
    let two = vec![call("a", "ring", "x"), call("b", "ring", "y")];
    let running = with(
        begun(TurnLimits::default()),
        [
            called(1, 1),
            replied(1, two),
            tool_started(1, "a", EffectClass::Effect),
            cancel(),
        ],
    );
    assert_eq!(play(&running).1, []);
    let (_, effects) = play(&with(running, [tool_finished(1, "a", ToolStatus::Succeeded)]));
    assert_eq!(
        effects,
        [Effect::Finish {
            outcome: RunOutcome::Cancelled,
            reply: None
        }]
    );
}

#[test]
fn recovery_by_phase() {
    let limits = TurnLimits::default();
    let asked = with(begun(limits.clone()), [called(1, 1)]);
    let ask_again = [Effect::CallModel {
        step: 1,
        attempt: 1,
        with_tools: true,
    }];
    assert_eq!(play(&[started(limits), recovered()]).1, [Effect::AssembleContext]);
    assert_eq!(
        play(&with(asked.clone(), [recovered()])).1,
        ask_again,
        "nothing was shown yet"
    );
    let half = with(asked.clone(), [delta(1, "half"), recovered()]);
    assert_eq!(
        play(&half).1,
        [Effect::Finish {
            outcome: RunOutcome::Interrupted,
            reply: Some(MessageStatus::Interrupted)
        }]
    );
    let tool = |class| {
        with(
            asked.clone(),
            [
                replied(1, vec![call("a", "t", "x")]),
                tool_started(1, "a", class),
                recovered(),
            ],
        )
    };
    assert_eq!(
        play(&tool(EffectClass::Repeatable)).1,
        [Effect::RunTool {
            step: 1,
            call: call("a", "t", "x")
        }]
    );
    let (_, effects) = play(&tool(EffectClass::Effect));
    assert!(
        matches!(
            &effects[..],
            [Effect::RefuseTool {
                status: ToolStatus::Unknown,
                ..
            }]
        ),
        "{effects:?}"
    );
    let (_, effects) = play(&with(tool(EffectClass::Effect), [tool_finished(1, "a", ToolStatus::Unknown)]));
    assert!(
        matches!(
            &effects[..],
            [Effect::Finish {
                outcome: RunOutcome::NeedsReview { .. },
                ..
            }]
        ),
        "{effects:?}"
    );
}

#[test]
fn nothing_follows_the_end() {
    let end = RunEvent::Finished {
        outcome: RunOutcome::Completed,
        reply: None,
        usage: Usage::default(),
        cost_micros: None,
    };
    let (state, _) = play(&with(
        begun(TurnLimits::default()),
        [called(1, 1), delta(1, "x"), replied(1, vec![]), end],
    ));
    for late in [
        cancel(),
        recovered(),
        delta(1, "late"),
        failed(1, 1, ModelFailure::Busy),
        replied(1, vec![]),
    ] {
        assert_eq!(step(state.clone(), &late), (state.clone(), vec![]), "{late:?}");
    }
}

fn any_event() -> impl Strategy<Value = RunEvent> {
    let class = prop_oneof![Just(EffectClass::Repeatable), Just(EffectClass::Effect)];
    let status = prop_oneof![
        Just(ToolStatus::Succeeded),
        Just(ToolStatus::Failed),
        Just(ToolStatus::Refused),
        Just(ToolStatus::Unknown)
    ];
    let failure = prop_oneof![Just(ModelFailure::Busy), Just(ModelFailure::Rejected)];
    let calls = proptest::collection::vec(
        ("[ab]", "[tu]", "[xy]").prop_map(|(id, name, word)| call(&id, &name, &word)),
        0..3,
    );
    prop_oneof![
        Just(started(TurnLimits {
            max_steps: 3,
            max_tokens: 100,
            ..TurnLimits::default()
        })),
        Just(context()),
        (1..4_u32, 1..4_u32).prop_map(|(step, attempt)| called(step, attempt)),
        (1..4_u32, "[a-c]{0,3}").prop_map(|(step, text)| delta(step, &text)),
        (1..4_u32, calls).prop_map(|(step, calls)| replied(step, calls)),
        (1..4_u32, 1..5_u32, failure).prop_map(|(step, attempt, failure)| failed(step, attempt, failure)),
        (1..4_u32).prop_map(|step| RunEvent::RetryDue { step }),
        Just(RunEvent::LimitReached {
            message: "Enough.".into(),
            usage: Usage::default(),
            cost_micros: None
        }),
        (1..4_u32, "[ab]", class).prop_map(|(step, id, class)| tool_started(step, &id, class)),
        (1..4_u32, "[ab]", status).prop_map(|(step, id, status)| tool_finished(step, &id, status)),
        Just(cancel()),
        Just(recovered()),
    ]
}

proptest! {
    /// Whatever events come in whatever order: no panic, bounded steps, and once begun there is always exactly one thing to do.
    #[test]
    fn any_log_leaves_one_thing_to_do(events in proptest::collection::vec(any_event(), 0..60)) {
        let mut state = TurnState::default();
        for event in &events {
            let (next, effects) = step(state, event);
            prop_assert!(effects.len() <= 1);
            prop_assert_eq!(next.outstanding().is_some(), next.agent.is_some() || next.is_finishing());
            prop_assert!(effects.is_empty() || next.outstanding().as_ref() == effects.first());
            prop_assert!(next.steps.len() <= 3);
            state = next;
        }
    }
}
