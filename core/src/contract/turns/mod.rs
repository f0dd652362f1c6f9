//! Turns driven on an adapter's real stores: calls side by side, models that never stop, streams that break off, workers that leave.

mod asking;
mod play;

pub use self::asking::{
    a_lost_call_under_a_new_rule, a_no_is_told, a_question_is_answered, a_yes_before_a_change, a_yes_with_other_words,
    nobody_is_asked_in_vain,
};

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Barrier, Notify, watch};

use self::play::{Answer, Play, broken, remember, text, whole};
use super::{World, assert_refused};
use crate::{
    caller::Caller,
    domain::{
        EffectClass, EventKind, EventPage, LeasePolicy, ListPage, LogRange, MemoryFilter, MessageRole, MessageStatus,
        ModelFailure, NewTurn, PageRequest, Place, RetryMode, RetryTurn, Run, RunStatus, StopReason, ToolCall, ToolOutput,
        TurnLimits, TurnReceipt, Usage,
    },
    error::StoreResult,
    ids::{ConversationId, RunId},
    policy::ToolCategory,
    ports::{ChatMessage, ModelEvent, RunStore, Stores},
    refusal::Refusal,
    tools::{Tool, ToolContext, ToolError},
};

fn says(run: &Run, words: &str) -> bool {
    run.reason.as_ref().is_some_and(|reason| reason.contains(words))
}

/// A turn whose model never stops ends at a limit with what was kept; nothing grows beyond the limit.
pub async fn models_without_end(world: &World) {
    let limits = TurnLimits {
        max_reply_bytes: 20_000,
        ..TurnLimits::default()
    };
    for piece in ["word ".repeat(400), "x".repeat(3_000_000)] {
        let play = Play::new(world, limits.clone(), [Answer::Endless(text(&piece))]).await;
        let (run, reply) = play.drive().await;
        let reply = reply.expect("what was kept");
        assert_eq!((run.status, reply.status), (RunStatus::Done, MessageStatus::Limited));
        assert_eq!(reply.text.len(), 20_000);
        assert!(says(&run, "20000 bytes"), "{:?}", run.reason);
        assert!(play.log_bytes(&run).await < 30_000);
    }
    let few_tokens = TurnLimits {
        max_output_tokens: 100,
        ..TurnLimits::default()
    };
    let play = Play::new(world, few_tokens, [Answer::Endless(text("word "))]).await;
    let (run, reply) = play.drive().await;
    assert_eq!(reply.map(|reply| reply.text.len()), Some(1_600));
    assert!(says(&run, "100 tokens"), "{:?}", run.reason);
    // Endless calls: none is made, and none is kept.
    let call = Answer::Endless(remember(1));
    let play = Play::new(world, TurnLimits::default(), [call]).await;
    let (run, reply) = play.drive().await;
    assert_eq!((run.status, reply), (RunStatus::Failed, None), "not done without a reply");
    assert!(says(&run, "16 tool calls"), "{:?}", run.reason);
    assert!(play.log_bytes(&run).await < 2_000);
    let large = ModelEvent::ToolCall(ToolCall {
        id: "c".into(),
        name: "remember".into(),
        arguments: json!({ "text": "x".repeat(100_000) }),
    });
    let play = Play::new(world, TurnLimits::default(), [whole(vec![text("Noted."), large])]).await;
    let (run, reply) = play.drive().await;
    assert_eq!(
        reply.map(|reply| (reply.text, reply.status)),
        Some(("Noted.".into(), MessageStatus::Limited))
    );
    assert!(play.log_bytes(&run).await < 2_000);
    assert_eq!(play.memories().await, 0);
}

/// A turn's memories and tool calls are limited.
pub async fn memories_and_calls_of_a_turn(world: &World) {
    let limits = TurnLimits {
        max_memories: 3,
        max_calls: 8,
        ..TurnLimits::default()
    };
    let answers = [
        whole((0..5).map(remember).collect()),
        whole(std::iter::once(text("So far.")).chain((5..10).map(remember)).collect()),
    ];
    let play = Play::new(world, limits, answers).await;
    let (run, reply) = play.drive().await;
    assert_eq!(play.memories().await, 3);
    let told: Vec<bool> = play
        .asked()
        .iter()
        .filter_map(|message| match message {
            ChatMessage::ToolResult { failed, .. } => Some(*failed),
            _ => None,
        })
        .collect();
    assert_eq!(told, [false, false, false, true, true], "the model is told");
    assert_eq!(
        reply.map(|reply| (reply.text, reply.status)),
        Some(("So far.".into(), MessageStatus::Limited))
    );
    assert!(says(&run, "8 tool calls"), "{:?}", run.reason);
}

