//! [`crate::ports::NoticeStore`], and how far a redaction reaches into people's chats.

use super::{World, Writes, assert_refused, memories::fact};
use crate::{
    caller::Caller,
    domain::{
        Claim, LogRange, Memory, Message, MessageStatus, MessageTrace, NewEvent, NewMemory, NewTurn, Notice, NoticeAction,
        PageRequest, Provenance, RedactionReceipt, Reply, RetryMode, RetryTurn, RunEvent, RunOutcome, RunStatus, Settlement,
        TurnLimits, TurnReceipt, Usage,
    },
    error::StoreError,
    ids::{ConversationId, MessageId, RedactionId},
    ports::ChainCheck,
    refusal::Refusal,
};

/// A shared memory of the caller.
pub async fn remember(world: &World, caller: &Caller, text: &str) -> Memory {
    let memory = fact(&world.env, text);
    world.stores.memories.remember(caller, memory, None).await.unwrap()
}

/// Ends a run after `after` events with a reply in this state.
async fn end(world: &World, claim: &Claim, after: u64, status: MessageStatus) {
    let (run, outcome) = match status {
        MessageStatus::Interrupted => (RunStatus::Interrupted, RunOutcome::Interrupted),
        _ => (RunStatus::Done, RunOutcome::Completed),
    };
    let finished = RunEvent::Finished {
        outcome,
        reply: Some(status),
        usage: Usage::default(),
        cost_micros: None,
    };
    let settlement = Settlement {
        status: run,
        reason: None,
        reply: Some(Reply {
            status,
            text: "Kiwi, you said.".into(),
            trace: MessageTrace::default(),
        }),
    };
    let log = &world.stores.run_log;
    log.settle(
        claim.run.id,
        claim.lease,
        after,
        world.env.id(),
        vec![finished.into()],
        settlement,
    )
    .await
    .unwrap();
}

/// A turn of the caller whose run recalled the memory, with its conversation; it stays active, or ends with its reply in this
/// state.
async fn recalled_until(
    world: &World,
    caller: &Caller,
    memory: &Memory,
    status: Option<MessageStatus>,
) -> (ConversationId, TurnReceipt) {
    let conversation = world.conversation(caller).await;
    let receipt = world.ask(caller, conversation.id, "What is the canary called?").await;
    let claim = world.claim().await.expect("a run to claim");
    let known = NewEvent {
        event: RunEvent::Delta {
            step: 1,
            text: "Kiwi, you".into(),
        },
        mentions: vec![memory.id],
    };
    let log = &world.stores.run_log;
    log.append(claim.run.id, claim.lease, 1, world.env.id(), vec![known])
        .await
        .unwrap();
    if let Some(status) = status {
        end(world, &claim, 2, status).await;
    }
    (conversation.id, receipt)
}

/// A turn of the caller whose run recalled the memory; it stays active unless `ends` is set.
pub async fn recalled(world: &World, caller: &Caller, memory: &Memory, ends: bool) -> TurnReceipt {
    recalled_until(world, caller, memory, ends.then_some(MessageStatus::Complete))
        .await
        .1
}

async fn message(world: &World, caller: &Caller, id: MessageId) -> Message {
    let found = world.stores.conversations.messages_by_id(caller, &[id]).await.unwrap();
    found.into_iter().next().expect("the message")
}

/// Whether the reply still has text, and whether the run still has payloads.
pub async fn speaks(world: &World, caller: &Caller, turn: &TurnReceipt) -> (bool, bool) {
    let reply = message(world, caller, turn.reply_id).await;
    let log = world
        .stores
        .runs
        .events(caller, turn.run_id, LogRange::whole(0, 100))
        .await
        .unwrap();
    (!reply.text.is_empty(), log.events.iter().all(|stored| stored.event.is_some()))
}

/// The caller's open notices.
pub async fn open(world: &World, caller: &Caller) -> Vec<Notice> {
    let page = world.stores.notices.list(caller, PageRequest::first(10)).await.unwrap();
    page.items
}

/// Redacts a memory as the caller.
pub async fn redact(world: &World, caller: &Caller, memory: &Memory) -> RedactionReceipt {
    let redaction = world.env.id();
    world.stores.memories.redact(caller, memory.id, redaction).await.unwrap()
}

