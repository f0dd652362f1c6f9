//! The tree of a conversation's messages: versions, branches, and which of them is shown.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::{World, Writes, assert_refused};
use crate::{
    caller::Caller,
    domain::{
        Conversation, Message, MessageRole, MessageStatus, MessageTrace, NewTurn, PageRequest, Place, Reply, RetryMode,
        RetryTurn, RunEvent, RunStatus, Settlement, Suspension, Then, TurnLimits, TurnReceipt, Usage,
    },
    error::{StoreError, StoreResult},
    ids::{ConversationId, MessageId},
    refusal::Refusal,
};

/// A conversation of the owner, in which every message is answered with "re: " and its text.
struct Talk<'a> {
    world: &'a World,
    id: ConversationId,
}

impl<'a> Talk<'a> {
    async fn new(world: &'a World) -> Self {
        Self {
            world,
            id: world.conversation(&world.owner).await.id,
        }
    }

    async fn begin(&self, text: &str, place: Place) -> StoreResult<TurnReceipt> {
        let turn = NewTurn {
            place,
            ..self.world.turn(self.id, text)
        };
        self.world.stores.runs.start_turn(&self.world.owner, turn).await
    }

    async fn say(&self, text: &str, place: Place) -> TurnReceipt {
        let receipt = self.begin(text, place).await.unwrap();
        self.answer(&format!("re: {text}")).await;
        receipt
    }

    async fn answer(&self, text: &str) {
        let claim = self.world.claim().await.expect("a run");
        self.world.end(&claim, 1, Some(text)).await;
    }

    async fn again(&self, message: MessageId, mode: RetryMode) -> StoreResult<TurnReceipt> {
        let retry = RetryTurn {
            message_id: message,
            run_id: self.world.env.id(),
            reply_id: self.world.env.id(),
            mode,
            limits: TurnLimits::default(),
        };
        self.world.stores.runs.retry_turn(&self.world.owner, retry).await
    }

    async fn show(&self, message: MessageId) -> StoreResult<Conversation> {
        let conversations = &self.world.stores.conversations;
        conversations.show(&self.world.owner, self.id, message).await
    }

    async fn conversation(&self) -> Conversation {
        let conversations = &self.world.stores.conversations;
        let found = conversations.conversation(&self.world.owner, self.id).await.unwrap();
        found.expect("the conversation")
    }

    /// What is shown, oldest first. Both orders and the way up from the head agree about it.
    async fn shown(&self) -> Vec<Message> {
        let (conversations, owner) = (&self.world.stores.conversations, &self.world.owner);
        let all = PageRequest::first(200);
        let down = conversations.transcript(owner, self.id, all.clone()).await.unwrap().items;
        let mut up = conversations.messages(owner, self.id, all).await.unwrap().items;
        let path = match self.conversation().await.head_id {
            Some(head) => conversations.path(owner, head, 200).await.unwrap(),
            None => Vec::new(),
        };
        assert_eq!(up, path, "what is shown is the way from the head");
        up.reverse();
        assert_eq!(up, down);
        assert!(up.iter().all(|message| !message.aside));
        up
    }

    async fn texts(&self) -> Vec<String> {
        self.shown().await.into_iter().map(|message| message.text).collect()
    }

    async fn message(&self, id: MessageId) -> Message {
        let conversations = &self.world.stores.conversations;
        let found = conversations.messages_by_id(&self.world.owner, &[id]).await.unwrap();
        found.into_iter().next().expect("the message")
    }

    /// Which version of how many a message is.
    async fn version(&self, id: MessageId) -> (u64, u64) {
        self.message(id)
            .await
            .siblings
            .map_or((1, 1), |siblings| (siblings.nth, siblings.of))
    }
}

