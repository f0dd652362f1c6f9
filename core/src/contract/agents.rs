//! [`crate::ports::AgentStore`].

use super::{World, assert_refused};
use crate::{
    domain::{AgentEdit, AgentKind, PageRequest, Soul},
    error::StoreError,
    refusal::{Named, Refusal},
};

/// The two primaries exist and every member can read them.
pub async fn primaries(world: &World) {
    let agents = world.stores.agents.agents(&world.member).await.unwrap();
    assert_eq!(agents.len(), 2);
    for agent in &agents {
        assert_eq!(
            world.stores.agents.agent(&world.member, agent.id).await.unwrap().as_ref(),
            Some(agent)
        );
        assert!(agent.active && agent.version == 1 && agent.tools.contains("recall"));
    }
    assert!(
        world
            .stores
            .agents
            .agent(&world.owner, world.env.id())
            .await
            .unwrap()
            .is_none()
    );
}

/// Edits name the version they start from, are checked, and leave a primary active.
pub async fn edits(world: &World) {
    let agents = &world.stores.agents;
    let companion = world.companion(&world.owner).await;
    let model = AgentEdit {
        model: Some(Some("ollama/llama3.2".parse().unwrap())),
        ..AgentEdit::default()
    };
    assert_refused(
        agents.edit_agent(&world.member, companion.id, 1, model.clone()).await,
        Refusal::OwnersOnly,
    );
    let edited = agents.edit_agent(&world.owner, companion.id, 1, model.clone()).await.unwrap();
    assert_eq!(
        (edited.version, edited.model.map(|model| model.to_string())),
        (2, Some("ollama/llama3.2".into()))
    );
    assert_refused(
        agents.edit_agent(&world.owner, companion.id, 1, model).await,
        Refusal::AgentChanged,
    );
    let reset = AgentEdit {
        model: Some(None),
        prompt: Some("Be brief.".into()),
        ..AgentEdit::default()
    };
    let edited = agents.edit_agent(&world.owner, companion.id, 2, reset).await.unwrap();
    assert_eq!((edited.model, edited.prompt.as_str()), (None, "Be brief."));
    assert_eq!(agents.agent(&world.owner, companion.id).await.unwrap().unwrap().version, 3);

    let bad = AgentEdit {
        name: Some("  ".into()),
        ..AgentEdit::default()
    };
    assert_refused(
        agents.edit_agent(&world.owner, companion.id, 3, bad).await,
        Refusal::NameLength { what: Named::Agent },
    );
    assert!(matches!(
        agents.edit_agent(&world.owner, world.env.id(), 1, AgentEdit::default()).await,
        Err(StoreError::NotFound(_))
    ));

    let off = AgentEdit {
        active: Some(false),
        ..AgentEdit::default()
    };
    agents.edit_agent(&world.owner, companion.id, 3, off.clone()).await.unwrap();
    let all = agents.agents(&world.owner).await.unwrap();
    let executor = all.iter().find(|agent| agent.kind == AgentKind::ExecutorPrimary).unwrap();
    assert_refused(
        agents.edit_agent(&world.owner, executor.id, 1, off).await,
        Refusal::LastPrimary,
    );
    let conversation = world.conversation(&world.owner).await;
    assert_eq!(
        conversation.agent_id, executor.id,
        "the executor answers where no companion is active"
    );
}

/// The soul is versioned; undoing writes the old text as a new version.
pub async fn souls(world: &World) {
    let agents = &world.stores.agents;
    let first = agents.soul(&world.member).await.unwrap();
    assert_eq!((first.version, first.author), (1, world.owner.user));
    let other = Soul {
        style: "Short.".into(),
        ..first.soul.clone()
    };
    assert_refused(agents.write_soul(&world.member, 1, other.clone()).await, Refusal::OwnersOnly);
    let second = agents.write_soul(&world.owner, 1, other.clone()).await.unwrap();
    assert_eq!((second.version, &second.soul), (2, &other));
    assert_refused(agents.write_soul(&world.owner, 1, other).await, Refusal::SoulChanged);
    agents.write_soul(&world.owner, 2, first.soul.clone()).await.unwrap();
    let versions = agents.soul_versions(&world.member, PageRequest::first(2)).await.unwrap();
    assert_eq!(versions.items.iter().map(|found| found.version).collect::<Vec<_>>(), [3, 2]);
    let rest = agents
        .soul_versions(
            &world.member,
            PageRequest {
                cursor: versions.next_cursor,
                limit: 2,
            },
        )
        .await
        .unwrap();
    assert_eq!(rest.items, std::slice::from_ref(&first));
    assert_eq!(agents.soul(&world.owner).await.unwrap().soul, first.soul);
    let long = Soul {
        identity: "x".repeat(Soul::MAX_FIELD + 1),
        ..first.soul
    };
    assert_refused(
        agents.write_soul(&world.owner, 3, long).await,
        Refusal::SoulLength {
            field: "identity".into(),
            most: Soul::MAX_FIELD,
            has: Soul::MAX_FIELD + 1,
        },
    );
}