/// A turn that runs out of time ends wherever it is, with what was kept.
pub async fn turns_take_their_time(world: &World) {
    let play = Play::new(world, TurnLimits::default(), [Answer::Silent(vec![text("Once upon")])]).await;
    let mut hints = world.stores.feed.subscribe(play.turn.run_id);
    let bell = play.bell.clone();
    let written = async {
        // Started, context, called, the first words.
        while hints.recv().await.expect("a hint").last_seq < 4 {}
        bell.notify_waiters();
    };
    let ((run, reply), ()) = futures::join!(play.drive(), written);
    assert_eq!(run.status, RunStatus::Done);
    assert!(says(&run, "900 seconds"), "{:?}", run.reason);
    assert_eq!(
        reply.map(|reply| (reply.text, reply.status)),
        Some(("Once upon".into(), MessageStatus::Limited))
    );
}

/// Usage that a provider reports is capped, or no turn's usage could be counted any more.
pub async fn incredible_usage(world: &World) {
    let usage = Usage {
        input_tokens: u64::MAX,
        output_tokens: u64::MAX,
        cached_input_tokens: u64::MAX,
        cache_write_tokens: u64::MAX,
    };
    let answers = [
        whole(vec![ModelEvent::Usage(usage), text("Hm."), remember(1)]),
        whole(vec![ModelEvent::Usage(usage), text("Well.")]),
    ];
    let play = Play::new(world, TurnLimits::default(), answers).await;
    let (run, reply) = play.drive().await;
    assert_eq!(
        (run.status, reply.map(|reply| reply.text)),
        (RunStatus::Done, Some("Hm.".into()))
    );
    assert!(says(&run, "tokens"), "{:?}", run.reason);
}

/// A stream that breaks off for good leaves what it has written: the turn has failed and says why, and its text can be continued.
pub async fn streams_that_break_off(world: &World) {
    let gone = ModelFailure::Unreachable;
    let cases = [
        // The last attempt is not the one that came furthest.
        (
            vec![broken("Once upon a time", gone), broken("Once", gone)],
            "Once upon a time",
        ),
        (vec![broken("Once upon", ModelFailure::Rejected)], "Once upon"),
        (vec![Answer::Events(vec![Ok(text("Once"))])], "Once"),
    ];
    for (answers, kept) in cases {
        let play = Play::new(world, TurnLimits::default(), answers).await;
        let (run, reply) = play.drive().await;
        let reply = reply.expect("what was kept");
        assert_eq!((run.status, reply.status), (RunStatus::Failed, MessageStatus::Interrupted));
        assert_eq!(reply.text, kept);
        let reason = run.reason.clone().expect("a reason");
        for message in play.messages(&run).await {
            let ended = message.ended.expect("how it ended");
            assert_eq!((ended.status, ended.reason), (RunStatus::Failed, Some(reason.clone())));
        }
        play.answer(whole(vec![text(", it was.")]));
        let onwards = play.again(RetryMode::Continue).await;
        assert_eq!(onwards.reply_id, reply.id);
        let (run, reply) = play.drive().await;
        let reply = reply.expect("a reply");
        assert_eq!((run.status, reply.status), (RunStatus::Done, MessageStatus::Complete));
        assert_eq!(reply.text, format!("{kept}, it was."));
        assert_eq!(reply.ended.map(|ended| ended.reason), Some(None), "what went wrong is over");
    }
    // Nothing was written, so nothing is kept, and the message says why it has no reply.
    let play = Play::new(world, TurnLimits::default(), []).await;
    let (run, reply) = play.drive().await;
    assert_eq!((run.status, reply), (RunStatus::Failed, None));
    let messages = play.messages(&run).await;
    let ended = messages[0].ended.as_ref().expect("how it ended");
    assert_eq!(
        (messages[0].role, ended.reason.as_deref()),
        (MessageRole::User, Some("Nobody is there."))
    );
    play.answer(whole(vec![text("Here I am.")]));
    play.again(RetryMode::Restart).await;
    assert!(play.messages(&run).await[0].ended.is_none(), "it is being answered");
    assert_eq!(play.drive().await.0.status, RunStatus::Done);
}

