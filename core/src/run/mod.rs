//! Runs. A run is a [`machine::Machine`] folded over its event log: [`turn`] is a chat turn, [`agent_loop`] the part of it that every
//! run of an agent shares, [`call`] one of its tool calls. That is the pure half. The other half performs what the machine asks for: [`driver`] holds a claimed run
//! under its lease, [`drive`] keeps the effects under way and puts every outcome on record before it acts on it, and [`context`],
//! [`reply`] and [`tool_call`] are the effects.

pub mod agent_loop;
pub mod call;
mod claimed;
mod context;
mod drive;
mod driver;
mod journal;
pub mod machine;
mod reply;
mod tool_call;
pub mod turn;
mod worker;

pub use claimed::{Advice, DriveError, DriverParts};
pub use context::UNTRUSTED_MARK;
pub use driver::Driver;
