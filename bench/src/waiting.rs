//! What runs that wait cost the others, and how soon one goes on once its person has decided.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use duet_core::{
    Caller, Env,
    domain::{
        Arguments, Canonical, Claim, Commit, Decider, Decision, EffectId, EventKind, LeasePolicy, NewRequest, NewTurn, Request,
        RequestKind, RunEvent, Session, Suspension, Then, Usage,
    },
    ids::{ConversationId, RequestId, SessionId},
    ports::Stores,
};
use duet_local::quality;
use serde::Serialize;

use crate::{
    clock, fixture,
    postgres::{self, Backend, Facts, Server},
    report::{self, Machine, Row, Spread},
};

/// The promise from a decision to the claim of its run, in the process that decides.
const PROMISE_HERE_MS: f64 = 200.0;
/// The same in another process.
const PROMISE_ELSEWHERE_MS: f64 = 500.0;

/// Runs that wait in one workspace.
const IN_A_WORKSPACE: usize = 100;

/// Options of `waiting`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Runs that wait.
    #[arg(long, default_value_t = 1_000)]
    runs: usize,
    /// How many of them are decided.
    #[arg(long, default_value_t = 50)]
    times: usize,
    /// A tenth of the runs.
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
    postgres: Option<Facts>,
    backends: Vec<Figures>,
}

/// The results on one backend.
#[derive(Debug, Serialize)]
struct Figures {
    backend: Backend,
    /// Looking for a run to claim when there is none, before anything waits.
    idle: Option<Spread>,
    /// The same while all of them wait.
    beside: Option<Spread>,
    /// From a decision to the claim.
    woken: Option<Spread>,
}

/// Measures and reports.
pub async fn run(options: &Options) -> Result<()> {
    let mut report = Report {
        machine: Machine::here(),
        runs: options.runs(),
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
        println!("{}: {} runs that wait", figures.backend, report.runs);
        let promise = match figures.backend {
            Backend::File => PROMISE_HERE_MS,
            Backend::Postgres => PROMISE_ELSEWHERE_MS,
        };
        report::table(&[
            Row {
                name: "looking for work, nothing waits",
                spread: figures.idle,
                promise_ms: None,
            },
            Row {
                name: "looking for work, all wait",
                spread: figures.beside,
                promise_ms: None,
            },
            Row {
                name: "from a decision to the claim",
                spread: figures.woken,
                promise_ms: Some(promise),
            },
        ]);
    }
    report::keep(&report)
}

impl Options {
    fn runs(&self) -> usize {
        if self.short { self.runs / 10 } else { self.runs }
    }
}

async fn in_file(options: &Options, folder: &Path) -> Result<Figures> {
    let env = clock::env(1);
    let local = fixture::open(&folder.join("waiting.db"), &env, 0)?;
    let stores = local.stores();
    measure(options, Backend::File, &env, &stores, &stores).await
}

/// The decision is made in one process and the run claimed in another.
async fn on_postgres(options: &Options, server: &Server) -> Result<Figures> {
    let env = clock::env(1);
    let database = server.fresh("waiting").await?;
    let here = database.serve(&env, options.postgres.connections());
    let elsewhere = database.serve(&env, options.postgres.connections());
    let measured = measure(options, Backend::Postgres, &env, &here.stores(), &elsewhere.stores()).await;
    elsewhere.close().await;
    here.close().await;
    database.remove().await?;
    measured
}

#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
async fn measure(options: &Options, backend: Backend, env: &Env, people: &Stores, workers: &Stores) -> Result<Figures> {
    let caller = quality::owner(people, env).await?;
    let session = sign_in(env, people, &caller).await?;
    let idle = looks(options, workers).await?;
    let mut requests = Vec::new();
    let mut here = caller.clone();
    for run in 0..options.runs() {
        // A person's open requests are bounded in each workspace.
        if run > 0 && run.is_multiple_of(IN_A_WORKSPACE) {
            here.workspace = env.id();
            people.workspaces.create(here.user, here.workspace, "Waiting", "Echo").await?;
        }
        requests.push((here.clone(), waiting(env, people, &here).await?));
    }
    let beside = looks(options, workers).await?;
    let mut woken = Vec::new();
    let queued = workers.feed.queued();
    for (caller, request) in requests.into_iter().take(options.times) {
        let decided = Instant::now();
        let yes = Decision::Approve { arguments: None };
        people.requests.decide(&caller, session, request, yes).await?;
        let claim = loop {
            if let Some(claim) = workers.system.claim_run(lease(), EventKind::ALL).await? {
                break claim;
            }
            // As a worker does: it looks when it is told, or after a second.
            let _ = tokio::time::timeout(Duration::from_secs(1), queued.notified()).await;
        };
        woken.push(decided.elapsed());
        suspend(env, workers, &claim, Vec::new()).await?;
    }
    Ok(Figures {
        backend,
        idle,
        beside,
        woken: Spread::of(woken),
    })
}

