//! The event log under concurrent writes, its chain under tampering, and its hints over a broken connection.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use duet_core::{
    StoreError,
    contract::{World, Writes},
    domain::{Claim, HandBack, LogRange, MessageStatus, MessageTrace, NewEvent, Reply, RunEvent, RunStatus, Settlement},
    ids::Id,
    ports::ChainCheck,
};
use duet_supabase::testing::TestDatabase;
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgListener},
    types::Json,
};
use tokio::task::JoinSet;

const WRITERS: usize = 16;
const ROUNDS: usize = 40;
const LOOKS: usize = 10;
/// Ends a hang, however slow the machine is.
const HANG: Duration = Duration::from_secs(180);

/// Sixteen connections append to one run, one transaction in ten is rolled back: numbers have no gaps, acknowledged events keep their
/// numbers, and concurrent readers always see a prefix of the log without a hole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_writers_with_rollbacks() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let claim = world.claimed().await;
    // Raw connections do not set the tests' time; by the database's own clock this lease holds.
    sqlx::query("update duet.run set lease_until = 'infinity' where id = $1")
        .bind(claim.run.id.uuid())
        .execute(&mut db.owner().await)
        .await
        .unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(read_on(db.owner().await, claim.run.id.uuid(), done.clone()));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(db.worker().await, claim.clone(), writer));
    }
    let acknowledged = writers.join_all().await.concat();
    done.store(true, Ordering::SeqCst);
    let snapshots = reader.await.unwrap();
    assert!(snapshots >= LOOKS);

    let page = world
        .stores
        .runs
        .events(&world.owner, claim.run.id, LogRange::whole(0, 1_000))
        .await
        .unwrap();
    let seqs: Vec<u64> = page.events.iter().map(|stored| stored.seq).collect();
    assert_eq!(seqs, (1..=page.last_seq).collect::<Vec<_>>());
    assert_eq!(page.last_seq as usize, 1 + acknowledged.len());
    for (seq, text) in acknowledged {
        let stored = &page.events[seq as usize - 1].event;
        assert!(
            matches!(stored, Some(RunEvent::Delta { text: kept, .. }) if *kept == text),
            "{seq} {text}: {stored:?}"
        );
    }
    // The outbox's hints never go back, in the order of their rows.
    let hints: Vec<i64> = sqlx::query_scalar("select last_seq from duet.run_event_outbox where run_id = $1 order by id")
        .bind(claim.run.id.uuid())
        .fetch_all(&mut db.owner().await)
        .await
        .unwrap();
    assert!(hints.is_sorted());
    assert!(matches!(
        world.stores.audit.verify(&world.owner).await.unwrap(),
        ChainCheck::Intact(_)
    ));
}

/// Appends a few events per transaction; returns what was committed, by number.
async fn write(mut conn: PgConnection, claim: Claim, writer: usize) -> Vec<(u64, String)> {
    let mut kept = Vec::new();
    for round in 0..ROUNDS {
        let texts: Vec<String> = (0..=round % 2).map(|part| format!("{writer}/{round}/{part}")).collect();
        let events: Vec<Value> = texts
            .iter()
            .map(|text| {
                let payload = serde_json::to_string(&RunEvent::Delta {
                    step: 1,
                    text: text.clone(),
                })
                .unwrap();
                json!({"kind": "delta", "payload": payload, "salt": "00112233445566778899aabbccddeeff", "mentions": []})
            })
            .collect();
        let mut transaction = conn.begin().await.unwrap();
        let Json(answer): Json<Value> =
            sqlx::query_scalar("select driver.commit_run($1, $2, 1, gen_random_uuid(), false, $3, '[]', '[]', null)")
                .bind(claim.run.id.uuid())
                .bind(claim.lease.uuid())
                .bind(Json(&events))
                .fetch_one(&mut *transaction)
                .await
                .unwrap();
        let first = answer["ok"]["first"].as_u64().unwrap_or_else(|| panic!("{answer}"));
        if (writer + round).is_multiple_of(10) {
            transaction.rollback().await.unwrap();
        } else {
            transaction.commit().await.unwrap();
            kept.extend((first..).zip(texts));
        }
    }
    kept
}

/// Reads the log repeatedly until all is written, and at least this often; returns how often.
async fn read_on(mut conn: PgConnection, run: uuid::Uuid, done: Arc<AtomicBool>) -> usize {
    let (mut looks, mut last) = (0, 0);
    while !done.load(Ordering::SeqCst) || looks < LOOKS {
        let (count, newest, head): (i64, i64, i64) = sqlx::query_as(
            "select count(*), max(seq), (select last_seq from duet.run where id = $1) from duet.run_event where run_id = $1",
        )
        .bind(run)
        .fetch_one(&mut conn)
        .await
        .unwrap();
        assert_eq!((count, newest), (head, head), "a hole, or a head elsewhere");
        assert!(newest >= last, "an event was there and is gone");
        last = newest;
        looks += 1;
    }
    looks
}

