//! What holds of any log.

use std::collections::BTreeSet;

use duet_core::{
    domain::{
        Decision, EffectClass, EffectId, MessageStatus, ModelFailure, RequestKind, RunEvent, ToolStatus, TurnLimits, Usage,
        VoidReason,
    },
    run::{
        machine::{Effect, Machine, Next, Wait},
        turn::Turn,
    },
};
use proptest::prelude::*;

use super::events::*;

fn any_decision() -> impl Strategy<Value = Decision> {
    prop_oneof![
        Just(Decision::Approve { arguments: None }),
        "[xyz]".prop_map(|word| Decision::Approve {
            arguments: Some(serde_json::json!({ "query": word }))
        }),
        Just(Decision::Reject { reason: None }),
        Just(Decision::Respond {
            answers: [(Decision::ANSWER.to_owned(), "Later.".into())].into()
        }),
        Just(Decision::Dismiss),
        Just(Decision::Happened),
        Just(Decision::DidNot),
        Just(Decision::Expired),
        Just(Decision::Voided {
            because: VoidReason::RunEnded
        }),
    ]
}

/// What a run says to a person and a person to a run. Of the few requests, some fit and some do not.
fn any_word() -> impl Strategy<Value = RunEvent> {
    let kind = proptest::sample::select(RequestKind::ALL);
    let reply = prop_oneof![Just(None), Just(Some(MessageStatus::Complete))];
    prop_oneof![
        3 => (1..4_u32, 0..3_usize, 0..3_u128, kind)
            .prop_map(|(step, position, number, kind)| asked(step, position, number, kind)),
        3 => (1..4_u32, 0..3_usize, 0..3_u128, any_decision())
            .prop_map(|(step, position, number, decision)| decided(step, position, number, decision)),
        1 => Just(pause()),
        1 => Just(resume()),
        1 => reply.prop_map(suspended),
        1 => Just(resumed()),
    ]
}

fn any_event() -> impl Strategy<Value = RunEvent> {
    let class = || proptest::sample::select(EffectClass::ALL);
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
        (1..4_u32, calls, class()).prop_map(|(step, calls, class)| proposed(step, calls, class)),
        (1..4_u32, 1..5_u32, failure).prop_map(|(step, attempt, failure)| failed(step, attempt, failure)),
        (1..4_u32).prop_map(|step| RunEvent::RetryDue { step }),
        Just(RunEvent::LimitReached {
            message: "Enough.".into(),
            usage: Usage::default(),
            cost_micros: None
        }),
        (1..4_u32, 0..3_usize).prop_map(|(step, position)| tool_started(step, position)),
        (1..4_u32, 0..3_usize, status).prop_map(|(step, position, status)| tool_finished(step, position, status)),
        (1..4_u32, 0..3_usize).prop_map(|(step, position)| RunEvent::ToolNotDone {
            effect: EffectId::tool(step, position)
        }),
        Just(cancel()),
        Just(recovered()),
        any_word(),
        any_word(),
        any_word(),
    ]
}

/// Whether this call is to be made, or goes on.
fn wants_run(next: &Next, id: EffectId) -> bool {
    matches!(next, Next::Do(effects) if effects.iter().any(|(wanted, effect)| *wanted == id && matches!(effect, Effect::RunTool { .. })))
}

