//! The figures of the measured turns.

use std::{collections::HashMap, time::Duration};

use anyhow::{Result, bail};
use duet_api::testing::Recorded;
use serde::Serialize;

use super::turn::{self, Kind, Turn};
use crate::{
    postgres::Backend,
    report::{self, Row, Spread},
};

/// The results on one backend.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// The backend.
    pub backend: Backend,
    /// Turns due in the measured time.
    pub turns: usize,
    /// Turns per second.
    pub turns_per_second: f64,
    /// Events of their runs, per second.
    pub events_per_second: f64,
    /// From sending a message to its acceptance.
    pub accepted: Option<Spread>,
    /// From sending a message to calling the model.
    pub before_model: Option<Spread>,
    /// From the model's last byte to the `done` event.
    pub after_model: Option<Spread>,
    /// Everything that Duet adds.
    pub overhead: Option<Spread>,
    /// The same for plain chat.
    pub overhead_chat: Option<Spread>,
    /// The same for turns with two tool calls.
    pub overhead_tools: Option<Spread>,
    /// From the model's first text to its arrival at the client.
    pub first_delta: Option<Spread>,
    /// A whole turn, from when it was due.
    pub whole: Option<Spread>,
}

impl Figures {
    /// From these turns and the model's calls.
    pub fn of(backend: Backend, seconds: u64, turns: Vec<Turn>, requests: Vec<Recorded>) -> Result<Self> {
        let calls = by_turn(requests);
        let found: Vec<(&Turn, Added)> = turns
            .iter()
            .filter_map(|turn| Some((turn, added(turn, calls.get(&turn.name)?)?)))
            .collect();
        if found.len() != turns.len() {
            bail!(
                "{} of {} turns reached `done` without a model call that belongs to them.",
                turns.len() - found.len(),
                turns.len()
            );
        }
        let spread = |figure: fn(&(&Turn, Added)) -> Option<Duration>| Spread::of(found.iter().filter_map(figure));
        let overhead = |added: &Added| added.before + added.between + added.after;
        let of_kind = |kind: Kind| {
            Spread::of(
                found
                    .iter()
                    .filter(|(turn, _)| turn.kind == kind)
                    .map(|(_, added)| overhead(added)),
            )
        };
        let events: u64 = turns.iter().map(|turn| turn.events).sum();
        Ok(Self {
            backend,
            turns: turns.len(),
            turns_per_second: turns.len() as f64 / seconds as f64,
            events_per_second: events as f64 / seconds as f64,
            accepted: spread(|(turn, _)| Some(turn.accepted.saturating_duration_since(turn.sent))),
            before_model: spread(|(_, added)| Some(added.before)),
            after_model: spread(|(_, added)| Some(added.after)),
            overhead: Spread::of(found.iter().map(|(_, added)| overhead(added))),
            overhead_chat: of_kind(Kind::Chat),
            overhead_tools: of_kind(Kind::Tools),
            first_delta: spread(|(_, added)| added.first_delta),
            whole: spread(|(turn, _)| Some(turn.done.saturating_duration_since(turn.due))),
        })
    }

    /// Prints them.
    pub fn table(&self) {
        let row = |name, spread, promise_ms| Row {
            name,
            spread,
            promise_ms,
        };
        report::table(&[
            row("message sent → accepted (202)", self.accepted, None),
            row("message sent → model called", self.before_model, None),
            row("model's last byte → done event", self.after_model, None),
            row("Duet's total overhead", self.overhead, Some(350.0)),
            row("  chat", self.overhead_chat, Some(350.0)),
            row("  with two tool calls", self.overhead_tools, Some(350.0)),
            row("model's first text → client has it", self.first_delta, Some(15.0)),
            row("whole turn, from when it was due", self.whole, None),
        ]);
    }
}

/// The model's calls by turn, in order.
fn by_turn(requests: Vec<Recorded>) -> HashMap<String, Vec<Recorded>> {
    let mut calls: HashMap<String, Vec<Recorded>> = HashMap::new();
    for request in requests {
        let messages = request.body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let asked = messages.iter().rev().find(|message| message["role"] == "user");
        if let Some(name) = asked.and_then(|message| turn::name_in(&message["content"].to_string())) {
            calls.entry(name).or_default().push(request);
        }
    }
    calls
}

/// What Duet added to one turn.
struct Added {
    before: Duration,
    after: Duration,
    between: Duration,
    first_delta: Option<Duration>,
}

fn added(turn: &Turn, calls: &[Recorded]) -> Option<Added> {
    let (first, last) = (calls.first()?, calls.last()?);
    let between = calls
        .windows(2)
        .filter_map(|pair| Some(pair[1].arrived.saturating_duration_since(pair[0].answered?)))
        .sum();
    Some(Added {
        before: first.arrived.saturating_duration_since(turn.sent),
        after: turn.done.saturating_duration_since(last.answered?),
        between,
        // The last call wrote the text; those before it requested tools.
        first_delta: turn
            .first_delta
            .zip(last.began)
            .map(|(seen, began)| seen.saturating_duration_since(began)),
    })
}
