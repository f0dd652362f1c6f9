//! [`crate::ports::ConversationStore`].

use futures::future::join_all;

use super::{World, Writes, assert_refused, memories};
use crate::{
    domain::{
        Claim, ConversationEdit, LogRange, Message, MessageRole, MessageStatus, MessageTrace, NewMemory, NewTurn, PageRequest,
        Provenance, Reply, RetryMode, RetryTurn, RunEvent, RunOutcome, RunStatus, Settlement, TurnLimits, Usage,
    },
    error::{StoreError, StoreResult},
    ids::{ConversationId, IdPrefix},
    ports::ChainCheck,
    refusal::{Named, Refusal},
};

/// A client chooses the id: the same request again gives the same conversation, and an id that is taken is refused.
pub async fn ids_of_conversations(world: &World) {
    let conversations = &world.stores.conversations;
    let taken = Refusal::IdTaken {
        what: Named::Conversation,
    };
    let id = world.env.id();
    let at_once = join_all((0..8).map(|_| conversations.create(&world.owner, id, None, Some("Plans")))).await;
    let made = at_once[0].as_ref().unwrap();
    assert!(at_once.iter().all(|again| again.as_ref().ok() == Some(made)), "{at_once:?}");
    assert_refused(conversations.create(&world.member, id, None, None).await, taken.clone());
    conversations.delete(&world.owner, id).await.unwrap();
    assert_refused(conversations.create(&world.owner, id, None, None).await, taken);
    let elsewhere = conversations.create(&world.stranger, id, None, None).await.unwrap();
    assert_eq!(elsewhere.id, id, "ids are a workspace's own");
}

/// Created, renamed, archived, unarchived.
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
        assert_refused(conversations.edit(&world.owner, id, title(bad)).await, Refusal::TitleLength);
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
    assert_refused(conversations.list(&world.owner, false, bad).await, Refusal::Cursor);
}

/// A prefix finds the ids of one's own conversations and memories.
pub async fn ids_by_prefix(world: &World) {
    let (conversations, memories) = (&world.stores.conversations, &world.stores.memories);
    let prefix = |text: &str| text.parse::<IdPrefix>().unwrap();
    let mine = world.conversation(&world.owner).await.id;
    let archived = world.conversation(&world.owner).await.id;
    let archive = ConversationEdit {
        title: None,
        archived: Some(true),
    };
    conversations.edit(&world.owner, archived, archive).await.unwrap();
    let theirs = world.conversation(&world.member).await.id;
    let whole = |id: ConversationId| prefix(&id.to_string());
    assert_eq!(conversations.ids(&world.owner, whole(mine)).await.unwrap(), [mine]);
    assert_eq!(
        conversations
            .ids(&world.owner, prefix(&mine.to_string()[..30]))
            .await
            .unwrap(),
        [mine]
    );
    assert_eq!(conversations.ids(&world.owner, whole(theirs)).await.unwrap(), []);
    let mut all = vec![mine, archived];
    all.sort();
    assert_eq!(conversations.ids(&world.owner, prefix("0")).await.unwrap(), all);

    let mut ids = Vec::new();
    for number in 0..=IdPrefix::MOST {
        let memory = memories::fact(&world.env, &format!("Fact {number}"));
        ids.push(memories.remember(&world.owner, memory, None).await.unwrap().id);
    }
    ids.sort();
    let last = prefix(&ids[3].to_string());
    assert_eq!(memories.ids(&world.owner, last).await.unwrap(), [ids[3]]);
    assert_eq!(memories.ids(&world.stranger, last).await.unwrap(), []);
    ids.truncate(usize::try_from(IdPrefix::MOST).unwrap());
    assert_eq!(memories.ids(&world.owner, prefix("0")).await.unwrap(), ids);
    let agent = world.agent_of(&world.owner).await;
    assert_refused(memories.ids(&agent, last).await, Refusal::PeopleOnly);
}

