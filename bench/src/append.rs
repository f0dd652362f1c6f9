//! Events per second over many concurrent runs, each append durable before it is answered: in the encrypted file and on Postgres.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use duet_core::{
    Env,
    domain::{Claim, Commit, EventKind, LeasePolicy, NewEvent, NewTurn, RunEvent},
    ids::ConversationId,
    ports::Stores,
};
use duet_local::quality;
use serde::Serialize;

use crate::{
    clock, fixture,
    postgres::{self, Backend, Facts, Server},
    report::{self, Machine, Row, Spread},
};

/// Options of `append`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Number of runs that are written concurrently.
    #[arg(long, default_value_t = 50)]
    runs: usize,
    /// Events in one append, as when text comes faster than it is stored.
    #[arg(long, default_value_t = 1)]
    events: usize,
    /// Seconds to measure.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Fewer seconds.
    #[arg(long)]
    short: bool,
    #[command(flatten)]
    postgres: postgres::Options,
}

/// The results.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    runs: usize,
    events_per_append: usize,
    postgres: Option<Facts>,
    connections: Option<u32>,
    backends: Vec<Figures>,
}

/// The results on one backend.
#[derive(Debug, Serialize)]
struct Figures {
    backend: Backend,
    events_per_second: f64,
    append: Option<Spread>,
}

/// Measures and reports.
pub async fn run(options: &Options) -> Result<()> {
    let length = Duration::from_secs(if options.short {
        options.seconds.min(3)
    } else {
        options.seconds
    });
    let mut report = Report {
        machine: Machine::here(),
        runs: options.runs,
        events_per_append: options.events,
        postgres: None,
        connections: None,
        backends: Vec::new(),
    };
    if !options.postgres.without_file {
        let folder = tempfile::tempdir().context("Cannot make a folder.")?;
        report.backends.push(in_file(options, folder.path(), length).await?);
    }
    if let Some(server) = options.postgres.server()? {
        let facts = server.facts().await?;
        println!("{facts}; {} connections", options.postgres.connections());
        report.postgres = Some(facts);
        report.connections = Some(options.postgres.connections());
        report.backends.push(on_postgres(options, &server, length).await?);
    }
    for figures in &report.backends {
        println!(
            "{}: {} runs at once, {} in an append: {:.0} events/s (promise ≥ 2,000)",
            figures.backend, report.runs, report.events_per_append, figures.events_per_second
        );
        report::table(&[Row {
            name: "append, durable",
            spread: figures.append,
            promise_ms: None,
        }]);
    }
    report::keep(&report)
}

async fn in_file(options: &Options, folder: &Path, length: Duration) -> Result<Figures> {
    let env = clock::env(1);
    let local = fixture::open(&folder.join("append.db"), &env, 0)?;
    measure(options, Backend::File, &env, &local.stores(), length).await
}

async fn on_postgres(options: &Options, server: &Server, length: Duration) -> Result<Figures> {
    let env = clock::env(1);
    let database = server.fresh("append").await?;
    let process = database.serve(&env, options.postgres.connections());
    let measured = measure(options, Backend::Postgres, &env, &process.stores(), length).await;
    process.close().await;
    database.remove().await?;
    measured
}

async fn measure(options: &Options, backend: Backend, env: &Env, stores: &Stores, length: Duration) -> Result<Figures> {
    let claimed = claim(env, stores, options.runs).await?;
    let (took, appends) = write(stores, env, claimed, options.events, length).await?;
    Ok(Figures {
        backend,
        events_per_second: (appends.len() * options.events) as f64 / took.as_secs_f64(),
        append: Spread::of(appends),
    })
}

/// Claims this many runs, in conversations of their own, each with a lease.
async fn claim(env: &Env, stores: &Stores, runs: usize) -> Result<Vec<Claim>> {
    let caller = quality::owner(stores, env).await?;
    let mut claimed = Vec::with_capacity(runs);
    for _ in 0..runs {
        let conversation: ConversationId = env.id();
        stores.conversations.create(&caller, conversation, None, None).await?;
        let turn = NewTurn::new(env, conversation, "Tell me about the hut above the lake.");
        stores.runs.start_turn(&caller, turn).await?;
        let policy = LeasePolicy {
            duration: Duration::from_secs(600),
            ..LeasePolicy::default()
        };
        let Some(claim) = stores.system.claim_run(policy, EventKind::ALL).await? else {
            bail!("A queued run could not be claimed.")
        };
        claimed.push(claim);
    }
    Ok(claimed)
}

/// Appends to all of them until the time is up; returns the time and the duration of each append.
#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
async fn write(
    stores: &Stores,
    env: &Env,
    claimed: Vec<Claim>,
    events: usize,
    length: Duration,
) -> Result<(Duration, Vec<Duration>)> {
    let started = Instant::now();
    let writers = claimed.into_iter().map(|claim| {
        let (env, log, mut after) = (env.clone(), stores.run_log.clone(), claim.run.last_seq);
        tokio::spawn(async move {
            // Moves the whole claim: its lease holds as long as it lives.
            let claim = claim;
            let mut appends = Vec::new();
            while started.elapsed() < length {
                let delta = RunEvent::Delta {
                    step: 1,
                    text: "about fifty milliseconds of text, as a model writes it".into(),
                };
                let delta = vec![NewEvent::from(delta); events];
                let sent = Instant::now();
                let stored = log
                    .commit(claim.run.id, claim.lease, after, Commit::of(env.id(), delta))
                    .await?;
                appends.push(sent.elapsed());
                after = stored.own.last().map_or(after, |event| event.seq);
            }
            anyhow::Ok(appends)
        })
    });
    let mut appends = Vec::new();
    for writer in futures::future::join_all(writers).await {
        appends.extend(writer.context("A writer stopped.")??);
    }
    Ok((started.elapsed(), appends))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::test_server;

    #[tokio::test(flavor = "multi_thread")]
    async fn events_reach_the_log_of_both_backends() {
        let options = Options {
            runs: 2,
            events: 3,
            seconds: 0,
            short: true,
            postgres: postgres::Options::default(),
        };
        let folder = tempfile::tempdir().expect("a folder");
        let length = Duration::from_millis(50);
        let file = in_file(&options, folder.path(), length).await.expect("appends");
        let postgres = on_postgres(&options, &test_server(), length).await.expect("appends");
        for figures in [file, postgres] {
            let appends = figures.append.expect("something was measured").count;
            assert!(appends >= 2, "each run is written at least once");
            assert!(figures.events_per_second > 0.0);
        }
    }
}
