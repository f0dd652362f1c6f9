//! [`crate::ports::RunStore`].

use futures::future::join_all;

use super::{World, Writes, assert_refused};
use crate::{
    domain::{
        EventKind, HandBack, LogRange, MessageRole, MessageStatus, MessageTrace, NewTurn, PageRequest, Reply, RetryMode,
        RetryTurn, RunEvent, RunOutcome, RunStatus, Settlement, TurnLimits, Usage,
    },
    error::StoreError,
    ids::MessageId,
    refusal::{Named, Refusal},
};

/// A message, its run and its first event are stored together.
pub async fn a_turn(world: &World) {
    let conversation = world.conversation(&world.owner).await;
    let turn = world
        .ask(&world.owner, conversation.id, "What a day!\nTell me about yours.")
        .await;
    let run = world.stores.runs.run(&world.owner, turn.run_id).await.unwrap().unwrap();
    assert_eq!((run.status, run.attempt, run.last_seq), (RunStatus::Queued, 0, 1));
    assert_eq!(
        (run.message_id, run.reply_id, run.user_id),
        (turn.message_id, turn.reply_id, world.owner.user)
    );
    let page = world
        .stores
        .runs
        .events(&world.owner, run.id, LogRange::whole(0, 10))
        .await
        .unwrap();
    assert!(matches!(&page.events[0].event, Some(RunEvent::Started { prefix, .. }) if prefix.is_empty()));
    assert!(!page.ended);
    let conversation = world
        .stores
        .conversations
        .conversation(&world.owner, conversation.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (conversation.title.as_str(), conversation.active_run),
        ("What a day!", Some(run.id))
    );
    let messages = world
        .stores
        .conversations
        .messages(&world.owner, conversation.id, PageRequest::first(10))
        .await
        .unwrap()
        .items;
    assert_eq!(messages.len(), 1);
    assert_eq!(
        (messages[0].id, messages[0].role, messages[0].ordinal),
        (turn.message_id, MessageRole::User, 1)
    );
}

/// A repeated request gives the first answer; another request under the same key is refused.
pub async fn idempotency(world: &World) {
    let runs = &world.stores.runs;
    let conversation = world.conversation(&world.owner).await;
    let keyed = |text: &str| NewTurn {
        idempotency_key: Some("k1".into()),
        ..world.turn(conversation.id, text)
    };
    let first = runs.start_turn(&world.owner, keyed("Once")).await.unwrap();
    assert_eq!(runs.start_turn(&world.owner, keyed("Once")).await.unwrap(), first);
    assert_refused(runs.start_turn(&world.owner, keyed("Twice")).await, Refusal::KeyReused);
    let messages = world
        .stores
        .conversations
        .messages(&world.owner, conversation.id, PageRequest::first(10))
        .await
        .unwrap();
    assert_eq!(messages.items.len(), 1);
    let theirs = world.conversation(&world.member).await;
    let same_key = NewTurn {
        idempotency_key: Some("k1".into()),
        ..world.turn(theirs.id, "Mine")
    };
    assert_ne!(
        runs.start_turn(&world.member, same_key).await.unwrap(),
        first,
        "keys are a person's own"
    );
}

/// A request sent again before its first answer is the same request.
pub async fn one_key_sent_at_once(world: &World) {
    let runs = &world.stores.runs;
    let conversation = world.conversation(&world.owner).await;
    let sent = (0..6).map(|_| {
        let turn = NewTurn {
            idempotency_key: Some("k1".into()),
            ..world.turn(conversation.id, "Once")
        };
        runs.start_turn(&world.owner, turn)
    });
    let receipts: Vec<_> = join_all(sent).await.into_iter().map(Result::unwrap).collect();
    assert!(receipts.iter().all(|receipt| *receipt == receipts[0]), "{receipts:?}");
    let page = PageRequest::first(10);
    let messages = world.stores.conversations.messages(&world.owner, conversation.id, page).await;
    assert_eq!(messages.unwrap().items.len(), 1);
}

