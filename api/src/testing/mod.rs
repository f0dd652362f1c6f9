//! Test servers. [`ScriptedModel`] speaks the wire formats of Anthropic, OpenAI and Ollama on a free loopback port and
//! says what its script says, faults included.

mod script;
mod server;
mod wire;

pub use script::{EmbedFault, Fault, Piece, Scripted};
pub use server::{Recorded, ScriptedModel};
