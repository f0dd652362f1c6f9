//! What Duet's programs have in common as commands: how they end, where they write, how they read times, and how a server gets
//! its address.

pub mod exit;
pub mod listen;
pub mod output;
pub mod reference;
pub mod times;