fn delta(text: &str) -> NewEvent {
    RunEvent::Delta {
        step: 1,
        text: text.into(),
    }
    .into()
}

/// Bypassing the triggers is found out: every possible change of a chain is reported at its place. Redaction is not one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_shows() {
    const LOG: &str = "run";
    const AUDIT: &str = "audit";
    let tamperings: &[(&str, &str, u64)] = &[
        ("update duet.run_event set kind = 'tool' where seq = 3", LOG, 3),
        ("update duet.run_event set at = at + interval '1 ms' where seq = 2", LOG, 2),
        (
            "update duet.run_event_payload set payload = replace(payload, 'two', 'six') where seq = 3",
            LOG,
            3,
        ),
        (
            "update duet.run_event_payload set salt = decode(repeat('aa', 16), 'hex') where seq = 4",
            LOG,
            4,
        ),
        ("delete from duet.run_event_payload where seq = 2", LOG, 2),
        (
            "delete from duet.run_event_payload where seq = 2; delete from duet.run_event where seq = 2",
            LOG,
            2,
        ),
        (
            "delete from duet.run_event_payload where seq = 4; delete from duet.run_event where seq = 4",
            LOG,
            4,
        ),
        (
            "delete from duet.run_event_payload where seq = 4; delete from duet.run_event where seq = 4; update duet.run set last_seq = 3",
            LOG,
            4,
        ),
        (
            "create temporary table two as select * from duet.run_event where seq in (2, 3);
             update duet.run_event e set kind = t.kind, payload_hash = t.payload_hash, chain_hash = t.chain_hash
             from two t where e.seq = 5 - t.seq",
            LOG,
            2,
        ),
        (
            "delete from duet.run_event_payload; delete from duet.run_event; delete from duet.run",
            LOG,
            1,
        ),
        ("update duet.audit_entry set action = 'nothing' where seq = 2", AUDIT, 2),
        (
            "update duet.audit_entry set details = '{\"role\":\"owner\"}' where action = 'invitation.accept'",
            AUDIT,
            4,
        ),
        (
            "update duet.audit_entry set actor = gen_random_uuid() where seq = 1",
            AUDIT,
            1,
        ),
        ("delete from duet.audit_entry where seq = 2", AUDIT, 2),
        ("delete from duet.audit_entry where seq = 4", AUDIT, 4),
        ("delete from duet.audit_entry", AUDIT, 1),
    ];
    for (tampering, chain, seq) in tamperings {
        let db = TestDatabase::fresh().await;
        let world = World::new(&db).await;
        let claim = world.claimed().await;
        let events = ["one", "two", "three"].map(delta).to_vec();
        world
            .stores
            .run_log
            .append(claim.run.id, claim.lease, 1, world.env.id(), events)
            .await
            .unwrap();
        let verify = || world.stores.audit.verify(&world.owner);
        let ChainCheck::Intact(rows) = verify().await.unwrap() else {
            panic!("broken from the start")
        };
        assert_eq!(rows, 8, "four entries, four events");
        let mut owner = db.owner().await;
        for table in ["run_event", "run_event_payload", "audit_entry"] {
            let off = format!("alter table duet.{table} disable trigger user");
            sqlx::raw_sql(AssertSqlSafe(off)).execute(&mut owner).await.unwrap();
        }
        sqlx::raw_sql(*tampering).execute(&mut owner).await.unwrap();
        let name = if *chain == LOG {
            format!("run {}", claim.run.id)
        } else {
            (*chain).to_owned()
        };
        assert_eq!(
            verify().await.unwrap(),
            ChainCheck::Broken { chain: name, seq: *seq },
            "{tampering}"
        );
    }
}

