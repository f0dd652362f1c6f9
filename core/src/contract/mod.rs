//! Suites that every adapter must pass.

pub mod simulator;
