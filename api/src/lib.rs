//! Duet's HTTP interface, model providers, embedders and run hosting. Knows no database.

pub mod embedders;
pub mod http;
pub mod models;
mod provider;
pub mod secret;
