//! Cold start to first answer, memory at rest, size of the binary.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{
    report::{self, Machine, Row, Spread},
    server::{self, Program, Server},
};

/// Options of `startup`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    program: Program,
    /// Starts to measure.
    #[arg(long, default_value_t = 20)]
    starts: usize,
    /// Fewer starts.
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
    /// On a folder without any data: makes key, file and schema.
    first_start: Option<Spread>,
    /// On a file that is there.
    start: Option<Spread>,
    idle_resident_bytes: Option<u64>,
    binary_bytes: u64,
}

/// Measures and reports.
pub async fn run(options: &Options) -> Result<()> {
    let starts = if options.short {
        options.starts.min(5)
    } else {
        options.starts
    };
    let http = server::client()?;
    let program = &options.program.path;
    let binary_bytes = fs::metadata(program)
        .with_context(|| format!("Cannot read {}.", program.display()))?
        .len();

    let (mut first, mut later, mut idle) = (Vec::new(), Vec::new(), None);
    for _ in 0..starts {
        let folder = tempfile::tempdir().context("Cannot make a folder.")?;
        let (server, took) = Server::start(program, folder.path(), "", &http).await?;
        first.push(took);
        drop(server);
        let (server, took) = Server::start(program, folder.path(), "", &http).await?;
        later.push(took);
        if idle.is_none() {
            tokio::time::sleep(Duration::from_secs(3)).await;
            idle = server.resident_bytes();
        }
    }

    let report = Report {
        machine: Machine::here(),
        first_start: Spread::of(first),
        start: Spread::of(later),
        idle_resident_bytes: idle,
        binary_bytes,
    };
    report::table(&[
        Row {
            name: "start to first answer, new data file",
            spread: report.first_start,
            promise_ms: Some(300.0),
        },
        Row {
            name: "start to first answer",
            spread: report.start,
            promise_ms: Some(300.0),
        },
    ]);
    let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
    if let Some(bytes) = idle {
        println!("memory at rest: {:.1} MiB (promise ≤ 60)", mib(bytes));
    }
    println!("binary: {:.1} MiB (promise ≤ 40)", mib(binary_bytes));
    report::write_json(options.json.as_deref(), &report)
}
