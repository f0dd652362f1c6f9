//! Load: people who talk concurrently to a real `duet serve`, and to a real `duet-api serve` on Postgres, with a scripted model.
//!
//! Measures what Duet adds: from sending the message to calling the model, from the model's last byte to the `done` event, and
//! between the steps of a turn with tools. The model's own time is a setting and is excluded.
//!
//! There is one account: "people" differ in workspace, API key and conversation. Turns that use two tools, with two model calls each,
//! stand in for future goals.

mod figures;
mod people;
mod turn;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use duet_api::testing::{Scripted, ScriptedModel};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde::Serialize;
use serde_json::{Value, json};

use self::{
    figures::Figures,
    people::Person,
    turn::{Kind, Turn},
};
use crate::{
    postgres::{self, Backend, Facts},
    report::{self, Machine},
    server::{self, Programs, Server},
};

/// Options of `load`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    programs: Programs,
    /// Number of people who talk concurrently.
    #[arg(long, default_value_t = 50)]
    users: usize,
    /// Percentage of turns that are plain chat; the others use tools.
    #[arg(long, default_value_t = 70, value_parser = clap::value_parser!(u8).range(0..=100))]
    chat: u8,
    /// Seconds before measuring begins.
    #[arg(long, default_value_t = 10)]
    warm_up: u64,
    /// Seconds to measure.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Turns per second over all people; without it everyone sends the next message as soon as they are answered.
    #[arg(long)]
    rate: Option<f64>,
    /// Milliseconds before the model's first output.
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
    #[command(flatten)]
    postgres: postgres::Options,
    /// Write the figures to this file.
    #[arg(long, env = "DUET_BENCH_JSON", value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The results.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    users: usize,
    chat_percent: u8,
    rate: Option<f64>,
    model_ms: u64,
    part_ms: u64,
    seconds: u64,
    postgres: Option<Facts>,
    connections: Option<u32>,
    backends: Vec<Figures>,
}

/// Measures and reports.
pub async fn run(options: &Options) -> Result<()> {
    let (warm_up, seconds) = if options.short {
        (2, options.seconds.min(15))
    } else {
        (options.warm_up, options.seconds)
    };
    let mut report = Report {
        machine: Machine::here(),
        users: options.users,
        chat_percent: options.chat,
        rate: options.rate,
        model_ms: options.model_ms,
        part_ms: options.part_ms,
        seconds,
        postgres: None,
        connections: None,
        backends: Vec::new(),
    };
    let server = options.postgres.server()?;
    if let Some(server) = &server {
        let facts = server.facts().await?;
        println!(
            "{facts}; {} connections and one for live hints",
            options.postgres.connections()
        );
        report.postgres = Some(facts);
        report.connections = Some(options.postgres.connections());
    }
    let backends = [
        (!options.postgres.without_file).then_some(Backend::File),
        server.is_some().then_some(Backend::Postgres),
    ];
    for backend in backends.into_iter().flatten() {
        let figures = measure(options, backend, warm_up, seconds).await?;
        println!(
            "{backend}: {} people, {} % chat, {}: {} turns in {seconds} s ({:.1}/s), {:.0} events/s",
            report.users,
            report.chat_percent,
            options
                .rate
                .map_or_else(|| "no pause between turns".to_owned(), |rate| format!("{rate} turns/s")),
            figures.turns,
            figures.turns_per_second,
            figures.events_per_second
        );
        figures.table();
        report.backends.push(figures);
    }
    report::write_json(options.json.as_deref(), &report)
}

/// Starts a server on this backend and lets everyone talk to it.
async fn measure(options: &Options, backend: Backend, warm_up: u64, seconds: u64) -> Result<Figures> {
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
    let spoken = async |server: Server| {
        let people = people::settle(&server, &http, options.users).await?;
        talk(options, people, Duration::from_secs(warm_up), Duration::from_secs(seconds)).await
    };
    let (begin, turns) = match (backend, options.postgres.server()?) {
        (Backend::Postgres, Some(postgres)) => {
            let program = options.programs.duet_api()?;
            let database = postgres.fresh_unmigrated("load").await?;
            let config = format!("{config}[database]\nconnections = {}\n", options.postgres.connections());
            let talked = async {
                let token = Server::migrate(program, folder.path(), &database).await?;
                let (mut server, _) = Server::start_api(program, folder.path(), &config, &database, &http).await?;
                server.setup_token = Some(token);
                spoken(server).await
            };
            let talked = talked.await;
            database.remove().await?;
            talked?
        }
        _ => {
            let (server, _) = Server::start(options.programs.duet()?, folder.path(), &config, &http).await?;
            spoken(server).await?
        }
    };
    let turns = turns.into_iter().filter(|turn| turn.due >= begin).collect();
    Figures::of(backend, seconds, turns, model.requests())
}

/// Everyone talks until the time is up. Returns when measuring began.
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
            // Paced people do not all start at once.
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

/// The model's reply: for a turn with tools first the calls, then, once their results are in the request, the answer.
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn people_talk_to_both_servers() {
        let url = std::env::var("DUET_TEST_POSTGRES_URL").expect("`cargo xtask test --only rust` names a Postgres");
        let words = [
            "load",
            "--users",
            "3",
            "--chat",
            "50",
            "--parts",
            "4",
            "--connections",
            "4",
            "--postgres",
            &url,
        ];
        let Arguments { mut options } = Arguments::parse_from(words);
        options.programs = Programs::of_this_build();
        for backend in [Backend::File, Backend::Postgres] {
            let figures = measure(&options, backend, 0, 2).await.expect("figures");
            assert!(figures.turns >= 3, "{figures:?}");
            assert!(
                figures.events_per_second > 0.0 && figures.first_delta.is_some(),
                "{figures:?}"
            );
            figures.table();
        }
    }

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
