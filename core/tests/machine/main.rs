//! The run machine by itself: no I/O, no async.

mod events;
mod properties;
mod waiting;

use duet_core::{
    Timestamp,
    domain::{
        Decision, EffectClass, EffectId, MessageStatus, ModelFailure, ProposedCall, RequestKind, RunEvent, RunOutcome,
        StopReason, StoredEvent, ToolCall, ToolStatus, TurnLimits, Usage,
    },
    run::{
        machine::{Effect, Machine, Next, Replay},
        turn::Turn,
    },
};

use self::events::*;

#[test]
fn a_turn_gathers_context_calls_the_model_and_finishes() {
    let limits = TurnLimits::default();
    assert_eq!(play(&[]).1, Next::Do(vec![]));
    assert_eq!(
        play(&[started(limits.clone())]).1,
        Next::Do(vec![(EffectId::model(0), Effect::AssembleContext)])
    );
    assert_eq!(play(&begun(limits.clone())).1, call_model(1, 1));
    let events = with(begun(limits), [called(1, 1), delta(1, "Hel"), delta(1, "lo")]);
    assert_eq!(play(&events).1, call_model(1, 1), "progress calls for nothing new");
    let (turn, next) = play(&with(events, [replied(1, vec![])]));
    assert_eq!(leaves(&turn, &next), (RunOutcome::Completed, Some(MessageStatus::Complete)));
    assert_eq!(
        (turn.work.text().as_str(), turn.work.usage.total(), turn.work.cost_micros),
        ("Hello", 15, Some(3))
    );
}

/// A reader that was not given the deltas of a step that has ended comes to the same state.
#[test]
fn the_deltas_of_a_closed_step_can_be_skipped() {
    let text = |step| RunEvent::ModelReplied {
        step,
        text: "Hello".into(),
        tool_calls: vec![],
        usage: Usage::default(),
        cost_micros: None,
        stop: StopReason::End,
    };
    let mut whole = Turn::default();
    let all = with(
        begun(TurnLimits::default()),
        [called(1, 1), delta(1, "Hel"), delta(1, "lo"), text(1)],
    );
    all.iter().for_each(|event| whole.apply(event));
    let mut short = Turn::default();
    let closed = all.iter().filter(|event| !matches!(event, RunEvent::Delta { .. }));
    closed.for_each(|event| short.apply(event));
    assert_eq!(short, whole);
}

#[test]
fn calls_that_change_nothing_run_side_by_side_then_the_model_goes_on() {
    let calls: Vec<ToolCall> = ["u", "v", "w", "x", "y"].map(|word| call("same id", "recall", word)).to_vec();
    let events = with(begun(TurnLimits::default()), [called(1, 1), replied(1, calls.clone())]);
    let due = |turn: Next| match turn {
        Next::Do(effects) => effects.into_iter().map(|(id, _)| id.position().unwrap()).collect::<Vec<_>>(),
        next => panic!("{next:?}"),
    };
    assert_eq!(due(play(&events).1), [0, 1, 2, 3], "no more than four");
    let events = with(events, [tool_started(1, 2), tool_finished(1, 2, ToolStatus::Succeeded)]);
    assert_eq!(due(play(&events).1), [0, 1, 3, 4], "whichever ends first makes room");
    let rest = [4, 0, 3, 1].map(|position| tool_finished(1, position, ToolStatus::Succeeded));
    let (turn, next) = play(&with(events, rest));
    assert_eq!(next, call_model(2, 1));
    let order: Vec<usize> = turn.work.calls().map(|(id, _)| id.position().unwrap()).collect();
    assert_eq!(order, [0, 1, 2, 3, 4], "the order of results is that of the calls");
}

#[test]
fn what_changes_something_runs_alone() {
    let words = ["a", "b", "c", "d"].map(|word| call(word, "t", word));
    let classes = [
        EffectClass::Repeatable,
        EffectClass::Idempotent,
        EffectClass::Irreversible,
        EffectClass::Repeatable,
    ];
    let tool_calls = words.iter().zip(classes).map(|(call, class)| ProposedCall {
        call: call.clone(),
        class,
    });
    let reply = RunEvent::ModelReplied {
        step: 1,
        text: String::new(),
        tool_calls: tool_calls.collect(),
        usage: Usage::default(),
        cost_micros: None,
        stop: StopReason::ToolUse,
    };
    let mut events = with(begun(TurnLimits::default()), [called(1, 1), reply]);
    for (position, call) in words.iter().enumerate() {
        assert_eq!(play(&events).1, Next::Do(vec![run_tool(1, position, call)]));
        events.push(tool_finished(1, position, ToolStatus::Succeeded));
    }
    assert_eq!(play(&events).1, call_model(2, 1));
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
            tool_finished(1, 0, ToolStatus::Succeeded),
        ],
    );
    let without = Effect::CallModel {
        attempt: 1,
        with_tools: false,
    };
    assert_eq!(play(&one).1, Next::Do(vec![(EffectId::model(2), without)]));
    let (turn, next) = play(&with(
        one,
        [called(2, 1), delta(2, "so far"), replied(2, vec![call("b", "recall", "y")])],
    ));
    let message = "This reply used all of its 2 model calls.".to_owned();
    assert_eq!(
        leaves(&turn, &next),
        (RunOutcome::Limited { message }, Some(MessageStatus::Limited))
    );
}

