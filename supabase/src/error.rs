//! What the database's errors mean for the caller. Refusals arrive as data; errors are broken requests and broken connections.

use duet_core::{StoreError, refusal::Refusal};

use crate::rpc::Call;

/// Whether an SQLSTATE says that the transaction was rolled back and may be retried (serialization failure, deadlock).
pub fn says_again(code: &str) -> bool {
    matches!(code, "40001" | "40P01")
}

/// Whether an SQLSTATE says that the connection broke or could not be established.
pub fn says_connection_lost(code: &str) -> bool {
    code.starts_with("08") || code.starts_with("57P") || code == "53300"
}

/// What an SQLSTATE means, for any transport; `None` if a caller could not act on it.
pub fn by_code(code: Option<&str>, call: &Call) -> Option<StoreError> {
    let error = match code? {
        // A row that is not the caller's, by policy or grant.
        "42501" => Refusal::NotGranted.of(call.action),
        // Functions answer taken ids themselves; any other unique constraint is as unexpected as in the file.
        "23505" => Refusal::Clash.into(),
        "23503" => StoreError::NotFound(call.what),
        "23514" | "23502" | "22P02" | "22023" | "22001" | "22003" | "22021" | "22P05" | "2201W" => Refusal::Value.into(),
        "42883" | "3F000" | "42P01" | "42703" => StoreError::unavailable(
            "The database has another version of Duet's functions. Run `duet-api migrate` of this version, then `duet-api check`.",
        ),
        "28P01" | "28000" => {
            StoreError::unavailable("The database refuses the login. Check DUET_DATABASE_URL and the password of `duet_worker`.")
        }
        "25006" => StoreError::unavailable("The database is read-only now; nothing was written. Try again when it takes writes."),
        "53100" => StoreError::unavailable("The database's disk is full; nothing was written. Free some space and try again."),
        "57014" => StoreError::unavailable("The database took too long. Try again; `duet-api check` shows what is slow."),
        _ => return None,
    };
    Some(error)
}

/// The kind of failure, for the log.
pub fn kind(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::Database(_) => "database",
        sqlx::Error::Io(_) => "connection",
        sqlx::Error::Tls(_) => "tls",
        sqlx::Error::PoolTimedOut => "no free connection",
        sqlx::Error::PoolClosed => "shutting down",
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => "decoding",
        sqlx::Error::Encode(_) => "encoding",
        _ => "other",
    }
}
