//! Duet's security suite for Postgres. It knows what everybody may do from files that people read (`matrix.txt`, `calls.txt`), makes a
//! world of three workspaces (`world.sql`), reads the database's catalogue, and attacks: every table, every function, every role.
//!
//! [`suite::run`] answers with findings. None on the database as it is shipped; at least one on each of `mutants/`, where a hole was made.

pub mod actor;
pub mod arena;
pub mod attempt;
pub mod calls;
pub mod cases;
pub mod catalogue;
pub mod checks;
pub mod data_api;
pub mod digest;
pub mod knowledge;
pub mod matrix;
pub mod mutants;
pub mod suite;
pub mod visit;
pub mod words;

pub use self::{actor::Actor, arena::Arena, suite::Finding};
