//! Runs that wait for a person.

use duet_core::{
    domain::{
        Decision, EffectClass, EffectId, MessageStatus, ModelFailure, RequestKind, RunEvent, RunOutcome, ToolCall, ToolStatus,
        TurnLimits, VoidReason,
    },
    run::{
        machine::{Effect, Next, Wait},
        turn::Turn,
    },
};

use crate::{events::*, wait_of};

/// A turn whose model has asked for these calls of this class.
fn wanting(calls: &[ToolCall], class: EffectClass) -> Vec<RunEvent> {
    with(
        begun(TurnLimits::default()),
        [called(1, 1), proposed(1, calls.to_vec(), class)],
    )
}

fn approve() -> Decision {
    Decision::Approve { arguments: None }
}

#[test]
fn an_approved_call_is_made_as_it_was_approved() {
    let ring = call("a", "ring", "x");
    let due = wanting(std::slice::from_ref(&ring), EffectClass::Irreversible);
    let waiting = with(due, [asked(1, 0, 1, RequestKind::Approval)]);
    assert_eq!(play(&waiting).1, waits(&[1]));
    let waited = with(waiting.clone(), [suspended(None)]);
    let yes = with(waited.clone(), [decided(1, 0, 1, approve()), resumed()]);
    let (turn, next) = play(&yes);
    assert_eq!(next, Next::Do(vec![run_tool(1, 0, &ring)]));
    let approval = |turn: &Turn| turn.work.call(EffectId::tool(1, 0)).and_then(|call| call.approval());
    assert_eq!(
        approval(&turn).map(|approval| (approval.request, approval.used)),
        Some((request(1), false))
    );
    let (turn, _) = play(&with(yes, [tool_started(1, 0)]));
    assert_eq!(approval(&turn).map(|approval| approval.used), Some(true), "it holds once");
    let edited = Decision::Approve {
        arguments: Some(serde_json::json!({ "query": "y" })),
    };
    assert_eq!(
        play(&with(waited.clone(), [decided(1, 0, 1, edited)])).1,
        Next::Do(vec![run_tool(1, 0, &call("a", "ring", "y"))])
    );
    let of_another = with(waited, [decided(1, 0, 2, approve())]);
    assert_eq!(play(&of_another).1, waits(&[1]), "only its own request decides it");
    let lost = with(waiting, [recovered()]);
    assert_eq!(play(&lost).1, waits(&[1]), "the question stays asked");
}

/// What the model is told of a call that is not made, or that a person answers for.
#[test]
fn a_decision_without_a_call_is_its_result() {
    let answer = |text: &str| Decision::Respond {
        answers: [(Decision::ANSWER.to_owned(), text.into())].into(),
    };
    let reason = || Some("Not today.".to_owned());
    let voided = Decision::Voided {
        because: VoidReason::PolicyChanged,
    };
    let approval = RequestKind::Approval;
    let cases = [
        (approval, Decision::Reject { reason: None }, ToolStatus::Refused, "says no"),
        (
            approval,
            Decision::Reject { reason: reason() },
            ToolStatus::Refused,
            "Not today.",
        ),
        (approval, answer("Ask Ben."), ToolStatus::Refused, "Ask Ben."),
        (RequestKind::Question, answer("Oslo"), ToolStatus::Succeeded, "Oslo"),
        (RequestKind::Question, Decision::Dismiss, ToolStatus::Refused, "without it"),
        (approval, Decision::Expired, ToolStatus::Refused, "in time"),
        (approval, voided, ToolStatus::Refused, "policy has changed"),
    ];
    let due = wanting(&[call("a", "ring", "x")], EffectClass::Irreversible);
    for (kind, decision, status, words) in cases {
        let log = with(
            due.clone(),
            [asked(1, 0, 1, kind), suspended(None), decided(1, 0, 1, decision.clone())],
        );
        let (turn, next) = play(&log);
        assert_eq!(next, call_model(2, 1), "{decision:?}");
        let (found, output) = turn.work.results().next().expect("a result");
        assert_eq!(found, status, "{decision:?}");
        assert!(output.text.contains(words), "{}", output.text);
    }
}

