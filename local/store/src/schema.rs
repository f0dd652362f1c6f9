//! The schema: what it is made of and how it is migrated.

use std::path::Path;

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

use super::open::OpenError;

/// `PRAGMA application_id` of Duet's files: "Duet".
pub const APPLICATION_ID: i32 = 0x4475_6574;

/// Each file is one step; `PRAGMA user_version` counts them. A step that has been released never changes.
const STEPS: &[M<'static>] = &[
    M::up(include_str!("../migrations/0001_foundation.sql")),
    M::up(include_str!("../migrations/0002_memory.sql")),
    M::up(include_str!("../migrations/0003_invitations.sql")),
    M::up(include_str!("../migrations/0004_devices.sql")),
];

/// Newest schema version of this binary.
pub const VERSION: usize = STEPS.len();

/// Refuses to continue without the parts that the schema is built on.
pub fn check_parts(conn: &Connection) -> Result<(), OpenError> {
    let vectors: rusqlite::Result<String> = conn.query_row("SELECT vec_version()", [], |row| row.get(0));
    if vectors.is_err() {
        return Err(OpenError::MissingPart("vector search (sqlite-vec)"));
    }
    let full_text: rusqlite::Result<bool> =
        conn.query_row("SELECT count(*) > 0 FROM pragma_module_list WHERE name = 'fts5'", [], |row| {
            row.get(0)
        });
    if !full_text.unwrap_or(false) {
        return Err(OpenError::MissingPart("full-text search (FTS5)"));
    }
    Ok(())
}

/// Refuses files that Duet did not make.
pub fn check_owner(path: &Path, conn: &Connection) -> Result<(), OpenError> {
    let id: i32 = conn
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .map_err(|error| OpenError::from_sqlite(path, error))?;
    if id == APPLICATION_ID {
        Ok(())
    } else {
        Err(OpenError::NotDuet(path.to_owned()))
    }
}

/// Refuses a schema that is newer than this binary.
pub fn check_version(path: &Path, conn: &Connection) -> Result<(), OpenError> {
    let found: i64 = conn
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| OpenError::from_sqlite(path, error))?;
    if usize::try_from(found).is_ok_and(|found| found > VERSION) {
        return Err(OpenError::NewerSchema {
            path: path.to_owned(),
            found,
            known: VERSION,
        });
    }
    Ok(())
}

/// Refuses a schema that is older than this binary's and cannot be changed.
pub fn check_current(path: &Path, conn: &Connection) -> Result<(), OpenError> {
    let found: i64 = conn
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| OpenError::from_sqlite(path, error))?;
    match usize::try_from(found) == Ok(VERSION) {
        true => Ok(()),
        false => Err(OpenError::OlderSchema { path: path.to_owned() }),
    }
}

/// Brings the schema to this binary's version.
pub fn migrate(path: &Path, conn: &mut Connection) -> Result<(), OpenError> {
    Migrations::from_slice(STEPS).to_latest(conn).map_err(|error| match error {
        rusqlite_migration::Error::RusqliteError { err, .. } => OpenError::from_sqlite(path, err),
        other => OpenError::Other {
            path: path.to_owned(),
            reason: other.to_string(),
        },
    })
}