#[test]
fn an_identical_call_is_refused_the_third_time() {
    let mut events = begun(TurnLimits::default());
    for step in 1..=2 {
        let again = [
            called(step, 1),
            replied(step, vec![call("a", "recall", "same")]),
            tool_finished(step, 0, ToolStatus::Succeeded),
        ];
        events = with(events, again);
    }
    let third = |word| {
        play(&with(
            events.clone(),
            [called(3, 1), replied(3, vec![call("a", "recall", word)])],
        ))
        .1
    };
    let only = |next: Next| match next {
        Next::Do(mut effects) if effects.len() == 1 => effects.remove(0).1,
        other => panic!("{other:?}"),
    };
    assert!(matches!(only(third("same")), Effect::RefuseTool { .. }));
    assert!(matches!(only(third("other")), Effect::RunTool { .. }));
    // Within one reply too, and the calls before it still run.
    let three = vec![call("a", "recall", "x"), call("b", "recall", "x"), call("c", "recall", "x")];
    let Next::Do(effects) = play(&with(begun(TurnLimits::default()), [called(1, 1), replied(1, three)])).1 else {
        panic!("nothing to do")
    };
    let kinds: Vec<bool> = effects
        .iter()
        .map(|(_, effect)| matches!(effect, Effect::RunTool { .. }))
        .collect();
    assert_eq!(kinds, [true, true, false]);
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
        tool_finished(1, 0, ToolStatus::Succeeded),
    ];
    let (turn, next) = play(&with(begun(limits), asked));
    let end = leaves(&turn, &next);
    assert!(
        matches!(end, (RunOutcome::Limited { .. }, Some(MessageStatus::Limited))),
        "{end:?}"
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
            assert_eq!(play(&events).0.work.text(), "");
            events.push(RunEvent::RetryDue { step: 1 });
        }
    }
    let (turn, next) = play(&events);
    assert_eq!(turn.work.text(), "a word more");
    let end = leaves(&turn, &next);
    assert!(
        matches!(end, (RunOutcome::Failed { .. }, Some(MessageStatus::Interrupted))),
        "{end:?}"
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
        text: String::new(),
        tool_calls: vec![],
        usage: Usage::default(),
        cost_micros: None,
        stop,
    };
    let calls = || replied(1, vec![call("a", "recall", "x")]);
    let ends: [(TurnLimits, Vec<RunEvent>); 5] = [
        (one_step, vec![calls()]),
        (few_tokens, vec![calls(), tool_finished(1, 0, ToolStatus::Succeeded)]),
        (TurnLimits::default(), vec![reached()]),
        (TurnLimits::default(), vec![stopped(StopReason::Length)]),
        (TurnLimits::default(), vec![stopped(StopReason::Filtered)]),
    ];
    for (limits, end) in ends {
        let ends = |said: &[RunEvent]| {
            let (turn, next) = play(&with(with(begun(limits.clone()), said.to_vec()), end.clone()));
            leaves(&turn, &next)
        };
        let silent = ends(&[called(1, 1)]);
        let limited = |outcome: &RunOutcome| {
            matches!(
                outcome,
                RunOutcome::Failed {
                    failure: ModelFailure::Limited,
                    ..
                }
            )
        };
        assert!(limited(&silent.0) && silent.1.is_none(), "{end:?}: {silent:?}");
        let spoken = ends(&[called(1, 1), delta(1, "Hm.")]);
        assert!(
            matches!(spoken, (RunOutcome::Limited { .. }, Some(MessageStatus::Limited))),
            "{end:?}: {spoken:?}"
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
    let worked = Replay::<Turn>::of(&stored.collect::<Vec<_>>()).worked;
    assert_eq!(worked.as_millis(), 3_000 + 4_000);
}

/// However long a person takes, that is no work.
#[test]
fn waiting_for_a_person_takes_no_time_of_the_turn() {
    let log = [
        (started(TurnLimits::default()), 0),
        (context(), 1_000),
        (called(1, 1), 2_000),
        (replied(1, vec![call("a", "t", "x")]), 4_000),
        (asked(1, 0, 1, RequestKind::Approval), 5_000),
        (suspended(None), 5_000),
        (decided(1, 0, 1, Decision::Approve { arguments: None }), 900_000),
        (resumed(), 905_000),
        (tool_started(1, 0), 906_000),
    ];
    let stored = (1..).zip(log).map(|(seq, (event, millis))| StoredEvent {
        seq,
        kind: event.kind(),
        event: Some(event),
        at: Timestamp::from_millis(millis),
    });
    let worked = Replay::<Turn>::of(&stored.collect::<Vec<_>>()).worked;
    assert_eq!(worked.as_millis(), 4_000 + 1_000);
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
        let (turn, next) = play(&with(
            begun(TurnLimits::default()),
            [called(1, 1), delta(1, "half"), failed(1, 1, failure)],
        ));
        let (kept, why) = match retried {
            true => ("", "what a failed attempt wrote is void"),
            false => ("half", "what the last one wrote is kept"),
        };
        assert_eq!(turn.work.text(), kept, "{why}");
        match &next {
            Next::Do(effects) => {
                assert!(retried, "{failure}");
                assert!(
                    matches!(&effects[..], [(EffectId { step: 1, index: 0 }, Effect::WaitForRetry { .. })]),
                    "{effects:?}"
                );
            }
            next => {
                assert!(!retried, "{failure}");
                let end = leaves(&turn, next);
                assert!(
                    matches!(end, (RunOutcome::Failed { .. }, Some(MessageStatus::Interrupted))),
                    "{end:?}"
                );
            }
        }
    }
}

