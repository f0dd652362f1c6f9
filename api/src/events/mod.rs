//! The event stream of a run: [`agui`] says what each event looks like, [`follow`] reads the log and waits for
//! more, [`sse`] writes frames. [`people`] is the stream of hints to a person.

pub mod agui;
pub mod follow;
pub mod people;
pub mod shapes;
pub mod sse;

#[cfg(test)]
mod rules;
#[cfg(test)]
mod tests;
