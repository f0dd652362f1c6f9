//! The stores of one encrypted file.

mod accounts;
mod acting;
mod agents;
mod audit;
mod authorizer;
mod connect;
mod conversations;
mod db;
mod deletion;
mod devices;
mod error;
mod events;
pub mod files;
mod hints;
mod invitations;
pub mod key;
mod keys;
mod lock;
mod mark;
mod members;
mod memory;
mod open;
mod passing;
mod policies;
mod readers;
mod recall;
mod relay;
mod requests;
mod rows;
mod run_log;
mod runs;
mod salvage;
mod schema;
mod search;
mod signal;
mod system;
mod workspaces;
mod writer;

use std::sync::{Arc, mpsc};

use duet_core::{
    StoreError, StoreResult,
    crypto::derive_key,
    cursor,
    feed::Feed,
    ids::UserId,
    ports::{AccountStore, EventFeed, MemoryStore, NoticeStore, Stores},
};
use rusqlite::{Connection, OptionalExtension};
use zeroize::Zeroizing;

use self::{
    accounts::LocalAccounts,
    agents::LocalAgents,
    audit::LocalAudit,
    connect::{Access, Connector},
    conversations::LocalConversations,
    db::{Db, Parts},
    devices::LocalDevices,
    invitations::LocalInvitations,
    keys::LocalKeys,
    lock::FileLock,
    memory::LocalMemories,
    passing::PassingSignIns,
    policies::LocalPolicies,
    readers::Readers,
    requests::LocalRequests,
    run_log::LocalRunLog,
    runs::LocalRuns,
    system::LocalSystem,
    workspaces::LocalWorkspaces,
    writer::{Writer, WriterParts},
};
pub use self::{
    connect::CIPHER_SETTINGS,
    mark::Loss,
    open::{OpenError, OpenOptions},
    salvage::{Dropped, Gap, Salvaged},
};

/// Reader threads: more than cores, because a reader may wait for the disk.
const READERS: usize = 4;

/// The data file of one Duet, open for this process alone. It stays open until this and all its stores are dropped.
pub struct LocalStore {
    db: Db,
    feed: Arc<Feed>,
    connector: Arc<Connector>,
    accounts: Arc<dyn AccountStore>,
    memories: Arc<LocalMemories>,
}