/// A member's redaction reaches only their own chats. Others decide about theirs through a notice.
pub async fn others_decide_about_their_replies(world: &World) {
    let memory = remember(world, &world.member, "The canary is called Kiwi").await;
    let (own, first, second) = (
        recalled(world, &world.member, &memory, true).await,
        recalled(world, &world.owner, &memory, true).await,
        recalled(world, &world.owner, &memory, true).await,
    );
    redact(world, &world.member, &memory).await;
    assert_eq!(speaks(world, &world.member, &own).await, (false, false));
    for turn in [&first, &second] {
        assert_eq!(speaks(world, &world.owner, turn).await, (true, true), "not the asker's");
    }
    assert!(
        open(world, &world.member).await.is_empty(),
        "nobody is told of what they did themselves"
    );
    assert!(open(world, &world.stranger).await.is_empty());
    let notices = open(world, &world.owner).await;
    let [notice] = &notices[..] else {
        panic!("one notice, not {notices:?}")
    };
    assert_eq!(
        (notice.memory_id, notice.redacted_by, notice.settled),
        (memory.id, world.member.user, None)
    );
    let replies: Vec<_> = notice.replies.iter().map(|reply| (reply.run_id, reply.message_id)).collect();
    assert_eq!(replies, [(second.run_id, second.reply_id), (first.run_id, first.reply_id)]);

    let notices = &world.stores.notices;
    for other in [&world.member, &world.stranger] {
        let refused = notices.settle(other, notice.id, NoticeAction::Blank).await;
        assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
    }
    assert_refused(
        notices
            .settle(&world.agent_of(&world.owner).await, notice.id, NoticeAction::Blank)
            .await,
        Refusal::PeopleOnly,
    );
    let settled = notices.settle(&world.owner, notice.id, NoticeAction::Blank).await.unwrap();
    assert_eq!(settled.settled, Some(NoticeAction::Blank));
    for turn in [&first, &second] {
        assert_eq!(speaks(world, &world.owner, turn).await, (false, false));
        assert!(
            !message(world, &world.owner, turn.message_id).await.text.is_empty(),
            "their own words stay"
        );
    }
    assert!(open(world, &world.owner).await.is_empty());
    let again = notices.settle(&world.owner, notice.id, NoticeAction::Dismiss).await.unwrap();
    assert_eq!(again, settled, "the first decision stands");
    assert!(matches!(
        world.stores.audit.verify(&world.owner).await.unwrap(),
        ChainCheck::Intact(_)
    ));
}

/// Dismissed replies stay; a notice cannot be settled while a reply is being written.
pub async fn notices_are_dismissed(world: &World) {
    let memory = remember(world, &world.member, "The canary is called Kiwi").await;
    let done = recalled(world, &world.owner, &memory, true).await;
    redact(world, &world.member, &memory).await;
    let notice = open(world, &world.owner).await.remove(0);
    let settled = world
        .stores
        .notices
        .settle(&world.owner, notice.id, NoticeAction::Dismiss)
        .await
        .unwrap();
    assert_eq!(
        (settled.settled, settled.settled_at.is_some()),
        (Some(NoticeAction::Dismiss), true)
    );
    assert_eq!(speaks(world, &world.owner, &done).await, (true, true));
    assert!(open(world, &world.owner).await.is_empty());

    let other = remember(world, &world.member, "The cat is called Mango").await;
    let goes_on = recalled(world, &world.owner, &other, false).await;
    redact(world, &world.member, &other).await;
    let notice = open(world, &world.owner).await.remove(0);
    let refused = world
        .stores
        .notices
        .settle(&world.owner, notice.id, NoticeAction::Blank)
        .await;
    assert_refused(refused, Refusal::ReplyOfNoticeActive { run: goes_on.run_id });
    assert_eq!(notice.replies[0].run_id, goes_on.run_id);
    assert_eq!(open(world, &world.owner).await.len(), 1, "it waits for the end of the reply");
}

/// An owner's redaction reaches everybody's chats, so nobody has to decide.
pub async fn an_owner_redacts_for_everybody(world: &World) {
    let memory = remember(world, &world.owner, "The canary is called Kiwi").await;
    let own = recalled(world, &world.owner, &memory, true).await;
    let members = recalled(world, &world.member, &memory, true).await;
    redact(world, &world.owner, &memory).await;
    assert_eq!(speaks(world, &world.owner, &own).await, (false, false));
    assert_eq!(speaks(world, &world.member, &members).await, (false, false));
    assert!(open(world, &world.member).await.is_empty());
}