/// What waits for a person holds up nothing else, and the run waits only once all that is left waits.
#[test]
fn calls_wait_for_people_side_by_side() {
    let two = [call("a", "ring", "x"), call("b", "ring", "y")];
    let due = wanting(&two, EffectClass::Irreversible);
    let first = with(due, [asked(1, 0, 1, RequestKind::Approval)]);
    assert_eq!(
        play(&first).1,
        Next::Do(vec![run_tool(1, 1, &two[1])]),
        "the next one is still to be asked about"
    );
    let both = with(first.clone(), [asked(1, 1, 2, RequestKind::Approval)]);
    assert_eq!(play(&both).1, waits(&[1, 2]));
    let one_left = with(both.clone(), [decided(1, 1, 2, Decision::Dismiss)]);
    assert_eq!(play(&one_left).1, waits(&[1]));
    let over = with(one_left, [decided(1, 0, 1, Decision::Dismiss)]);
    assert_eq!(play(&over).1, call_model(2, 1));
    let approved = with(both, [decided(1, 1, 2, approve())]);
    assert_eq!(play(&approved).1, Next::Do(vec![run_tool(1, 1, &two[1])]));
    let done = with(approved, [tool_started(1, 1), tool_finished(1, 1, ToolStatus::Succeeded)]);
    assert_eq!(play(&done).1, waits(&[1]));
    // A yes does not disturb a call that is under way.
    let running = with(first, [tool_started(1, 1), decided(1, 0, 1, approve())]);
    assert_eq!(play(&running).1, Next::Do(vec![run_tool(1, 1, &two[1])]));
    let then = with(running, [tool_finished(1, 1, ToolStatus::Succeeded)]);
    assert_eq!(play(&then).1, Next::Do(vec![run_tool(1, 0, &two[0])]));
}

/// A person looks where the tool cannot tell: what took place is done, and what did not is due, as if it had never been approved.
#[test]
fn a_person_looks_for_a_lost_call() {
    let ring = call("a", "ring", "x");
    let due = wanting(std::slice::from_ref(&ring), EffectClass::Irreversible);
    let lost = with(
        due,
        [
            asked(1, 0, 1, RequestKind::Approval),
            decided(1, 0, 1, approve()),
            tool_started(1, 0),
            recovered(),
        ],
    );
    let verify = Effect::VerifyTool { call: ring.clone() };
    assert_eq!(play(&lost).1, Next::Do(vec![(EffectId::tool(1, 0), verify)]));
    let review = with(lost, [asked(1, 0, 2, RequestKind::Review), suspended(None)]);
    assert_eq!(play(&review).1, waits(&[2]));
    let happened = with(review.clone(), [decided(1, 0, 2, Decision::Happened)]);
    let (turn, next) = play(&happened);
    assert_eq!(next, call_model(2, 1));
    assert_eq!(
        turn.work.results().next().map(|(status, _)| status),
        Some(ToolStatus::Succeeded)
    );
    let (turn, next) = play(&with(review, [decided(1, 0, 2, Decision::DidNot)]));
    assert_eq!(next, Next::Do(vec![run_tool(1, 0, &ring)]));
    let call = turn.work.call(EffectId::tool(1, 0)).expect("the call");
    assert_eq!(call.approval(), None, "one yes is for one attempt");
}

/// A paused run begins nothing; what it had begun and can do again it gives up.
#[test]
fn pausing() {
    let resumes = Next::Wait(vec![Wait::Resume]);
    let limits = TurnLimits::default();
    assert_eq!(play(&[started(limits.clone()), pause()]).1, resumes);
    let speaking = with(begun(limits), [called(1, 1), delta(1, "Half a")]);
    let paused = with(speaking.clone(), [pause()]);
    let (turn, next) = play(&paused);
    assert_eq!((turn.work.text().as_str(), next), ("", resumes.clone()));
    let onwards = with(paused, [suspended(None), resume(), resumed()]);
    assert_eq!(play(&onwards).1, call_model(1, 1));
    let (turn, next) = play(&with(onwards, [called(1, 1), delta(1, "A whole reply"), replied(1, vec![])]));
    assert_eq!(leaves(&turn, &next), (RunOutcome::Completed, Some(MessageStatus::Complete)));
    assert_eq!(turn.work.text(), "A whole reply");
    let retrying = with(speaking, [failed(1, 1, ModelFailure::Busy), pause()]);
    assert_eq!(play(&retrying).1, resumes);
    assert!(wait_of(&play(&with(retrying, [resume()])).1).is_some());

    // A call that has begun ends first.
    let two = [call("a", "ring", "x"), call("b", "ring", "y")];
    let running = with(wanting(&two, EffectClass::Irreversible), [tool_started(1, 0), pause()]);
    assert_eq!(play(&running).1, Next::Do(vec![run_tool(1, 0, &two[0])]));
    let ended = with(running, [tool_finished(1, 0, ToolStatus::Succeeded)]);
    assert_eq!(play(&ended).1, resumes);
    assert_eq!(play(&with(ended, [resume()])).1, Next::Do(vec![run_tool(1, 1, &two[1])]));
    // It waits for both: the decision, and to go on.
    let due = wanting(&two[..1], EffectClass::Irreversible);
    let both = with(due, [asked(1, 0, 1, RequestKind::Approval), pause()]);
    assert_eq!(play(&both).1, Next::Wait(vec![Wait::Resume, Wait::Request(request(1))]));
    assert_eq!(play(&with(both.clone(), [decided(1, 0, 1, approve())])).1, resumes);
    assert_eq!(play(&with(both, [resume()])).1, waits(&[1]));
}

