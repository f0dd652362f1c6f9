//! A redacted text is nowhere in the database.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use duet_core::{
    StoreError,
    contract::{World, memories::fact},
    domain::{NewMemory, Provenance},
    ids::{Id, RedactionId},
};
use duet_supabase::testing::TestDatabase;
use sqlx::{AssertSqlSafe, PgConnection};

/// The tables that contain a word, whatever the column's type.
async fn places(conn: &mut PgConnection, word: &str) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c where c.relnamespace = 'duet'::regnamespace and c.relkind = 'r' order by 1",
    )
    .fetch_all(&mut *conn)
    .await
    .unwrap();
    let mut places = Vec::new();
    for table in tables {
        let sql = format!("select exists (select from duet.{table} t where strpos(lower(t::text), $1) > 0)");
        if sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(word)
            .fetch_one(&mut *conn)
            .await
            .unwrap()
        {
            places.push(table);
        }
    }
    places
}

/// The memory and the one it superseded, the message they came from, the payloads and the reply of the run that read it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redacted_text_is_nowhere() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let mut conn = db.owner().await;
    let conversation = world.conversation(&world.owner).await;
    let turn = world.turn(conversation.id, "Kiwi77 is the canary's name");
    let (message, run) = (turn.message_id, turn.run_id);
    world.stores.runs.start_turn(&world.owner, turn).await.unwrap();
    let memories = &world.stores.memories;
    let old = NewMemory {
        provenance: Provenance {
            message_id: Some(message),
            ..Provenance::default()
        },
        ..fact(&world.env, "The canary is called Kiwi77")
    };
    memories.remember(&world.owner, old.clone(), None).await.unwrap();
    let new = NewMemory {
        supersedes: Some(old.id),
        ..fact(&world.env, "Kiwi77 the canary has flown")
    };
    memories.remember(&world.owner, new.clone(), None).await.unwrap();
    let bystander = memories
        .remember(&world.owner, fact(&world.env, "A bystander"), None)
        .await
        .unwrap();
    // An event that quotes the memory without mentioning it, and the reply.
    let quote = format!(r#"{{"memory": "{}", "text": "Kiwi77"}}"#, new.id);
    let written = "
        with event as (
            insert into duet.run_event
            select workspace_id, id, 1000, 'reply', now(), sha256(''), sha256('') from duet.run where id = $1 returning *
        ), payload as (
            insert into duet.run_event_payload select workspace_id, run_id, seq, substring(sha256('') from 1 for 16), $2, null from event
        )
        insert into duet.message (workspace_id, id, conversation_id, user_id, ordinal, role, status, text, created_at)
        select workspace_id, reply_id, conversation_id, user_id, 1000, 'assistant', 'complete', 'Kiwi77, you said', now()
        from duet.run where id = $1";
    sqlx::query(written)
        .bind(run.uuid())
        .bind(quote)
        .execute(&mut conn)
        .await
        .unwrap();
    let before = places(&mut conn, "kiwi77").await;
    for place in ["memory", "memory_term", "message", "run_event_payload"] {
        assert!(before.iter().any(|found| found == place), "{place} is not among {before:?}");
    }

    let redaction: RedactionId = world.env.id();
    let refused = memories.redact(&world.owner, new.id, redaction).await;
    assert!(
        matches!(refused, Err(StoreError::Conflict(_))),
        "the run goes on: {refused:?}"
    );
    sqlx::query("update duet.run set status = 'cancelled' where id = $1")
        .bind(run.uuid())
        .execute(&mut conn)
        .await
        .unwrap();
    let receipt = memories.redact(&world.owner, new.id, redaction).await.unwrap();
    assert_eq!(places(&mut conn, "kiwi77").await, Vec::<String>::new());
    let count = |place: &str| {
        let found = receipt.removed.iter().find(|removed| removed.place == place);
        found.map(|removed| removed.count)
    };
    assert_eq!(count("memory"), Some(2));
    assert_eq!((count("messages"), count("replies")), (Some(1), Some(1)));
    assert!(count("event_payloads") >= Some(1));

    let kept = memories.memories(&world.owner, &[bystander.id]).await.unwrap();
    assert_eq!(kept, [bystander]);
    // Nothing else in the log can be changed, not even by the database's owner.
    for forbidden in [
        "update duet.run_event_payload set payload = '{}', salt = substring(sha256('') from 1 for 16), redacted_at = null",
        "delete from duet.run_event_payload",
        "delete from duet.memory_tombstone",
        "update duet.memory_tombstone set receipt = '{}'",
    ] {
        let outcome = sqlx::raw_sql(AssertSqlSafe(forbidden)).execute(&mut conn).await;
        assert!(outcome.is_err(), "{forbidden}");
    }
}
