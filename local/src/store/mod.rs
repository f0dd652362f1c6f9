//! The stores of one encrypted file.

mod authorizer;
mod connect;
mod db;
mod error;
mod feed;
mod open;
mod readers;
mod relay;
mod rows;
mod schema;
mod writer;

use std::sync::{Arc, mpsc};

pub use self::open::{OpenError, OpenOptions};
use self::{
    connect::{Access, Connector},
    db::{Db, Parts},
    feed::Feed,
    open::FileLock,
    readers::Readers,
    relay::Signal,
    writer::{Writer, WriterParts},
};
use crate::files;

/// Threads that read: more than cores, because a reader may wait for the disk.
const READERS: usize = 4;

/// The data file of one Duet, open for this process alone. It stays open until this and all its stores are dropped.
pub struct LocalStore {
    db: Db,
    feed: Arc<Feed>,
    connector: Arc<Connector>,
}

impl LocalStore {
    /// Opens the file, making it when it is not there, and starts its threads.
    pub fn open(options: OpenOptions) -> Result<Self, OpenError> {
        let OpenOptions { path, key, env, .. } = options;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            files::private_folder(folder).map_err(|error| OpenError::from_io(&path, &error))?;
        }
        let lock = FileLock::take(&path)?;
        let connector = Arc::new(Connector::new(path, key));
        let person = open::open(&connector)?;
        let agent = connector.connect(Access::AgentWrite)?;
        let relaying = connector.connect(Access::Read)?;
        let failed = |error: std::io::Error| OpenError::from_io(connector.path(), &error);
        let (signals, inbox) = mpsc::channel();
        let (writer, writing) = Writer::start(WriterParts {
            person,
            agent,
            outbox: signals.clone(),
        })
        .map_err(failed)?;
        let (readers, mut threads) = Readers::start(&connector, READERS).map_err(failed)?;
        let feed = Arc::new(Feed::default());
        threads.push(relay::start(relaying, inbox, Arc::clone(&feed), writer.clone()).map_err(failed)?);
        threads.push(writing);
        let db = Db::new(Parts {
            writer: Some(writer),
            readers: Some(readers),
            relay: signals,
            threads,
            env,
            lock,
        });
        Ok(Self { db, feed, connector })
    }
}

#[cfg(test)]
mod tests {
    use duet_core::StoreError;

    use super::*;

    fn open(path: &std::path::Path) -> LocalStore {
        LocalStore::open(OpenOptions {
            path: path.to_owned(),
            key: crate::key::FileKey::new([7; 32]),
            env: duet_core::clock::Env::new(Arc::new(Fixed), Arc::new(Fixed)),
            vector_cache_bytes: 0,
        })
        .unwrap()
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
        for table in authorizer::AGENT_UNREADABLE {
            let outcome = store
                .db
                .read_as_agent(move |conn| {
                    Ok(conn.query_row(
                        &format!("SELECT count(*) FROM {table} WHERE rowid IS NOT NULL OR 1"),
                        [],
                        |_| Ok(()),
                    )?)
                })
                .await;
            let outcome = match outcome {
                // Tables without rowid have no such column.
                Err(StoreError::Unavailable(_)) => {
                    store
                        .db
                        .read_as_agent(move |conn| Ok(conn.query_row(&format!("SELECT * FROM {table}"), [], |_| Ok(()))?))
                        .await
                }
                other => other,
            };
            assert!(matches!(outcome, Err(StoreError::Denied(_))), "{table}: {outcome:?}");
        }
        let written = store
            .db
            .write_as_agent(|tx| Ok(tx.execute("UPDATE workspace SET name = 'x'", [])?))
            .await;
        assert!(matches!(written, Err(StoreError::Denied(_))), "{written:?}");
    }
}
