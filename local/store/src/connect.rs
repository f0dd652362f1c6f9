//! How a connection is made: the key first, then proof that the cipher works, then the settings that all connections share.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use duet_core::{StoreError, StoreResult, crypto::derive_key};
use ring::hmac;
use rusqlite::{Connection, OpenFlags, config::DbConfig, limits::Limit};
use zeroize::Zeroizing;

use super::{acting, authorizer, db::Db, error::DbError, lock::Identity, mark, open::OpenError};
use crate::{files, key::FileKey};

/// Page size of new files: vectors of 1,536 single-precision numbers fit without long overflow chains.
pub const PAGE_SIZE: u32 = 8192;

/// Where we differ from SQLCipher's defaults: the page size, and SHA-256 for page authentication. Most recent processors have
/// instructions for it, and checking a page takes a third of the time that SHA-512 takes (2026-11, when two thirds of a warm
/// recall went there). Anyone who opens the file by other means must run this after the key.
pub const CIPHER_SETTINGS: &str = "PRAGMA cipher_page_size = 8192; PRAGMA cipher_hmac_algorithm = HMAC_SHA256;";

/// The log is checkpointed after this many pages, a megabyte: a damaged log can lose only what is not in the file yet.
const DUE: i32 = 128;

thread_local! {
    /// How many pages the log held after this thread's last commit.
    static LOGGED: Cell<i32> = const { Cell::new(0) };
}

/// Whether the log, as this thread's last commit left it, is due to go into the file.
pub fn log_is_due() -> bool {
    LOGGED.get() >= DUE
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The writer, for people and the process.
    Write,
    /// The writer, for agents.
    AgentWrite,
    /// A reader, for people and the process.
    Read,
    /// A reader, for agents.
    AgentRead,
    /// A reader of what is left of a damaged file.
    Salvage,
}

/// Makes connections to one file.
pub struct Connector {
    path: PathBuf,
    key: FileKey,
    /// Whether the file cannot change while it is open: it is then read without locks and without a log.
    immutable: bool,
    /// The file that this process has locked; unset before it locks one.
    locked: OnceLock<Identity>,
    /// Held while commits are made and marked, or while the log is emptied: the log has to stay between a commit and its mark.
    turn: Mutex<()>,
    /// How many checkpoints were requested, and up to which of them the log has been emptied.
    asked: AtomicU64,
    emptied: AtomicU64,
}

impl Connector {
    /// For the file at `path`, encrypted with `key`.
    pub fn new(path: PathBuf, key: FileKey) -> Self {
        Self {
            path,
            key,
            immutable: false,
            locked: OnceLock::new(),
            turn: Mutex::new(()),
            asked: AtomicU64::new(0),
            emptied: AtomicU64::new(0),
        }
    }

    /// For a file without a log that nobody can write to while it is open. Gives readers only.
    pub fn immutable(path: PathBuf, key: FileKey) -> Self {
        Self {
            immutable: true,
            ..Self::new(path, key)
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key.
    pub fn key(&self) -> &FileKey {
        &self.key
    }

    /// Remembers which file this process has locked.
    pub fn watch(&self, locked: Identity) {
        // The first one stays: there is one lock, on one file.
        let _ = self.locked.set(locked);
    }

    /// Whether the path still leads to the file that was locked.
    pub fn is_in_place(&self) -> bool {
        self.locked
            .get()
            .is_none_or(|locked| Identity::at(&self.path).is_ok_and(|found| found == *locked))
    }

    /// The turn to commit, or to empty the log.
    pub fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes a connection at the end. If the path now leads elsewhere, the log stays as it is: it belongs to the file that was moved.
    pub fn let_go(&self, conn: Connection) {
        if !self.is_in_place()
            && let Err(error) = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        {
            tracing::warn!(%error, "the log of the data file could not be kept");
        }
        drop(conn);
    }

    /// A reader of the file as it is without its log.
    pub fn without_log(&self) -> Result<Connection, OpenError> {
        Self::immutable(self.path.clone(), self.key.clone()).connect(Access::Read)
    }

    /// A key for the checksums of a file kept beside the data file.
    pub fn sums(&self, label: &str) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &*derive_key(self.key.bytes(), label))
    }

