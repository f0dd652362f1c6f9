//! Duet on one machine: the encrypted file, and the `duet` command line around it.

pub mod files;
pub mod key;
pub mod key_source;
mod key_wrap;
pub mod quality;
pub mod runtime;
pub mod store;

#[path = "../cli/mod.rs"]
pub mod cli;
