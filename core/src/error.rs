//! The one error of all stores. A variant says what the caller can do about it.

use std::{borrow::Cow, fmt};

/// What a port method returns.
pub type StoreResult<T> = Result<T, StoreError>;

/// Why a store did not do what was asked. Messages are sentences for people; they never name rows the caller may not see.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The thing to change is not there, or not visible to this caller: the two look the same.
    #[error("{0} was not found")]
    NotFound(&'static str),
    /// Visible, but this caller may not do this to it.
    #[error("{0}")]
    Denied(Refusal),
    /// It clashes with what is there (a taken name, a run in progress, a key used for another request).
    #[error("{0}")]
    Conflict(Cow<'static, str>),
    /// The caller's knowledge is out of date: read again, then retry. Also a lost lease.
    #[error("{0}")]
    Stale(Cow<'static, str>),
    /// The request itself is wrong; repeating it unchanged cannot succeed.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    /// The store cannot answer now (disk full, locked, connection lost); nothing was written.
    #[error("{0}")]
    Unavailable(Cow<'static, str>),
}

impl StoreError {
    /// A broken request.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid(message.into())
    }
    /// A clash.
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Conflict(message.into())
    }
    /// Out of date.
    pub fn stale(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Stale(message.into())
    }
    /// Not now.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Unavailable(message.into())
    }
    /// A refusal with its reason.
    pub fn denied(action: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Denied(Refusal::new(action, reason))
    }
}

/// What was refused, and why (W2: every refusal says both).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was refused, as a verb phrase: "redact this memory".
    pub action: &'static str,
    /// Which role, scope or rule is missing.
    pub reason: Cow<'static, str>,
}

impl Refusal {
    /// A refusal of `action` because of `reason`.
    pub fn new(action: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            action,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Not allowed to {}: {}.", self.action, self.reason)
    }
}
