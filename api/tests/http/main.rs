//! The HTTP interface over the real encrypted store.

mod canary;
mod errors;
mod identity;
mod keys;
mod operations;
mod support;
mod tenants;
mod turns;
