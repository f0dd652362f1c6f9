//! Recall at the measured size: one workspace of 10,000 memories beside as many foreign ones, under row level security.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use duet_core::{
    Caller,
    contract::{Harness, World},
    domain::{Bar, Embedding, EmbeddingModel, Locality, RecallMode, RecallQuery, Role},
    ids::{Id, WorkspaceId},
};
use duet_supabase::testing::TestDatabase;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

const DIMENSIONS: u32 = 1536;

/// Vectors around cluster centres that share a direction, as real embeddings do.
const GENERATOR: &str = "
    select setseed(0.42);
    create temporary table shared as select n, random_normal() * 0.7 as s from generate_series(1, 1536) n;
    create temporary table centre as select c, (select array_agg(random_normal() + s order by n) from shared where c = c)::real[]::extensions.vector v
        from generate_series(1, 100) c;
    create temporary table noise as select n, (select array_agg(random_normal() * 0.64) from generate_series(1, 1536) where n = n)::real[]::extensions.vector v
        from generate_series(1, 1000) n;
    alter table centre add primary key (c);
    alter table noise add primary key (n);
    create function pg_temp.draw() returns extensions.vector language plpgsql as $$
    declare
        c_ int := 1 + floor(random() * 100);
        a_ int := 1 + floor(random() * 1000);
        b_ int := 1 + floor(random() * 1000);
    begin
        return (select extensions.l2_normalize(c.v operator(extensions.+) a.v operator(extensions.+) b.v)
                from centre c, noise a, noise b where c.c = c_ and a.n = a_ and b.n = b_);
    end $$;
    create function pg_temp.fill(workspace uuid, person uuid, rows int) returns void language plpgsql as $$
    declare
        one duet.memory;
    begin
        insert into duet.embedding_model (name, dimensions) values ('bench', extensions.vector_dims(pg_temp.draw())) on conflict do nothing;
        insert into duet.memory_class (workspace_id, owner, domain, egress) values (workspace, null, 'semantic', 'any');
        insert into duet.memory (workspace_id, id, class, user_id, text, terms, sensitive, taint, review, from_user, occurred_at)
        select workspace, gen_random_uuid(), c.key, person, 'note', '{}', false, 'trusted', 'accepted', person, now()
        from duet.memory_class c, generate_series(1, rows) where c.workspace_id = workspace;
        for one in select m.* from duet.memory m where m.workspace_id = workspace loop
            perform private.put_vector(one, 'bench', pg_temp.draw());
        end loop;
    end $$;";

async fn fill(conn: &mut PgConnection, caller: &Caller, rows: i32) {
    sqlx::query("select pg_temp.fill($1, $2, $3)")
        .bind(caller.workspace.uuid())
        .bind(caller.user.uuid())
        .bind(rows)
        .execute(conn)
        .await
        .unwrap();
}

/// How many of the true ten nearest the store finds, over several queries.
async fn recall_at_ten(db: &TestDatabase, conn: &mut PgConnection, caller: &Caller) -> f64 {
    const QUESTIONS: usize = 20;
    let memories = db.stores().memories;
    let mut found = 0;
    for _ in 0..QUESTIONS {
        let question: String = sqlx::query_scalar("select pg_temp.draw()::text")
            .fetch_one(&mut *conn)
            .await
            .unwrap();
        let exact: Vec<Uuid> = sqlx::query_scalar(
            "select m.id from duet.memory_vector v join duet.memory m on m.workspace_id = v.workspace_id and m.key = v.memory
             where v.workspace_id = $1 order by (v.vector operator(extensions.<#>) $2::extensions.vector) + 0, m.id limit 10",
        )
        .bind(caller.workspace.uuid())
        .bind(&question)
        .fetch_all(&mut *conn)
        .await
        .unwrap();
        let vector: Vec<f32> = serde_json::from_str(&question).unwrap();
        let model = EmbeddingModel {
            id: "bench".into(),
            dimensions: DIMENSIONS,
        };
        let query = RecallQuery {
            text: String::new(),
            embedding: Some(Embedding::new(model, vector).unwrap()),
            mode: RecallMode::Vector,
            limit: 10,
            domains: None,
            locality: Locality::Local,
            bar: Bar::NONE,
            now: db.env().env().now(),
        };
        let answer = memories.recall(caller, query).await.unwrap();
        assert_eq!(answer.items.len(), 10);
        found += answer
            .items
            .iter()
            .filter(|item| exact.contains(&item.memory.id.uuid()))
            .count();
    }
    found as f64 / (10 * QUESTIONS) as f64
}

/// The approximate stage loses nothing that matters, and a small tenant loses nothing at all, whatever the others have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nearest_are_found_among_many_and_beside_many() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let small: WorkspaceId = world.env.id();
    world
        .stores
        .workspaces
        .create(world.member.user, small, "Small", "Echo")
        .await
        .unwrap();
    let tenant = Caller::person(world.member.user, small, Role::Owner);
    let mut conn = db.owner().await;
    sqlx::raw_sql(GENERATOR).execute(&mut conn).await.unwrap();
    fill(&mut conn, &world.owner, 10_000).await;
    fill(&mut conn, &world.stranger, 10_000).await;
    fill(&mut conn, &tenant, 50).await;
    world.stores.system.sweep().await.unwrap();
    let centred: Vec<i64> = sqlx::query_scalar("select mean_of from duet.memory_partition order by mean_of")
        .fetch_all(&mut conn)
        .await
        .unwrap();
    assert_eq!(centred, [0, 10_000, 10_000], "the upkeep centres what is large");

    let large = recall_at_ten(&db, &mut conn, &world.owner).await;
    assert!(large >= 0.99, "recall@10 over 10,000 vectors is {large}");
    let alone = recall_at_ten(&db, &mut conn, &tenant).await;
    assert!(
        (alone - 1.0).abs() < f64::EPSILON,
        "recall@10 of 50 among 20,000 foreign ones is {alone}"
    );
    println!("recall@10: {large} of 10,000; {alone} of 50");
}

/// A policy looks up who may see what once per statement; once per row was measured twenty times slower.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_are_evaluated_once_a_statement() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let mut conn = db.worker().await;
    let claims = format!(
        r#"begin; select set_config('request.jwt.claims', '{{"sub": "{}"}}', true), set_config('role', 'authenticated', true)"#,
        world.owner.user
    );
    sqlx::raw_sql(AssertSqlSafe(claims)).execute(&mut conn).await.unwrap();
    for table in [
        "memory",
        "memory_class",
        "memory_term",
        "memory_thread",
        "memory_vector",
        "memory_code",
    ] {
        let sql = format!("explain (analyze, buffers) select count(*) from duet.{table}");
        let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut conn).await.unwrap();
        assert!(plan.iter().any(|line| line.contains("InitPlan")), "{table}: {plan:#?}");
        let row_wise = |line: &&String| line.contains("Filter") && (line.contains("my_classes") || line.contains("now()"));
        assert!(!plan.iter().any(|line| row_wise(&line)), "{table}: {plan:#?}");
    }
}
