//! The checks. Each takes a stage with the world on it and adds to the report.

mod access;
mod hostile;
mod reach;
mod rules;
mod tells;
mod world;

pub use self::{access::access, hostile::hostile, reach::reach, rules::rules, tells::tells, world::world};
