//! [`crate::ports::ConversationStore`].

use super::World;
use crate::{
    domain::{ConversationEdit, MessageRole, PageRequest},
    error::StoreError,
};

/// Made, renamed, archived, brought back.
pub async fn life_of_a_conversation(world: &World) {
    let conversations = &world.stores.conversations;
    let id = world.env.id();
    let made = conversations.create(&world.owner, id, None, Some("Plans")).await.unwrap();
    assert_eq!(
        (made.id, made.title.as_str(), made.agent_id),
        (id, "Plans", world.companion(&world.owner).await.id)
    );
    let again = conversations.create(&world.owner, id, None, Some("Other")).await.unwrap();
    assert_eq!(again, made, "the same id again changes nothing");
    assert!(matches!(
        conversations
            .create(&world.owner, world.env.id(), Some(world.env.id()), None)
            .await,
        Err(StoreError::NotFound(_))
    ));

    let title = |title: &str| ConversationEdit {
        title: Some(title.into()),
        archived: None,
    };
    assert_eq!(
        conversations.edit(&world.owner, id, title("  Summer  ")).await.unwrap().title,
        "Summer"
    );
    for bad in ["", " ", &"x".repeat(201)] {
        assert!(
            matches!(
                conversations.edit(&world.owner, id, title(bad)).await,
                Err(StoreError::Invalid(_))
            ),
            "{bad:?}"
        );
    }
    let archive = |archived| ConversationEdit {
        title: None,
        archived: Some(archived),
    };
    conversations.edit(&world.owner, id, archive(true)).await.unwrap();
    let list = |archived| conversations.list(&world.owner, archived, PageRequest::first(10));
    assert_eq!(
        (list(false).await.unwrap().items.len(), list(true).await.unwrap().items.len()),
        (0, 1)
    );
    conversations.edit(&world.owner, id, archive(false)).await.unwrap();
    assert_eq!(
        (list(false).await.unwrap().items.len(), list(true).await.unwrap().items.len()),
        (1, 0)
    );
    assert!(matches!(
        conversations.edit(&world.owner, world.env.id(), archive(true)).await,
        Err(StoreError::NotFound(_))
    ));
}

/// Pages follow each other without gaps or doubles; the latest conversation comes first.
pub async fn pages(world: &World) {
    let conversations = &world.stores.conversations;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(world.conversation(&world.owner).await.id);
    }
    world.ask(&world.owner, made[1], "A word").await;
    let mut expected: Vec<_> = made.iter().rev().copied().filter(|id| *id != made[1]).collect();
    expected.insert(0, made[1]);
    let mut cursor = None;
    let mut seen = Vec::new();
    loop {
        let page = conversations
            .list(&world.owner, false, PageRequest { cursor, limit: 2 })
            .await
            .unwrap();
        assert!(page.items.len() <= 2);
        seen.extend(page.items.into_iter().map(|conversation| conversation.id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, expected);
    let bad = PageRequest {
        cursor: Some("nonsense".into()),
        limit: 2,
    };
    assert!(matches!(
        conversations.list(&world.owner, false, bad).await,
        Err(StoreError::Invalid(_))
    ));
}

/// Full text over one's own messages; any text is a query.
pub async fn search(world: &World) {
    let conversations = &world.stores.conversations;
    let (a, b) = (world.conversation(&world.owner).await, world.conversation(&world.owner).await);
    let lake = world.ask(&world.owner, a.id, "We went to the lake in Zürich.").await;
    world
        .ask(&world.owner, b.id, "Nothing of the kind; “quotes” AND (brackets")
        .await;
    world
        .ask(&world.member, world.conversation(&world.member).await.id, "My own lake.")
        .await;
    let find = |query: &'static str| conversations.search(&world.owner, query, PageRequest::first(10));
    let hits = find("lake").await.unwrap().items;
    assert_eq!(hits.len(), 1, "only one's own messages");
    assert_eq!(
        (hits[0].message_id, hits[0].conversation_id, hits[0].role),
        (lake.message_id, a.id, MessageRole::User)
    );
    assert!(hits[0].snippet.contains("lake"));
    assert_eq!(
        find("zurich LAKE").await.unwrap().items.len(),
        1,
        "case and accents do not matter"
    );
    for odd in [
        "\"",
        "AND",
        "(",
        "NEAR(",
        "a*",
        "col:x",
        "-",
        "'; drop table",
        "  ",
        "^",
        "\u{0}",
    ] {
        find(odd).await.unwrap_or_else(|error| panic!("{odd:?}: {error}"));
    }
    assert_eq!(find("brackets").await.unwrap().items.len(), 1);
}

/// A conversation is its person's alone, also within the workspace.
pub async fn privacy_of_conversations(world: &World) {
    let conversations = &world.stores.conversations;
    let theirs = world.conversation(&world.member).await;
    let turn = world.ask(&world.member, theirs.id, "For nobody else").await;
    for other in [&world.owner, &world.stranger] {
        assert!(conversations.conversation(other, theirs.id).await.unwrap().is_none());
        assert!(
            conversations
                .messages_by_id(other, &[turn.message_id])
                .await
                .unwrap()
                .is_empty()
        );
        assert!(
            conversations
                .search(other, "nobody", PageRequest::first(10))
                .await
                .unwrap()
                .items
                .is_empty()
        );
        assert!(
            conversations
                .list(other, false, PageRequest::first(10))
                .await
                .unwrap()
                .items
                .is_empty()
        );
        let edit = ConversationEdit {
            title: Some("Mine".into()),
            archived: None,
        };
        assert!(matches!(
            conversations.edit(other, theirs.id, edit).await,
            Err(StoreError::NotFound(_))
        ));
        match conversations.messages(other, theirs.id, PageRequest::first(10)).await {
            Ok(page) => assert!(page.items.is_empty()),
            Err(error) => assert!(matches!(error, StoreError::NotFound(_)), "{error}"),
        }
        assert!(world.stores.runs.run(other, turn.run_id).await.unwrap().is_none());
        assert!(matches!(
            world.stores.runs.events(other, turn.run_id, 0, 10).await,
            Err(StoreError::NotFound(_))
        ));
        assert!(matches!(
            world.stores.runs.cancel(other, turn.run_id).await,
            Err(StoreError::NotFound(_))
        ));
        let intrusion = world.turn(theirs.id, "Let me in");
        assert!(matches!(
            world.stores.runs.start_turn(other, intrusion).await,
            Err(StoreError::NotFound(_))
        ));
    }
    let agent = world.agent_of(&world.member).await;
    assert_eq!(
        conversations.messages_by_id(&agent, &[turn.message_id]).await.unwrap().len(),
        1,
        "an agent reads its person's"
    );
}
