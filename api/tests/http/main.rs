//! The HTTP interface over the real encrypted store.
#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "these are tests, and tables")]

mod agui;
mod canary;
mod connections;
mod device;
mod errors;
mod export;
mod feed;
mod identity;
mod invitations;
mod keys;
mod labels;
mod operations;
mod policy;
mod proofs;
mod requests;
mod support;
mod tenants;
mod turns;
