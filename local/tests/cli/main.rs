//! The real `duet` binary, as people and scripts run it: own folders, free ports, loopback only.

mod bad_input;
mod canary;
mod commands;
mod harness;
mod kill;
mod story;
mod web;
