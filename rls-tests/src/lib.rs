//! Duet's security suite for Postgres. It reads the rights of every actor from human-readable files (`matrix.txt`, `calls.txt`),
//! creates a world of three workspaces (`world.sql`), reads the database's catalogue, and attacks: every table, every function, every
//! role.
//!
//! [`suite::run`] returns findings: none on the database as shipped; at least one for each hole in `mutants/`.

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
