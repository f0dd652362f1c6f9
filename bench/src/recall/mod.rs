//! Recall among many vectors: latency, and the share of the true ten that is found, in the encrypted file and on Postgres behind row
//! level security.

mod ask;
mod crowd;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use duet_core::{Env, domain::RecallMode};
use serde::Serialize;

use self::ask::{Asked, Line, Samples, closed_loop, questions};
use crate::{
    clock,
    fixture::{Fixture, Place, Shape},
    postgres::{self, Backend, Facts},
    report::Machine,
};

/// What to measure.
#[derive(clap::Args, Debug, Clone)]
#[command(
    after_help = "On Postgres a person asks, behind row level security, over the connections and with the statement timeout of \
    `duet-api serve`. The database is filled through the ordinary stores (without waiting for the disk at each commit), then vacuumed and \
    analysed, as autovacuum would do by and by.\n\n\
    With --keep FILE the file is found again by its name, and the database by its shape, when the server is one that stays:\n  \
    cargo xtask postgres --durable --shared-buffers-mb 4096 --port 55433\n  \
    duet-bench recall --keep /var/tmp/recall.db --postgres postgres://supabase_admin@127.0.0.1:55433/postgres\n\n\
    10,000 memories of 1536 dimensions take about 105 MB in a file and 125 MB in Postgres, beside its log of up to 2 GB."
)]
pub struct Options {
    /// Workspaces in the fixture
    #[arg(long, default_value_t = 10)]
    workspaces: usize,
    /// Memories in each
    #[arg(long, default_value_t = 10_000)]
    memories: usize,
    /// Dimensions of their vectors
    #[arg(long, default_value_t = 1536)]
    dimensions: usize,
    /// Workspaces with contents of their own; the others hold the same memories as these, in turn, which is quicker to fill on
    /// Postgres, where they are copied
    #[arg(long, value_name = "COUNT", conflicts_with = "crowd", value_parser = clap::value_parser!(u32).range(1..))]
    distinct: Option<u32>,
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
    /// File to keep the fixture in for reuse; without it, the fixture is deleted afterwards
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// Instead: a workspace of 50 memories beside 2 and beside 20 workspaces of --memories each, queried alternately
    #[arg(long)]
    crowd: bool,
    #[command(flatten)]
    postgres: postgres::Options,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// The results, as JSON.
#[derive(Serialize)]
struct Report {
    machine: Machine,
    shape: Shape,
    cache_mb: usize,
    /// The server, its settings, and the connections of the measuring process.
    postgres: Option<Facts>,
    connections: Option<u32>,
    /// The fixture's size on disk.
    bytes: Vec<(Backend, u64)>,
    lines: Vec<Line>,
    /// For the crowd: p50 among many divided by p50 among few.
    ratios: Vec<crowd::Ratio>,
}

/// Runs the measurement and prints it.
pub async fn run(options: &Options) -> Result<()> {
    let shape = Shape {
        workspaces: options.workspaces,
        memories: options.memories,
        dimensions: options.dimensions,
        seed: options.seed,
        first: None,
        distinct: options.distinct.map(|distinct| distinct as usize),
    };
    let folder = tempfile::tempdir()?;
    print(&measure(options, shape, folder.path()).await?, options.json)
}

/// Measures one backend after the other. Removes what is not kept before filling the next, so that both need not fit on the disk.
async fn measure(options: &Options, shape: Shape, folder: &Path) -> Result<Report> {
    let server = options.postgres.server()?;
    let mut report = Report {
        machine: Machine::here(),
        cache_mb: options.cache_mb,
        postgres: None,
        connections: None,
        bytes: Vec::new(),
        lines: Vec::new(),
        ratios: Vec::new(),
        shape,
    };
    if let Some(server) = &server {
        report.postgres = Some(server.facts().await?);
        report.connections = Some(options.postgres.connections());
    }
    let backends = [
        (!options.postgres.without_file).then_some(Backend::File),
        server.is_some().then_some(Backend::Postgres),
    ];
    if options.crowd {
        return crowd::measure(options, report, server.as_ref(), &backends, folder).await;
    }
    let env = clock::env(report.shape.seed ^ 0xA5);
    let asked = Arc::new(questions(&report.shape, options.questions));
    for backend in backends.into_iter().flatten() {
        let (place, fixture) = make(options, &report.shape, backend, server.as_ref(), folder).await?;
        let measured = lines(options, &place, &Arc::new(fixture), &env, &asked).await;
        let bytes = place.bytes().await;
        discard(options, &place).await?;
        report.lines.extend(measured?);
        report.bytes.push((backend, bytes?));
    }
    Ok(report)
}

/// The fixture of this shape on a backend.
async fn make(
    options: &Options,
    shape: &Shape,
    backend: Backend,
    server: Option<&postgres::Server>,
    folder: &Path,
) -> Result<(Place, Fixture)> {
    match (backend, server) {
        (Backend::Postgres, Some(server)) => {
            eprintln!("postgres: filling, vacuuming, analysing");
            Place::in_database(server, shape, options.keep.is_some(), options.postgres.connections()).await
        }
        _ => {
            eprintln!("file: filling");
            let kept = options.keep.as_ref().map(|path| match shape.first {
                None => path.clone(),
                Some(_) => path.with_extension(format!("{}.db", shape.name())),
            });
            let path = kept.unwrap_or_else(|| folder.join(format!("{}.db", shape.name())));
            Place::in_file(path, shape, options.cache_mb << 20).await
        }
    }
}

/// Removes what is not kept.
async fn discard(options: &Options, place: &Place) -> Result<()> {
    match place {
        _ if options.keep.is_some() => Ok(()),
        Place::File { path, .. } => Ok(std::fs::remove_file(path)?),
        Place::Postgres { database, .. } => database.remove().await,
    }
}

/// All measurements on one backend.
async fn lines(
    options: &Options,
    place: &Place,
    fixture: &Arc<Fixture>,
    env: &Env,
    asked: &Arc<Vec<Asked>>,
) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let backend = place.backend();