    /// Opens a connection, ready for use.
    pub fn connect(&self, access: Access) -> Result<Connection, OpenError> {
        self.opened(access, false)
    }

    /// The same, but closing the connection leaves the log as it is: until the file is known to be whole, the log may hold all
    /// that is left of it.
    pub fn connect_keeping_log(&self, access: Access) -> Result<Connection, OpenError> {
        self.opened(access, true)
    }

    fn opened(&self, access: Access, keep_log: bool) -> Result<Connection, OpenError> {
        register_vectors();
        if !self.is_in_place() {
            return Err(OpenError::Moved(self.path.clone()));
        }
        let conn = match self.immutable {
            false => Connection::open_with_flags(
                &self.path,
                OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            ),
            true => Connection::open_with_flags(
                format!("{}?immutable=1", files::url(&self.path)),
                OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI,
            ),
        }
        .map_err(|error| OpenError::from_sqlite(&self.path, error))?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep_log)
            .map_err(|error| OpenError::from_sqlite(&self.path, error))?;
        self.unlock(&conn, access)?;
        self.prepare(&conn, access)
            .map_err(|error| OpenError::from_sqlite(&self.path, error))?;
        Ok(conn)
    }

    /// Empties the write-ahead log, so that what was removed from the file is not in the log either. `done` says what has already
    /// happened. If somebody reads an older state for longer than a connection waits, the log keeps what they read: that is an
    /// error, and [`Connector::owes_checkpoint`] holds until a checkpoint succeeds.
    pub async fn checkpoint(self: &Arc<Self>, db: &Db, done: &str) -> StoreResult<()> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        // The file's lock is released with the last `Db`, which must not happen before this connection closes.
        let (connector, db) = (Arc::clone(self), db.clone());
        let emptied = tokio::task::spawn_blocking(move || -> Result<bool, DbError> {
            let _db = db;
            let conn = connector
                .connect(Access::Write)
                .map_err(|error| StoreError::unavailable(error.to_string()))?;
            let _turn = connector.turn();
            mark::flush(connector.path());
            Ok(empty_log(&conn)?)
        })
        .await;
        match emptied {
            Ok(Ok(true)) => {
                self.emptied.fetch_max(asked, Ordering::SeqCst);
                Ok(())
            }
            Ok(Ok(false)) => Err(StoreError::unavailable(format!(
                "{done} What it said may still be in the log beside the data file, because somebody was reading meanwhile. Duet empties \
                 the log as soon as it can."
            ))),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(StoreError::unavailable(format!("Duet is shutting down. {done}"))),
        }
    }

    /// Whether the log may still hold what was removed from the file.
    pub fn owes_checkpoint(&self) -> bool {
        self.emptied.load(Ordering::SeqCst) < self.asked.load(Ordering::SeqCst)
    }

    /// Sets the key, before anything else, and checks that it is in effect and fits.
    fn unlock(&self, conn: &Connection, access: Access) -> Result<(), OpenError> {
        let key = Zeroizing::new(format!("x'{}'", *self.key.hex()));
        conn.pragma_update(None, "key", &*key).map_err(|_| OpenError::NoCipher)?;
        check_cipher(conn)?;
        // SQLCipher writes to standard error unless told not to.
        quiet(conn, "PRAGMA cipher_log_level = NONE");
        if let Err(error) = conn.execute_batch(CIPHER_SETTINGS) {
            tracing::warn!(%error, "a setting of the cipher was refused");
        }
        if access == Access::Salvage {
            // Otherwise a file that is shorter than its header says is refused as a whole.
            quiet(conn, "PRAGMA writable_schema = ON");
        }
        conn.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))
            .map_err(|error| OpenError::from_sqlite(&self.path, error))
    }

    fn prepare(&self, conn: &Connection, access: Access) -> rusqlite::Result<()> {
        conn.busy_timeout(std::time::Duration::from_secs(5))?;
        conn.execute_batch(
            "PRAGMA foreign_keys = ON;
             PRAGMA cache_size = -8192;
             PRAGMA temp_store = MEMORY;
             PRAGMA secure_delete = ON;
             PRAGMA synchronous = FULL;
             PRAGMA trusted_schema = OFF;
             PRAGMA cell_size_check = ON;",
        )?;
        // ATTACH … KEY '' could copy everything into a plain file.
        conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, access != Access::Salvage)?;
        conn.set_prepared_statement_cache_capacity(128);
        match access {
            Access::Write | Access::AgentWrite => {
                quiet(conn, "PRAGMA journal_mode = WAL");
                quiet(conn, "PRAGMA journal_size_limit = 67108864");
                // Replaces SQLite's own checkpointing: the writer has to know when everything is in the file.
                conn.wal_hook(Some(|_, pages| {
                    LOGGED.set(pages);
                    Ok(())
                }));
            }
            Access::Read | Access::AgentRead | Access::Salvage => conn.execute_batch("PRAGMA query_only = ON")?,
        }
        let agents = matches!(access, Access::AgentWrite | Access::AgentRead);
        acting::register(conn, agents)?;
        if agents {
            authorizer::narrow(conn)?;
        }
        Ok(())
    }
}

