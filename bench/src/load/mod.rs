//! Load: people who talk to a real `duet serve` at the same time, with a scripted model behind it.
//!
//! Measured is what Duet adds: from sending the message to the model being called, from the model's last byte to the `done`
//! event, and between the steps of a turn that uses tools. The model's own time is a setting and is left out.
//!
//! There is one account: invitations come later. So "people" differ in workspace, API key and conversation. What goals will
//! do is stood in for by turns that use two tools, with two model calls each.

mod people;
mod turn;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use duet_api::testing::{Recorded, Scripted, ScriptedModel};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde::Serialize;
use serde_json::{Value, json};

use self::{
    people::Person,
    turn::{Kind, Turn},
};
use crate::{
    report::{self, Machine, Row, Spread},
    server::{self, Program, Server},
};

/// Options of `load`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    program: Program,
    /// People who talk at the same time.
    #[arg(long, default_value_t = 50)]
    users: usize,
    /// Of 100 turns, so many are plain chat; the others use tools.
    #[arg(long, default_value_t = 70, value_parser = clap::value_parser!(u8).range(0..=100))]
    chat: u8,
    /// Seconds before measuring begins.
    #[arg(long, default_value_t = 10)]
    warm_up: u64,
    /// Seconds to measure.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Turns a second over all people; without it everyone speaks again as soon as they are answered.
    #[arg(long)]
    rate: Option<f64>,
    /// Milliseconds that the model takes before it says anything.
    #[arg(long, default_value_t = 0)]
    model_ms: u64,
    /// Parts of a reply.
    #[arg(long, default_value_t = 20)]
    parts: usize,
    /// Milliseconds between two parts.
    #[arg(long, default_value_t = 0)]
    part_ms: u64,
    /// Seed of the order of turns.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Fewer seconds.
    #[arg(long)]
    short: bool,
    /// Write the figures to this file.
    #[arg(long, env = "DUET_BENCH_JSON", value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    users: usize,
    chat_percent: u8,
    rate: Option<f64>,
    model_ms: u64,
    part_ms: u64,
    seconds: u64,
    turns: usize,
    turns_per_second: f64,
    events_per_second: f64,
    accepted: Option<Spread>,
    before_model: Option<Spread>,
    after_model: Option<Spread>,
    overhead: Option<Spread>,
    overhead_chat: Option<Spread>,
    overhead_tools: Option<Spread>,
    first_delta: Option<Spread>,
    whole: Option<Spread>,
}

/// Measures and reports.
pub async fn run(options: &Options) -> Result<()> {
    let (warm_up, seconds) = if options.short {
        (2, options.seconds.min(15))
    } else {
        (options.warm_up, options.seconds)
    };
    let model = ScriptedModel::start().await.context("The scripted model does not start.")?;
    let (first, parts, pause) = (
        Duration::from_millis(options.model_ms),
        options.parts,
        Duration::from_millis(options.part_ms),
    );
    model.choose(move |request| reply(request, parts).after(first).pause(pause));

    let folder = tempfile::tempdir().context("Cannot make a folder.")?;
    let http = server::client()?;
    let config = format!(
        "[models]\ndefault = \"bench/scripted\"\n[models.providers.bench]\nkind = \"openai\"\nbase_url = \"{}/v1\"\n[limits]\nstreams_per_person = {}\n",
        model.url(),
        options.users * 2 + 8
    );
    let (server, _) = Server::start(&options.program.path, folder.path(), &config, &http).await?;
    let people = people::settle(&server, &http, options.users).await?;

    let (begin, turns) = talk(options, people, Duration::from_secs(warm_up), Duration::from_secs(seconds)).await?;
    let calls = by_turn(model.requests());
    report(
        options,
        seconds,
        turns.into_iter().filter(|turn| turn.due >= begin).collect(),
        &calls,
    )
}

