//! Duet on Postgres and Supabase: every port over one SQL contract (`migrations/` of the repository), through two transports.
//!
//! A port method is one database function and so one transaction; row level security applies on every path. [`rpc`] identifies the
//! caller and carries the call, [`store`] implements the ports, once for both transports.

pub mod auth;
pub mod check;
pub mod connect;
mod error;
pub mod install;
pub mod migrate;
pub mod rpc;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
