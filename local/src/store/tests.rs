//! What only this adapter can show: jobs in groups, and the connection of agents.

use std::{collections::BTreeSet, sync::Arc};

use duet_core::{
    Caller, StoreError,
    caller::ActingAgent,
    domain::{MemoryScopes, Role},
    ids::Id,
};
use rusqlite::OptionalExtension;

use super::{LocalStore, OpenOptions, authorizer, db::Db};

fn open(path: &std::path::Path) -> LocalStore {
    LocalStore::open(OpenOptions {
        path: path.to_owned(),
        key: crate::key::FileKey::new([7; 32]),
        env: duet_core::clock::Env::new(Arc::new(Fixed), Arc::new(Fixed)),
        vector_cache_bytes: 0,
    })
    .unwrap()
}

fn acting() -> Caller {
    let id = uuid::Uuid::nil();
    Caller::person(Id::from_uuid(id), Id::from_uuid(id), Role::Member).with_agent(ActingAgent {
        agent: Id::from_uuid(id),
        run: Id::from_uuid(id),
        capabilities: BTreeSet::new(),
        memory_scopes: MemoryScopes::all(),
    })
}

struct Fixed;
#[async_trait::async_trait]
impl duet_core::Clock for Fixed {
    fn now(&self) -> duet_core::Timestamp {
        duet_core::Timestamp::from_millis(1)
    }
    async fn sleep(&self, _: std::time::Duration) {}
}
impl duet_core::Random for Fixed {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(9);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_and_panicking_jobs_take_back_only_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("duet.db");
    let store = open(&path);
    let mut jobs = tokio::task::JoinSet::new();
    for number in 0..60_u8 {
        let db = store.db.clone();
        jobs.spawn(async move {
            let outcome = db
                .write(move |tx| {
                    tx.execute(
                        "INSERT INTO user (id, email, display_name, created_at) VALUES (?1, ?2, '', 0)",
                        ([number; 16], format!("{number}@example.org")),
                    )?;
                    match number % 3 {
                        0 => Ok(()),
                        1 => Err(StoreError::invalid("no").into()),
                        _ => panic!("a job that panics on purpose"),
                    }
                })
                .await;
            match number % 3 {
                0 => assert!(outcome.is_ok()),
                1 => assert!(matches!(outcome, Err(StoreError::Invalid(_)))),
                _ => assert!(matches!(outcome, Err(StoreError::Unavailable(_)))),
            }
        });
    }
    while let Some(done) = jobs.join_next().await {
        done.unwrap();
    }
    let count = |db: Db| async move {
        db.read(|conn| Ok(conn.query_row("SELECT count(*) FROM user", [], |row| row.get::<_, i64>(0))?))
            .await
    };
    assert_eq!(count(store.db.clone()).await.unwrap(), 20);
    drop(store);
    assert_eq!(count(open(&path).db.clone()).await.unwrap(), 20);
}

#[tokio::test]
async fn an_agents_connection_reads_no_secrets_and_writes_nothing_unlisted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("duet.db"));
    let agent = acting();
    for table in authorizer::AGENT_UNREADABLE {
        let read = store
            .db
            .read_for(&agent, move |conn| {
                Ok(conn.query_row(&format!("SELECT * FROM {table}"), [], |_| Ok(())).optional()?)
            })
            .await;
        assert!(matches!(read, Err(StoreError::Denied(_))), "{table}: {read:?}");
    }
    let written = store
        .db
        .write_for(&agent, |tx| Ok(tx.execute("UPDATE workspace SET name = 'x'", [])?))
        .await;
    assert!(matches!(written, Err(StoreError::Denied(_))), "{written:?}");
}