/// Everyone talks until the time is over. Returns when measuring began.
#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
async fn talk(options: &Options, people: Vec<Person>, warm_up: Duration, measured: Duration) -> Result<(Instant, Vec<Turn>)> {
    let started = Instant::now();
    let (begin, end) = (started + warm_up, started + warm_up + measured);
    let interval = options.rate.map(|rate| Duration::from_secs_f64(options.users as f64 / rate));
    let chat = u32::from(options.chat);
    let speakers = people.into_iter().enumerate().map(|(index, person)| {
        let mut order = ChaCha12Rng::seed_from_u64(options.seed.wrapping_mul(1_000_003).wrapping_add(index as u64));
        let person = Arc::new(person);
        tokio::spawn(async move {
            let mut turns = Vec::new();
            // Paced people do not all speak at once.
            let mut due = started + interval.map_or(Duration::ZERO, |interval| interval.mul_f64(order.random::<f64>()));
            while due < end {
                tokio::time::sleep_until(due.into()).await;
                let kind = if order.random_range(0..100) < chat {
                    Kind::Chat
                } else {
                    Kind::Tools
                };
                turns.push(person.say(index, turns.len(), kind, due).await?);
                due = interval.map_or_else(Instant::now, |interval| due + interval);
            }
            anyhow::Ok(turns)
        })
    });
    let mut turns = Vec::new();
    for speaker in futures::future::join_all(speakers).await {
        turns.extend(speaker.context("A speaker stopped.")??);
    }
    Ok((begin, turns))
}

/// What the model says: to a turn that uses tools first the calls, then, with their results before it, the answer.
fn reply(request: &Value, parts: usize) -> Scripted {
    let messages = request["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let asked = messages.iter().rposition(|message| message["role"] == "user");
    let wants_tools = asked.is_some_and(|at| messages[at]["content"].to_string().contains(Kind::Tools.marker()));
    let has_results = messages.last().is_some_and(|message| message["role"] == "tool");
    if wants_tools && !has_results {
        return Scripted::calls("call-1", "recall", json!({"query": "what was said about the mountain hut"})).call(
            "call-2",
            "remember",
            json!({"text": "The hut above the lake opens in June."}),
        );
    }
    Scripted::text((0..parts).map(|at| format!("word{at} ")))
}

/// The model's calls by the turn that they belong to, in order.
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
        // The call that wrote the text is the last; those before it asked for tools.
        first_delta: turn
            .first_delta
            .zip(last.began)
            .map(|(seen, began)| seen.saturating_duration_since(began)),
    })
}

fn report(options: &Options, seconds: u64, turns: Vec<Turn>, calls: &HashMap<String, Vec<Recorded>>) -> Result<()> {
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
    let report = Report {
        machine: Machine::here(),
        users: options.users,
        chat_percent: options.chat,
        rate: options.rate,
        model_ms: options.model_ms,
        part_ms: options.part_ms,
        seconds,
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
    };
    println!(
        "{} people, {} % chat, {}: {} turns in {seconds} s ({:.1}/s), {:.0} events/s",
        report.users,
        report.chat_percent,
        options
            .rate
            .map_or_else(|| "no pause between turns".to_owned(), |rate| format!("{rate} turns/s")),
        report.turns,
        report.turns_per_second,
        report.events_per_second
    );
    let row = |name, spread, promise_ms| Row {
        name,
        spread,
        promise_ms,
    };
    report::table(&[
        row("message sent → accepted (202)", report.accepted, None),
        row("message sent → model called", report.before_model, None),
        row("model's last byte → done event", report.after_model, None),
        row("all that Duet adds", report.overhead, Some(350.0)),
        row("  chat", report.overhead_chat, Some(350.0)),
        row("  with two tool calls", report.overhead_tools, Some(350.0)),
        row("model's first text → client has it", report.first_delta, Some(15.0)),
        row("whole turn, from when it was due", report.whole, None),
    ]);
    report::write_json(options.json.as_deref(), &report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_turn_calls_first_and_answers_then() {
        let asked = json!({"messages": [{"role": "user", "content": format!("hello {}", Kind::Tools.marker())}]});
        assert_eq!(reply(&asked, 3).pieces.len(), 2);
        let answered = json!({"messages": [asked["messages"][0], {"role": "tool", "content": "found"}]});
        assert_eq!(reply(&answered, 3).pieces.len(), 3);
        let chat = json!({"messages": [{"role": "user", "content": format!("hello {}", Kind::Chat.marker())}]});
        assert_eq!(reply(&chat, 3).pieces.len(), 3);
    }
}