/// A deleted conversation is absent with all its text; the chains of its runs hold, and memories that came from it stay.
pub async fn deletion(world: &World) {
    let stores = &world.stores;
    let id = world.conversation(&world.owner).await.id;
    let other = world.conversation(&world.owner).await.id;
    world.ask(&world.owner, other, "Of the lake, elsewhere").await;
    let _elsewhere = world.claim().await.unwrap();
    let first = NewTurn {
        idempotency_key: Some("once".into()),
        ..world.turn(id, "A secret of the lake")
    };
    let receipt = stores.runs.start_turn(&world.owner, first.clone()).await.unwrap();
    let busy = stores.conversations.delete(&world.owner, id).await;
    assert_refused(busy, Refusal::ReplyActive);
    let claim = world.claim().await.unwrap();
    settle(world, &claim, "The lake is deep").await;
    let memory = NewMemory {
        provenance: Provenance {
            conversation_id: Some(id),
            message_id: Some(receipt.message_id),
            run_id: Some(receipt.run_id),
            user_id: Some(world.owner.user),
            ..Provenance::default()
        },
        ..memories::fact(&world.env, "The lake is deep")
    };
    let memory = stores.memories.remember(&world.owner, memory, None).await.unwrap();

    let agent = world.agent_of(&world.owner).await;
    assert_refused(stores.conversations.delete(&agent, id).await, Refusal::PeopleOnly);
    for person in [&world.member, &world.stranger] {
        let refused = stores.conversations.delete(person, id).await;
        assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
    }
    stores.conversations.delete(&world.owner, id).await.unwrap();

    let conversations = &stores.conversations;
    let all = PageRequest::first(10);
    let archived = ConversationEdit {
        title: None,
        archived: Some(true),
    };
    assert!(conversations.conversation(&world.owner, id).await.unwrap().is_none());
    assert!(conversations.conversation(&agent, id).await.unwrap().is_none());
    let listed = conversations.list(&world.owner, false, all.clone()).await.unwrap().items;
    assert_eq!(listed.iter().map(|one| one.id).collect::<Vec<_>>(), [other]);
    assert!(
        conversations
            .list(&world.owner, true, all.clone())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let prefix: IdPrefix = id.to_string().parse().unwrap();
    assert!(conversations.ids(&world.owner, prefix).await.unwrap().is_empty());
    let found = conversations.search(&world.owner, "lake", all.clone()).await.unwrap().items;
    assert!(found.iter().all(|hit| hit.conversation_id == other), "{found:?}");
    let named = [receipt.message_id, receipt.reply_id];
    assert!(conversations.messages_by_id(&world.owner, &named).await.unwrap().is_empty());
    let events = stores
        .runs
        .events(&world.owner, receipt.run_id, LogRange::whole(0, 10))
        .await
        .unwrap()
        .events;
    assert!(!events.is_empty() && events.iter().all(|stored| stored.event.is_none()));
    let gone = |result: StoreResult<()>| assert!(matches!(result, Err(StoreError::NotFound(_))), "{result:?}");
    gone(conversations.messages(&world.owner, id, all.clone()).await.map(drop));
    gone(conversations.transcript(&world.owner, id, all.clone()).await.map(drop));
    gone(conversations.edit(&world.owner, id, archived).await.map(drop));
    gone(conversations.delete(&world.owner, id).await);
    gone(stores.runs.runs(&world.owner, id, all.clone()).await.map(drop));
    gone(stores.runs.start_turn(&world.owner, first).await.map(drop));
    gone(
        stores
            .runs
            .start_turn(&world.owner, world.turn(id, "Still there?"))
            .await
            .map(drop),
    );
    let retry = RetryTurn {
        message_id: receipt.message_id,
        run_id: world.env.id(),
        reply_id: world.env.id(),
        mode: RetryMode::Restart,
        limits: TurnLimits::default(),
    };
    gone(stores.runs.retry_turn(&world.owner, retry).await.map(drop));
    let again = conversations.create(&world.owner, id, None, None).await;
    assert_refused(
        again,
        Refusal::IdTaken {
            what: Named::Conversation,
        },
    );

    let kept = stores.memories.memories(&world.owner, &[memory.id]).await.unwrap();
    assert_eq!(kept, [memory]);
    assert!(matches!(
        stores.audit.verify(&world.owner).await.unwrap(),
        ChainCheck::Intact(_)
    ));
    let entries = stores.audit.entries(&world.owner, all).await.unwrap().items;
    let entry = entries.iter().find(|entry| entry.action == "conversation.delete").unwrap();
    assert_eq!(entry.target, format!("conversation:{id}"));
    assert_eq!(entry.details, serde_json::json!({"messages": 2, "runs": 1}));
}

/// Ends a run with this reply.
async fn settle(world: &World, claim: &Claim, text: &str) {
    let finished = RunEvent::Finished {
        outcome: RunOutcome::Completed,
        reply: Some(MessageStatus::Complete),
        usage: Usage::default(),
        cost_micros: None,
    };
    let settlement = Settlement {
        status: RunStatus::Done,
        reason: None,
        reply: Some(Reply {
            status: MessageStatus::Complete,
            text: text.into(),
            trace: MessageTrace::default(),
        }),
    };
    let log = &world.stores.run_log;
    log.settle(
        claim.run.id,
        claim.lease,
        1,
        world.env.id(),
        vec![finished.into()],
        settlement,
    )
    .await
    .unwrap();
}

/// A page of messages ends by count or by bytes; the pages hold each message once, from either end.
pub async fn pages_of_messages(world: &World) {
    const REPLY: usize = 400 * 1024;
    let conversations = &world.stores.conversations;
    let id = world.conversation(&world.owner).await.id;
    for turn in 1..=4 {
        world.ask(&world.owner, id, &format!("Question {turn}")).await;
        let claim = world.claim().await.unwrap();
        settle(world, &claim, &turn.to_string().repeat(REPLY)).await;
    }
    let first = |message: &Message| message.text.chars().next().unwrap();
    let mut newest_first = Vec::new();
    let mut cursor = None;
    loop {
        let page = PageRequest { cursor, limit: 50 };
        let page = conversations.messages(&world.owner, id, page).await.unwrap();
        newest_first.push(page.items.iter().map(first).collect::<String>());
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(newest_first, ["4Q3Q", "2Q1Q"], "not more than a mebibyte and one message");
    let mut oldest_first = Vec::new();
    loop {
        let page = PageRequest { cursor, limit: 2 };
        let page = conversations.transcript(&world.owner, id, page).await.unwrap();
        oldest_first.push(page.items.iter().map(first).collect::<String>());
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(oldest_first, ["Q1", "Q2", "Q3", "Q4"]);
    for other in [&world.member, &world.stranger] {
        match conversations.transcript(other, id, PageRequest::first(10)).await {
            Ok(page) => assert!(page.items.is_empty()),
            Err(error) => assert!(matches!(error, StoreError::NotFound(_)), "{error}"),
        }
    }
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

/// A conversation belongs to its person alone, even within the workspace.
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
            world.stores.runs.events(other, turn.run_id, LogRange::whole(0, 10)).await,
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