/// A run that continues a reply reads the results of its tools, across several interruptions.
pub async fn continuing_keeps_tool_results(world: &World) {
    let answers = [
        whole(vec![text("Let me note that."), remember(1)]),
        broken("First", ModelFailure::Rejected),
    ];
    let play = Play::new(world, TurnLimits::default(), answers).await;
    let (_, reply) = play.drive().await;
    assert_eq!(reply.expect("a reply").text, "Let me note that.\n\nFirst");
    let results = |messages: &[ChatMessage]| {
        let result = |message: &ChatMessage| match message {
            ChatMessage::ToolResult { text, .. } => Some(text.contains("Fact number 1 is so.")),
            _ => None,
        };
        messages.iter().filter_map(result).collect::<Vec<_>>()
    };
    for more in [" and", " second"] {
        play.answer(broken(more, ModelFailure::Rejected));
        play.again(RetryMode::Continue).await;
        play.drive().await;
        let asked = play.asked();
        assert_eq!(results(&asked), [true], "{asked:?}");
        let place = asked
            .iter()
            .position(|message| matches!(message, ChatMessage::ToolResult { .. }));
        let (before, after) = asked.split_at(place.expect("a result"));
        assert!(
            matches!(before.last(), Some(ChatMessage::Assistant { text, tool_calls })
                if text == "Let me note that." && tool_calls.len() == 1),
            "{asked:?}"
        );
        assert!(
            matches!(&after[1..], [ChatMessage::Assistant { text, .. }] if text.starts_with("\n\nFirst")),
            "{asked:?}"
        );
    }
    // A run that continues the reply holds its beginning: a redaction is refused meanwhile, and afterwards it removes all of it.
    let (memories, runs) = (&world.stores.memories, &world.stores.runs);
    let list = memories.list(&world.owner, MemoryFilter::default(), PageRequest::first(10));
    let memory = list.await.unwrap().items[0].id;
    play.answer(whole(vec![text(", third.")]));
    let again = play.again(RetryMode::Continue).await;
    let refused = memories.redact(&world.owner, memory, world.env.id()).await;
    assert_refused(refused, Refusal::ReplyKnowsMemory { run: again.run_id });
    play.drive().await;
    memories.redact(&world.owner, memory, world.env.id()).await.unwrap();
    let first = runs.run(&world.owner, play.turn.run_id).await.unwrap().unwrap();
    let all = runs
        .runs(&world.owner, first.conversation_id, PageRequest::first(10))
        .await
        .unwrap()
        .items;
    assert_eq!(all.len(), 4);
    for run in all {
        let log = runs
            .events(&world.owner, run.id, LogRange::whole(0, 100))
            .await
            .unwrap()
            .events;
        assert!(log.iter().all(|stored| stored.event.is_none()), "{log:?}");
    }
}

/// A run store that counts how often a log is read.
struct Counted {
    runs: Arc<dyn RunStore>,
    read: Mutex<Vec<RunId>>,
}

#[async_trait]
impl RunStore for Counted {
    async fn start_turn(&self, caller: &Caller, turn: NewTurn) -> StoreResult<TurnReceipt> {
        self.runs.start_turn(caller, turn).await
    }
    async fn retry_turn(&self, caller: &Caller, retry: RetryTurn) -> StoreResult<TurnReceipt> {
        self.runs.retry_turn(caller, retry).await
    }
    async fn run(&self, caller: &Caller, id: RunId) -> StoreResult<Option<Run>> {
        self.runs.run(caller, id).await
    }
    async fn runs(&self, caller: &Caller, conversation: ConversationId, page: PageRequest) -> StoreResult<ListPage<Run>> {
        self.runs.runs(caller, conversation, page).await
    }
    async fn events(&self, caller: &Caller, id: RunId, range: LogRange) -> StoreResult<EventPage> {
        if range.after == 0 {
            self.read.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        }
        self.runs.events(caller, id, range).await
    }
    async fn cancel(&self, caller: &Caller, id: RunId) -> StoreResult<Run> {
        self.runs.cancel(caller, id).await
    }
    async fn pause(&self, caller: &Caller, id: RunId, pause: bool) -> StoreResult<Run> {
        self.runs.pause(caller, id, pause).await
    }
}

