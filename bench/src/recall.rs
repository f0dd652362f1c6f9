//! Recall among many vectors: latency beside how much of the true ten is found.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use duet_core::{
    Caller, Env,
    domain::{Embedding, Locality, RecallMode, RecallQuery, Role},
    ids::MemoryId,
    ports::Stores,
};
use serde::Serialize;

use crate::{
    clock,
    fixture::{self, Fixture, Shape},
    report::{Machine, Spread},
};

/// What to measure.
#[derive(clap::Args, Debug, Clone)]
pub struct Options {
    /// Workspaces in the file
    #[arg(long, default_value_t = 10)]
    workspaces: usize,
    /// Memories in each
    #[arg(long, default_value_t = 10_000)]
    memories: usize,
    /// Dimensions of their vectors
    #[arg(long, default_value_t = 1536)]
    dimensions: usize,
    /// Seed of the fixture
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Questions, spread over the workspaces
    #[arg(long, default_value_t = 200)]
    questions: usize,
    /// Clients of the closed loop
    #[arg(long, default_value_t = 50)]
    clients: usize,
    /// Seconds of the closed loop
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Megabytes for vector codes in memory (DUET_VECTOR_CACHE_MB)
    #[arg(long, default_value_t = 256)]
    cache_mb: usize,
    /// Where the fixture is kept and found again; without it, it goes away afterwards
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
struct Line {
    name: String,
    #[serde(flatten)]
    spread: Spread,
    recall_at_10: Option<f64>,
    per_second: Option<f64>,
}

#[derive(Serialize)]
struct Report {
    machine: Machine,
    shape: Shape,
    cache_mb: usize,
    file_bytes: u64,
    lines: Vec<Line>,
}

/// A question with the ten memories that a full comparison gives.
struct Asked {
    workspace: usize,
    vector: Vec<f32>,
    text: String,
    truth: Vec<MemoryId>,
}

/// Runs the measurement and prints it.
pub async fn run(options: &Options) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = options.keep.clone().unwrap_or_else(|| folder.path().join("recall.db"));
    let shape = Shape {
        workspaces: options.workspaces,
        memories: options.memories,
        dimensions: options.dimensions,
        seed: options.seed,
    };
    let fixture = Arc::new(fixture::make(&path, &shape).await?);
    let env = clock::env(shape.seed ^ 0xA5);
    let asked = Arc::new(questions(&shape, options.questions));
    let mut lines = Vec::new();

    // Cold: a file just opened, nothing cached in the process, one question each.
    let mut cold = Samples::default();
    for question in asked.iter().take(options.questions.min(40)) {
        let store = fixture::open(&path, &env, 0)?;
        cold.ask(&store.stores(), &fixture, &env, question, RecallMode::Vector)
            .await?;
    }
    lines.extend(cold.line("cold, one client (vector)"));
    {
        // Without room for codes every answer comes from the bit index.
        let store = fixture::open(&path, &env, 0)?;
        let mut uncached = Samples::default();
        for question in asked.iter() {
            uncached
                .ask(&store.stores(), &fixture, &env, question, RecallMode::Vector)
                .await?;
        }
        lines.extend(uncached.line("no cache, one client (vector)"));
    }

    let store = fixture::open(&path, &env, options.cache_mb << 20)?;
    let stores = store.stores();
    // Until the codes of as many workspaces as fit are loaded.
    for _ in 0..3 {
        for question in asked.iter() {
            Samples::default()
                .ask(&stores, &fixture, &env, question, RecallMode::Vector)
                .await?;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for mode in [RecallMode::Vector, RecallMode::Fts, RecallMode::Hybrid] {
        let mut warm = Samples::default();
        for question in asked.iter() {
            warm.ask(&stores, &fixture, &env, question, mode).await?;
        }
        lines.extend(warm.line(&format!("warm, one client ({mode})")));
    }
    for mode in [RecallMode::Vector, RecallMode::Hybrid] {
        lines.extend(closed_loop(options, &stores, &fixture, &env, &asked, mode).await?);
    }
    let report = Report {
        machine: Machine::here(),
        shape,
        cache_mb: options.cache_mb,
        file_bytes: std::fs::metadata(&path)?.len(),
        lines,
    };
    print(&report, options.json)
}

/// Questions round the workspaces, with their true nearest.
fn questions(shape: &Shape, count: usize) -> Vec<Asked> {
    let mut asked: Vec<Asked> = Vec::with_capacity(count);
    let each = count.div_ceil(shape.workspaces);
    for workspace in 0..shape.workspaces.min(count) {
        let mut vectors = shape.vectors(workspace);
        let all: Vec<Vec<f32>> = vectors.by_ref().collect();
        for number in 0..each {
            let vector = vectors.draw();
            let mut near: Vec<(f64, usize)> = all
                .iter()
                .enumerate()
                .map(|(place, other)| (product(&vector, other), place))
                .collect();
            near.sort_by(|a, b| b.0.total_cmp(&a.0));
            let truth = near
                .iter()
                .take(10)
                .map(|(_, place)| shape.memory(workspace, *place))
                .collect();
            asked.push(Asked {
                workspace,
                vector,
                text: shape.text(workspace, number * 7 % shape.memories),
                truth,
            });
        }
    }
    // Round the workspaces instead of one after the other.
    let mut turns: Vec<(usize, Asked)> = asked
        .into_iter()
        .enumerate()
        .map(|(place, asked)| (place % each, asked))
        .collect();
    turns.sort_by_key(|(turn, asked)| (*turn, asked.workspace));
    turns.into_iter().map(|(_, asked)| asked).take(count).collect()
}

fn product(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0f64; 8];
    let ((a, _), (b, _)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (x, y) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += f64::from(x[lane] * y[lane]);
        }
    }
    sums.iter().sum()
}