    // Cold: a process that has just opened the file or has no connection yet, one query each.
    let mut cold = Samples::default();
    for question in asked.iter().take(40) {
        let opened = place.open(env, false)?;
        cold.ask(&opened.stores(), fixture, env, question, RecallMode::Vector).await?;
        opened.close().await;
    }
    lines.extend(cold.line(backend, "cold, one client (vector)"));
    if backend == Backend::File {
        // Without memory for codes every answer comes from the bit index.
        let opened = place.open(env, false)?;
        let mut uncached = Samples::default();
        for question in asked.iter() {
            uncached
                .ask(&opened.stores(), fixture, env, question, RecallMode::Vector)
                .await?;
        }
        lines.extend(uncached.line(backend, "no cache, one client (vector)"));
        opened.close().await;
    }

    let opened = place.open(env, true)?;
    let stores = opened.stores();
    // Until the codes of as many workspaces as fit are loaded.
    for _ in 0..3 {
        for question in asked.iter() {
            Samples::default()
                .ask(&stores, fixture, env, question, RecallMode::Vector)
                .await?;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for mode in [RecallMode::Vector, RecallMode::Fts, RecallMode::Hybrid] {
        let mut warm = Samples::default();
        for question in asked.iter() {
            warm.ask(&stores, fixture, env, question, mode).await?;
        }
        lines.extend(warm.line(backend, &format!("warm, one client ({mode})")));
    }
    let length = Duration::from_secs(options.seconds);
    for mode in [RecallMode::Vector, RecallMode::Hybrid] {
        let (samples, rate) = closed_loop(options.clients, length, &stores, fixture, env, asked, mode).await?;
        let line = samples.line(backend, &format!("closed loop, {} clients ({mode})", options.clients));
        lines.extend(line.map(|line| Line {
            per_second: Some(rate),
            ..line
        }));
    }
    opened.close().await;
    Ok(lines)
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
        "{} workspaces × {} memories × {} dimensions, seed {}; {} MB for codes",
        shape.workspaces, shape.memories, shape.dimensions, shape.seed, report.cache_mb,
    );
    if let Some(distinct) = shape.distinct {
        println!("{distinct} of the workspaces have contents of their own; the others hold the same memories");
    }
    for (backend, bytes) in &report.bytes {
        println!("{backend}: {} MB", bytes >> 20);
    }
    if let (Some(facts), Some(connections)) = (&report.postgres, report.connections) {
        println!(
            "{facts}; {connections} connections; as a person behind row level security; vacuumed and analysed after filling"
        );
    }
    println!("{}, {} cores, {}\n", machine.processor, machine.cores, machine.system);
    println!(
        "{:<9} {:<34} {:>7} {:>9} {:>9} {:>9} {:>10} {:>9}",
        "", "", "count", "p50 ms", "p95 ms", "p99 ms", "recall@10", "per s"
    );
    for line in &report.lines {
        println!(
            "{:<9} {:<34} {:>7} {:>9.2} {:>9.2} {:>9.2} {:>10} {:>9}",
            line.backend,
            line.name,
            line.spread.count,
            line.spread.p50_ms,
            line.spread.p95_ms,
            line.spread.p99_ms,
            line.recall_at_10.map_or_else(String::new, |recall| format!("{recall:.4}")),
            line.per_second.map_or_else(String::new, |rate| format!("{rate:.0}"))
        );
    }
    for ratio in &report.ratios {
        println!(
            "{:<9} {}: p50 × {:.2} (aim: 0.8 to 1.2)",
            ratio.backend, ratio.name, ratio.p50
        );
    }
    Ok(())
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

    /// Runs a measurement with these options on both backends.
    async fn measured(arguments: &str) -> Report {
        let url = std::env::var("DUET_TEST_POSTGRES_URL").expect("`cargo xtask test --only rust` names a Postgres");
        let words = ["recall", "--postgres", &url].into_iter().chain(arguments.split(' '));
        let Arguments { options } = Arguments::parse_from(words);
        let shape = Shape {
            workspaces: options.workspaces,
            memories: options.memories,
            dimensions: options.dimensions,
            seed: options.seed,
            first: None,
            distinct: options.distinct.map(|distinct| distinct as usize),
        };
        let folder = tempfile::tempdir().expect("a folder");
        let report = measure(&options, shape, folder.path()).await.expect("a measurement");
        let left = std::fs::read_dir(folder.path()).expect("the folder").flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".db")), "{left:?}");
        report
    }

    fn names(report: &Report, backend: Backend) -> Vec<&str> {
        let of_backend = report.lines.iter().filter(|line| line.backend == backend);
        of_backend.map(|line| line.name.as_str()).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn both_backends_are_measured_alike_and_find_the_nearest() {
        let report = measured(
            "--workspaces 3 --distinct 2 --memories 300 --dimensions 520 --questions 6 --clients 3 --seconds 1 --connections 2",
        )
        .await;
        let on_postgres = names(&report, Backend::Postgres);
        assert_eq!(on_postgres.len(), 6, "{on_postgres:?}");
        let mut in_file = names(&report, Backend::File);
        in_file.retain(|name| !name.starts_with("no cache"));
        assert_eq!(in_file, on_postgres);
        for line in &report.lines {
            let exact = line.name.contains("(vector)");
            assert_eq!(line.recall_at_10.is_some(), exact, "{line:?}");
            assert!(line.recall_at_10.is_none_or(|recall| recall > 0.99), "{line:?}");
        }
        assert!(report.bytes.iter().all(|(_, bytes)| *bytes > 0));
        print(&report, true).expect("JSON");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_small_workspace_loses_nothing_beside_large_ones() {
        let report = measured("--crowd --memories 30 --dimensions 520 --questions 4 --connections 2").await;
        for backend in [Backend::File, Backend::Postgres] {
            let names = names(&report, backend);
            assert_eq!(names.len(), 4, "{names:?}");
            assert!(
                names[0].contains("50 among 60 ") && names[1].contains("50 among 600 "),
                "{names:?}"
            );
        }
        for line in &report.lines {
            assert!(line.recall_at_10.is_none_or(|recall| recall > 0.999), "{line:?}");
        }
        assert_eq!(report.ratios.len(), 4);
        print(&report, false).expect("a table");
    }
}
