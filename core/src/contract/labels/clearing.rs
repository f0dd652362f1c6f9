//! A person clears a label: what that changes, who may do it, and what stays.

use serde_json::{Value, json};

use super::{
    answered, listed, local_only,
    probe::{Talk, calls, says},
    untrusted,
};
use crate::{
    contract::{
        World, assert_refused,
        memories::{fact, vector},
    },
    domain::{
        Bar, Egress, Label, LabelEdit, Labels, Locality, Memory, MemoryEdit, MessageStatus, NewMemory, PageRequest, Provenance,
        RecallMode, RecallQuery, RetryMode, RetryTurn, ReviewState, RunStatus, Taint, TurnLimits, Visibility,
    },
    error::StoreError,
    ids::MemoryId,
    refusal::{Named, Refusal},
};

fn clearing(labels: &[Label]) -> LabelEdit {
    LabelEdit {
        clear: labels.iter().copied().collect(),
    }
}

/// Targets and details of the entries about cleared labels, oldest first.
async fn on_record(world: &World) -> Vec<(String, Value)> {
    let page = world
        .stores
        .audit
        .entries(&world.owner, PageRequest::first(200))
        .await
        .unwrap();
    let entries = page
        .items
        .into_iter()
        .rev()
        .filter(|entry| entry.action.ends_with(".clear_label"));
    entries
        .map(|entry| {
            assert_eq!(entry.agent_id, None);
            assert!(entry.target.starts_with(entry.action.split('.').next().unwrap()), "{entry:?}");
            (entry.target, entry.details)
        })
        .collect()
}

/// When a person clears the label that an untrusted text left on a conversation, later turns no longer have it. The runs that read
/// the text keep it on record.
pub async fn a_conversation_is_trusted_again(world: &World) {
    let (memories, conversations) = (&world.stores.memories, &world.stores.conversations);
    let outside = NewMemory {
        taint: Taint::Untrusted,
        ..fact(&world.env, "The invoice account is 999")
    };
    let outside = memories.remember(&world.owner, outside, None).await.unwrap();
    let talk = Talk::new(world, &world.owner).await;
    talk.script(vec![
        calls(&[("recall", json!({"query": "invoice account"}))]),
        says("It is 999."),
    ]);
    let (first, _) = talk.turn("Where do I pay?").await;
    let memory = memories
        .clear_labels(&world.owner, outside.id, clearing(&[Label::Integrity]))
        .await
        .unwrap();
    assert_eq!(
        memory,
        Memory {
            taint: Taint::Trusted,
            ..outside
        }
    );
    let (second, _) = talk.turn("Good").await;
    assert_eq!(
        (first.labels, second.labels),
        (untrusted(), untrusted()),
        "the history has it"
    );

    let page = conversations
        .messages(&world.owner, talk.conversation, PageRequest::first(9))
        .await
        .unwrap();
    let mut targets = vec![format!("memory:{}", memory.id)];
    for message in page.items.into_iter().filter(|message| message.labels != Labels::default()) {
        let cleared = conversations
            .clear_labels(&world.owner, message.id, clearing(&[Label::Integrity]))
            .await
            .unwrap();
        targets.push(format!("message:{}", message.id));
        assert_eq!(cleared.labels, Labels::default());
        let read = conversations.messages_by_id(&world.owner, &[message.id]).await.unwrap();
        assert_eq!(read, [cleared]);
    }
    assert_eq!(targets.len(), 3, "both replies were marked");
    let remember = json!({"text": "Ana pays to 999", "kind": "fact", "shared": true});
    talk.script(vec![calls(&[("remember", remember)]), says("Done.")]);
    let (third, reply) = talk.turn("Keep that").await;
    assert_eq!((third.labels, reply.unwrap().labels), (Labels::default(), Labels::default()));
    let kept = listed(world)
        .await
        .into_iter()
        .find(|memory| memory.text == "Ana pays to 999")
        .unwrap();
    assert_eq!(
        (kept.taint, kept.review, kept.visibility),
        (Taint::Trusted, ReviewState::Accepted, Visibility::Shared)
    );
    for run in [first, second] {
        let run = world.stores.runs.run(&world.owner, run.id).await.unwrap().unwrap();
        assert_eq!(run.labels, untrusted());
    }
    let details = json!({"labels": ["integrity"]});
    let expected: Vec<_> = targets.into_iter().map(|target| (target, details.clone())).collect();
    assert_eq!(on_record(world).await, expected, "by ids and names alone");
}

