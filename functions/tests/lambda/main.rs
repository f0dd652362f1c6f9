//! The three functions under Lambda's real runtime interface, as served by the emulator of `cargo-lambda`, on a real Postgres. What
//! the emulator lacks (deadlines, the invocation service, the schedule) is in `platform.rs`, labelled as such.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod cuts;
mod deadline;
mod outage;
mod platform;
mod supabase;
mod template;
mod turns;