/// With their triggers in place, events and audit entries cannot be changed even by the database's owner; a payload can be redacted,
/// and then the chain is still valid.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_stays() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let claim = world.claimed().await;
    let mut owner = db.owner().await;
    for sql in [
        "update duet.run_event set kind = 'tool'",
        "delete from duet.run_event",
        "truncate duet.run_event cascade",
        "update duet.run_event_payload set payload = '{}'",
        "update duet.run_event_payload set payload = null, salt = null, redacted_at = now(), seq = 9",
        "delete from duet.run_event_payload",
        "truncate duet.run_event_payload",
        "update duet.audit_entry set action = 'x'",
        "delete from duet.audit_entry",
        "truncate duet.audit_entry",
        "update duet.soul_version set version = 9",
        "delete from duet.soul_version",
    ] {
        let error = sqlx::raw_sql(sql).execute(&mut owner).await.expect_err(sql);
        let code = error
            .as_database_error()
            .and_then(|error| error.code())
            .map(|code| code.into_owned());
        assert_eq!(code.as_deref(), Some("23001"), "{sql}: {error}");
    }
    let redacted =
        sqlx::query("update duet.run_event_payload set payload = null, salt = null, redacted_at = now() where run_id = $1")
            .bind(claim.run.id.uuid())
            .execute(&mut owner)
            .await
            .unwrap();
    assert_eq!(redacted.rows_affected(), 1);
    assert!(matches!(
        world.stores.audit.verify(&world.owner).await.unwrap(),
        ChainCheck::Intact(_)
    ));
    let page = world
        .stores
        .runs
        .events(&world.owner, claim.run.id, LogRange::whole(0, 10))
        .await
        .unwrap();
    assert_eq!(page.events[0].event, None);
}

/// The appends of one process are notified to the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_processes_are_notified() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let mut listener = PgListener::connect_with(&PgPool::connect_lazy_with(db.worker_options()))
        .await
        .unwrap();
    listener.listen("duet_run").await.unwrap();
    let claim = world.claimed().await;
    for seq in 1..4_u64 {
        let newest = tokio::time::timeout(HANG, async {
            loop {
                let heard = listener.recv().await.unwrap();
                let (run, last_seq) = heard.payload().split_once(' ').unwrap();
                assert_eq!(run, claim.run.id.to_string());
                if last_seq.parse::<u64>().unwrap() >= seq {
                    break;
                }
            }
        });
        newest.await.expect("a notification");
        world
            .stores
            .run_log
            .append(claim.run.id, claim.lease, seq, world.env.id(), vec![delta("x")])
            .await
            .unwrap();
    }
}