/// Only the named labels are cleared; labels that are not set are ignored and not recorded.
pub async fn each_label_is_cleared_by_itself(world: &World) {
    let conversations = &world.stores.conversations;
    let conversation = world.conversation(&world.owner).await;
    let all = Labels::from_bits(15);
    let receipt = answered(world, conversation.id, all, MessageStatus::Interrupted, "Once upon").await;
    let reply = receipt.reply_id;
    let mut left = all;
    for label in [Label::Others, Label::Integrity, Label::Sensitive, Label::Egress] {
        left = left.without(&[label].into());
        for _ in 0..2 {
            let edit = clearing(&[label]);
            let cleared = conversations.clear_labels(&world.owner, reply, edit).await.unwrap();
            assert_eq!((cleared.labels, cleared.text.as_str()), (left, "Once upon"));
        }
    }
    assert_eq!(left, Labels::default());
    let record = on_record(world).await;
    let named: Vec<&Value> = record.iter().map(|(_, details)| &details["labels"][0]).collect();
    assert_eq!(named, ["others", "integrity", "sensitive", "egress"], "once each");
    let plain = conversations
        .clear_labels(&world.owner, receipt.message_id, clearing(Label::ALL))
        .await
        .unwrap();
    assert_eq!(plain.labels, Labels::default());
    assert_eq!(on_record(world).await, record);
    let nothing = conversations.clear_labels(&world.owner, reply, LabelEdit::default()).await;
    assert_refused(nothing, Refusal::NoLabel);

    // The model reads the tools and sources of the reply's beginning again.
    let talk = Talk::new(world, &world.owner).await;
    let (run, reply) = talk.retry(receipt.message_id, RetryMode::Continue).await;
    assert_eq!((run.labels, reply.unwrap().labels), (all, all));
}

/// A text for local models only reaches remote ones once its person opens it.
pub async fn a_cleared_text_may_leave(world: &World) {
    let talk = Talk::new(world, &world.owner).await;
    let receipt = answered(
        world,
        talk.conversation,
        local_only(),
        MessageStatus::Complete,
        "It is Tangerine",
    )
    .await;
    talk.thinks(Locality::Remote).await;
    talk.turn("What is it?").await;
    assert!(!talk.asked(Locality::Remote).contains("Tangerine"));
    let edit = clearing(&[Label::Egress]);
    let cleared = world
        .stores
        .conversations
        .clear_labels(&world.owner, receipt.reply_id, edit)
        .await;
    assert_eq!(cleared.unwrap().labels, Labels::default());
    let (run, _) = talk.turn("And now?").await;
    assert!(talk.asked(Locality::Remote).contains("It is Tangerine"));
    assert_eq!(run.labels, Labels::default());

    // What a reply read before it broke off stays closed: it is not continued elsewhere, and the run says so.
    let broken = answered(world, talk.conversation, local_only(), MessageStatus::Interrupted, "It was").await;
    world
        .stores
        .conversations
        .clear_labels(&world.owner, broken.reply_id, clearing(&[Label::Egress]))
        .await
        .unwrap();
    let (run, _) = talk.retry(broken.message_id, RetryMode::Continue).await;
    assert_eq!(run.status, RunStatus::Failed);
    assert!(run.reason.unwrap().contains("may not leave"));
}

/// Not by an agent or anybody else; not while a run writes or answers it, and not once its text is removed.
pub async fn a_message_is_cleared_by_its_person_alone(world: &World) {
    let conversations = &world.stores.conversations;
    let conversation = world.conversation(&world.owner).await;
    let receipt = answered(world, conversation.id, untrusted(), MessageStatus::Interrupted, "Once upon").await;
    let edit = || clearing(&[Label::Integrity]);
    let agent = world.agent_of(&world.owner).await;
    assert_refused(
        conversations.clear_labels(&agent, receipt.reply_id, edit()).await,
        Refusal::PeopleOnly,
    );
    for other in [&world.member, &world.stranger] {
        let theirs = conversations.clear_labels(other, receipt.reply_id, edit()).await;
        assert!(matches!(theirs, Err(StoreError::NotFound(_))), "{theirs:?}");
    }
    let unknown = conversations.clear_labels(&world.owner, world.env.id(), edit()).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{unknown:?}");

    let retry = RetryTurn {
        message_id: receipt.message_id,
        run_id: world.env.id(),
        reply_id: world.env.id(),
        mode: RetryMode::Continue,
        limits: TurnLimits::default(),
    };
    world.stores.runs.retry_turn(&world.owner, retry).await.unwrap();
    // A run whose claim is dropped is claimed again.
    let mut held = None;
    for claimed in [false, true] {
        if claimed {
            held = world.claim().await;
        }
        for message in [receipt.message_id, receipt.reply_id] {
            let busy = conversations.clear_labels(&world.owner, message, edit()).await;
            assert_refused(busy, Refusal::ReplyActive);
        }
    }

    assert!(held.is_some());
    let elsewhere = world.conversation(&world.owner).await;
    let gone = answered(world, elsewhere.id, untrusted(), MessageStatus::Complete, "It is 999").await;
    let derived = NewMemory {
        provenance: Provenance {
            conversation_id: Some(elsewhere.id),
            message_id: Some(gone.reply_id),
            ..Provenance::default()
        },
        ..fact(&world.env, "It is 999")
    };
    let derived = world.stores.memories.remember(&world.owner, derived, None).await.unwrap();
    let redacted = world.stores.memories.redact(&world.owner, derived.id, world.env.id()).await;
    redacted.unwrap();
    let gone = conversations.clear_labels(&world.owner, gone.reply_id, edit()).await;
    assert_refused(gone, Refusal::Redacted { what: Named::Message });
    assert_eq!(on_record(world).await, [], "what is refused is not done");
}

