//! The database's side of Supabase Realtime: who may join a run's topic, what a hint contains, and how vanished hints are noticed.
//! Realtime's tables and functions are a stand-in (`testbed/realtime.sql`); joins are tried the way its server tries them.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::{collections::BTreeSet, time::Duration};

use duet_core::{
    Caller,
    contract::{Harness, World, Writes},
    domain::{Claim, LogRange, MessageStatus, MessageTrace, NewEvent, Reply, RunEvent, RunStatus, Settlement},
    ids::{RunId, WorkspaceId},
};
use duet_supabase::{
    check::{self, Verdict},
    connect::Database,
    testing::TestDatabase,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, types::Json};

/// A text that no hint may carry.
const CANARY: &str = "canary-7f31";

/// A database that gets Realtime after Duet.
async fn with_realtime() -> TestDatabase {
    let db = TestDatabase::fresh().await;
    let mut superuser = superuser(&db).await;
    run(&mut superuser, include_str!("../testbed/realtime.sql")).await;
    run(&mut db.owner().await, "select private.attach_realtime()").await;
    db
}

async fn superuser(db: &TestDatabase) -> PgConnection {
    db.worker_options().username("supabase_admin").connect().await.unwrap()
}

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap();
}

fn topic(workspace: WorkspaceId, run: RunId) -> String {
    format!("run:{workspace}:{run}")
}

/// What Realtime's server does for a join: it inserts a row of the topic into its table, assumes the person's identity, checks
/// whether they see it, and rolls everything back.
async fn may_join(db: &TestDatabase, who: &str, role: &str, topic: &str) -> bool {
    let mut conn = superuser(db).await;
    let mut transaction = conn.begin().await.unwrap();
    sqlx::query("insert into realtime.messages (topic, extension, event, private) values ($1, 'broadcast', 'probe', true)")
        .bind(topic)
        .execute(&mut *transaction)
        .await
        .unwrap();
    sqlx::query(
        "select set_config('realtime.topic', $1, true), set_config('request.jwt.claims', $2, true), set_config('role', $3, true)",
    )
    .bind(topic)
    .bind(json!({"sub": who, "role": role}).to_string())
    .bind(role)
    .execute(&mut *transaction)
    .await
    .unwrap();
    let seen: Result<bool, _> =
        sqlx::query_scalar("select exists (select from realtime.messages where topic = $1 and extension = 'broadcast')")
            .bind(topic)
            .fetch_one(&mut *transaction)
            .await;
    transaction.rollback().await.unwrap();
    seen.unwrap_or(false)
}

async fn joins(db: &TestDatabase, caller: &Caller, topic: &str) -> bool {
    may_join(db, &caller.user.to_string(), "authenticated", topic).await
}

/// The hints of a run, in the order of sending.
async fn hints(db: &TestDatabase, topic: &str) -> Vec<Value> {
    let rows: Vec<Json<Value>> = sqlx::query_scalar(
        "select payload from realtime.messages where topic = $1 and event = 'hint' and private and extension = 'broadcast' order by inserted_at",
    )
    .bind(topic)
    .fetch_all(&mut superuser(db).await)
    .await
    .unwrap();
    rows.into_iter().map(|row| row.0).collect()
}

fn delta(text: &str) -> NewEvent {
    NewEvent::from(RunEvent::Delta {
        step: 1,
        text: text.to_owned(),
    })
}

