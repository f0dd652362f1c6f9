//! Turns that wait for their person.

use std::collections::BTreeMap;

use serde_json::json;

use super::play::{Play, remember, text, whole};
use crate::{
    contract::{World, Writes, world::changes_need},
    domain::{
        Decision, EffectClass, EffectId, HandBack, Labels, Locality, MessageStatus, PageRequest, ProposedCall, Request,
        RequestFilter, RequestKind, RunEvent, RunStatus, StopReason, ToolCall, TurnLimits, Usage,
    },
    policy::Say,
    ports::{ChatMessage, ModelEvent},
};

/// A turn of a workspace where changes need a yes, driven until it waits.
async fn waiting<'a>(world: &'a World, said: Vec<ModelEvent>, then: &str) -> (Play<'a>, Request) {
    let play = Play::new(world, TurnLimits::default(), [whole(said), whole(vec![text(then)])]).await;
    changes_need(&world.stores, &world.owner, Say::Ask).await;
    let (run, _) = play.drive().await;
    assert_eq!(run.status, RunStatus::Waiting);
    let open = RequestFilter {
        conversation: Some(run.conversation_id),
        open: true,
    };
    let listed = world
        .stores
        .requests
        .list(&world.owner, open, PageRequest::first(5))
        .await
        .unwrap();
    let [request] = listed.items.try_into().expect("one request");
    (play, request)
}

impl Play<'_> {
    /// The person decides; the run goes on to its end. What the model was told of the call, and whether that was a failure.
    async fn decided(&self, world: &World, request: &Request, decision: Decision) -> (String, bool) {
        let session = world.sign_ins[&world.owner.user];
        world
            .stores
            .requests
            .decide(&world.owner, session, request.id, decision)
            .await
            .unwrap();
        let (run, _) = self.drive().await;
        assert_eq!(run.status, RunStatus::Done, "{:?}", run.reason);
        let results = self.asked().into_iter().rev().find_map(|message| match message {
            ChatMessage::ToolResult { text, failed, .. } => Some((text, failed)),
            _ => None,
        });
        results.expect("a result")
    }
}

/// A call that policy asks about is made after the yes, and what the run says before and after it are two messages.
pub async fn a_yes_before_a_change(world: &World) {
    let said = vec![text("I would like to keep that."), remember(1)];
    let (play, request) = waiting(world, said, "It is kept.").await;
    assert_eq!((request.kind, request.tool.as_str()), (RequestKind::Approval, "remember"));
    assert_eq!(
        request.arguments,
        Some(json!({"text": "Fact number 1 is so.", "kind": "fact"}))
    );
    assert_eq!(play.memories().await, 0);
    let told = play.decided(world, &request, Decision::Approve { arguments: None }).await;
    assert!(!told.1, "{told:?}");
    assert_eq!(play.memories().await, 1);
    let run = world.stores.runs.run(&world.owner, play.turn.run_id).await.unwrap().unwrap();
    let messages = play.messages(&run).await;
    let texts: Vec<(&str, MessageStatus, usize)> = messages
        .iter()
        .map(|message| {
            (
                message.text.as_str(),
                message.status,
                message.trace.as_ref().map_or(0, |trace| trace.tools.len()),
            )
        })
        .collect();
    let complete = MessageStatus::Complete;
    assert_eq!(
        texts[..2],
        [("It is kept.", complete, 1), ("I would like to keep that.", complete, 0)]
    );
    let usage = |index: usize| messages[index].trace.as_ref().map(|trace| trace.usage.total());
    assert!(usage(0).is_some() && usage(1).is_some());
}

/// What the person changed in the arguments is what happens.
pub async fn a_yes_with_other_words(world: &World) {
    let (play, request) = waiting(world, vec![remember(1)], "It is kept.").await;
    let arguments = Some(json!({"text": "Fact number 2 is so.", "kind": "fact"}));
    play.decided(world, &request, Decision::Approve { arguments }).await;
    let list = world
        .stores
        .memories
        .list(&world.owner, crate::domain::MemoryFilter::default(), PageRequest::first(5));
    let texts: Vec<String> = list.await.unwrap().items.into_iter().map(|memory| memory.text).collect();
    assert_eq!(texts, ["Fact number 2 is so."]);
}