async fn found(world: &World, mode: RecallMode, locality: Locality) -> Vec<MemoryId> {
    let query = RecallQuery {
        text: "alarm code".into(),
        embedding: Some(vector("m", &[1.0, 0.0])),
        mode,
        limit: 9,
        domains: None,
        locality,
        bar: Bar::NONE,
        now: world.env.now(),
    };
    let answer = world.stores.memories.recall(&world.owner, query).await.unwrap();
    answer.items.into_iter().map(|item| item.memory.id).collect()
}

/// Each label separately: an opened memory is stored and found like any other, as far as its other labels allow.
pub async fn labels_of_a_memory_are_cleared(world: &World) {
    let memories = &world.stores.memories;
    let marked = NewMemory {
        sensitive: true,
        taint: Taint::Untrusted,
        speaker: Some("Ben".into()),
        ..fact(&world.env, "The alarm code is 4711")
    };
    let embedding = Some(vector("m", &[1.0, 0.0]));
    let marked = memories.remember(&world.owner, marked, embedding).await.unwrap();
    let clear = async |labels: &[Label]| memories.clear_labels(&world.owner, marked.id, clearing(labels)).await;
    assert!(found(world, RecallMode::Fts, Locality::Local).await.is_empty());

    let open = clear(&[Label::Sensitive]).await.unwrap();
    assert_eq!(
        open,
        Memory {
            sensitive: false,
            ..marked.clone()
        }
    );
    assert_eq!(
        memories.memories(&world.member, &[marked.id]).await.unwrap(),
        std::slice::from_ref(&open)
    );
    for mode in [RecallMode::Fts, RecallMode::Vector] {
        assert_eq!(found(world, mode, Locality::Local).await, [marked.id], "{mode}");
        assert!(found(world, mode, Locality::Remote).await.is_empty(), "{mode}");
    }
    let here = clear(&[Label::Egress]).await.unwrap();
    assert_eq!(
        here,
        Memory {
            egress: Egress::Any,
            ..open
        }
    );
    for mode in [RecallMode::Fts, RecallMode::Vector] {
        assert_eq!(found(world, mode, Locality::Remote).await, [marked.id], "{mode}");
    }
    let trusted = clear(&[Label::Integrity, Label::Egress]).await.unwrap();
    assert_eq!(
        trusted,
        Memory {
            taint: Taint::Trusted,
            ..here
        }
    );
    assert_eq!(
        clear(&[Label::Integrity, Label::Egress, Label::Sensitive]).await.unwrap(),
        trusted
    );
    for (wrong, why) in [
        (&[][..], Refusal::NoLabel),
        (&[Label::Others], Refusal::NoLabelOfMemory),
        (&[Label::Integrity, Label::Others], Refusal::NoLabelOfMemory),
    ] {
        assert_refused(clear(wrong).await, why);
    }
    let target = format!("memory:{}", marked.id);
    let expected = ["sensitive", "egress", "integrity"].map(|label| (target.clone(), json!({"labels": [label]})));
    assert_eq!(on_record(world).await, expected, "what it had, and once");

    // Several at once; its place in the index is the one that it would have had.
    let twin = NewMemory {
        sensitive: true,
        ..fact(&world.env, "The alarm code was 0815")
    };
    let twin = memories.remember(&world.owner, twin, None).await.unwrap();
    let every = clearing(&[Label::Integrity, Label::Egress, Label::Sensitive]);
    let twin = memories.clear_labels(&world.owner, twin.id, every).await.unwrap();
    assert_eq!(twin.labels(world.owner.user), Labels::default());
    assert_eq!(found(world, RecallMode::Fts, Locality::Remote).await.len(), 2);
    assert_eq!(
        on_record(world).await.last(),
        Some(&(format!("memory:{}", twin.id), json!({"labels": ["egress", "sensitive"]})))
    );
    memories.redact(&world.owner, twin.id, world.env.id()).await.unwrap();
    assert_eq!(found(world, RecallMode::Fts, Locality::Local).await, [marked.id]);
}

