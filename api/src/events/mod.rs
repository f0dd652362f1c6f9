//! The event stream of a run: [`agui`] says what each event looks like, [`follow`] reads the log and waits for
//! more, [`sse`] writes frames.

pub mod agui;
pub mod follow;
pub mod shapes;
pub mod sse;

#[cfg(test)]
mod rules;
#[cfg(test)]
mod tests;
