//! Duet's core: domain types, ports, the run machine, tools, policy and crypto.
//!
//! Nothing here does I/O. Time and randomness come in through [`clock::Env`], data through the traits in
//! [`ports`]; adapters (`duet-sqlite`, `duet-supabase`) and providers (`duet-api`) implement them.

pub mod caller;
pub mod clock;
#[cfg(feature = "testing")]
pub mod contract;
pub mod crypto;
pub mod cursor;
pub mod domain;
pub mod error;
pub mod feed;
pub mod ids;
pub mod inbox;
pub mod memory;
pub mod policy;
pub mod ports;
pub mod recall;
pub mod refusal;
pub mod run;
pub mod search;
pub mod starter;
pub mod tools;

pub use caller::Caller;
pub use clock::{Clock, Env, Random, Timestamp};
pub use error::{StoreError, StoreResult};
pub use refusal::Refusal;
