//! Duet's HTTP interface, model providers, embedders and run hosting. Knows no database.

pub mod auth;
pub mod config;
pub mod embedders;
pub mod error;
pub mod events;
pub mod extract;
pub mod hosting;
pub mod http;
pub mod limits;
pub mod models;
pub mod observability;
pub mod openapi;
mod provider;
pub mod router;
mod routes;
pub mod secret;
pub mod state;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod testing_env;

pub use hosting::serve;
