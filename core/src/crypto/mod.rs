//! Hashes that make logs tamper-evident, keys derived from keys, and field encryption.

mod derive;
mod envelope;
mod hash;

pub use derive::derive_key;
pub use envelope::{DataKey, DataKeys, MasterKey, Place};
pub use hash::{
    AuditFields, EventFields, GENESIS, Hash, arguments_hash, audit_hash, event_hash, payload_hash, request_hash, token_hash,
};

/// Why something could not be encrypted or decrypted. It says nothing about keys or content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// Another key, another place, or changed bytes: the three look the same.
    #[error("An encrypted value does not belong where it stands, or was changed. Restore a backup, and check the key setting.")]
    NotAuthentic,
    /// Not in the form that [`DataKeys::seal`] or [`MasterKey::wrap`] gives.
    #[error("An encrypted value is not in a form that this version of Duet reads. Install a newer Duet, or restore a backup.")]
    Malformed,
    /// Its data key is not available.
    #[error("The data key of an encrypted value is missing. Restore a backup that has it.")]
    NoKey,
}
