//! Cold start to first answer, memory at rest, size of the binary: of `duet`, and of `duet-api` on Postgres.

use std::{fs, path::Path, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{
    postgres::{self, Backend, Database},
    report::{self, Machine, Row, Spread},
    server::{self, Programs, Server},
};

/// Options of `startup`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    programs: Programs,
    /// Starts to measure.
    #[arg(long, default_value_t = 20)]
    starts: usize,
    /// Fewer starts.
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
    backends: Vec<Figures>,
}

/// The results for one program.
#[derive(Debug, Serialize)]
struct Figures {
    backend: Backend,
    /// On an empty folder: creates key, file and schema. `duet-api serve` creates nothing.
    first_start: Option<Spread>,
    /// On existing data.
    start: Option<Spread>,
    idle_resident_bytes: Option<u64>,
    binary_bytes: u64,
}

/// How long a server idles before its memory is read.
const REST: Duration = Duration::from_secs(3);

/// Measures and reports.
pub async fn run(options: &Options) -> Result<()> {
    let starts = if options.short {
        options.starts.min(5)
    } else {
        options.starts
    };
    let http = server::client()?;
    let mut report = Report {
        machine: Machine::here(),
        backends: Vec::new(),
    };
    if !options.postgres.without_file {
        report
            .backends
            .push(in_file(options.programs.duet()?, starts, REST, &http).await?);
    }
    if let Some(server) = options.postgres.server()? {
        let program = options.programs.duet_api()?;
        println!("{}", server.facts().await?);
        let database = server.fresh_unmigrated("startup").await?;
        let measured = on_postgres(program, &database, starts, REST, &http).await;
        database.remove().await?;
        report.backends.push(measured?);
    }
    for figures in &report.backends {
        print(figures);
    }
    report::write_json(options.json.as_deref(), &report)
}

async fn in_file(program: &Path, starts: usize, rest: Duration, http: &reqwest::Client) -> Result<Figures> {
    let (mut first, mut later, mut idle) = (Vec::new(), Vec::new(), None);
    for _ in 0..starts {
        let folder = tempfile::tempdir().context("Cannot make a folder.")?;
        let (server, took) = Server::start(program, folder.path(), "", http).await?;
        first.push(took);
        drop(server);
        let (server, took) = Server::start(program, folder.path(), "", http).await?;
        later.push(took);
        if idle.is_none() {
            tokio::time::sleep(rest).await;
            idle = server.resident_bytes();
        }
    }
    Ok(Figures {
        backend: Backend::File,
        first_start: Spread::of(first),
        start: Spread::of(later),
        idle_resident_bytes: idle,
        binary_bytes: size(program)?,
    })
}

async fn on_postgres(
    program: &Path,
    database: &Database,
    starts: usize,
    rest: Duration,
    http: &reqwest::Client,
) -> Result<Figures> {
    let folder = tempfile::tempdir().context("Cannot make a folder.")?;
    Server::migrate(program, folder.path(), database).await?;
    let (mut took, mut idle) = (Vec::new(), None);
    for _ in 0..starts {
        let (server, start) = Server::start_api(program, folder.path(), "", database, http).await?;
        took.push(start);
        if idle.is_none() {
            tokio::time::sleep(rest).await;
            idle = server.resident_bytes();
        }
    }
    Ok(Figures {
        backend: Backend::Postgres,
        first_start: None,
        start: Spread::of(took),
        idle_resident_bytes: idle,
        binary_bytes: size(program)?,
    })
}

fn size(program: &Path) -> Result<u64> {
    let file = fs::metadata(program).with_context(|| format!("Cannot read {}.", program.display()))?;
    Ok(file.len())
}

fn print(figures: &Figures) {
    let start = |name, spread: Option<Spread>| Row {
        name,
        spread,
        promise_ms: Some(300.0),
    };
    let rows = [
        start("start to first answer, new data file", figures.first_start),
        start("start to first answer", figures.start),
    ];
    println!("{}", figures.backend);
    match figures.backend {
        Backend::File => report::table(&rows),
        Backend::Postgres => report::table(&rows[1..]),
    }
    let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
    if let Some(bytes) = figures.idle_resident_bytes {
        println!("memory at rest: {:.1} MiB (promise ≤ 60)", mib(bytes));
    }
    println!("binary: {:.1} MiB (promise ≤ 40)", mib(figures.binary_bytes));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::test_server;

    #[tokio::test(flavor = "multi_thread")]
    async fn both_programs_start_and_answer() {
        let programs = Programs::of_this_build();
        let http = server::client().expect("a client");
        let file = in_file(programs.duet().expect("duet"), 1, Duration::ZERO, &http);
        let file = file.await.expect("starts of duet");
        assert!(file.first_start.is_some() && file.start.is_some());
        let database = test_server().fresh_unmigrated("startup").await.expect("a database");
        let program = programs.duet_api().expect("duet-api");
        let measured = on_postgres(program, &database, 2, Duration::ZERO, &http).await;
        database.remove().await.expect("dropped");
        let postgres = measured.expect("starts of duet-api");
        assert_eq!(postgres.start.expect("starts").count, 2);
        for figures in [file, postgres] {
            assert!(figures.binary_bytes > 0);
            print(&figures);
        }
    }
}