/// What was measured in one way of asking.
#[derive(Default)]
struct Samples {
    durations: Vec<Duration>,
    found: usize,
    wanted: usize,
}

impl Samples {
    async fn ask(&mut self, stores: &Stores, fixture: &Fixture, env: &Env, asked: &Asked, mode: RecallMode) -> Result<()> {
        let caller = Caller::person(fixture.owner, fixture.workspaces[asked.workspace], Role::Owner);
        let query = RecallQuery {
            text: asked.text.clone(),
            embedding: Some(Embedding {
                model: fixture.shape.model(),
                vector: asked.vector.clone(),
            }),
            mode,
            limit: 10,
            domains: None,
            locality: Locality::Local,
            now: env.now(),
        };
        let start = clock::start();
        let answer = stores.memories.recall(&caller, query).await?;
        self.durations.push(start.elapsed());
        if mode == RecallMode::Vector {
            self.wanted += asked.truth.len();
            self.found += answer
                .items
                .iter()
                .filter(|item| asked.truth.contains(&item.memory.id))
                .count();
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    fn line(self, name: &str) -> Option<Line> {
        Some(Line {
            name: name.to_owned(),
            spread: Spread::of(self.durations)?,
            recall_at_10: (self.wanted > 0).then(|| self.found as f64 / self.wanted as f64),
            per_second: None,
        })
    }
}

/// Many clients, each asking again as soon as it has its answer.
#[expect(clippy::cast_precision_loss, reason = "small counts")]
async fn closed_loop(
    options: &Options,
    stores: &Stores,
    fixture: &Arc<Fixture>,
    env: &Env,
    asked: &Arc<Vec<Asked>>,
    mode: RecallMode,
) -> Result<Option<Line>> {
    let next = Arc::new(AtomicUsize::new(0));
    let start = clock::start();
    let until = Duration::from_secs(options.seconds);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..options.clients {
        let (stores, fixture, env, asked, next) = (
            stores.clone(),
            Arc::clone(fixture),
            env.clone(),
            Arc::clone(asked),
            Arc::clone(&next),
        );
        clients.spawn(async move {
            let mut samples = Samples::default();
            while start.elapsed() < until {
                let question = &asked[next.fetch_add(1, Ordering::Relaxed) % asked.len()];
                samples.ask(&stores, &fixture, &env, question, mode).await?;
            }
            anyhow::Ok(samples)
        });
    }
    let mut all = Samples::default();
    while let Some(samples) = clients.join_next().await {
        let samples = samples??;
        all.durations.extend(samples.durations);
        all.found += samples.found;
        all.wanted += samples.wanted;
    }
    let rate = all.durations.len() as f64 / start.elapsed().as_secs_f64();
    let line = all.line(&format!("closed loop, {} clients ({mode})", options.clients));
    Ok(line.map(|line| Line {
        per_second: Some(rate),
        ..line
    }))
}

#[expect(clippy::print_stdout, reason = "the result")]
fn print(report: &Report, json: bool) -> Result<()> {
    crate::report::keep(report)?;
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    let Report { shape, machine, .. } = report;
    println!(
        "{} workspaces × {} memories × {} dimensions, seed {}; {} MB for codes; file {} MB\n{}, {} cores, {}\n",
        shape.workspaces,
        shape.memories,
        shape.dimensions,
        shape.seed,
        report.cache_mb,
        report.file_bytes >> 20,
        machine.processor,
        machine.cores,
        machine.system
    );
    println!(
        "{:<34} {:>7} {:>9} {:>9} {:>9} {:>10} {:>9}",
        "", "count", "p50 ms", "p95 ms", "p99 ms", "recall@10", "per s"
    );
    for line in &report.lines {
        println!(
            "{:<34} {:>7} {:>9.2} {:>9.2} {:>9.2} {:>10} {:>9}",
            line.name,
            line.spread.count,
            line.spread.p50_ms,
            line.spread.p95_ms,
            line.spread.p99_ms,
            line.recall_at_10.map_or_else(String::new, |recall| format!("{recall:.4}")),
            line.per_second.map_or_else(String::new, |rate| format!("{rate:.0}"))
        );
    }
    Ok(())
}
