//! Runs. [`machine`] is the pure part: a run is a fold over its event log. [`driver`] takes a claimed run and its lease; [`drive`]
//! performs the machine's effects against the ports and appends every outcome before acting on it. [`context`] builds what the
//! model reads.

mod context;
mod drive;
mod driver;
pub mod machine;
mod reply;
mod tool_call;
mod worker;

pub use context::UNTRUSTED_MARK;
pub use driver::{Advice, DriveError, Driver, DriverParts};
pub use machine::{Effect, TurnState, step};