/// One run at a time answers in a conversation.
pub async fn one_turn_at_a_time(world: &World) {
    let conversation = world.conversation(&world.owner).await;
    let (a, b) = (world.turn(conversation.id, "One"), world.turn(conversation.id, "Two"));
    let both = futures::join!(
        world.stores.runs.start_turn(&world.owner, a),
        world.stores.runs.start_turn(&world.owner, b)
    );
    let failed = match both {
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(failed.refusal(), Some(&Refusal::ReplyActive));
    let messages = world
        .stores
        .conversations
        .messages(&world.owner, conversation.id, PageRequest::first(10))
        .await
        .unwrap();
    assert_eq!(messages.items.len(), 1, "nothing of the refused turn stays");
    world
        .ask(&world.owner, world.conversation(&world.owner).await.id, "Elsewhere")
        .await;
}

/// A reply's id is a message id: a turn with a taken one starts no run and leaves nothing behind.
pub async fn reply_ids_are_taken_once(world: &World) {
    let runs = &world.stores.runs;
    let conversation = world.conversation(&world.owner).await;
    let first = world.ask(&world.owner, conversation.id, "Tell me").await;
    let reply = answer(world, MessageStatus::Complete, "Once upon a time").await;
    let other = world.conversation(&world.owner).await;
    let own = world.turn(other.id, "Itself");
    for taken in [
        NewTurn {
            reply_id: reply,
            ..world.turn(other.id, "Again")
        },
        NewTurn {
            reply_id: first.message_id,
            ..world.turn(other.id, "Again")
        },
        NewTurn {
            reply_id: own.message_id,
            ..own
        },
    ] {
        let refused = runs.start_turn(&world.owner, taken).await;
        assert_refused(refused, Refusal::IdTaken { what: Named::Reply });
    }
    for taken in [reply, first.message_id] {
        let retry = RetryTurn {
            message_id: first.message_id,
            run_id: world.env.id(),
            reply_id: taken,
            mode: RetryMode::Restart,
            limits: TurnLimits::default(),
        };
        let refused = runs.retry_turn(&world.owner, retry).await;
        assert_refused(refused, Refusal::IdTaken { what: Named::Reply });
    }
    let count = |conversation| async move {
        let page = PageRequest::first(10);
        let messages = world.stores.conversations.messages(&world.owner, conversation, page).await;
        messages.unwrap().items.len()
    };
    assert_eq!(
        (count(other.id).await, count(conversation.id).await),
        (0, 2),
        "nothing has changed"
    );
    world.ask(&world.owner, other.id, "With an id of its own").await;
}

/// Ends the queued run with this reply.
async fn answer(world: &World, status: MessageStatus, text: &str) -> MessageId {
    let claim = world.claim().await.expect("a run");
    let (outcome, run_status) = match status {
        MessageStatus::Interrupted => (RunOutcome::Interrupted, RunStatus::Interrupted),
        MessageStatus::Stopped => (RunOutcome::Cancelled, RunStatus::Cancelled),
        _ => (RunOutcome::Completed, RunStatus::Done),
    };
    let finished = RunEvent::Finished {
        outcome,
        reply: Some(status),
        usage: Usage::default(),
        cost_micros: None,
    };
    let settlement = Settlement {
        status: run_status,
        reason: None,
        reply: Some(Reply {
            status,
            text: text.into(),
            trace: MessageTrace::default(),
        }),
    };
    world
        .stores
        .run_log
        .settle(
            claim.run.id,
            claim.lease,
            claim.run.last_seq,
            world.env.id(),
            vec![finished.into()],
            settlement,
        )
        .await
        .unwrap();
    claim.run.reply_id
}

/// Restarting hides the existing reply; continuing extends it.
pub async fn retries(world: &World) {
    let runs = &world.stores.runs;
    let conversation = world.conversation(&world.owner).await;
    let turn = world.ask(&world.owner, conversation.id, "Tell me").await;
    let retry = |mode, message_id| RetryTurn {
        message_id,
        run_id: world.env.id(),
        reply_id: world.env.id(),
        mode,
        limits: TurnLimits::default(),
    };
    let busy = runs
        .retry_turn(&world.owner, retry(RetryMode::Restart, turn.message_id))
        .await;
    assert_refused(busy, Refusal::ReplyActive);
    let partial = answer(world, MessageStatus::Interrupted, "Once upon").await;

    let onwards = runs
        .retry_turn(&world.owner, retry(RetryMode::Continue, turn.message_id))
        .await
        .unwrap();
    assert_eq!(onwards.reply_id, partial);
    let page = runs
        .events(&world.owner, onwards.run_id, LogRange::whole(0, 10))
        .await
        .unwrap();
    assert!(matches!(&page.events[0].event, Some(RunEvent::Started { prefix, .. }) if prefix == "Once upon"));
    answer(world, MessageStatus::Complete, "Once upon a time").await;
    let replies = || async {
        let page = world
            .stores
            .conversations
            .messages(&world.owner, conversation.id, PageRequest::first(10))
            .await
            .unwrap();
        page.items
            .into_iter()
            .filter(|message| message.role == MessageRole::Assistant)
            .collect::<Vec<_>>()
    };
    let now = replies().await;
    assert_eq!(now.len(), 1);
    assert_eq!(
        (now[0].id, now[0].text.as_str(), now[0].status),
        (partial, "Once upon a time", MessageStatus::Complete)
    );
    assert_eq!(
        (now[0].answers_id, now[0].run_id),
        (Some(turn.message_id), Some(onwards.run_id))
    );

    let whole = runs
        .retry_turn(&world.owner, retry(RetryMode::Continue, turn.message_id))
        .await;
    assert_refused(whole, Refusal::NothingToContinue);
    let anew = runs
        .retry_turn(&world.owner, retry(RetryMode::Restart, turn.message_id))
        .await
        .unwrap();
    assert_ne!(anew.reply_id, partial);
    answer(world, MessageStatus::Complete, "Another story").await;
    let now = replies().await;
    assert_eq!(
        now.iter().map(|reply| reply.text.as_str()).collect::<Vec<_>>(),
        ["Another story"],
        "the first gave way"
    );

    world.ask(&world.owner, conversation.id, "And then?").await;
    answer(world, MessageStatus::Complete, "The end.").await;
    let late = runs
        .retry_turn(&world.owner, retry(RetryMode::Continue, turn.message_id))
        .await;
    assert_refused(late, Refusal::MovedOn);
    let unknown = runs.retry_turn(&world.owner, retry(RetryMode::Restart, world.env.id())).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))));
    let page = runs.runs(&world.owner, conversation.id, PageRequest::first(2)).await.unwrap();
    let rest = runs
        .runs(
            &world.owner,
            conversation.id,
            PageRequest {
                cursor: page.next_cursor,
                limit: 10,
            },
        )
        .await
        .unwrap();
    assert_eq!((page.items.len(), rest.items.len()), (2, 2));
    assert_eq!(rest.items[1].id, turn.run_id, "newest first");
}

