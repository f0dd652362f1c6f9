//! `duet bench`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use duet_core::ids::WorkspaceId;
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    Global,
    exit::{Failure, Outcome},
    inside,
    output::Output,
    settings,
};
use duet_sqlite::files;

use crate::quality;

/// `duet bench …`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Measure how much of the evidence for questions is recalled, by words, by vectors and by both
    Memory(MemoryArgs),
}

/// Options of `duet bench memory`.
#[derive(Debug, Args)]
#[command(after_help = "A data set is one JSON object a line, all turns first:\n  \
    {\"type\":\"turn\",\"conversation\":\"c1\",\"id\":\"1\",\"speaker\":\"Ann\",\"time\":\"2026-05-01T10:00:00Z\",\"text\":\"…\"}\n  \
    {\"type\":\"question\",\"conversation\":\"c1\",\"text\":\"…\",\"evidence\":[\"1\"],\"category\":\"facts\"}\n\
    It is measured with the configured embedder, in an encrypted file of its own that is removed afterwards.")]
pub struct MemoryArgs {
    /// The data set
    #[arg(long, value_name = "FILE")]
    dataset: PathBuf,
}

/// Memory for vector codes while measuring, in bytes.
const CACHE: usize = 256 << 20;

pub async fn run(global: &Global, output: Output, command: BenchCommand) -> Outcome {
    let BenchCommand::Memory(MemoryArgs { dataset }) = command;
    let jsonl = std::fs::read_to_string(&dataset)
        .map_err(|error| Failure::usage(format!("The data set {} cannot be read: {error}.", dataset.display())))?;
    let settings = settings::read(global, &[])?;
    let embedder = inside::embedder(&settings, &inside::http()?)?;
    let env = duet_api::machine::system();
    let folder = std::env::temp_dir().join(format!("duet-bench-{}", env.id::<WorkspaceId>()));
    files::private_folder(&folder).map_err(|error| Failure::failed(format!("No temporary folder can be made: {error}.")))?;
    let bar = bar(output);
    let progress = |step: &str, done: u64, total: u64| {
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(step.to_owned());
    };
    let measured = quality::measure(&jsonl, &folder.join("bench.db"), &env, embedder, CACHE, &progress).await;
    bar.finish_and_clear();
    // Anything left behind is encrypted with a key that no longer exists.
    let _ = std::fs::remove_dir_all(&folder);
    let report = measured.map_err(|error| Failure::failed(format!("{}.", format!("{error:#}").trim_end_matches('.'))))?;
    if output.json {
        output.value(&report)
    } else {
        output.raw(&report.table())
    }
}

fn bar(output: Output) -> ProgressBar {
    if output.quiet {
        return ProgressBar::hidden();
    }
    // Hides itself when standard error is not a terminal.
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{msg:>8} {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
