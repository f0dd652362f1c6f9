//! What only this adapter does: jobs in groups, and the connection of agents.

use std::{collections::BTreeSet, sync::Arc};

use duet_core::{
    Caller, StoreError, StoreResult,
    caller::ActingAgent,
    domain::{Locality, MemoryScopes, Role},
    ids::Id,
    refusal::Refusal,
};
use rusqlite::OptionalExtension;

use super::{LocalStore, OpenOptions, authorizer, db::Db};

fn open(path: &std::path::Path) -> LocalStore {
    open_with(path, duet_core::clock::Env::new(Arc::new(Fixed), Arc::new(Fixed)))
}

fn open_with(path: &std::path::Path, env: duet_core::Env) -> LocalStore {
    LocalStore::open(OpenOptions {
        path: path.to_owned(),
        key: crate::key::FileKey::new([7; 32]),
        env,
        vector_cache_bytes: 0,
    })
    .unwrap()
}

/// An active agent in one person's workspace.
async fn acting(store: &LocalStore) -> Caller {
    let id = uuid::Uuid::nil();
    let hired = store.db.write(|conn| {
        conn.execute_batch(
            "INSERT INTO user VALUES (zeroblob(16), 'a@example.org', 'A', 0);
             INSERT INTO workspace VALUES (zeroblob(16), 'W', zeroblob(16), 0);
             INSERT INTO member VALUES (zeroblob(16), zeroblob(16), 'member', 0);
             INSERT INTO agent (workspace_id, id, kind, name, prompt, capabilities, memory_scopes, tools, active, version, created_at, updated_at)
             VALUES (zeroblob(16), zeroblob(16), 'specialist', 'A', '', '[]', '{}', '[]', 1, 1, 0, 0);",
        )?;
        Ok(())
    });
    hired.await.unwrap();
    Caller::person(Id::from_uuid(id), Id::from_uuid(id), Role::Member).with_agent(ActingAgent {
        agent: Id::from_uuid(id),
        run: Id::from_uuid(id),
        capabilities: BTreeSet::new(),
        memory_scopes: MemoryScopes::all(),
        locality: Locality::Local,
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
                        1 => Err(Refusal::Value.into()),
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
    let agent = acting(&store).await;
    for table in authorizer::AGENT_UNREADABLE {
        let read = store
            .db
            .read_for(&agent, move |conn| {
                Ok(conn.query_row(&format!("SELECT * FROM {table}"), [], |_| Ok(())).optional()?)
            })
            .await;
        assert!(matches!(read, Err(StoreError::Denied(..))), "{table}: {read:?}");
    }
    let written = store
        .db
        .write_for(&agent, |tx| Ok(tx.execute("UPDATE workspace SET name = 'x'", [])?))
        .await;
    assert!(matches!(written, Err(StoreError::Denied(..))), "{written:?}");
}

#[tokio::test]
async fn the_audit_log_is_open_on_an_agents_connection_for_its_own_entry_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("duet.db"));
    let agent = acting(&store).await;
    let asked = |sql: &'static str, recording: bool| {
        store.db.write_for(&agent, move |tx| {
            let ask = || Ok(tx.prepare(sql)?.query_row([], |_| Ok(())).optional()?);
            if recording { authorizer::recording(ask) } else { ask() }
        })
    };
    let head = "SELECT seq FROM audit_head";
    asked(head, true).await.unwrap();
    assert!(
        matches!(asked(head, false).await, Err(StoreError::Denied(..))),
        "it shuts again"
    );
    for sql in [
        "SELECT action FROM audit_entry",
        "DELETE FROM audit_entry",
        "UPDATE audit_entry SET action = 'x'",
        "DELETE FROM audit_head",
        "SELECT id FROM session",
    ] {
        assert!(matches!(asked(sql, true).await, Err(StoreError::Denied(..))), "{sql}");
    }
    let fell: StoreResult<()> = store
        .db
        .write_for(&agent, |_| authorizer::recording(|| panic!("as a bug would")))
        .await;
    assert!(fell.is_err());
    assert!(
        matches!(asked(head, false).await, Err(StoreError::Denied(..))),
        "a panic shuts it too"
    );
}

/// What an agent's connection may do with every table of the schema, cell by cell. Fails on a table that the page does not know.
#[tokio::test]
async fn the_access_of_agents_is_as_published() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("duet.db"));
    let schema: Vec<(String, Vec<String>)> = store
        .db
        .read(|conn| {
            let sql = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY name";
            let tables: Vec<String> = conn
                .prepare(sql)?
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            let mut columns = conn.prepare("SELECT name FROM pragma_table_info(?1) ORDER BY cid")?;
            let mut schema = Vec::new();
            for table in tables {
                let columns = columns.query_map([&table], |row| row.get(0))?.collect::<Result<_, _>>()?;
                schema.push((table, columns));
            }
            Ok(schema)
        })
        .await
        .unwrap();
    let rows = store
        .db
        .write_for(&acting(&store).await, move |conn| {
            Ok(schema
                .iter()
                .map(|(table, columns)| access(conn, table, columns))
                .collect::<String>())
        })
        .await
        .unwrap();
    let published = include_str!("../../../docs/security/agent-access-local.md");
    assert!(
        published.ends_with(&format!("|---|---|---|---|---|\n{rows}")),
        "the page has to end with:\n{rows}"
    );
}