impl LocalStore {
    /// Opens the file, creating it if it does not exist, and starts its threads.
    pub fn open(options: OpenOptions) -> Result<Self, OpenError> {
        let OpenOptions {
            path,
            key,
            env,
            vector_cache_bytes,
        } = options;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            files::private_folder(folder).map_err(|error| OpenError::from_io(&path, &error))?;
        }
        let path = open::resolve(&path)?;
        open::require_writable(&path)?;
        let mut lock = FileLock::take(&path)?;
        let connector = Arc::new(Connector::new(path, key));
        let (mut person, mark) = open::open(&connector, &mut lock, &env)?;
        memory::reconcile(&mut person, &connector).map_err(|error| OpenError::from_db(connector.path(), error))?;
        accounts::end_those_of_machines(&person).map_err(|error| OpenError::from_db(connector.path(), error))?;
        let agent = connector.connect(Access::AgentWrite)?;
        let failed = |error: std::io::Error| OpenError::from_io(connector.path(), &error);
        let (signals, inbox) = mpsc::channel();
        let (writer, writing) = Writer::start(WriterParts {
            person,
            agent,
            connector: Arc::clone(&connector),
            mark,
            outbox: signals.clone(),
        })
        .map_err(failed)?;
        let (readers, mut threads) = Readers::start(&connector, READERS).map_err(failed)?;
        let feed = Arc::new(Feed::default());
        threads.push(relay::start(
            Arc::clone(&connector),
            inbox,
            Arc::clone(&feed),
            writer.clone(),
        )?);
        threads.push(writing);
        let db = Db::new(Parts {
            writer: Some(writer),
            readers: Some(readers),
            relay: signals,
            threads,
            env,
            leases: run_log::Leases::default(),
            _lock: lock,
        });
        Ok(Self::over(db, feed, connector, vector_cache_bytes))
    }

    /// Opens for reading a file that [`LocalStore::open`] refused as [`OpenError::ReadOnly`]. Nothing is created or changed;
    /// writes are refused, and sign-ins are kept in this process.
    pub fn open_to_read(options: OpenOptions) -> Result<Self, OpenError> {
        let OpenOptions {
            path,
            key,
            env,
            vector_cache_bytes,
        } = options;
        let path = open::resolve(&path)?;
        let lock = FileLock::share(&path)?;
        let connector = Arc::new(Connector::immutable(path, key));
        open::examine_to_read(&connector, &env)?;
        let (readers, threads) =
            Readers::start(&connector, READERS).map_err(|error| OpenError::from_io(connector.path(), &error))?;
        let db = Db::new(Parts {
            writer: None,
            readers: Some(readers),
            relay: mpsc::channel().0,
            threads,
            env,
            leases: run_log::Leases::default(),
            _lock: lock,
        });
        Ok(Self::over(db, Arc::new(Feed::default()), connector, vector_cache_bytes))
    }

    fn over(db: Db, feed: Arc<Feed>, connector: Arc<Connector>, vector_cache_bytes: usize) -> Self {
        let memories = Arc::new(LocalMemories::new(db.clone(), Arc::clone(&connector), vector_cache_bytes));
        let accounts: Arc<dyn AccountStore> = match db.can_write() {
            true => Arc::new(LocalAccounts(db.clone())),
            false => Arc::new(PassingSignIns::new(LocalAccounts(db.clone()))),
        };
        Self {
            db,
            feed,
            connector,
            accounts,
            memories,
        }
    }

    /// Whether the file can be written to.
    pub fn can_write(&self) -> bool {
        self.db.can_write()
    }

    /// Puts the log into the file and marks it as closed. A later write opens it again. Without this call, the same is tried when
    /// the last store is dropped, where nobody learns the result.
    pub async fn close(&self) -> StoreResult<()> {
        self.db.close().await
    }

    /// All stores on this file. They keep it open.
    pub fn stores(&self) -> Stores {
        let db = || self.db.clone();
        Stores {
            accounts: Arc::clone(&self.accounts),
            devices: Arc::new(LocalDevices(db())),
            workspaces: Arc::new(LocalWorkspaces(db())),
            invitations: Arc::new(LocalInvitations(db())),
            agents: Arc::new(LocalAgents(db())),
            conversations: Arc::new(LocalConversations {
                db: db(),
                connector: Arc::clone(&self.connector),
            }),
            memories: Arc::clone(&self.memories) as Arc<dyn MemoryStore>,
            notices: Arc::clone(&self.memories) as Arc<dyn NoticeStore>,
            policies: Arc::new(LocalPolicies(db())),
            requests: Arc::new(LocalRequests(db())),
            runs: Arc::new(LocalRuns(db())),
            run_log: Arc::new(LocalRunLog(db())),
            keys: Arc::new(LocalKeys(db())),
            audit: Arc::new(LocalAudit(db())),
            system: Arc::new(LocalSystem {
                db: db(),
                feed: Arc::clone(&self.feed),
                memories: Arc::clone(&self.memories),
            }),
            feed: Arc::clone(&self.feed) as Arc<dyn EventFeed>,
        }
    }

    /// Whom the commands of this machine act as: the person who set up this installation, while they own its first workspace;
    /// else its owner of longest standing; nobody before set-up.
    pub async fn owner(&self) -> StoreResult<Option<UserId>> {
        self.db
            .read(|conn| {
                let first = conn.query_row(
                    "SELECT m.user_id FROM workspace w JOIN member m ON m.workspace_id = w.id AND m.role = 'owner'
                     ORDER BY w.created_at, w.id, m.user_id = w.created_by DESC, m.joined_at, m.user_id LIMIT 1",
                    [],
                    |row| rows::id(row, "user_id"),
                );
                Ok(first.optional()?)
            })
            .await
    }

    /// A key for one purpose, derived from the file's key: for values that must stay the same as long as the file does.
    pub fn derived_key(&self, label: &str) -> Zeroizing<[u8; 32]> {
        derive_key(self.connector.key().bytes(), label)
    }

    /// What the open file and its library report about themselves.
    pub fn inspect(&self) -> Result<Inspection, OpenError> {
        let conn = self.connector.connect(Access::Read)?;
        let failed = |error| OpenError::from_sqlite(self.connector.path(), error);
        let bytes = conn
            .query_row(
                "SELECT c.page_count * s.page_size FROM pragma_page_count() c, pragma_page_size() s",
                [],
                |row| rows::count_at(row, 0),
            )
            .map_err(failed)?;
        Inspection::of(&conn, bytes).map_err(failed)
    }

    /// Checks that a data file exists or could be created at this path: it could not where only its log is left.
    pub fn check_place(path: &std::path::Path) -> Result<(), OpenError> {
        open::is_missing(&open::resolve(path)?).map(|_| ())
    }

    /// Continues without what the file has lost, and records that in every workspace; returns the loss, if any.
    pub fn accept_loss(options: &OpenOptions) -> Result<Option<Loss>, OpenError> {
        let path = open::resolve(&options.path)?;
        let mut lock = FileLock::take(&path)?;
        let connector = Connector::new(path, options.key.clone());
        let (conn, standing) = open::examine(&connector, &mut lock, &options.env)?;
        standing.accept(&connector, conn, &options.env)
    }

    /// Copies what can be read of the file at `options.path` into a new one, under the same key.
    pub fn salvage(options: &OpenOptions, into: &std::path::Path) -> Result<Salvaged, OpenError> {
        salvage::salvage(options, into)
    }

    /// Reads every page and checks it against its code, then the structure; returns what is wrong. Uses its own connection: a
    /// page that fails spoils the one that reads it.
    pub async fn check_pages(&self) -> StoreResult<Vec<String>> {
        let (connector, db) = (Arc::clone(&self.connector), self.db.clone());
        let checked = tokio::task::spawn_blocking(move || {
            let _db = db;
            let mut wrong = Vec::new();
            for pragma in ["PRAGMA cipher_integrity_check", "PRAGMA quick_check(20)"] {
                let found = connector
                    .connect(Access::Read)
                    .map_err(|error| error.to_string())
                    .and_then(|conn| lines(&conn, pragma).map_err(|error| error.to_string()));
                match found {
                    Ok(lines) => wrong.extend(lines.into_iter().filter(|line| line != "ok")),
                    Err(error) => wrong.push(error),
                }
            }
            wrong
        });
        checked
            .await
            .map_err(|_| StoreError::unavailable("The pages could not be checked. The log says more."))
    }

    /// Whether this build has what a data file needs; needs no file itself.
    pub fn check_parts() -> Result<Inspection, OpenError> {
        let conn = connect::without_file()?;
        schema::check_parts(&conn)?;
        Inspection::of(&conn, 0).map_err(|error| OpenError::from_sqlite(std::path::Path::new("SQLCipher"), error))
    }
}

fn lines(conn: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// Versions and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// SQLCipher's.
    pub cipher_version: String,
    /// SQLite's.
    pub sqlite_version: String,
    /// sqlite-vec's.
    pub vector_version: String,
    /// The schema's.
    pub schema_version: i64,
    /// Size of the data file, without its write-ahead log.
    pub bytes: u64,
}

impl Inspection {
    fn of(conn: &Connection, bytes: u64) -> rusqlite::Result<Self> {
        let text = |sql: &str| conn.query_row(sql, [], |row| row.get(0));
        Ok(Self {
            cipher_version: text("PRAGMA cipher_version")?,
            sqlite_version: text("SELECT sqlite_version()")?,
            vector_version: text("SELECT vec_version()")?,
            schema_version: conn.query_row("PRAGMA user_version", [], |row| row.get(0))?,
            bytes,
        })
    }
}

#[cfg(test)]
mod tests;