/// A request to stop is recorded once, and not after the end; a run that no worker has begun ends with it.
pub async fn cancelling(world: &World) {
    let runs = &world.stores.runs;
    let conversation = world.conversation(&world.owner).await;
    let turn = world.ask(&world.owner, conversation.id, "Long story, please").await;
    let claim = world.claim().await.unwrap();
    let asked = runs.cancel(&world.owner, turn.run_id).await.unwrap();
    assert_eq!((asked.status, asked.last_seq), (RunStatus::Running, 2));
    assert_eq!(
        runs.cancel(&world.owner, turn.run_id).await.unwrap().last_seq,
        2,
        "once is enough"
    );
    let page = runs.events(&world.owner, turn.run_id, LogRange::whole(1, 10)).await.unwrap();
    assert_eq!(
        page.events.iter().map(|stored| stored.kind).collect::<Vec<_>>(),
        [EventKind::Cancel]
    );
    // Whoever takes the run over is told too.
    let log = &world.stores.run_log;
    log.hand_back(claim.run.id, claim.lease, HandBack::Leaving).await.unwrap();
    let claim = world.claim().await.unwrap();
    assert_eq!(claim.log.len(), 2);
    let finished = RunEvent::Finished {
        outcome: RunOutcome::Cancelled,
        reply: None,
        usage: Usage::default(),
        cost_micros: None,
    };
    let settlement = Settlement {
        status: RunStatus::Cancelled,
        reason: None,
        reply: None,
    };
    world
        .stores
        .run_log
        .settle(
            claim.run.id,
            claim.lease,
            2,
            world.env.id(),
            vec![finished.into()],
            settlement,
        )
        .await
        .unwrap();
    let run = runs.cancel(&world.owner, turn.run_id).await.unwrap();
    assert_eq!(
        (run.status, run.last_seq),
        (RunStatus::Cancelled, 3),
        "an ended run stays as it is"
    );
    let waiting = world.ask(&world.owner, conversation.id, "Another one").await;
    let ended = runs.cancel(&world.owner, waiting.run_id).await.unwrap();
    assert_eq!(ended.status, RunStatus::Cancelled);
    assert_eq!(runs.cancel(&world.owner, waiting.run_id).await.unwrap(), ended);
    assert!(
        runs.events(&world.owner, waiting.run_id, LogRange::whole(1, 10))
            .await
            .unwrap()
            .ended
    );
    assert!(world.claim().await.is_none(), "there is nothing left to do");
    world.ask(&world.owner, conversation.id, "The next one").await;
    assert!(matches!(
        runs.cancel(&world.owner, world.env.id()).await,
        Err(StoreError::NotFound(_))
    ));
}