/// Puts the whole log into the file and empties it; returns whether that succeeded. Waits for readers and the writer as long as
/// the connection waits for any lock.
pub fn empty_log(conn: &Connection) -> rusqlite::Result<bool> {
    let busy: i64 = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    Ok(busy == 0)
}

/// A connection to no file, to see what this build supports.
pub fn without_file() -> Result<Connection, OpenError> {
    register_vectors();
    let path = Path::new("SQLCipher");
    let conn = Connection::open_in_memory().map_err(|error| OpenError::from_sqlite(path, error))?;
    check_cipher(&conn)?;
    Ok(conn)
}

/// Refuses a library that does not encrypt: it would ignore the key and write plain text.
fn check_cipher(conn: &Connection) -> Result<(), OpenError> {
    match conn.query_row("PRAGMA cipher_version", [], |row| row.get::<_, String>(0)) {
        Ok(version) if !version.is_empty() => Ok(()),
        _ => Err(OpenError::NoCipher),
    }
}

/// Runs a pragma whose answer, if any, does not matter.
fn quiet(conn: &Connection, pragma: &str) {
    if let Err(error) = conn.query_row(pragma, [], |_| Ok(()))
        && !matches!(error, rusqlite::Error::QueryReturnedNoRows)
    {
        tracing::warn!(%error, pragma, "a setting of the data file was refused");
    }
}

/// Makes sqlite-vec part of every connection that this process opens.
#[allow(unsafe_code)]
fn register_vectors() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        type Entry = unsafe extern "C" fn(
            *mut rusqlite::ffi::sqlite3,
            *mut *mut std::ffi::c_char,
            *const rusqlite::ffi::sqlite3_api_routines,
        ) -> std::ffi::c_int;
        // SAFETY: sqlite3_vec_init is SQLite's extension entry point, compiled from C with exactly the signature `Entry`;
        // the crate only declares it without arguments. Registration happens once and the function lives as long as the
        // process.
        unsafe {
            let entry = std::mem::transmute::<*const (), Entry>(sqlite_vec::sqlite3_vec_init as *const ());
            rusqlite::ffi::sqlite3_auto_extension(Some(entry));
        }
    });
}

#[cfg(test)]
mod tests {
    use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

    use super::*;

    /// Plain SQLite does not know the pragma and returns nothing.
    #[test]
    fn a_library_that_does_not_encrypt_is_refused() {
        let conn = without_file().unwrap();
        let leave_out = |context: AuthContext<'_>| match context.action {
            AuthAction::Pragma {
                pragma_name: "cipher_version",
                ..
            } => Authorization::Ignore,
            _ => Authorization::Allow,
        };
        conn.authorizer(Some(leave_out)).unwrap();
        let none = conn.query_row("PRAGMA cipher_version", [], |row| row.get::<_, String>(0));
        assert!(matches!(none, Err(rusqlite::Error::QueryReturnedNoRows)), "{none:?}");
        assert!(matches!(check_cipher(&conn), Err(OpenError::NoCipher)));
    }
}
