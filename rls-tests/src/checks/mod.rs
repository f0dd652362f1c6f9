//! The checks. Each takes a stage with the world on it and adds to the report.

mod access;
mod cases;
mod chains;
mod claims;
mod effects;
mod hostile;
mod inserts;
mod locks;
mod races;
mod reach;
mod rules;
mod silence;
mod tells;
mod whole;
mod world;

pub use self::{
    access::access,
    cases::cases,
    chains::{chains, fixed},
    claims::claims,
    effects::effects,
    hostile::hostile,
    inserts::inserts,
    locks::locks,
    races::races,
    reach::reach,
    rules::rules,
    silence::silence,
    tells::tells,
    whole::whole,
    world::world,
};
