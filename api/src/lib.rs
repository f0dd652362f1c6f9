//! Duet's HTTP interface, model providers, embedders and run hosting. It knows no database: deployments bring one, and the server
//! program `duet-api` (`server`, feature `supabase`) is one of them.
#![allow(
    clippy::result_large_err,
    reason = "a problem is made once for a failed request; boxing it would only blur every signature"
)]

pub mod anchors;
pub mod auth;
pub mod command;
pub mod config;
mod connections;
pub mod embedders;
pub mod error;
pub mod events;
pub mod extract;
pub mod hosting;
pub mod http;
pub mod limits;
pub mod machine;
pub mod models;
pub mod observability;
pub mod openapi;
mod provider;
pub mod router;
mod routes;
pub mod secret;
#[cfg(feature = "supabase")]
pub mod server;
pub mod state;
#[cfg(feature = "testing")]
pub mod testing;
mod unread;
#[cfg(feature = "web")]
pub mod web;

pub use hosting::serve;