/// By its author, or by an owner if it is shared; only its author unseals it. An agent clears nothing, and its proposal still
/// waits.
pub async fn a_memory_is_cleared_by_who_may_edit_it(world: &World) {
    let memories = &world.stores.memories;
    let marked = || NewMemory {
        sensitive: true,
        taint: Taint::Untrusted,
        ..fact(&world.env, "It came by post")
    };
    let owners = memories.remember(&world.owner, marked(), None).await.unwrap();
    let members = memories.remember(&world.member, marked(), None).await.unwrap();
    let hidden = NewMemory {
        visibility: Visibility::Private,
        ..marked()
    };
    let hidden = memories.remember(&world.member, hidden, None).await.unwrap();
    let edit = |label: Label| clearing(&[label]);
    let agent = world.agent_of(&world.owner).await;
    assert_refused(
        memories.clear_labels(&agent, owners.id, edit(Label::Integrity)).await,
        Refusal::PeopleOnly,
    );
    assert_refused(
        memories.clear_labels(&world.member, owners.id, edit(Label::Integrity)).await,
        Refusal::OthersMemory,
    );
    assert_refused(
        memories.clear_labels(&world.owner, members.id, edit(Label::Sensitive)).await,
        Refusal::OthersText,
    );
    for (caller, id) in [
        (&world.owner, hidden.id),
        (&world.stranger, owners.id),
        (&world.owner, world.env.id()),
    ] {
        for label in [Label::Integrity, Label::Sensitive] {
            let absent = memories.clear_labels(caller, id, edit(label)).await;
            assert!(matches!(absent, Err(StoreError::NotFound(_))), "{absent:?}");
        }
    }
    let gone = memories.remember(&world.owner, marked(), None).await.unwrap();
    memories.redact(&world.owner, gone.id, world.env.id()).await.unwrap();
    for label in [Label::Integrity, Label::Sensitive] {
        let redacted = memories.clear_labels(&world.owner, gone.id, edit(label)).await;
        assert_refused(redacted, Refusal::Redacted { what: Named::Memory });
    }
    assert_eq!(on_record(world).await, [], "what is refused is not done");

    for (caller, id, label) in [
        (&world.owner, members.id, Label::Integrity),
        (&world.owner, members.id, Label::Egress),
        (&world.member, members.id, Label::Sensitive),
        (&world.member, hidden.id, Label::Sensitive),
    ] {
        let cleared = memories.clear_labels(caller, id, edit(label)).await.unwrap();
        assert!(!cleared.labels(cleared.user_id).marks().contains(&label), "{label}");
        assert_eq!(
            (cleared.user_id, cleared.text.as_str()),
            (world.member.user, "It came by post")
        );
    }

    let (_claim, at_work) = world.agent_at_work(&world.owner).await;
    let proposal = NewMemory {
        taint: Taint::Untrusted,
        ..fact(&world.env, "Pay to 999")
    };
    let proposal = memories.remember(&at_work, proposal, None).await.unwrap();
    let trusted = memories
        .clear_labels(&world.owner, proposal.id, edit(Label::Integrity))
        .await
        .unwrap();
    assert_eq!((trusted.taint, trusted.review), (Taint::Trusted, ReviewState::Proposed));

    // The author of a replacement cannot unseal it, whether somebody has accepted it or has yet to decide.
    let old = memories
        .remember(&world.owner, fact(&world.env, "Meet at noon"), None)
        .await
        .unwrap();
    let instead = NewMemory {
        supersedes: Some(old.id),
        ..marked()
    };
    let instead = memories.remember(&world.member, instead, None).await.unwrap();
    let accept = MemoryEdit {
        review: Some(ReviewState::Accepted),
        ..MemoryEdit::default()
    };
    for accepted in [false, true] {
        if accepted {
            memories.edit(&world.owner, instead.id, accept.clone()).await.unwrap();
        }
        assert_refused(
            memories.clear_labels(&world.member, instead.id, edit(Label::Sensitive)).await,
            Refusal::ReplacedOthers,
        );
    }
}
