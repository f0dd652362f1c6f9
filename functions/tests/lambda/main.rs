//! The three functions under Lambda's real runtime interface, as the emulator of `cargo-lambda` serves it, on a real Postgres. What the
//! emulator lacks of the platform (deadlines, the service that takes invocations, the schedule) stands in `platform.rs` and says so.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod cuts;
mod deadline;
mod outage;
mod platform;
mod supabase;
mod template;
mod turns;