/// A message said anew is another version of it; both branches stay, and can be shown again to where they had come.
pub async fn saying_anew(world: &World) {
    let talk = Talk::new(world).await;
    assert_eq!(talk.conversation().await.head_id, None);
    let first = talk.say("one", Place::Newest).await;
    let second = talk.say("two", Place::Newest).await;
    talk.say("three", Place::Newest).await;
    assert_eq!(talk.shown().await[2].siblings, None);
    let anew = talk.say("two, rather", Place::Instead(second.message_id)).await;
    assert_eq!(talk.texts().await, ["one", "re: one", "two, rather", "re: two, rather"]);
    let siblings = talk.message(anew.message_id).await.siblings.expect("versions");
    assert_eq!(
        (siblings.nth, siblings.of, siblings.previous, siblings.next),
        (2, 2, Some(second.message_id), None)
    );
    let left = talk.message(second.message_id).await;
    assert!(left.aside);
    assert_eq!(left.siblings.expect("versions").next, Some(anew.message_id));

    let shown = talk.show(second.message_id).await.unwrap();
    assert_eq!(
        talk.texts().await,
        ["one", "re: one", "two", "re: two", "three", "re: three"],
        "up to the newest"
    );
    assert_eq!(shown, talk.conversation().await);
    // What is shown already stays as it is.
    talk.show(first.reply_id).await.unwrap();
    assert_eq!(talk.texts().await.len(), 6);

    // The very first one, too.
    talk.say("zero", Place::Instead(first.message_id)).await;
    assert_eq!(talk.texts().await, ["zero", "re: zero"]);
    assert_eq!(talk.version(first.message_id).await, (1, 2));
    talk.show(anew.message_id).await.unwrap();
    assert_eq!(talk.texts().await, ["one", "re: one", "two, rather", "re: two, rather"]);
}

/// A conversation goes on at any message, beside what has followed it.
pub async fn branching(world: &World) {
    let talk = Talk::new(world).await;
    let first = talk.say("one", Place::Newest).await;
    talk.say("two", Place::Newest).await;
    let other = talk.say("or two", Place::After(first.reply_id)).await;
    assert_eq!(talk.texts().await, ["one", "re: one", "or two", "re: or two"]);
    assert_eq!(talk.version(other.message_id).await, (2, 2));
    talk.say("three", Place::Newest).await;
    assert_eq!(talk.texts().await.len(), 6);

    // The same request is answered the same; at another place it is another one.
    let keyed = |place| NewTurn {
        place,
        idempotency_key: Some("once".into()),
        ..world.turn(talk.id, "four")
    };
    let runs = &world.stores.runs;
    let receipt = runs
        .start_turn(&world.owner, keyed(Place::After(first.reply_id)))
        .await
        .unwrap();
    let again = runs
        .start_turn(&world.owner, keyed(Place::After(first.reply_id)))
        .await
        .unwrap();
    assert_eq!(receipt, again);
    assert_refused(runs.start_turn(&world.owner, keyed(Place::Newest)).await, Refusal::KeyReused);
    talk.answer("re: four").await;
    assert_eq!(talk.version(receipt.message_id).await, (3, 3));

    // What is searched for is found on all branches, and marked.
    let found = world
        .stores
        .conversations
        .search(&world.owner, "two", PageRequest::first(9))
        .await
        .unwrap();
    assert_eq!(found.items.len(), 4);
    assert!(found.items.iter().all(|hit| hit.aside));
}

/// A reply that is asked for again is another version of the one that was shown, wherever that stands.
pub async fn answering_anew(world: &World) {
    let talk = Talk::new(world).await;
    let first = talk.say("one", Place::Newest).await;
    talk.say("two", Place::Newest).await;
    let anew = talk.again(first.message_id, RetryMode::Restart).await.unwrap();
    assert_eq!(talk.texts().await, ["one"], "while it is written");
    talk.answer("again: one").await;
    assert_eq!(talk.texts().await, ["one", "again: one"]);
    assert_eq!(talk.version(anew.reply_id).await, (2, 2));
    assert_eq!(talk.message(anew.reply_id).await.answers_id, Some(first.message_id));
    talk.show(first.reply_id).await.unwrap();
    assert_eq!(talk.texts().await, ["one", "re: one", "two", "re: two"]);
    // On a branch that is not shown, the message comes into sight with its new answer.
    let third = talk.say("three", Place::Instead(first.message_id)).await;
    talk.again(first.message_id, RetryMode::Restart).await.unwrap();
    talk.answer("once more: one").await;
    assert_eq!(talk.texts().await, ["one", "once more: one"]);
    assert!(talk.message(third.message_id).await.aside);
    assert_refused(talk.again(third.message_id, RetryMode::Continue).await, Refusal::MovedOn);
}

