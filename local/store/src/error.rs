//! What goes wrong inside the adapter, and the one place where SQLite's errors become [`StoreError`]s.

use std::cell::Cell;

use duet_core::{
    StoreError,
    refusal::{Named, Refusal},
};
use rusqlite::{ErrorCode, ffi};

/// An error inside a job: a store error, or one of SQLite's that is mapped when the job answers.
#[derive(Debug)]
pub enum DbError {
    /// Decided by our own code.
    Store(StoreError),
    /// Reported by SQLite or SQLCipher.
    Sqlite(rusqlite::Error),
}

/// What a job returns.
pub type DbResult<T> = Result<T, DbError>;

impl From<StoreError> for DbError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Refusal> for DbError {
    fn from(refusal: Refusal) -> Self {
        Self::Store(refusal.into())
    }
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<serde_json::Error> for DbError {
    fn from(error: serde_json::Error) -> Self {
        Self::Sqlite(rusqlite::Error::ToSqlConversionFailure(error.into()))
    }
}

impl From<duet_core::crypto::CryptoError> for DbError {
    fn from(error: duet_core::crypto::CryptoError) -> Self {
        Self::Store(StoreError::unavailable(error.to_string()))
    }
}

impl From<DbError> for StoreError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Store(error) => error,
            DbError::Sqlite(error) => sqlite_error(&error),
        }
    }
}

/// The refusal for a constraint that a request can violate; a violation of any other is our own bug.
fn conflict(constraint: &str) -> Option<Refusal> {
    let taken = |what| Refusal::IdTaken { what };
    Some(match constraint {
        "user.email" => Refusal::AccountExists,
        "run_one_active" | "run.workspace_id, run.conversation_id" => Refusal::ReplyActive,
        "run.id" | "run.workspace_id, run.id" => taken(Named::Run),
        "message.workspace_id, message.id" => taken(Named::Message),
        "conversation.workspace_id, conversation.id" => taken(Named::Conversation),
        "workspace.id" => taken(Named::Workspace),
        "api_key.workspace_id, api_key.id" => taken(Named::Key),
        "session.id" => taken(Named::SignIn),
        _ => return None,
    })
}

thread_local! {
    /// Whether a connection of this thread has met an error that it may not recover from.
    static SPOILT: Cell<bool> = const { Cell::new(false) };
}

/// Whether a connection used on this thread since the last call should be replaced: once a page has failed its check, SQLCipher
/// fails everything on that connection, even intact pages.
pub fn take_spoilt() -> bool {
    SPOILT.replace(false)
}

/// Whether a connection may be unusable after this error.
fn spoils(code: ErrorCode) -> bool {
    !matches!(
        code,
        ErrorCode::DiskFull
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::ReadOnly
            | ErrorCode::AuthorizationForStatementDenied
            | ErrorCode::ConstraintViolation
            | ErrorCode::TooBig
    )
}

/// The message when the file is no longer where it was.
pub const MOVED: &str =
    "The data file was moved away or replaced while Duet was using it; nothing was written. Put it back, or stop Duet.";

/// Maps an error of SQLite to what the caller can do about it.
pub fn sqlite_error(error: &rusqlite::Error) -> StoreError {
    let rusqlite::Error::SqliteFailure(failure, message) = error else {
        tracing::error!(error = %describe(error), "a row does not have the expected form");
        return StoreError::unavailable("The data file holds a row that this version of Duet cannot read. Run `duet doctor`.");
    };
    if spoils(failure.code) {
        SPOILT.set(true);
    }
    let message = message.as_deref().unwrap_or_default();
    match failure.code {
        _ if failure.extended_code == ffi::SQLITE_READONLY_DBMOVED => StoreError::unavailable(MOVED),
        ErrorCode::DiskFull => StoreError::unavailable("The disk is full; nothing was written. Free some space and try again."),
        ErrorCode::SystemIoFailure => StoreError::unavailable(
            "The data file cannot be read or written (an I/O error); nothing was changed. Check the disk, or whether it is full.",
        ),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            StoreError::unavailable("The data file is busy; nothing was written. Try again.")
        }
        ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
            StoreError::unavailable("The data file cannot be written. Check its permissions and those of its folder.")
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::unavailable(
            "The data file is damaged: a page that this needs fails its check. Stop Duet and restore the newest backup, or copy \
                 what can be read with `duet doctor --salvage`.",
        ),
        ErrorCode::AuthorizationForStatementDenied => Refusal::NotGranted.of("read or write this table"),
        ErrorCode::ConstraintViolation => constraint(failure, message),
        ErrorCode::TooBig => Refusal::TooLargeToStore.into(),
        _ => {
            tracing::error!(error = %describe(error), "SQLite refused a statement");
            StoreError::unavailable("The data file could not do that. Run `duet doctor`.")
        }
    }
}

fn constraint(failure: &ffi::Error, message: &str) -> StoreError {
    let named = message.rsplit_once("failed: ").map_or(message, |(_, name)| name);
    // SQLite names an index as `index 'run_one_active'`.
    let bare = named.strip_prefix("index ").map_or(named, |index| index.trim_matches('\''));
    if let Some(refusal) = conflict(bare) {
        return refusal.into();
    }
    if failure.extended_code == ffi::SQLITE_CONSTRAINT_FOREIGNKEY {
        return StoreError::NotFound("something that this refers to");
    }
    tracing::error!(constraint = named, "a constraint of the schema refused a row");
    Refusal::Clash.into()
}

/// Describes an error without any stored text: only codes, column names and types.
fn describe(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(failure, Some(message)) => format!("{} ({message})", failure.extended_code),
        rusqlite::Error::FromSqlConversionFailure(column, kind, _) => format!("column {column} of type {kind}"),
        other => other.to_string(),
    }
}