/// After a redaction, nothing kept of a request lets its text be guessed, and sending the request again does not bring the text
/// back.
pub async fn redaction_takes_the_hash_of_the_request(world: &World) {
    let conversation = world.conversation(&world.member).await;
    let turn = NewTurn {
        idempotency_key: Some("once".into()),
        ..world.turn(conversation.id, "My canary is called Kiwi")
    };
    let sent = world.stores.runs.start_turn(&world.member, turn.clone()).await.unwrap();
    world.stores.runs.cancel(&world.member, sent.run_id).await.unwrap();
    let memory = NewMemory {
        provenance: Provenance {
            message_id: Some(sent.message_id),
            ..Provenance::default()
        },
        ..fact(&world.env, "The canary is called Kiwi")
    };
    let memory = world.stores.memories.remember(&world.member, memory, None).await.unwrap();
    let receipt = redact(world, &world.member, &memory).await;
    let hashes = receipt.removed.iter().find(|removed| removed.place == "idempotency_keys");
    assert_eq!(hashes.map(|removed| removed.count), Some(1));
    let again = NewTurn {
        message_id: world.env.id(),
        run_id: world.env.id(),
        reply_id: world.env.id(),
        ..turn
    };
    let again = world.stores.runs.start_turn(&world.member, again).await;
    assert_refused(again, Refusal::KeyReused);
    assert!(message(world, &world.member, sent.message_id).await.text.is_empty());
}

/// A redaction's id is unique per person: a redaction by somebody else under the same id is unrelated.
pub async fn a_notice_is_about_the_redaction_of_one_person(world: &World) {
    let (members, owners) = (
        remember(world, &world.member, "The canary is called Kiwi").await,
        remember(world, &world.owner, "The cat is called Mango").await,
    );
    let told = recalled(world, &world.owner, &members, true).await;
    recalled(world, &world.owner, &owners, true).await;
    let redaction: RedactionId = world.env.id();
    for (caller, memory) in [(&world.member, &members), (&world.owner, &owners)] {
        world.stores.memories.redact(caller, memory.id, redaction).await.unwrap();
    }
    let notice = open(world, &world.owner).await.remove(0);
    let runs: Vec<_> = notice.replies.iter().map(|reply| reply.run_id).collect();
    assert_eq!(runs, [told.run_id]);
}

/// A run that continues a reply keeps its beginning without naming its memories: it is blanked with the reply, and must end first.
pub async fn blanking_reaches_what_continued_a_reply(world: &World) {
    let memory = remember(world, &world.member, "The canary is called Kiwi").await;
    let (_, first) = recalled_until(world, &world.owner, &memory, Some(MessageStatus::Interrupted)).await;
    let onwards = RetryTurn {
        message_id: first.message_id,
        run_id: world.env.id(),
        reply_id: world.env.id(),
        mode: RetryMode::Continue,
        limits: TurnLimits::default(),
    };
    let second = world.stores.runs.retry_turn(&world.owner, onwards).await.unwrap();
    assert_eq!(second.reply_id, first.reply_id);
    redact(world, &world.member, &memory).await;
    let notice = open(world, &world.owner).await.remove(0);
    let notices = &world.stores.notices;
    let refused = notices.settle(&world.owner, notice.id, NoticeAction::Blank).await;
    assert_refused(refused, Refusal::ReplyOfNoticeActive { run: second.run_id });
    end(
        world,
        &world.claim().await.expect("a run to claim"),
        1,
        MessageStatus::Complete,
    )
    .await;
    assert_eq!(speaks(world, &world.owner, &second).await, (true, true));
    notices.settle(&world.owner, notice.id, NoticeAction::Blank).await.unwrap();
    for turn in [&first, &second] {
        assert_eq!(speaks(world, &world.owner, turn).await, (false, false));
    }
}

/// Replies in deleted conversations no longer exist: they are not listed, and neither is a notice that names no others.
pub async fn notices_are_about_what_is_there(world: &World) {
    let stays = remember(world, &world.member, "The cat is called Mango").await;
    recalled(world, &world.owner, &stays, true).await;
    redact(world, &world.member, &stays).await;
    let memory = remember(world, &world.member, "The canary is called Kiwi").await;
    let (first, _) = recalled_until(world, &world.owner, &memory, Some(MessageStatus::Complete)).await;
    let (second, kept) = recalled_until(world, &world.owner, &memory, Some(MessageStatus::Complete)).await;
    redact(world, &world.member, &memory).await;
    assert_eq!(open(world, &world.owner).await[0].replies.len(), 2);

    let conversations = &world.stores.conversations;
    conversations.delete(&world.owner, first).await.unwrap();
    let notices = open(world, &world.owner).await;
    let runs: Vec<_> = notices[0].replies.iter().map(|reply| reply.run_id).collect();
    assert_eq!((notices.len(), &runs[..]), (2, &[kept.run_id][..]));
    conversations.delete(&world.owner, second).await.unwrap();
    let page = world.stores.notices.list(&world.owner, PageRequest::first(1)).await.unwrap();
    let listed: Vec<_> = page.items.iter().map(|notice| notice.memory_id).collect();
    assert_eq!((&listed[..], page.next_cursor), (&[stays.id][..], None));
}