/// Nobody is asked about a call that could not be made.
pub async fn nobody_is_asked_in_vain(world: &World) {
    let unfit = |arguments| {
        ModelEvent::ToolCall(ToolCall {
            id: "c".into(),
            name: "remember".into(),
            arguments,
        })
    };
    let said = [
        json!({"text": " ", "kind": "fact"}),
        json!({"text": "Tea.", "kind": "fact", "mood": "good"}),
        json!("{\"text\": \"Tea."),
    ];
    let turn = [whole(said.map(unfit).to_vec()), whole(vec![text("Never mind.")])];
    let play = Play::new(world, TurnLimits::default(), turn).await;
    changes_need(&world.stores, &world.owner, Say::Ask).await;
    let (run, _) = play.drive().await;
    assert_eq!(run.status, RunStatus::Done, "{:?}", run.reason);
    let told = play.asked().into_iter().filter_map(|message| match message {
        ChatMessage::ToolResult { failed, .. } => Some(failed),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [true; 3]);
}

/// A no is told to the model, with its reason, and nothing happens.
pub async fn a_no_is_told(world: &World) {
    let (play, request) = waiting(world, vec![remember(1)], "As you like.").await;
    let reason = Some("That is over.".to_owned());
    let (told, failed) = play.decided(world, &request, Decision::Reject { reason }).await;
    assert!(failed && told.contains("That is over."), "{told}");
    assert_eq!(play.memories().await, 0);
}

/// A question waits for its answer, which is the call's result.
pub async fn a_question_is_answered(world: &World) {
    let ask = ModelEvent::ToolCall(ToolCall {
        id: "c".into(),
        name: "ask_user".into(),
        arguments: json!({"question": "Tea or coffee?"}),
    });
    let (play, request) = waiting(world, vec![ask], "Tea it is.").await;
    assert_eq!(
        (request.kind, request.why.as_str()),
        (RequestKind::Question, "Tea or coffee?")
    );
    let answers = BTreeMap::from([(Decision::ANSWER.to_owned(), json!("Tea, please."))]);
    let (told, failed) = play.decided(world, &request, Decision::Respond { answers }).await;
    assert!(!failed && told.contains("Tea, please."), "{told}");
}

/// A call was allowed, began, and was lost; since then policy asks about it. It is looked up first, and made only after a yes.
pub async fn a_lost_call_under_a_new_rule(world: &World) {
    let play = Play::new(world, TurnLimits::default(), [whole(vec![text("It is kept.")])]).await;
    let claim = world.claim().await.expect("the run");
    let ModelEvent::ToolCall(call) = remember(1) else {
        unreachable!("a call")
    };
    let effect = EffectId::tool(1, 0);
    let events = [
        RunEvent::Context {
            model: "script/turns".parse().expect("a model's name"),
            locality: Locality::Local,
            history: Vec::new(),
            recalled: Vec::new(),
            text_only_recall: true,
            labels: Labels::default(),
        },
        RunEvent::ModelCalled { step: 1, attempt: 1 },
        RunEvent::ModelReplied {
            step: 1,
            text: String::new(),
            tool_calls: vec![ProposedCall {
                call,
                class: EffectClass::Idempotent,
            }],
            usage: Usage::default(),
            cost_micros: None,
            stop: StopReason::ToolUse,
        },
        RunEvent::ToolStarted { effect },
    ];
    let log = &world.stores.run_log;
    let written = log.append(claim.run.id, claim.lease, 1, world.env.id(), events.map(Into::into).into());
    written.await.unwrap();
    log.hand_back(claim.run.id, claim.lease, HandBack::Leaving).await.unwrap();
    drop(claim);
    changes_need(&world.stores, &world.owner, Say::Ask).await;
    let (run, _) = play.drive().await;
    assert_eq!(
        (run.status, play.memories().await),
        (RunStatus::Waiting, 0),
        "{:?}",
        run.reason
    );
    let listed = world
        .stores
        .requests
        .list(&world.owner, RequestFilter::default(), PageRequest::first(5));
    let [request] = listed.await.unwrap().items.try_into().expect("one request");
    assert_eq!(request.kind, RequestKind::Approval);
    play.decided(world, &request, Decision::Approve { arguments: None }).await;
    assert_eq!(play.memories().await, 1);
}