/// An interrupted run's tool results take up a bounded part of the continuing prompt: the newest results that fit, and one line for
/// the earlier ones. Its log is read once for all steps.
pub async fn continuing_bounds_tool_results(world: &World) {
    let long = |number: usize| {
        ModelEvent::ToolCall(ToolCall {
            id: format!("c{number}"),
            name: "remember".into(),
            arguments: json!({ "text": format!("Fact number {number} is so{}.", format!(" as {number} says").repeat(350)), "kind": "fact" }),
        })
    };
    let answers = [
        whole(vec![text("Noted."), long(0), long(1)]),
        whole((2..16).map(long).collect()),
        broken("First", ModelFailure::Rejected),
    ];
    let play = Play::new(world, TurnLimits::default(), answers).await;
    play.drive().await;
    assert_eq!(play.memories().await, 16);

    let counted = Arc::new(Counted {
        runs: world.stores.runs.clone(),
        read: Mutex::default(),
    });
    let stores = Stores {
        runs: counted.clone(),
        ..world.stores.clone()
    };
    play.answer(whole(vec![text(" of all."), remember(20)]));
    play.answer(whole(vec![text(" And last.")]));
    play.again(RetryMode::Continue).await;
    let claim = world.claim().await.expect("the run");
    play.driver_on(stores).drive(claim).await.expect("an end");
    let asked = play.asked();
    let (mut calls, mut results, mut bytes) = (Vec::new(), Vec::new(), 0);
    for message in &asked {
        match message {
            ChatMessage::Assistant { tool_calls, .. } => {
                bytes += tool_calls.iter().map(|call| call.arguments.to_string().len()).sum::<usize>();
                calls.extend(tool_calls.iter().map(|call| call.id.clone()));
            }
            ChatMessage::ToolResult { call_id, text, .. } => {
                bytes += text.len();
                results.push((call_id.clone(), text.clone()));
            }
            _ => {}
        }
    }
    assert!(bytes < 70_000, "{bytes} bytes");
    let named: Vec<&String> = results.iter().map(|(id, _)| id).collect();
    assert_eq!(calls.iter().collect::<Vec<_>>(), named, "each call has its result");
    let [(_, stub), (_, oldest), .., (_, newest), (last, _)] = &results[..] else {
        panic!("{named:?}")
    };
    assert!(stub.len() < 200 && stub.contains("left out"), "{stub}");
    assert!(oldest.contains("Fact number") && newest.contains("Fact number 15 is so"));
    assert_eq!(last, "c20", "the turn's own stand as ever");
    assert_eq!(results.iter().filter(|(_, text)| text.contains("left out")).count(), 1);
    let said = asked
        .iter()
        .any(|message| matches!(message, ChatMessage::Assistant { text, .. } if text.contains("Noted.")));
    assert!(said, "what was said stays");
    let read = counted.read.lock().unwrap_or_else(PoisonError::into_inner);
    let first = read.iter().filter(|run| **run == play.turn.run_id).count();
    assert_eq!(first, 1, "read once for the context and both calls");
}

