//! The real `duet` binary, as people and scripts run it: own folders, free ports, loopback only.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod approvals;
mod bad_input;
mod canary;
mod commands;
#[cfg(unix)]
mod descriptors;
mod disk;
mod harness;
#[cfg(unix)]
mod inbox;
mod kill;
mod login;
mod members;
mod memories;
mod story;
mod web;