proptest! {
    /// Whatever events come in whatever order: no panic, bounded steps, and once begun there is always something to do, each once, or
    /// something to wait for; what may have acted is never forgotten, and neither is what the model says.
    #[test]
    fn any_log_leaves_something_to_do(events in proptest::collection::vec(any_event(), 0..60)) {
        let mut turn = Turn::default();
        for event in &events {
            let (before, said) = (turn.next(), turn.work.text());
            let speaks = turn.work.is_called() && !turn.work.is_ending();
            turn.apply(event);
            let next = turn.next();
            prop_assert!(turn.work.steps.len() <= 3);
            if let (true, RunEvent::Delta { text, .. }) = (speaks, event) {
                prop_assert_eq!(turn.work.text(), said + text);
            }
            match &next {
                Next::Do(effects) => {
                    prop_assert_eq!(effects.is_empty(), turn.agent.is_none());
                    prop_assert!(effects.windows(2).all(|pair| pair[0].0 < pair[1].0), "{effects:?}");
                    let alone = |effect: &Effect| !matches!(effect, Effect::RunTool { .. } | Effect::RefuseTool { .. });
                    prop_assert!(effects.len() == 1 || !effects.iter().any(|(_, effect)| alone(effect)), "{effects:?}");
                }
                Next::Wait(waits) => {
                    prop_assert!(turn.agent.is_some() && !waits.is_empty());
                    prop_assert_eq!(waits.contains(&Wait::Resume), turn.work.is_paused());
                }
                Next::End(_) => prop_assert!(turn.agent.is_some()),
            }
            if let Next::Do(effects) = &before
                && let Some((id, Effect::VerifyTool { .. })) = effects.first()
                && !matches!(
                    event,
                    RunEvent::ToolNotDone { .. }
                        | RunEvent::ToolFinished { .. }
                        | RunEvent::Asked {
                            kind: RequestKind::Review,
                            ..
                        }
                )
            {
                prop_assert!(next.wants(*id, &effects[0].1), "{event:?} makes a lost call forgotten: {next:?}");
            }
        }
    }

    /// A call that has begun as the machine asked stays under way until its outcome is there, whatever people say meanwhile: dropped, it
    /// would have acted without anybody knowing, and be made again.
    #[test]
    fn what_has_begun_stays_under_way(
        class in proptest::sample::select(EffectClass::ALL),
        events in proptest::collection::vec(prop_oneof![
            8 => (0..3_usize).prop_map(|position| asked(1, position, position as u128, RequestKind::Approval)),
            8 => (0..3_usize).prop_map(|position| decided(1, position, position as u128, Decision::Approve { arguments: None })),
            4 => (0..3_usize, any_decision()).prop_map(|(position, decision)| decided(1, position, position as u128, decision)),
            8 => (0..3_usize).prop_map(|position| tool_started(1, position)),
            4 => (0..3_usize).prop_map(|position| tool_finished(1, position, ToolStatus::Succeeded)),
            1 => Just(pause()),
            1 => Just(resume()),
            1 => Just(cancel()),
        ], 0..40),
    ) {
        let calls = ["u", "v", "w"].map(|word| call(word, "t", word)).to_vec();
        let log = with(begun(TurnLimits::default()), [called(1, 1), proposed(1, calls, class)]);
        let mut turn = Turn::default();
        log.iter().for_each(|event| turn.apply(event));
        let mut under_way = BTreeSet::new();
        for event in &events {
            // As a driver writes them: only what is due begins, and a call is asked about before.
            match event {
                RunEvent::ToolStarted { effect } | RunEvent::Asked { effect, .. }
                    if under_way.contains(effect) || !wants_run(&turn.next(), *effect) => continue,
                RunEvent::ToolStarted { effect } => under_way.insert(*effect),
                RunEvent::ToolFinished { effect, .. } if !under_way.remove(effect) => continue,
                _ => true,
            };
            turn.apply(event);
            let next = turn.next();
            for effect in &under_way {
                prop_assert!(wants_run(&next, *effect), "{event:?} drops {effect}: {next:?}");
            }
        }
    }

    /// A cancelled turn starts nothing that has not begun.
    #[test]
    fn cancel_starts_nothing_new(events in proptest::collection::vec(any_event(), 0..40), more in proptest::collection::vec(any_event(), 0..20)) {
        let mut turn = Turn::default();
        turn.apply(&started(TurnLimits::default()));
        events.iter().for_each(|event| turn.apply(event));
        let before = turn.next();
        turn.apply(&cancel());
        for event in &more {
            if let Next::Do(effects) = turn.next() {
                for (id, effect) in effects {
                    prop_assert!(before.wants(id, &effect) || matches!(effect, Effect::VerifyTool { .. }), "{effect:?} after the stop");
                }
            }
            turn.apply(event);
        }
    }
}
