//! Duet on one machine: the encrypted file, and the `duet` command line around it.

pub mod files;
pub mod key;
pub mod store;
