//! What holds of any log.

use duet_core::{
    domain::{EffectClass, EffectId, ModelFailure, RunEvent, ToolStatus, TurnLimits, Usage},
    run::{
        machine::{Effect, Machine, Next},
        turn::Turn,
    },
};
use proptest::prelude::*;

use super::events::*;

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
    ]
}

proptest! {
    /// Whatever events come in whatever order: no panic, bounded steps, and once begun there is always something to do, each once;
    /// what may have acted is never forgotten.
    #[test]
    fn any_log_leaves_something_to_do(events in proptest::collection::vec(any_event(), 0..60)) {
        let mut turn = Turn::default();
        for event in &events {
            let before = turn.next();
            turn.apply(event);
            let next = turn.next();
            prop_assert!(turn.work.steps.len() <= 3);
            match &next {
                Next::Do(effects) => {
                    prop_assert_eq!(effects.is_empty(), turn.agent.is_none());
                    prop_assert!(effects.windows(2).all(|pair| pair[0].0 < pair[1].0), "{effects:?}");
                    let alone = |effect: &Effect| !matches!(effect, Effect::RunTool { .. } | Effect::RefuseTool { .. });
                    prop_assert!(effects.len() == 1 || !effects.iter().any(|(_, effect)| alone(effect)), "{effects:?}");
                }
                Next::End(_) => prop_assert!(turn.agent.is_some()),
            }
            if let Next::Do(effects) = &before
                && let Some((id, Effect::VerifyTool { .. })) = effects.first()
                && !matches!(event, RunEvent::ToolNotDone { .. } | RunEvent::ToolFinished { .. })
            {
                prop_assert!(next.wants(*id, &effects[0].1), "{event:?} makes a lost call forgotten: {next:?}");
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
