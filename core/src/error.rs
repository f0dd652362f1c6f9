//! The one error of all stores. A variant says what the caller can do about it.

use std::borrow::Cow;

use crate::refusal::Refusal;

/// What a port method returns.
pub type StoreResult<T> = Result<T, StoreError>;

/// Why a store did not do what was asked. Messages are sentences for people; they never name rows the caller may not see.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The thing to change is not there, or not visible to this caller: the two look the same.
    #[error("{0} was not found")]
    NotFound(&'static str),
    /// Visible, but this caller may not do this to it: what was refused, as a verb phrase ("redact this memory"), and why.
    #[error("Not allowed to {0}: {1}.")]
    Denied(&'static str, Refusal),
    /// It conflicts with existing data (a taken name, a run in progress, a key used for another request).
    #[error("{0}")]
    Conflict(Refusal),
    /// The caller's knowledge is out of date: read again, then retry. Also a lost lease.
    #[error("{0}")]
    Stale(Refusal),
    /// The request itself is wrong; repeating it unchanged cannot succeed.
    #[error("{0}")]
    Invalid(Refusal),
    /// The store cannot answer now (disk full, locked, connection lost); nothing was written.
    #[error("{0}")]
    Unavailable(Cow<'static, str>),
}

impl StoreError {
    /// Why it was refused, with its code; `None` when something is absent or unavailable now.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Denied(_, refusal) | Self::Conflict(refusal) | Self::Stale(refusal) | Self::Invalid(refusal) => Some(refusal),
            Self::NotFound(_) | Self::Unavailable(_) => None,
        }
    }

    /// The store cannot answer now.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Unavailable(message.into())
    }
}
