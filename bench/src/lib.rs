//! Measurements of Duet: from outside, over HTTP, and of its parts. `cargo xtask bench` builds the release and runs them.

pub mod append;
pub mod clock;
pub mod fixture;
pub mod load;
pub mod memory;
pub mod postgres;
pub mod recall;
pub mod report;
pub mod resume;
pub mod server;
pub mod startup;
pub mod synthetic;
pub mod waiting;
