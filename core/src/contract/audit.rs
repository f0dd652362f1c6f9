//! [`crate::ports::AuditLog`].

use serde_json::json;

use super::{World, assert_refused, memories::fact};
use crate::{
    domain::{AgentEdit, AuditOutcome, NewAuditEntry, NewMemory, PageRequest},
    ports::ChainCheck,
    refusal::Refusal,
};

/// Entries are numbered, chained, also written by the stores' own actions, and readable by owners alone.
pub async fn entries_and_chain(world: &World) {
    let audit = &world.stores.audit;
    let before = audit.entries(&world.owner, PageRequest::first(200)).await.unwrap().items;
    assert!(!before.is_empty(), "set-up is on record");
    let companion = world.companion(&world.owner).await;
    let edit = AgentEdit {
        prompt: Some("A secret prompt.".into()),
        ..AgentEdit::default()
    };
    world
        .stores
        .agents
        .edit_agent(&world.owner, companion.id, 1, edit)
        .await
        .unwrap();
    let own = NewAuditEntry {
        action: "auth.sign_in".into(),
        target: "session:1".into(),
        outcome: AuditOutcome::Refused,
        details: json!({ "n": 1 }),
    };
    let entry = audit.append(&world.member, own).await.unwrap();
    assert_eq!(
        (entry.actor, entry.action.as_str(), entry.outcome),
        (world.member.user, "auth.sign_in", AuditOutcome::Refused)
    );

    let after = audit.entries(&world.owner, PageRequest::first(200)).await.unwrap().items;
    assert_eq!(after.len(), before.len() + 2, "the edit recorded itself");
    assert_eq!(after[0], entry);
    let seqs: Vec<u64> = after.iter().rev().map(|entry| entry.seq).collect();
    assert_eq!(seqs, (1..=after.len() as u64).collect::<Vec<_>>());
    assert!(!format!("{after:?}").contains("secret prompt"), "no content in the log");
    assert_refused(
        audit.entries(&world.member, PageRequest::first(10)).await,
        Refusal::OwnersOnly,
    );
    assert_refused(audit.verify(&world.member).await, Refusal::OwnersOnly);

    let page = audit.entries(&world.owner, PageRequest::first(2)).await.unwrap();
    let rest = audit
        .entries(
            &world.owner,
            PageRequest {
                cursor: page.next_cursor,
                limit: 200,
            },
        )
        .await
        .unwrap();
    assert_eq!([page.items, rest.items].concat(), after);
    let stretch = PageRequest {
        cursor: Some(after[0].seq.to_string()),
        limit: 1,
    };
    let stretch = audit.entries(&world.owner, stretch).await.unwrap();
    assert_eq!(stretch.items, after[1..2], "the cursor is a place in the log");

    let claim = world.claimed().await;
    assert!(
        matches!(audit.verify(&world.owner).await.unwrap(), ChainCheck::Intact(rows) if rows > after.len() as u64),
        "{:?}",
        claim.run.id
    );
}

/// Each memory is on record once, under its person and by its id alone, even if an agent wrote it.
pub async fn memories_are_on_record(world: &World) {
    let (audit, memories) = (&world.stores.audit, &world.stores.memories);
    let before = audit.entries(&world.owner, PageRequest::first(200)).await.unwrap().items;
    let first = fact(&world.env, "The canary is called Tangerine");
    for _ in 0..2 {
        memories.remember(&world.member, first.clone(), None).await.unwrap();
    }
    let (_claim, agent) = world.agent_at_work(&world.member).await;
    let second = NewMemory {
        supersedes: Some(first.id),
        ..fact(&world.env, "The canary is called Clementine")
    };
    for _ in 0..2 {
        memories.remember(&agent, second.clone(), None).await.unwrap();
    }
    let refused = NewMemory {
        supersedes: Some(first.id),
        ..fact(&world.env, "The canary is called Satsuma")
    };
    memories.remember(&agent, refused, None).await.unwrap_err();

    let after = audit.entries(&world.owner, PageRequest::first(200)).await.unwrap().items;
    assert_eq!(
        after.len(),
        before.len() + 2,
        "once each, and nothing for what was not done: {after:?}"
    );
    let acting = agent.agent.as_ref().unwrap();
    let expected = [
        (world.member.user, Some(acting.agent), second.id),
        (world.member.user, None, first.id),
    ];
    for (entry, (actor, agent, memory)) in after.iter().zip(expected) {
        assert_eq!((entry.actor, entry.agent_id), (actor, agent));
        assert_eq!((entry.action.as_str(), entry.outcome), ("memory.create", AuditOutcome::Done));
        assert_eq!(entry.target, format!("memory:{memory}"));
    }
    assert_eq!(after[0].details, json!({"supersedes": first.id, "run": acting.run}));
    assert_eq!(after[1].details, json!({"supersedes": null, "run": null}));
    let said = format!("{after:?}");
    assert!(!said.contains("canary"), "no text in the log");
    assert!(matches!(audit.verify(&world.owner).await.unwrap(), ChainCheck::Intact(_)));
    assert!(
        audit
            .entries(&world.stranger, PageRequest::first(200))
            .await
            .unwrap()
            .items
            .iter()
            .all(|entry| entry.action != "memory.create")
    );
}
