//! Events a second over many runs at once, on the encrypted store, each append durable before it is answered.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use duet_core::{
    Env,
    domain::{LeasePolicy, NewEvent, NewTurn, RunEvent},
    ids::{ConversationId, LeaseToken, RunId},
    ports::Stores,
};
use duet_local::quality;
use serde::Serialize;

use crate::{
    clock, fixture,
    report::{self, Machine, Row, Spread},
};

/// Options of `append`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Runs that are written at the same time.
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
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    runs: usize,
    events_per_append: usize,
    events_per_second: f64,
    append: Option<Spread>,
}

/// Measures and reports.
pub async fn run(options: &Options) -> Result<()> {
    let folder = tempfile::tempdir().context("Cannot make a folder.")?;
    let env = clock::env(1);
    let local = fixture::open(&folder.path().join("append.db"), &env, 0)?;
    let stores = local.stores();
    let claimed = claim(&env, &stores, options.runs).await?;
    let length = Duration::from_secs(if options.short {
        options.seconds.min(3)
    } else {
        options.seconds
    });

    let (took, appends) = write(&stores, claimed, options.events, length).await?;
    let report = Report {
        machine: Machine::here(),
        runs: options.runs,
        events_per_append: options.events,
        events_per_second: (appends.len() * options.events) as f64 / took.as_secs_f64(),
        append: Spread::of(appends),
    };
    println!(
        "{} runs at once, {} in an append: {:.0} events/s (promise ≥ 2,000)",
        report.runs, report.events_per_append, report.events_per_second
    );
    report::table(&[Row {
        name: "append, durable",
        spread: report.append,
        promise_ms: None,
    }]);
    report::keep(&report)
}

/// So many runs in conversations of their own, each with a lease.
async fn claim(env: &Env, stores: &Stores, runs: usize) -> Result<Vec<(RunId, LeaseToken, u64)>> {
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
        let Some(claim) = stores.system.claim_run(policy).await? else {
            bail!("A queued run could not be claimed.")
        };
        claimed.push((claim.run.id, claim.lease, claim.run.last_seq));
    }
    Ok(claimed)
}

/// Appends to all of them until the time is over; returns the time and how long each append took.
#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
async fn write(
    stores: &Stores,
    claimed: Vec<(RunId, LeaseToken, u64)>,
    events: usize,
    length: Duration,
) -> Result<(Duration, Vec<Duration>)> {
    let started = Instant::now();
    let writers = claimed.into_iter().map(|(run, lease, mut after)| {
        let log = stores.run_log.clone();
        tokio::spawn(async move {
            let mut appends = Vec::new();
            while started.elapsed() < length {
                let delta = RunEvent::Delta {
                    step: 1,
                    text: "about fifty milliseconds of text, as a model writes it".into(),
                };
                let delta = vec![NewEvent::from(delta); events];
                let sent = Instant::now();
                let stored = log.append(run, lease, after, delta).await?;
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

    #[tokio::test]
    async fn events_reach_the_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let env = clock::env(1);
        let local = fixture::open(&folder.path().join("append.db"), &env, 0).expect("a store");
        let stores = local.stores();
        let claimed = claim(&env, &stores, 2).await.expect("two runs");
        let (_, appends) = write(&stores, claimed, 3, Duration::from_millis(50)).await.expect("appends");
        assert!(appends.len() >= 2, "each run is written at least once");
    }
}