/// Events are read from any point, never beyond the newest.
pub async fn event_pages(world: &World) {
    let claim = world.claimed().await;
    let deltas = (0..25)
        .map(|index| {
            RunEvent::Delta {
                step: 1,
                text: format!("{index} "),
            }
            .into()
        })
        .collect();
    world
        .stores
        .run_log
        .append(claim.run.id, claim.lease, 1, world.env.id(), deltas)
        .await
        .unwrap();
    let runs = &world.stores.runs;
    for after in 0..=26 {
        let page = runs
            .events(&world.owner, claim.run.id, LogRange::whole(after, 10))
            .await
            .unwrap();
        let expected: Vec<u64> = (after + 1..=26).take(10).collect();
        assert_eq!(page.events.iter().map(|stored| stored.seq).collect::<Vec<_>>(), expected);
        assert_eq!((page.last_seq, page.ended), (26, false));
    }
    assert_refused(
        runs.events(&world.owner, claim.run.id, LogRange::whole(27, 10)).await,
        Refusal::NoSuchEvent { events: 26, after: 27 },
    );
    assert!(matches!(
        runs.events(&world.owner, world.env.id(), LogRange::whole(0, 10)).await,
        Err(StoreError::NotFound(_))
    ));
}

/// Bad texts and other people's conversations are refused, and nothing is stored.
pub async fn bad_turns(world: &World) {
    let conversation = world.conversation(&world.owner).await;
    let too_long = Refusal::MessageLength {
        most: NewTurn::MAX_TEXT,
        has: NewTurn::MAX_TEXT + 1,
    };
    for (text, why) in [
        (String::new(), Refusal::MessageEmpty),
        (" \n".into(), Refusal::MessageEmpty),
        ("x".repeat(NewTurn::MAX_TEXT + 1), too_long),
    ] {
        let refused = world
            .stores
            .runs
            .start_turn(&world.owner, world.turn(conversation.id, &text))
            .await;
        assert_refused(refused, why);
    }
    let nowhere = world
        .stores
        .runs
        .start_turn(&world.owner, world.turn(world.env.id(), "Hello"))
        .await;
    assert!(matches!(nowhere, Err(StoreError::NotFound(_))));
    world.ask(&world.owner, conversation.id, &"x".repeat(NewTurn::MAX_TEXT)).await;
    let _claim = world.claim().await.expect("a run");
    assert!(world.claim().await.is_none(), "no run of a refused turn waits");
}
