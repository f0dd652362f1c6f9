//! How a connection is made: key first, then proof that the cipher is at work, then the settings that all share.

use std::{
    path::{Path, PathBuf},
    sync::Once,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig, limits::Limit};
use zeroize::Zeroizing;

use super::{acting, authorizer, open::OpenError};
use crate::key::FileKey;

/// Page size of new files: vectors of 1,536 single-precision numbers fit without overflow chains getting long.
pub const PAGE_SIZE: u32 = 8192;

/// What differs from SQLCipher's own choices: the page size, and SHA-256 for the pages' authentication. Most processors of the last
/// years have instructions for it; checking a page takes a third of the time that SHA-512 takes (2026-11, two thirds of a warm recall
/// went there). Whoever opens the file by other means says this after the key.
pub const CIPHER_SETTINGS: &str = "PRAGMA cipher_page_size = 8192; PRAGMA cipher_hmac_algorithm = HMAC_SHA256;";

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
}

/// Makes connections to one file.
pub struct Connector {
    path: PathBuf,
    key: FileKey,
}

impl Connector {
    /// For the file at `path`, encrypted with `key`.
    pub fn new(path: PathBuf, key: FileKey) -> Self {
        Self { path, key }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key.
    pub fn key(&self) -> &FileKey {
        &self.key
    }

    /// Opens a connection, ready for use.
    pub fn connect(&self, access: Access) -> Result<Connection, OpenError> {
        register_vectors();
        let conn = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(|error| OpenError::from_sqlite(&self.path, error))?;
        self.unlock(&conn)?;
        self.prepare(&conn, access)
            .map_err(|error| OpenError::from_sqlite(&self.path, error))?;
        Ok(conn)
    }

    /// Sets the key, before anything else, and checks that it is in effect and fits.
    fn unlock(&self, conn: &Connection) -> Result<(), OpenError> {
        let key = Zeroizing::new(format!("x'{}'", *self.key.hex()));
        conn.pragma_update(None, "key", &*key).map_err(|_| OpenError::NoCipher)?;
        check_cipher(conn)?;
        // SQLCipher writes to standard error unless told not to.
        quiet(conn, "PRAGMA cipher_log_level = NONE");
        if let Err(error) = conn.execute_batch(CIPHER_SETTINGS) {
            tracing::warn!(%error, "a setting of the cipher was refused");
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
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        conn.set_prepared_statement_cache_capacity(128);
        match access {
            Access::Write | Access::AgentWrite => {
                quiet(conn, "PRAGMA journal_mode = WAL");
                quiet(conn, "PRAGMA journal_size_limit = 67108864");
            }
            Access::Read | Access::AgentRead => conn.execute_batch("PRAGMA query_only = ON")?,
        }
        let agents = matches!(access, Access::AgentWrite | Access::AgentRead);
        acting::register(conn, agents)?;
        if agents {
            authorizer::narrow(conn)?;
        }
        Ok(())
    }
}

/// A connection to no file, to see what this build can do.
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

    /// Plain SQLite does not know the pragma and answers with nothing.
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