fn wait_of(next: &Next) -> Option<std::time::Duration> {
    match next {
        Next::Do(effects) => match effects[..] {
            [(_, Effect::WaitForRetry { delay })] => Some(delay),
            _ => None,
        },
        Next::Wait(_) | Next::End(_) => None,
    }
}

#[test]
fn attempts_are_bounded_and_wait_longer_each_time() {
    let limits = TurnLimits::default();
    let mut events = begun(limits.clone());
    let mut waited = std::time::Duration::ZERO;
    for attempt in 1..limits.max_attempts {
        events = with(events, [called(1, attempt), failed(1, attempt, ModelFailure::Busy)]);
        let delay = wait_of(&play(&events).1).unwrap_or_else(|| panic!("attempt {attempt}"));
        assert!(delay > waited);
        waited = delay;
        events.push(RunEvent::RetryDue { step: 1 });
        assert_eq!(play(&events).1, call_model(1, attempt + 1));
    }
    let (turn, next) = play(&with(
        events,
        [
            called(1, limits.max_attempts),
            failed(1, limits.max_attempts, ModelFailure::Busy),
        ],
    ));
    assert!(matches!(leaves(&turn, &next), (RunOutcome::Failed { .. }, None)));
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
    assert_eq!(wait_of(&after(7_000)).map(|delay| delay.as_millis()), Some(7_000));
    assert!(matches!(after(3_600_000), Next::End(RunOutcome::Failed { .. })));
}

#[test]
fn an_empty_reply_is_a_failure() {
    let (turn, next) = play(&with(
        begun(TurnLimits::default()),
        [called(1, 1), delta(1, " \n"), replied(1, vec![])],
    ));
    assert!(matches!(leaves(&turn, &next), (RunOutcome::Failed { .. }, None)));
}

#[test]
fn stopping_keeps_what_was_written() {
    let stopped = |events: &[RunEvent]| {
        let (turn, next) = play(events);
        let (outcome, reply) = leaves(&turn, &next);
        assert_eq!(outcome, RunOutcome::Cancelled);
        (turn.work.text(), reply)
    };
    assert_eq!(stopped(&[started(TurnLimits::default()), cancel()]).1, None);
    let writing = with(begun(TurnLimits::default()), [called(1, 1), delta(1, "Half a")]);
    assert_eq!(stopped(&with(writing.clone(), [cancel()])).1, Some(MessageStatus::Stopped));
    let in_flight = with(writing.clone(), [cancel(), delta(1, " reply")]);
    assert_eq!(
        stopped(&in_flight).0,
        "Half a reply",
        "text on its way when the stop came was shown"
    );
    let whole = with(in_flight, [replied(1, vec![call("a", "recall", "x")])]);
    assert_eq!(stopped(&whole).0, "Half a reply", "nothing new is started");
    let waiting = with(writing, [failed(1, 1, ModelFailure::Busy), cancel()]);
    assert_eq!(stopped(&waiting).1, None, "cancel beats retry");
}

