//! Duet on one machine: the encrypted file, and the `duet` command line for it.

pub mod cli;
pub mod key_source;
mod key_wrap;
mod logins;
mod os_keyring;
pub mod quality;
pub mod runtime;