/// A relay's connection is cut: hints of another process still arrive, and by notification again once it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hints_outlive_their_connection() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let claim = world.claimed().await;
    let other = db.another_process();
    let mut hints = other.feed.subscribe(claim.run.id);
    let name: String = sqlx::query_scalar("select current_database()::text")
        .fetch_one(&mut db.owner().await)
        .await
        .unwrap();
    let url = std::env::var("DUET_TEST_POSTGRES_URL").unwrap();
    let mut superuser = url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
    // A connection that was cut is listed until its process has ended.
    let listeners = "select coalesce(array_agg(pid), '{}') from pg_stat_activity
                     where datname = $1 and application_name = 'duet relay' and pid <> all ($2)";
    let mut cut: Vec<i32> = Vec::new();
    for seq in 2..5 {
        let listening = tokio::time::timeout(HANG, async {
            loop {
                let listening: Vec<i32> = sqlx::query_scalar(listeners)
                    .bind(&name)
                    .bind(&cut)
                    .fetch_one(&mut superuser)
                    .await
                    .unwrap();
                if listening.len() == 2 {
                    break listening;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let listening = listening.await.expect("both relays listen");
        let ended: i64 = sqlx::query_scalar("select count(pg_terminate_backend(pid)) from unnest($1::int[]) pid")
            .bind(&listening)
            .fetch_one(&mut superuser)
            .await
            .unwrap();
        cut.extend(listening);
        assert_eq!(ended, 2);
        world
            .stores
            .run_log
            .append(claim.run.id, claim.lease, seq - 1, world.env.id(), vec![delta("x")])
            .await
            .unwrap();
        let newest = tokio::time::timeout(HANG, async {
            loop {
                let hint = hints.recv().await.unwrap();
                if hint.last_seq >= seq {
                    break hint;
                }
            }
        });
        assert_eq!(newest.await.expect("a hint").last_seq, seq);
    }
}

/// All connections of a process are cut while idle: its next call, repeatable or not, does not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_connections_are_not_used() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let claim = world.claimed().await;
    let name: String = sqlx::query_scalar("select current_database()::text")
        .fetch_one(&mut db.owner().await)
        .await
        .unwrap();
    let url = std::env::var("DUET_TEST_POSTGRES_URL").unwrap();
    let mut superuser = url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
    for seq in 1..6 {
        // As many at once as there are connections.
        let calls: Vec<_> = (0..4).map(|_| world.stores.runs.run(&world.owner, claim.run.id)).collect();
        for run in futures::future::join_all(calls).await {
            assert_eq!(run.unwrap().unwrap().last_seq, seq);
        }
        let cut = "select count(pg_terminate_backend(pid, 1000)) from pg_stat_activity where datname = $1 and application_name = 'duet'";
        let ended: i64 = sqlx::query_scalar(cut).bind(&name).fetch_one(&mut superuser).await.unwrap();
        assert!(ended > 0);
        world
            .stores
            .run_log
            .append(claim.run.id, claim.lease, seq, world.env.id(), vec![delta("x")])
            .await
            .unwrap();
    }
}

/// Everything a model writes can be stored: characters that Postgres cannot represent, more words than its index holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_replies_are_kept() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    // Every letter of the first planes as a separate word.
    let letters: Vec<String> = ('\u{100}'..'\u{2FFFF}')
        .filter(|letter| letter.is_alphanumeric())
        .map(String::from)
        .collect();
    let many = letters.join(" ");
    assert!(many.len() > 300_000);
    for (text, kept) in [
        ("a\0b", "a\u{FFFD}b"),
        ("\u{FFFF}\u{202E}\\u0000", "\u{FFFF}\u{202E}\\u0000"),
        (&many, &many),
    ] {
        let claim = world.claimed().await;
        let streamed = delta(text);
        let log = &world.stores.run_log;
        let appended = log
            .append(claim.run.id, claim.lease, 1, world.env.id(), vec![streamed.clone()])
            .await
            .unwrap();
        assert_eq!(appended.own[0].event.as_ref(), Some(&streamed.event));
        let page = world
            .stores
            .runs
            .events(&world.owner, claim.run.id, LogRange::whole(1, 10))
            .await
            .unwrap();
        assert_eq!(page.events[0].event, Some(streamed.event), "the log keeps it as it came");
        let trace = MessageTrace {
            model: "script/o\0ne".into(),
            ..MessageTrace::default()
        };
        let settlement = Settlement {
            status: RunStatus::Done,
            reason: Some("odd\0".into()),
            reply: Some(Reply {
                status: MessageStatus::Complete,
                text: text.into(),
                trace,
            }),
        };
        log.settle(claim.run.id, claim.lease, 2, world.env.id(), Vec::new(), settlement)
            .await
            .unwrap();
        let found = world
            .stores
            .conversations
            .messages_by_id(&world.owner, &[claim.run.reply_id])
            .await
            .unwrap();
        assert_eq!(found[0].text, kept);
    }
    let conversation = world.conversation(&world.owner).await;
    let refused = world
        .stores
        .runs
        .start_turn(&world.owner, world.turn(conversation.id, "a\0b"))
        .await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
}

/// An unreadable run ends with its reason and blocks nobody; the readable part of its log is shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_cannot_be_read_is_parked_alone() {
    for payload in ["no json", r#"{"type": "unheard_of"}"#] {
        let db = TestDatabase::fresh().await;
        let world = World::new(&db).await;
        let conversation = world.conversation(&world.owner).await;
        let spoiled = world.ask(&world.owner, conversation.id, "Hello").await.run_id;
        // A second event, and nobody holds the run.
        let (claim, log) = (world.claim().await.expect("the run"), &world.stores.run_log);
        log.append(spoiled, claim.lease, 1, world.env.id(), vec![delta("on")])
            .await
            .unwrap();
        log.hand_back(spoiled, claim.lease, HandBack::Leaving).await.unwrap();
        let mut owner = db.owner().await;
        sqlx::raw_sql("alter table duet.run_event_payload disable trigger user")
            .execute(&mut owner)
            .await
            .unwrap();
        let changed = sqlx::query("update duet.run_event_payload set payload = $2 where run_id = $1 and seq = 2")
            .bind(spoiled.uuid())
            .bind(payload)
            .execute(&mut owner)
            .await
            .unwrap();
        assert_eq!(changed.rows_affected(), 1);
        let fine = world
            .ask(&world.owner, world.conversation(&world.owner).await.id, "Hello")
            .await;
        let claim = world.claim().await.expect("the run behind it");
        assert_eq!(claim.run.id, fine.run_id, "{payload}");
        assert!(world.claim().await.is_none());
        let run = world.stores.runs.run(&world.owner, spoiled).await.unwrap().unwrap();
        assert_eq!(run.status, RunStatus::Parked);
        assert!(run.reason.is_some_and(|reason| reason.contains("cannot be read")));
        let page = world
            .stores
            .runs
            .events(&world.owner, spoiled, LogRange::whole(0, 10))
            .await
            .unwrap();
        assert_eq!((page.events.len(), page.ended), (3, true));
        assert!(page.events[1].event.is_none());
        world.ask(&world.owner, conversation.id, "Once more").await;
    }
}