#[test]
fn stopping_lets_a_begun_tool_finish() {
    let two = vec![call("a", "ring", "x"), call("b", "ring", "y")];
    let class = EffectClass::Irreversible;
    let asked = with(begun(TurnLimits::default()), [called(1, 1), proposed(1, two.clone(), class)]);
    let running = with(asked.clone(), [tool_started(1, 0), cancel()]);
    assert_eq!(play(&running).1, Next::Do(vec![run_tool(1, 0, &two[0])]));
    let (turn, next) = play(&with(running, [tool_finished(1, 0, ToolStatus::Succeeded)]));
    assert_eq!(leaves(&turn, &next), (RunOutcome::Cancelled, None));
    let late = with(asked, [cancel(), tool_started(1, 0)]);
    assert_eq!(
        play(&late).1,
        Next::End(RunOutcome::Cancelled),
        "one that was about to begin does not"
    );
}

#[test]
fn recovery_by_phase() {
    let limits = TurnLimits::default();
    let asked = with(begun(limits.clone()), [called(1, 1)]);
    assert_eq!(
        play(&[started(limits), recovered()]).1,
        Next::Do(vec![(EffectId::model(0), Effect::AssembleContext)])
    );
    assert_eq!(
        play(&with(asked.clone(), [recovered()])).1,
        call_model(1, 1),
        "nothing was shown yet"
    );
    let (turn, next) = play(&with(asked, [delta(1, "half"), recovered()]));
    assert_eq!(
        leaves(&turn, &next),
        (RunOutcome::Interrupted, Some(MessageStatus::Interrupted))
    );
}

/// What becomes of a call that had started when its worker was lost.
#[test]
fn a_call_is_repeated_only_where_that_is_safe() {
    let tool = call("a", "t", "x");
    let lost = |class| {
        let reply = proposed(1, vec![tool.clone()], class);
        with(
            begun(TurnLimits::default()),
            [called(1, 1), reply, tool_started(1, 0), recovered()],
        )
    };
    let verify = Effect::VerifyTool { call: tool.clone() };
    for class in EffectClass::ALL {
        let effect = match class {
            EffectClass::Repeatable | EffectClass::Idempotent => Effect::RunTool { call: tool.clone() },
            EffectClass::Reversible | EffectClass::Irreversible => verify.clone(),
        };
        assert_eq!(
            play(&lost(*class)).1,
            Next::Do(vec![(EffectId::tool(1, 0), effect)]),
            "{class}"
        );
    }
    let lost = lost(EffectClass::Irreversible);
    let again = with(
        lost.clone(),
        [RunEvent::ToolNotDone {
            effect: EffectId::tool(1, 0),
        }],
    );
    assert_eq!(
        play(&again).1,
        Next::Do(vec![run_tool(1, 0, &tool)]),
        "the tool saw that it had not acted"
    );
    let seen = with(lost.clone(), [tool_finished(1, 0, ToolStatus::Succeeded)]);
    assert_eq!(play(&seen).1, call_model(2, 1), "the tool saw that it had");
    let unknown = with(lost.clone(), [tool_finished(1, 0, ToolStatus::Unknown)]);
    assert!(matches!(play(&unknown).1, Next::End(RunOutcome::NeedsReview { .. })));
    for class in [EffectClass::Idempotent, EffectClass::Reversible, EffectClass::Irreversible] {
        let reply = proposed(1, vec![tool.clone()], class);
        let stopped = [called(1, 1), reply, tool_started(1, 0), recovered(), cancel()];
        let stopped = with(begun(TurnLimits::default()), stopped);
        assert_eq!(
            play(&stopped).1,
            Next::Do(vec![(EffectId::tool(1, 0), verify.clone())]),
            "{class}: who stops the run still learns of it, and it does not act now"
        );
        let not_done = RunEvent::ToolNotDone {
            effect: EffectId::tool(1, 0),
        };
        assert_eq!(play(&with(stopped, [not_done])).1, Next::End(RunOutcome::Cancelled));
    }
}

#[test]
fn nothing_follows_the_end() {
    let end = RunEvent::Finished {
        outcome: RunOutcome::Completed,
        reply: None,
        usage: Usage::default(),
        cost_micros: None,
    };
    let (turn, _) = play(&with(
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
        let mut after = turn.clone();
        after.apply(&late);
        assert_eq!(after, turn, "{late:?}");
    }
}