/// A worker that leaves lets active runs finish within its grace period.
pub async fn grace(world: &World) {
    let told = Arc::new(Notify::new());
    let held = Answer::Held(told.clone(), vec![text("Done."), ModelEvent::Stop(StopReason::End)]);
    let play = Play::new(world, TurnLimits::default(), [held]).await;
    let (shutdown, stopping) = watch::channel(false);
    let mut hints = world.stores.feed.subscribe(play.turn.run_id);
    let driver = play.driver();
    let working = driver.work(stopping, Arc::new(Notify::new()), 4, Duration::from_secs(60));
    let leaving = async {
        while hints.recv().await.expect("a hint").last_seq < 3 {}
        shutdown.send_replace(true);
        // The worker has noticed once it has nothing else to do.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        told.notify_one();
    };
    futures::join!(working, leaving);
    let run = world.stores.runs.run(&world.owner, play.turn.run_id).await.unwrap().unwrap();
    assert_eq!((run.status, run.attempt), (RunStatus::Done, 1));
    // Without a grace period it hands back at once, at no cost to the run.
    let told = Arc::new(Notify::new());
    let play = Play::new(world, TurnLimits::default(), [Answer::Held(told, vec![])]).await;
    let (shutdown, stopping) = watch::channel(false);
    let mut hints = world.stores.feed.subscribe(play.turn.run_id);
    let driver = play.driver();
    let working = driver.work(stopping, Arc::new(Notify::new()), 4, Duration::ZERO);
    let leaving = async {
        while hints.recv().await.expect("a hint").last_seq < 3 {}
        shutdown.send_replace(true);
    };
    futures::join!(working, leaving);
    let claim = world
        .stores
        .system
        .claim_run(LeasePolicy::default(), EventKind::ALL)
        .await
        .unwrap();
    assert_eq!(claim.map(|claim| claim.run.id), Some(play.turn.run_id), "handed back");
}

/// A tool that returns only once as many calls of it are under way as there are to meet.
struct Meet(Barrier);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Meeting {
    name: String,
}

#[async_trait]
impl Tool for Meet {
    type Input = Meeting;
    const NAME: &'static str = "recall";
    const DESCRIPTION: &'static str = "Meets the others.";
    const CATEGORY: ToolCategory = ToolCategory::MemoryRead;
    const CLASS: EffectClass = EffectClass::Repeatable;

    async fn call(&self, _: &ToolContext<'_>, Meeting { name }: Meeting) -> Result<ToolOutput, ToolError> {
        self.0.wait().await;
        Ok(ToolOutput {
            text: format!("{name} was there."),
            ..ToolOutput::default()
        })
    }
}

/// A model reads the branch that it answers on, and nothing of those that were left.
pub async fn a_branch_is_read_alone(world: &World) {
    let answers = ["One.", "Two.", "Or two."].map(|said| whole(vec![text(said)]));
    let play = Play::new(world, TurnLimits::default(), answers).await;
    let (first, _) = play.drive().await;
    let say = async |said: &str, place| {
        let turn = NewTurn {
            place,
            ..world.turn(first.conversation_id, said)
        };
        world.stores.runs.start_turn(&world.owner, turn).await.unwrap();
        play.drive().await;
        let asked = play.asked().into_iter().filter_map(|message| match message {
            ChatMessage::User(text) | ChatMessage::Assistant { text, .. } => Some(text),
            ChatMessage::Context(_) | ChatMessage::ToolResult { .. } => None,
        });
        asked.collect::<Vec<_>>()
    };
    assert_eq!(say("And two?", Place::Newest).await, ["Go on, then.", "One.", "And two?"]);
    let after = Place::After(first.reply_id);
    assert_eq!(
        say("What comes next?", after).await,
        ["Go on, then.", "One.", "What comes next?"]
    );
}

/// Calls of one reply that change nothing are under way at the same time; the model reads their results in the order in which it
/// asked.
pub async fn calls_side_by_side(world: &World) {
    let names: Vec<String> = (1..=8).map(|number| format!("Guest {number}")).collect();
    let call = |name: &String| {
        ModelEvent::ToolCall(ToolCall {
            // Some providers repeat their ids.
            id: "same".into(),
            name: Meet::NAME.into(),
            arguments: json!({ "name": name }),
        })
    };
    let answers = [whole(names.iter().map(call).collect()), whole(vec![text("All met.")])];
    let mut play = Play::new(world, TurnLimits::default(), answers).await;
    play.tools = play.tools.clone().with(Meet(Barrier::new(4)));
    let (run, reply) = play.drive().await;
    assert_eq!(run.status, RunStatus::Done, "{:?}", run.reason);
    let asked = play.asked();
    let results: Vec<&str> = asked
        .iter()
        .filter_map(|message| match message {
            ChatMessage::ToolResult { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(
        results,
        names.iter().map(|name| format!("{name} was there.")).collect::<Vec<_>>()
    );
    let trace = reply.and_then(|reply| reply.trace).expect("a trace");
    let ids: Vec<&str> = trace.tools.iter().map(|tool| tool.call_id.as_str()).collect();
    assert_eq!(ids, ["1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8"]);
}