fn lease() -> LeasePolicy {
    LeasePolicy {
        duration: Duration::from_secs(600),
        ..LeasePolicy::default()
    }
}

async fn sign_in(env: &Env, stores: &Stores, caller: &Caller) -> Result<SessionId> {
    let session = Session {
        id: env.id(),
        user_id: caller.user,
        created_at: env.now(),
        expires_at: env.now().plus(Duration::from_secs(24 * 3600)),
        by_device: false,
        by_machine: false,
    };
    let id = session.id;
    stores.accounts.create_session(session, env.bytes()).await?;
    Ok(id)
}

#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
async fn looks(options: &Options, stores: &Stores) -> Result<Option<Spread>> {
    let mut looks = Vec::new();
    for _ in 0..options.times {
        let asked = Instant::now();
        if stores.system.claim_run(lease(), EventKind::ALL).await?.is_some() {
            bail!("A run was claimed that waits.");
        }
        looks.push(asked.elapsed());
    }
    Ok(Spread::of(looks))
}

/// A run that waits for a yes.
async fn waiting(env: &Env, stores: &Stores, caller: &Caller) -> Result<RequestId> {
    let conversation: ConversationId = env.id();
    stores.conversations.create(caller, conversation, None, None).await?;
    let turn = NewTurn::new(env, conversation, "Please keep that I like tea.");
    stores.runs.start_turn(caller, turn).await?;
    let claim = stores.system.claim_run(lease(), EventKind::ALL).await?;
    let claim = claim.context("The run could not be claimed.")?;
    let arguments = Canonical::of(&serde_json::json!({ "text": "Likes tea.", "kind": "fact" }))?;
    let request = NewRequest {
        id: env.id(),
        effect: EffectId::tool(1, 0),
        kind: RequestKind::Approval,
        tool: "remember".into(),
        arguments: Arguments::salted(env, arguments),
        why: "The policy asks.".into(),
        decider: Decider::Asker,
        policy_version: 1,
        expires_at: env.now().plus(Request::LASTS),
    };
    let id = request.id;
    suspend(env, stores, &claim, vec![request]).await?;
    Ok(id)
}

async fn suspend(env: &Env, stores: &Stores, claim: &Claim, asks: Vec<NewRequest>) -> Result<()> {
    let asked = asks.iter().map(|request| RunEvent::Asked {
        effect: request.effect,
        request: request.id,
        kind: request.kind,
        hash: hex::encode(request.arguments.hash()),
    });
    let next_reply = env.id();
    let suspended = RunEvent::Suspended {
        reply: None,
        next_reply,
        usage: Usage::default(),
        cost_micros: None,
    };
    let events = asked.chain([suspended]).map(Into::into).collect();
    let commit = Commit {
        asks,
        then: Then::Suspend(Suspension { reply: None, next_reply }),
        ..Commit::of(env.id(), events)
    };
    stores
        .run_log
        .commit(claim.run.id, claim.lease, claim.run.last_seq, commit)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::test_server;

    #[tokio::test(flavor = "multi_thread")]
    async fn runs_that_wait_are_woken_on_both_backends() {
        let options = Options {
            runs: 3,
            times: 2,
            short: false,
            postgres: postgres::Options::default(),
        };
        let folder = tempfile::tempdir().expect("a folder");
        let file = in_file(&options, folder.path()).await.expect("measured");
        let postgres = on_postgres(&options, &test_server()).await.expect("measured");
        for figures in [file, postgres] {
            assert_eq!(figures.woken.map(|spread| spread.count), Some(2));
            assert_eq!(figures.beside.map(|spread| spread.count), Some(2));
        }
    }
}
