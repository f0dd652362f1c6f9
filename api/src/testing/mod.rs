//! What tests of this and other crates share: [`env`] is real time and randomness; [`ScriptedModel`] speaks the wire formats of
//! Anthropic, OpenAI and Ollama on a free loopback port and says what its script says, faults included; [`Browser`] talks to a
//! running server.

mod browser;
mod env;
mod script;
mod server;
mod wire;

pub use browser::{Browser, Event, Events, PASSWORD, text_of};
pub use env::env;
pub use script::{EmbedFault, Fault, Piece, Scripted};
pub use server::{Recorded, ScriptedModel};
