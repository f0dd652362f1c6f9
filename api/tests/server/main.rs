//! The program `duet-api` as an operator runs it, on a real Postgres: commands and their exit codes, and a server that people talk to.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod approvals;
mod audit;
mod check;
mod device;
mod install;
mod members;
mod outage;
#[cfg(unix)]
mod pooler;
mod story;
mod supabase;
mod support;