/// One row of the page: SQLite is asked to prepare each kind of statement.
fn access(conn: &rusqlite::Connection, table: &str, columns: &[String]) -> String {
    let allowed = |sql: String| match conn.prepare(&sql) {
        Ok(_) => true,
        Err(error) => {
            // Nobody writes to views or to the inner tables of the full-text index.
            let message = error.to_string();
            let refused = ["not authorized", "prohibited", "is a view", "may not be modified"];
            assert!(refused.iter().any(|word| message.contains(word)), "{sql}: {message}");
            false
        }
    };
    let mark = |allowed: bool| if allowed { "yes" } else { "–" };
    let updates: Vec<&str> = columns
        .iter()
        .filter(|column| allowed(format!("UPDATE \"{table}\" SET \"{column}\" = NULL WHERE 0")))
        .map(String::as_str)
        .collect();
    format!(
        "| `{table}` | {} | {} | {} | {} |\n",
        mark(allowed(format!("SELECT * FROM \"{table}\""))),
        mark(allowed(format!("INSERT INTO \"{table}\" DEFAULT VALUES"))),
        if updates.is_empty() {
            "–".into()
        } else {
            updates.join(", ")
        },
        mark(allowed(format!("DELETE FROM \"{table}\"")))
    )
}

/// Redacted text leaves the log too, or an error says that it has not: while somebody reads an older state, the log keeps its text.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_emptied_is_told_and_emptied_later() {
    const WORD: &str = "chanterelle";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("duet.db");
    let store = open_with(&path, duet_core::contract::TestEnv::new(8).env());
    let stores = store.stores();
    stores.accounts.put_setup_token([3; 32]).await.unwrap();
    let setup = duet_core::domain::OwnerSetup {
        token_hash: [3; 32],
        email: "ana@example.org".into(),
        display_name: "Ana".into(),
        password_hash: "hash".into(),
        workspace_name: "Home".into(),
        companion_name: "Juno".into(),
    };
    let (user, workspace) = stores.accounts.create_owner(setup).await.unwrap();
    let caller = Caller::person(user.id, workspace.id, Role::Owner);
    let env = duet_core::contract::TestEnv::new(9).env();
    let said = duet_core::contract::memories::fact(&env, &format!("Ana picks {WORD}s"));
    let memory = stores.memories.remember(&caller, said, None).await.unwrap().id;

    let log = crate::files::beside(&path, "-wal");
    let reader = store.connector.connect(super::Access::Read).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM memory;").unwrap();
    let told = stores.memories.redact(&caller, memory, env.id()).await;
    assert!(
        matches!(&told, Err(StoreError::Unavailable(said)) if said.contains("is redacted") && said.contains("log")),
        "{told:?}"
    );
    let told = stores.memories.redact(&caller, memory, env.id()).await;
    assert!(told.is_err(), "it is there still");
    assert!(std::fs::metadata(&log).unwrap().len() > 0);
    drop(reader);
    stores.memories.redact(&caller, memory, env.id()).await.unwrap();
    assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);
}

/// When the disk is full, what was acknowledged is there, and what was refused is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("duet.db");
    let store = open(&path);
    store
        .db
        .write(|tx| {
            let pages: i64 = tx.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            Ok(tx.query_row(&format!("PRAGMA max_page_count = {}", pages + 40), [], |_| Ok(()))?)
        })
        .await
        .unwrap();
    let mut jobs = tokio::task::JoinSet::new();
    for number in 0..100_u8 {
        let db = store.db.clone();
        jobs.spawn(async move {
            let written = db
                .write(move |tx| {
                    let name = "x".repeat(6000);
                    tx.execute(
                        "INSERT INTO user (id, email, display_name, created_at) VALUES (?1, ?2, ?3, 0)",
                        rusqlite::params![[number; 16], format!("{number}@example.org"), name],
                    )?;
                    Ok(())
                })
                .await;
            (number, written)
        });
    }
    let (mut kept, mut refused) = (BTreeSet::new(), 0);
    while let Some(done) = jobs.join_next().await {
        match done.unwrap() {
            (number, Ok(())) => {
                kept.insert(number);
            }
            (_, Err(StoreError::Unavailable(_))) => refused += 1,
            (_, Err(other)) => panic!("{other:?}"),
        }
    }
    assert!(!kept.is_empty() && refused > 0, "{} kept, {refused} refused", kept.len());
    drop(store);
    let found: BTreeSet<u8> = open(&path)
        .db
        .read(|conn| {
            let mut statement = conn.prepare("SELECT id FROM user")?;
            let rows = statement.query_map([], |row| row.get::<_, [u8; 16]>(0))?;
            Ok(rows.map(|id| id.map(|id| id[0])).collect::<Result<_, _>>()?)
        })
        .await
        .unwrap();
    assert_eq!(found, kept);
}
