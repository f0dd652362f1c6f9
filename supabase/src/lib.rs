//! Duet on Postgres and Supabase: every port over one SQL contract (`migrations/` of the repository), reached by two transports.
//!
//! A port method is one database function and so one transaction; the tables are behind row level security in every path.
//! [`rpc`] says who asks and carries the call, [`store`] implements the ports, once for both transports.

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