/// What answers late is told where it was asked: in sight if that is shown, else on the branch that was left.
pub async fn answering_late(world: &World) {
    let talk = Talk::new(world).await;
    let first = talk.say("one", Place::Newest).await;
    let asked = talk.begin("two", Place::Newest).await.unwrap();
    let claim = world.claim().await.expect("a run");
    let (runs, env) = (&world.stores.runs, &world.env);
    runs.pause(&world.owner, claim.run.id, true).await.unwrap();
    let suspension = Suspension {
        reply: Some(reply("One moment.")),
        next_reply: env.id(),
    };
    let event = RunEvent::Suspended {
        reply: Some(MessageStatus::Complete),
        next_reply: suspension.next_reply,
        usage: Usage::default(),
        cost_micros: None,
    };
    let commit = crate::domain::Commit {
        then: Then::Suspend(suspension),
        ..crate::domain::Commit::of(env.id(), vec![event.into()])
    };
    let log = &world.stores.run_log;
    log.commit(claim.run.id, claim.lease, 2, commit).await.unwrap();
    talk.say("or this", Place::Instead(first.message_id)).await;
    runs.pause(&world.owner, claim.run.id, false).await.unwrap();
    let resumed = world.claim().await.expect("the run goes on");
    let settlement = Settlement {
        status: RunStatus::Done,
        reason: None,
        reply: Some(reply("Two!")),
    };
    let (run, last) = (resumed.run.id, resumed.run.last_seq);
    log.settle(run, resumed.lease, last, env.id(), Vec::new(), settlement)
        .await
        .unwrap();
    assert_eq!(talk.texts().await, ["or this", "re: or this"], "it comes between nothing");
    talk.show(asked.message_id).await.unwrap();
    assert_eq!(talk.texts().await, ["one", "re: one", "two", "One moment.", "Two!"]);
    let late = talk.shown().await.pop().unwrap();
    assert_eq!(late.answers_id, Some(asked.message_id));
}

fn reply(text: &str) -> Reply {
    Reply {
        status: MessageStatus::Complete,
        text: text.into(),
        trace: MessageTrace::default(),
    }
}

/// Branches are their person's own, and nothing moves while a reply is being written.
pub async fn places_that_are_none(world: &World) {
    let talk = Talk::new(world).await;
    let first = talk.say("one", Place::Newest).await;
    let elsewhere = Talk::new(world).await.say("elsewhere", Place::Newest).await;
    let theirs = world.conversation(&world.member).await;
    let theirs = world.ask(&world.member, theirs.id, "theirs").await;
    let claim = world.claim().await.expect("a run");
    world.end(&claim, 1, Some("yours")).await;
    for unknown in [elsewhere.message_id, theirs.message_id, world.env.id()] {
        for place in [Place::After(unknown), Place::Instead(unknown)] {
            assert_refused(talk.begin("two", place).await, Refusal::NoSuchPlace);
        }
        assert_refused(talk.show(unknown).await, Refusal::NoSuchPlace);
    }
    assert_refused(
        talk.begin("two", Place::Instead(first.reply_id)).await,
        Refusal::NotYourMessage,
    );
    let conversations = &world.stores.conversations;
    let path = conversations.path(&world.owner, theirs.message_id, 9).await.unwrap();
    assert_eq!(path, []);
    let one = conversations.path(&world.owner, first.reply_id, 1).await.unwrap();
    assert_eq!(one.len(), 1);
    for other in [&world.member, &world.stranger] {
        let refused = conversations.show(other, talk.id, first.message_id).await;
        assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
    }
    let agent: Caller = world.agent_of(&world.owner).await;
    assert_refused(
        conversations.show(&agent, talk.id, first.message_id).await,
        Refusal::PeopleOnly,
    );

    let second = talk.say("two", Place::Instead(first.message_id)).await;
    talk.begin("three", Place::Newest).await.unwrap();
    for place in [Place::After(first.reply_id), Place::Instead(second.message_id)] {
        assert_refused(talk.begin("four", place).await, Refusal::ReplyActive);
    }
    assert_refused(talk.show(first.message_id).await, Refusal::ReplyActive);
    talk.answer("re: three").await;
    assert_eq!(talk.texts().await, ["two", "re: two", "three", "re: three"]);
}

