//! [`crate::ports::AuditLog`].

use serde_json::json;

use super::{World, assert_denied};
use crate::{
    domain::{AgentEdit, AuditOutcome, NewAuditEntry, PageRequest},
    ports::ChainCheck,
};

/// Entries are numbered, chained, written by the stores' own actions too, and read by owners alone.
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
    assert_denied(audit.entries(&world.member, PageRequest::first(10)).await, "owner");
    assert_denied(audit.verify(&world.member).await, "owner");

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

    let claim = world.claimed().await;
    assert!(
        matches!(audit.verify(&world.owner).await.unwrap(), ChainCheck::Intact(rows) if rows > after.len() as u64),
        "{:?}",
        claim.run.id
    );
}
