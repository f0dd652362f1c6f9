//! What it costs to take up a long run again: to claim it, and to read its log from the start as a page does that was reloaded.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use duet_core::{
    Caller, Env,
    domain::{
        Claim, Commit, EffectClass, EffectId, EventKind, HandBack, LeasePolicy, LogRange, NewEvent, NewTurn, ProposedCall,
        RunEvent, StopReason, ToolCall, ToolOutput, ToolStatus, Usage,
    },
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

/// Model calls of the measured run that have ended.
const STEPS: u32 = 8;
/// Events in one append while the run is made.
const BATCH: usize = 500;
/// The promise for a run of 100,000 events.
const PROMISE_MS: f64 = 50.0;

/// Options of `resume`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Events of the run, nearly all of them pieces of text.
    #[arg(long, default_value_t = 100_000)]
    events: usize,
    /// How often it is taken up.
    #[arg(long, default_value_t = 30)]
    times: usize,
    /// A run of a tenth.
    #[arg(long)]
    short: bool,
    #[command(flatten)]
    postgres: postgres::Options,
}

/// The results.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    events: usize,
    postgres: Option<Facts>,
    backends: Vec<Figures>,
}

/// The results on one backend.
#[derive(Debug, Serialize)]
struct Figures {
    backend: Backend,
    claim: Option<Spread>,
    read: Option<Spread>,
}

/// Measures and reports.
pub async fn run(options: &Options) -> Result<()> {
    let mut report = Report {
        machine: Machine::here(),
        events: options.events(),
        postgres: None,
        backends: Vec::new(),
    };
    if !options.postgres.without_file {
        let folder = tempfile::tempdir().context("Cannot make a folder.")?;
        report.backends.push(in_file(options, folder.path()).await?);
    }
    if let Some(server) = options.postgres.server()? {
        let facts = server.facts().await?;
        println!("{facts}");
        report.postgres = Some(facts);
        report.backends.push(on_postgres(options, &server).await?);
    }
    for figures in &report.backends {
        println!("{}: a run of {} events", figures.backend, report.events);
        report::table(&[
            Row {
                name: "claim",
                spread: figures.claim,
                promise_ms: Some(PROMISE_MS),
            },
            Row {
                name: "read from the start",
                spread: figures.read,
                promise_ms: Some(PROMISE_MS),
            },
        ]);
    }
    report::keep(&report)
}

impl Options {
    fn events(&self) -> usize {
        if self.short { self.events / 10 } else { self.events }
    }
}

async fn in_file(options: &Options, folder: &Path) -> Result<Figures> {
    let env = clock::env(1);
    let local = fixture::open(&folder.join("resume.db"), &env, 0)?;
    measure(options, Backend::File, &env, &local.stores()).await
}

async fn on_postgres(options: &Options, server: &Server) -> Result<Figures> {
    let env = clock::env(1);
    let database = server.fresh("resume").await?;
    let process = database.serve(&env, options.postgres.connections());
    let measured = measure(options, Backend::Postgres, &env, &process.stores()).await;
    process.close().await;
    database.remove().await?;
    measured
}

#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
async fn measure(options: &Options, backend: Backend, env: &Env, stores: &Stores) -> Result<Figures> {
    let caller = quality::owner(stores, env).await?;
    let mut claim = claim_new(env, stores, &caller).await?;
    write(options.events(), env, stores, &claim).await?;
    let (mut claims, mut reads) = (Vec::new(), Vec::new());
    for _ in 0..options.times {
        stores.run_log.hand_back(claim.run.id, claim.lease, HandBack::Leaving).await?;
        let asked = Instant::now();
        claim = take(stores).await?;
        claims.push(asked.elapsed());
        let asked = Instant::now();
        let mut seen = 0;
        while seen < claim.run.last_seq {
            let page = stores.runs.events(&caller, claim.run.id, LogRange::brief(seen, 64)).await?;
            seen = page.events.last().context("The log ends early.")?.seq;
        }
        reads.push(asked.elapsed());
    }
    Ok(Figures {
        backend,
        claim: Spread::of(claims),
        read: Spread::of(reads),
    })
}

async fn claim_new(env: &Env, stores: &Stores, caller: &Caller) -> Result<Claim> {
    let conversation: ConversationId = env.id();
    stores.conversations.create(caller, conversation, None, None).await?;
    let turn = NewTurn::new(env, conversation, "Tell me everything about the hut above the lake.");
    stores.runs.start_turn(caller, turn).await?;
    take(stores).await
}

async fn take(stores: &Stores) -> Result<Claim> {
    let policy = LeasePolicy {
        duration: Duration::from_secs(600),
        ..LeasePolicy::default()
    };
    match stores.system.claim_run(policy, EventKind::ALL).await? {
        Some(claim) => Ok(claim),
        None => bail!("The run could not be claimed."),
    }
}

/// Fills the log: model calls that wrote for long and asked for a tool each, all of them ended.
async fn write(events: usize, env: &Env, stores: &Stores, claim: &Claim) -> Result<()> {
    let piece = "about fifty milliseconds of text, as a model writes it";
    let pieces = (events / STEPS as usize).saturating_sub(4);
    let mut after = claim.run.last_seq;
    for step in 1..=STEPS {
        let mut log: Vec<NewEvent> = vec![RunEvent::ModelCalled { step, attempt: 1 }.into()];
        log.extend((0..pieces).map(|_| {
            let text = piece.into();
            NewEvent::from(RunEvent::Delta { step, text })
        }));
        let call = ToolCall {
            id: "c".into(),
            name: "recall".into(),
            arguments: serde_json::json!({ "query": "hut" }),
        };
        let class = EffectClass::Repeatable;
        let effect = EffectId::tool(step, 0);
        let closed = [
            RunEvent::ModelReplied {
                step,
                text: piece.repeat(200),
                tool_calls: vec![ProposedCall { call, class }],
                usage: Usage::default(),
                cost_micros: None,
                stop: StopReason::ToolUse,
            },
            RunEvent::ToolStarted { effect },
            RunEvent::ToolFinished {
                effect,
                status: ToolStatus::Succeeded,
                output: ToolOutput::default(),
            },
        ];
        log.extend(closed.map(NewEvent::from));
        for batch in log.chunks(BATCH) {
            let stored = stores
                .run_log
                .commit(claim.run.id, claim.lease, after, Commit::of(env.id(), batch.to_vec()))
                .await?;
            after = stored.own.last().map_or(after, |event| event.seq);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::test_server;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_long_run_is_taken_up_again_on_both_backends() {
        let options = Options {
            events: 200,
            times: 2,
            short: false,
            postgres: postgres::Options::default(),
        };
        let folder = tempfile::tempdir().expect("a folder");
        let file = in_file(&options, folder.path()).await.expect("measured");
        let postgres = on_postgres(&options, &test_server()).await.expect("measured");
        for figures in [file, postgres] {
            assert_eq!(figures.claim.map(|spread| spread.count), Some(2));
            assert_eq!(figures.read.map(|spread| spread.count), Some(2));
        }
    }
}