async fn append(world: &World, claim: &Claim, after: u64, events: &[NewEvent]) {
    world
        .stores
        .run_log
        .append(claim.run.id, claim.lease, after, world.env.id(), events.to_vec())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_hinted_at_without_a_word_of_it() {
    let db = with_realtime().await;
    let world = World::new(&db).await;
    let claim = world.claimed().await;
    let topic = topic(world.workspace.id, claim.run.id);
    let mut last = claim.run.last_seq;
    for part in 0..40 {
        db.env().advance(Duration::from_millis(50));
        append(&world, &claim, last, &[delta(&format!("{CANARY} {part}"))]).await;
        last += 1;
    }
    let sent = hints(&db, &topic).await;
    let deltas = sent.iter().filter(|hint| hint["kinds"] == json!(["delta"])).count();
    // Two seconds: one hint per quarter.
    assert!((6..=12).contains(&deltas), "{deltas} hints of 40 pieces");
    world
        .stores
        .run_log
        .settle(
            claim.run.id,
            claim.lease,
            last,
            world.env.id(),
            vec![delta(CANARY)],
            settlement(&claim),
        )
        .await
        .unwrap();
    let sent = hints(&db, &topic).await;
    let ending = sent.last().unwrap();
    assert_eq!(
        (&ending["status"], ending["last_seq"].as_u64()),
        (&json!("done"), Some(last + 1))
    );
    let told: BTreeSet<&str> = sent
        .iter()
        .flat_map(|hint| hint.as_object().unwrap().keys().map(String::as_str))
        .collect();
    assert_eq!(
        told,
        BTreeSet::from(["first_seq", "id", "kinds", "last_seq", "run", "status"])
    );
    let everything: String = sqlx::query_scalar("select coalesce(string_agg(m::text, ''), '') from realtime.messages m")
        .fetch_one(&mut superuser(&db).await)
        .await
        .unwrap();
    assert!(!everything.contains(CANARY) && everything.contains("hint"));
}

/// The end of a run with a reply.
fn settlement(claim: &Claim) -> Settlement {
    Settlement {
        status: RunStatus::Done,
        reason: None,
        reply: Some(Reply {
            status: MessageStatus::Complete,
            text: format!("{CANARY} of run {}", claim.run.id),
            trace: MessageTrace::default(),
        }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_runs_person_joins_its_topic() {
    let db = with_realtime().await;
    let world = World::new(&db).await;
    let conversation = world.conversation(&world.member).await;
    let receipt = world.ask(&world.member, conversation.id, "Hello").await;
    let topic = topic(world.workspace.id, receipt.run_id);
    assert!(joins(&db, &world.member, &topic).await);
    // Neither the owner of the workspace nor anybody else, in whatever form the topic is written.
    assert!(!joins(&db, &world.owner, &topic).await);
    assert!(!joins(&db, &world.stranger, &topic).await);
    for role in ["anon", "duet_agent"] {
        assert!(!may_join(&db, &world.member.user.to_string(), role, &topic).await, "{role}");
    }
    for other in [
        format!("run:{}:{}", world.stranger.workspace, receipt.run_id),
        format!("run:{}:{}", world.workspace.id, world.env.id::<RunId>()),
        format!("{topic}:more"),
        topic.to_uppercase(),
        format!(" {topic}"),
        "run:x:y".to_owned(),
        "duet:probe".to_owned(),
        String::new(),
    ] {
        assert!(!joins(&db, &world.member, &other).await, "{other:?}");
    }
    for claims in ["", "not-a-uuid"] {
        assert!(!may_join(&db, claims, "authenticated", &topic).await);
    }
    // A removed member can no longer join.
    run(
        &mut db.owner().await,
        &format!("delete from duet.member where user_id = '{}'", world.member.user),
    )
    .await;
    assert!(!joins(&db, &world.member, &topic).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_join_test_sees_a_hole() {
    let db = with_realtime().await;
    let world = World::new(&db).await;
    let claim = world.claimed().await;
    let topic = topic(world.workspace.id, claim.run.id);
    assert!(!joins(&db, &world.stranger, &topic).await);
    run(
        &mut superuser(&db).await,
        "drop policy duet_run_hints on realtime.messages;
         create policy duet_run_hints on realtime.messages for select to authenticated using (extension = 'broadcast')",
    )
    .await;
    assert!(joins(&db, &world.stranger, &topic).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_the_server_sends() {
    let db = with_realtime().await;
    let world = World::new(&db).await;
    let claim = world.claimed().await;
    append(&world, &claim, claim.run.last_seq, &[delta("one")]).await;
    let topic = topic(world.workspace.id, claim.run.id);
    let before = hints(&db, &topic).await;
    assert!(!before.is_empty());
    let attempts = [
        format!("insert into realtime.messages (topic, extension, event, private) values ('{topic}', 'broadcast', 'hint', true)"),
        format!("select realtime.send('{{}}', 'hint', '{topic}', true)"),
        "update realtime.messages set event = 'hint', payload = '{}'".to_owned(),
        "delete from realtime.messages".to_owned(),
    ];
    for sql in attempts {
        let mut conn = superuser(&db).await;
        let mut transaction = conn.begin().await.unwrap();
        sqlx::query("select set_config('realtime.topic', $1, true), set_config('request.jwt.claims', $2, true), set_config('role', 'authenticated', true)")
            .bind(&topic)
            .bind(json!({"sub": world.owner.user, "role": "authenticated"}).to_string())
            .execute(&mut *transaction)
            .await
            .unwrap();
        // Refused, or without effect.
        let outcome = sqlx::raw_sql(AssertSqlSafe(sql.as_str())).execute(&mut *transaction).await;
        let refused = outcome.is_err();
        if refused {
            transaction.rollback().await.unwrap();
        } else {
            transaction.commit().await.unwrap();
        }
        assert_eq!(hints(&db, &topic).await, before, "{sql}");
    }
}

/// The check's report about Realtime.
async fn seen(db: &TestDatabase) -> (Verdict, String) {
    let options = db.worker_options();
    let url = format!(
        "postgres://duet_worker@{}:{}/{}",
        options.get_host(),
        options.get_port(),
        options.get_database().unwrap()
    );
    let database = Database::from_url("env:TEST", &SecretString::from(url)).unwrap();
    let findings = check::inspect(&database, &database).await.unwrap();
    let finding = findings.into_iter().find(|finding| finding.name == "realtime").unwrap();
    assert_eq!(finding.verdict == Verdict::Ok, finding.fix.is_none());
    (finding.verdict, finding.found)
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_that_vanish_are_seen_and_no_run_waits_for_them() {
    let db = TestDatabase::fresh().await;
    let (verdict, found) = seen(&db).await;
    assert_eq!(verdict, Verdict::Ok);
    assert!(found.contains("not in this database"), "{found}");

    let db = with_realtime().await;
    assert_eq!(seen(&db).await.0, Verdict::Ok, "{:?}", seen(&db).await);
    let messages: i64 = sqlx::query_scalar("select count(*) from realtime.messages")
        .fetch_one(&mut superuser(&db).await)
        .await
        .unwrap();
    assert_eq!(messages, 0, "the look leaves nothing behind");

    let world = World::new(&db).await;
    let claim = world.claimed().await;
    let mut last = claim.run.last_seq;
    let planted = [
        (
            "alter table realtime.messages disable row level security",
            "alter table realtime.messages enable row level security",
            "is off",
        ),
        (
            "drop policy duet_run_hints on realtime.messages",
            "select private.attach_realtime()",
            "nobody may join",
        ),
        (
            "drop trigger run_hints on duet.run",
            "select private.attach_realtime()",
            "send no hints",
        ),
        (
            "alter table duet.run disable trigger run_hints",
            "alter table duet.run enable trigger run_hints",
            "send no hints",
        ),
        (
            "revoke execute on function realtime.send(jsonb, text, text, boolean) from public",
            "grant execute on function realtime.send(jsonb, text, text, boolean) to public",
            "did not arrive",
        ),
        (
            "alter publication supabase_realtime add table duet.message",
            "alter publication supabase_realtime drop table duet.message",
            "duet.message",
        ),
        (
            "create policy shout on realtime.messages for insert to authenticated with check (true)",
            "drop policy shout on realtime.messages",
            "shout",
        ),
    ];
    for (fault, mended, words) in planted {
        run(&mut superuser(&db).await, fault).await;
        let (verdict, found) = seen(&db).await;
        assert!(
            verdict != Verdict::Ok && found.contains(words),
            "{fault}: {verdict:?} {found}"
        );
        append(&world, &claim, last, &[delta("on")]).await;
        last += 1;
        run(&mut superuser(&db).await, mended).await;
        assert_eq!(seen(&db).await.0, Verdict::Ok, "{mended}");
    }
    // Without today's partition, and then without Realtime's function, the log continues.
    for (fault, words) in [
        (
            "do $$ declare name text; begin for name in select inhrelid::regclass::text from pg_inherits where inhparent = 'realtime.messages'::regclass
             loop execute 'drop table ' || name; end loop; end $$",
            "did not arrive",
        ),
        ("drop function realtime.send(jsonb, text, text, boolean)", "not in this database"),
    ] {
        run(&mut superuser(&db).await, fault).await;
        db.env().advance(Duration::from_millis(300));
        append(&world, &claim, last, &[delta("on")]).await;
        last += 1;
        let (_, found) = seen(&db).await;
        assert!(found.contains(words), "{found}");
    }
    let page = world
        .stores
        .runs
        .events(&world.owner, claim.run.id, LogRange::whole(0, 1_000))
        .await
        .unwrap();
    assert_eq!(page.last_seq, last);
}

/// Joining a topic shows only its rows, whatever the client asks of the table; a policy that binds joining but not the rows to the
/// topic is found.
#[tokio::test(flavor = "multi_thread")]
async fn who_joins_a_topic_sees_no_row_of_another() {
    let db = with_realtime().await;
    let world = World::new(&db).await;
    let conversation = world.conversation(&world.stranger).await;
    world.ask(&world.stranger, conversation.id, "Theirs").await;
    let theirs = world.claim().await.unwrap();
    let ours = world.claimed().await;
    for claim in [&theirs, &ours] {
        append(
            &world,
            claim,
            claim.run.last_seq,
            &[delta("a"), NewEvent::from(RunEvent::RetryDue { step: 1 })],
        )
        .await;
    }
    let own = topic(world.workspace.id, ours.run.id);
    assert!(joins(&db, &world.owner, &own).await);
    let seen = async || {
        let mut conn = superuser(&db).await;
        let mut transaction = conn.begin().await.unwrap();
        sqlx::query(
            "select set_config('realtime.topic', $1, true), set_config('request.jwt.claims', $2, true), set_config('role', 'authenticated', true)",
        )
        .bind(&own)
        .bind(json!({"sub": world.owner.user.to_string(), "role": "authenticated"}).to_string())
        .execute(&mut *transaction)
        .await
        .unwrap();
        let topics: Vec<String> = sqlx::query_scalar("select distinct topic from realtime.messages")
            .fetch_all(&mut *transaction)
            .await
            .unwrap();
        topics
    };
    assert_eq!(seen().await, std::slice::from_ref(&own));
    let hole = "drop policy duet_run_hints on realtime.messages;
                create policy duet_run_hints on realtime.messages for select to authenticated
                using (extension = 'broadcast' and (select private.may_hear((select realtime.topic()))))";
    run(&mut superuser(&db).await, hole).await;
    assert!(seen().await.len() > 1, "a hole is found");
}
