//! Nothing that somebody stores, bypassing the stores, keeps others from their own.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::time::Duration;

use duet_core::{
    Caller,
    contract::{World, memories::fact},
    domain::{Bar, Embedding, EmbeddingModel, Locality, MemoryFilter, PageRequest, RecallMode, RecallQuery},
    ids::Id,
};
use duet_supabase::testing::TestDatabase;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection};

/// Assumes a person's identity like the transport.
fn become_caller(caller: &Caller) -> String {
    format!(
        r#"select set_config('request.jwt.claims', '{{"sub": "{}"}}', true), set_config('role', 'authenticated', true)"#,
        caller.user
    )
}

/// One row of a member's, however it was made, blocks nobody: not a list, not recall, not the backlog.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_row_silences_nobody() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let memories = &world.stores.memories;
    let good = memories
        .remember(&world.owner, fact(&world.env, "The canary is called Kiwi"), None)
        .await
        .unwrap();
    let mut conn = db.worker().await;
    let memory = |field: &str, value: Value| {
        let mut memory = json!({
            "domain": "semantic", "text": "The canary is called Coco", "terms": {"canari": 1}, "visibility": "shared",
            "sensitive": false, "egress": "any", "taint": "trusted", "occurred_at": "2026-11-20T00:00:00Z",
        });
        memory[field] = value;
        if field == "sealed" {
            memory["sensitive"] = json!(true);
            memory["text"] = Value::Null;
            memory["terms"] = Value::Null;
        }
        memory
    };
    let mut stored = 0;
    for (field, value) in [
        ("occurred_at", json!("infinity")),
        ("occurred_at", json!("-infinity")),
        ("occurred_at", json!("294276-12-31T00:00:00Z")),
        ("occurred_at", json!("4713-01-01 BC")),
        ("terms", json!({"canari": 99999})),
        ("visibility", Value::Null),
        ("sealed", json!("00".repeat(40))),
        ("speaker", json!("S".repeat(1024))),
    ] {
        let mut transaction = conn.begin().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(become_caller(&world.member)))
            .execute(&mut *transaction)
            .await
            .unwrap();
        let answer: Result<Value, _> = sqlx::query_scalar("select public.memory_remember($1, gen_random_uuid(), $2, null, null)")
            .bind(world.member.workspace.uuid())
            .bind(memory(field, value))
            .fetch_one(&mut *transaction)
            .await;
        if answer.is_ok_and(|answer| answer["ok"].is_object()) {
            stored += 1;
        }
        // Rolls back after a failure.
        transaction.commit().await.unwrap();
    }
    assert_eq!(stored, 2, "what can be sealed and who speaks is for nobody to judge here");
    for caller in [&world.owner, &world.member] {
        let listed = memories
            .list(caller, MemoryFilter::default(), PageRequest::first(50))
            .await
            .unwrap();
        assert!(listed.items.contains(&good), "{:?}", listed.items);
        let found = memories.recall(caller, words("canary")).await.unwrap();
        assert!(found.items.iter().any(|item| item.memory == good));
    }
    let model = EmbeddingModel {
        id: "m".into(),
        dimensions: 2,
    };
    // Also with pages of one.
    let waiting = world.stores.system.unembedded(&model, Locality::Local, 1).await.unwrap();
    assert_eq!(waiting[0].memory, good.id);
    let vector = Embedding::new(model.clone(), vec![1.0, 0.5]).unwrap();
    world
        .stores
        .system
        .put_embeddings(vec![(good.workspace_id, good.id, vector)])
        .await
        .unwrap();
    let waiting = world.stores.system.unembedded(&model, Locality::Local, 1).await.unwrap();
    assert_eq!(waiting.len(), 1, "the one with a speaker, past the one that cannot be opened");
}

fn words(text: &str) -> RecallQuery {
    RecallQuery {
        text: text.into(),
        embedding: None,
        mode: RecallMode::Fts,
        limit: 10,
        domains: None,
        locality: Locality::Local,
        bar: Bar::NONE,
        now: duet_core::Timestamp::from_millis(1_790_000_000_000),
    }
}

/// A vector by a model that the server never registered is ignored, so that nobody can create models and partitions without end;
/// those no longer used for embedding are swept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_the_servers() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let mut conn = db.worker().await;
    let mut owner = db.owner().await;
    let memory = json!({
        "domain": "semantic", "text": "Tea at four", "terms": {"tea": 1}, "visibility": "shared", "sensitive": false, "egress": "any",
        "taint": "trusted", "occurred_at": "2026-11-20T00:00:00Z",
    });
    for number in 0..3 {
        let mut transaction = conn.begin().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(become_caller(&world.member)))
            .execute(&mut *transaction)
            .await
            .unwrap();
        let answer: Value = sqlx::query_scalar("select public.memory_remember($1, gen_random_uuid(), $2, $3, '[1,0]')")
            .bind(world.member.workspace.uuid())
            .bind(&memory)
            .bind(format!("made-up-{number}"))
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
        assert!(answer["ok"].is_object(), "{answer}");
        transaction.commit().await.unwrap();
    }
    let counts = "select (select count(*) from duet.embedding_model), (select count(*) from duet.memory_partition),
                         (select count(*) from duet.memory_vector)";
    let counted: (i64, i64, i64) = sqlx::query_as(counts).fetch_one(&mut owner).await.unwrap();
    assert_eq!(counted, (0, 0, 0));
    let memories = &world.stores.memories;
    let vector = |id: &str| {
        Embedding::new(
            EmbeddingModel {
                id: id.into(),
                dimensions: 2,
            },
            vec![1.0, 0.5],
        )
        .unwrap()
    };
    let stored = memories
        .remember(&world.owner, fact(&world.env, "Coffee"), Some(vector("old")))
        .await
        .unwrap();
    let system = &world.stores.system;
    system
        .put_embeddings(vec![(stored.workspace_id, stored.id, vector("new"))])
        .await
        .unwrap();
    let counted: (i64, i64, i64) = sqlx::query_as(counts).fetch_one(&mut owner).await.unwrap();
    assert_eq!(counted, (2, 2, 1));
    world.time.advance(Duration::from_secs(90_000));
    system.sweep().await.unwrap();
    let counted: (i64, i64, i64) = sqlx::query_as(counts).fetch_one(&mut owner).await.unwrap();
    assert_eq!(counted, (1, 1, 1));
}
