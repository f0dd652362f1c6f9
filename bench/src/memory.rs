//! Memory quality on a data set, with the built-in embedder; `duet bench memory` does the same with the configured one.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use duet_api::embedders::Lexical;

use crate::{clock, synthetic};

/// What to measure.
#[derive(clap::Args, Debug, Clone)]
pub struct Options {
    /// Data set, one JSON object a line; without it, a synthetic one is made
    #[arg(long, value_name = "FILE")]
    dataset: Option<PathBuf>,
    /// Seed of the synthetic data set
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Conversations of the synthetic data set
    #[arg(long, default_value_t = 20)]
    conversations: usize,
    /// Write the data set here instead of measuring
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Runs the measurement and prints it.
#[expect(clippy::print_stdout, reason = "the result")]
pub async fn run(options: &Options) -> Result<()> {
    let jsonl = match &options.dataset {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
        None => synthetic::data_set(options.seed, options.conversations),
    };
    if let Some(path) = &options.write {
        return Ok(std::fs::write(path, jsonl)?);
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("quality.db");
    let env = clock::env(options.seed);
    let report = duet_local::quality::measure(&jsonl, &file, &env, Arc::new(Lexical), 64 << 20, &|_, _, _| {}).await?;
    crate::report::keep(&report)?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.table());
        println!(
            "\nhybrid at least fts in every category (R@10): {}",
            if report.hybrid_at_least_fts { "yes" } else { "no" }
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn measured(jsonl: &str) -> duet_core::memory::quality::Report {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("quality.db");
        duet_local::quality::measure(jsonl, &file, &clock::env(1), Arc::new(Lexical), 64 << 20, &|_, _, _| {})
            .await
            .expect("measured")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn both_signals_together_are_never_below_words_alone() {
        for jsonl in [include_str!("../data/small.jsonl").to_owned(), synthetic::data_set(11, 3)] {
            let report = measured(&jsonl).await;
            assert!(report.hybrid_at_least_fts, "{}", report.table());
            let found = report.modes["hybrid"]["all"].recall_10;
            assert!(found > 0.4, "{}", report.table());
            // Unprompted recall: fewer memories, but not fewer of the wanted ones.
            assert!(
                report.modes["unasked"]["all"].recall_10 >= found - 0.005,
                "{}",
                report.table()
            );
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_not_about_the_question_is_not_recalled() {
        let report = measured(include_str!("../data/about.jsonl")).await;
        for mode in ["hybrid", "unasked"] {
            assert!(report.modes[mode]["all"].recall_10 > 0.99, "{}", report.table());
            assert!(report.off_topic[mode] < 1.0, "{}", report.table());
        }
    }
}