/// Whatever is said, answered again and shown, in whatever order: the conversation shows one way through the tree, nothing is lost,
/// and each message stands where it was put.
pub async fn any_tree(world: &World) {
    for seed in 0..4 {
        any_tree_of(world, seed).await;
    }
}

async fn any_tree_of(world: &World, seed: u64) {
    let talk = Talk::new(world).await;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // Each message with the one before it, as they should be.
    let mut parents: BTreeMap<MessageId, (Option<MessageId>, MessageRole)> = BTreeMap::new();
    let mut head: Option<MessageId> = None;
    for step in 0..24 {
        let known: Vec<(MessageId, MessageRole)> = parents.iter().map(|(id, (_, role))| (*id, *role)).collect();
        let mine: Vec<MessageId> = known
            .iter()
            .filter(|(_, role)| *role == MessageRole::User)
            .map(|(id, _)| *id)
            .collect();
        let any = known.choose(&mut random).map(|(id, _)| *id);
        let own = mine.choose(&mut random).copied();
        let place = match (random.random_range(0..5), any, own) {
            (1, Some(any), _) => Place::After(any),
            (2, _, Some(own)) => Place::Instead(own),
            (3, _, Some(own)) => {
                let shown = way(&parents, head);
                let anew = talk.again(own, RetryMode::Restart).await.unwrap();
                talk.answer(&format!("again {step}")).await;
                // Where the reply to it stands that was shown, or right after it.
                let replaced = shown.iter().rev().find(|id| {
                    let (parent, role) = parents[*id];
                    role == MessageRole::Assistant && parent == Some(own)
                });
                assert!(replaced.is_none_or(|id| parents[id].0 == Some(own)));
                parents.insert(anew.reply_id, (Some(own), MessageRole::Assistant));
                head = Some(anew.reply_id);
                continue;
            }
            (4, Some(any), _) => {
                let shown = talk.show(any).await.unwrap();
                head = shown.head_id;
                assert!(way(&parents, head).contains(&any));
                continue;
            }
            _ => Place::Newest,
        };
        let receipt = talk.say(&format!("say {step}"), place).await;
        let before = match place {
            Place::Newest => head,
            Place::After(message) => Some(message),
            Place::Instead(message) => parents[&message].0,
        };
        parents.insert(receipt.message_id, (before, MessageRole::User));
        parents.insert(receipt.reply_id, (Some(receipt.message_id), MessageRole::Assistant));
        head = Some(receipt.reply_id);
        let shown: Vec<MessageId> = talk.shown().await.iter().rev().map(|message| message.id).collect();
        assert_eq!(shown, way(&parents, head), "seed {seed}, step {step}");
    }
    for (id, (before, _)) in &parents {
        let message = talk.message(*id).await;
        assert_eq!(message.parent_id, *before);
        assert_eq!(message.aside, !way(&parents, head).contains(id));
        let versions = parents.values().filter(|(one, role)| one == before && *role == message.role);
        assert_eq!(talk.version(*id).await.1, versions.count() as u64);
    }
}

/// The way from a message to the root.
fn way(parents: &BTreeMap<MessageId, (Option<MessageId>, MessageRole)>, from: Option<MessageId>) -> Vec<MessageId> {
    std::iter::successors(from, |id| parents[id].0).collect()
}
