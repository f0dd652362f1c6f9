use duet_core::StoreError;

use crate::{
    error,
    rpc::{Call, mismatch},
};

/// Why a call has no answer.
#[derive(Debug)]
pub enum Failure {
    /// No connection could be established, so nothing was sent.
    NoConnection(CannotConnect),
    /// All connections were in use for too long.
    NoneFree,
    /// The database answered with an error, or the connection broke.
    Database(tokio_postgres::Error),
    /// The database's answer is not JSON.
    Answer,
    /// The connection is open, but silent.
    Silent,
    /// The process is shutting down.
    Stopping,
}

/// Why no connection could be established.
#[derive(Debug, thiserror::Error)]
pub enum CannotConnect {
    /// The database refuses, or cannot be reached.
    #[error("{0}")]
    Database(#[from] tokio_postgres::Error),
    /// The peer does not answer.
    #[error("no answer")]
    Silent,
    /// The certificates of the URL, or this machine's own, cannot be used.
    #[error("{0}")]
    Certificates(String),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl Failure {
    fn code(&self) -> Option<&str> {
        match self {
            Self::NoConnection(CannotConnect::Database(error)) | Self::Database(error) => error.code().map(|state| state.code()),
            _ => None,
        }
    }

    /// Whether the call certainly changed nothing, and may succeed a moment later: it was never sent, or the database rolled it back
    /// and says "again". A caller that has waited in vain for a free connection has waited long enough.
    pub fn had_no_effect(&self) -> bool {
        match self {
            Self::NoConnection(CannotConnect::Database(_)) => self.code().is_none_or(error::says_connection_lost),
            Self::Database(_) => self.code().is_some_and(error::says_again),
            _ => false,
        }
    }

    /// Whether the connection broke, so that the call's outcome is unknown.
    pub fn is_of_the_connection(&self) -> bool {
        match self {
            Self::Database(_) => self.code().is_none_or(error::says_connection_lost),
            Self::Silent => true,
            _ => false,
        }
    }

    /// The kind of failure, for the log.
    fn kind(&self) -> &'static str {
        match self {
            Self::NoConnection(CannotConnect::Certificates(_)) => "certificates",
            _ if self.code().is_some() => "database",
            Self::NoConnection(_) => "no connection",
            Self::NoneFree => "no free connection",
            Self::Database(_) => "connection",
            Self::Answer => "decoding",
            Self::Silent => "no answer",
            Self::Stopping => "shutting down",
        }
    }

    /// The error that callers see. The database's messages are dropped: they can contain people's text.
    pub fn store_error(&self, call: &Call) -> StoreError {
        let constraint = match self {
            Self::Database(error) => error.as_db_error().and_then(|error| error.constraint()),
            _ => None,
        };
        tracing::warn!(
            function = call.function,
            code = self.code(),
            constraint,
            kind = self.kind(),
            "a database call failed"
        );
        match self {
            Self::NoConnection(CannotConnect::Certificates(reason)) => StoreError::unavailable(format!(
                "The database cannot be reached over an encrypted connection: {reason}"
            )),
            Self::Answer => mismatch(),
            _ => error::by_code(self.code(), call).unwrap_or_else(|| match (self.is_of_the_connection(), call.repeatable) {
                (true, true) => StoreError::unavailable(
                    "The connection to the database broke before it answered. Try again shortly: nothing is done twice.",
                ),
                (true, false) => StoreError::unavailable(
                    "The connection to the database broke before it answered. Look whether this was done before you try again.",
                ),
                (false, _) => StoreError::unavailable(
                    "The database cannot be reached or cannot answer now. Nothing was written. Try again shortly.",
                ),
            }),
        }
    }
}