#[test]
fn stopping_ends_a_run_that_waits() {
    let said = [
        called(1, 1),
        delta(1, "Shall I?"),
        proposed(1, vec![call("a", "ring", "x")], EffectClass::Irreversible),
    ];
    let waiting = with(
        begun(TurnLimits::default()),
        with(said.to_vec(), [asked(1, 0, 1, RequestKind::Approval)]),
    );
    let (turn, next) = play(&with(waiting.clone(), [cancel()]));
    assert_eq!(leaves(&turn, &next), (RunOutcome::Cancelled, Some(MessageStatus::Stopped)));
    let late = with(waiting.clone(), [cancel(), decided(1, 0, 1, approve())]);
    assert_eq!(play(&late).1, Next::End(RunOutcome::Cancelled), "a late yes does nothing");
    // What it said before it waited is a message already.
    let (turn, next) = play(&with(waiting, [suspended(Some(MessageStatus::Complete)), cancel()]));
    assert_eq!(leaves(&turn, &next), (RunOutcome::Cancelled, None));
    let (_, next) = play(&with(begun(TurnLimits::default()), [pause(), suspended(None), cancel()]));
    assert_eq!(next, Next::End(RunOutcome::Cancelled));
}

/// What a run has said before it waits is a message; the next message tells only what came since.
#[test]
fn each_wait_begins_a_new_message() {
    let complete = Some(MessageStatus::Complete);
    let said = [
        called(1, 1),
        delta(1, "Shall I?"),
        replied(1, vec![call("a", "t", "x"), call("b", "t", "y")]),
    ];
    let asking = with(begun(TurnLimits::default()), said);
    let waiting = with(
        asking,
        [
            asked(1, 0, 1, RequestKind::Approval),
            tool_finished(1, 1, ToolStatus::Succeeded),
        ],
    );
    let (turn, _) = play(&waiting);
    let word = turn.word().expect("what it said");
    assert_eq!((word.status, word.text.as_str()), (MessageStatus::Complete, "Shall I?"));
    assert_eq!(
        (word.trace.usage.total(), word.trace.cost_micros, word.trace.tools.len()),
        (15, Some(3), 1)
    );
    let told = with(waiting, [suspended(complete)]);
    let (turn, _) = play(&told);
    assert_eq!((turn.work.text().as_str(), turn.word()), ("", None));
    let rest = [
        decided(1, 0, 1, approve()),
        resumed(),
        tool_started(1, 0),
        tool_finished(1, 0, ToolStatus::Succeeded),
        called(2, 1),
        delta(2, "Done."),
        replied(2, vec![]),
    ];
    let (turn, next) = play(&with(told.clone(), rest));
    assert_eq!(leaves(&turn, &next), (RunOutcome::Completed, complete));
    let reply = turn.reply(&RunOutcome::Completed).expect("a reply");
    assert_eq!(reply.text, "Done.");
    assert_eq!(
        (reply.trace.usage.total(), reply.trace.cost_micros, reply.trace.tools.len()),
        (15, Some(3), 1)
    );
    assert_eq!(turn.work.usage.total(), 30, "the run's usage is that of all its messages");
    // Having said nothing since is no failure.
    let silent = [decided(1, 0, 1, Decision::Dismiss), called(2, 1), replied(2, vec![])];
    let (turn, next) = play(&with(told, silent));
    assert_eq!(leaves(&turn, &next), (RunOutcome::Completed, None));

    // A model call that a pause took back belongs to the next message.
    let said = [
        called(1, 1),
        delta(1, "Let me see."),
        replied(1, vec![call("a", "t", "x")]),
        tool_finished(1, 0, ToolStatus::Succeeded),
        called(2, 1),
        pause(),
    ];
    let paused = with(begun(TurnLimits::default()), said);
    assert_eq!(play(&paused).0.word().map(|word| word.text).as_deref(), Some("Let me see."));
    let onwards = with(
        paused,
        [
            suspended(complete),
            resume(),
            resumed(),
            called(2, 1),
            delta(2, "Here."),
            replied(2, vec![]),
        ],
    );
    let (turn, next) = play(&onwards);
    assert_eq!(leaves(&turn, &next), (RunOutcome::Completed, complete));
    assert_eq!(turn.work.text(), "Here.");
}
