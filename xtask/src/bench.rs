//! `cargo xtask bench`: the release build, measured.

use std::{fs, process::ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    binary::{self, Profile},
    command, place, tools, web,
};

/// Options of `bench`.
#[derive(Args)]
pub struct Options {
    /// What to measure: `append`, `startup`, `load`, `recall`, `memory`, or `protocol` (the long one). Without it: short
    /// runs of the first five.
    #[arg(value_name = "WHAT")]
    what: Option<String>,
    /// Passed on to `duet-bench WHAT`, for example `-- --help`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Builds `duet` and `duet-bench`, runs the measurements and writes their JSON under the target folder.
pub fn bench(options: &Options) -> Result<ExitCode> {
    tools::for_building()?;
    web::build()?;
    let duet = binary::build(Profile::Release, "duet-local", "duet")?;
    let bench = binary::build(Profile::Release, "duet-bench", "duet-bench")?;
    let folder = place::target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("Cannot make {}.", folder.display()))?;

    for (name, what, mut arguments) in plan(options.what.as_deref()) {
        let json = folder.join(format!("{name}.json"));
        arguments.extend(options.arguments.iter().map(String::as_str));
        println!("\n=== {name}");
        let mut run = command::command(&bench);
        run.arg(what)
            .args(arguments)
            .env("DUET_BIN", &duet)
            .env("DUET_BENCH_JSON", &json);
        command::watch(&mut run)?;
        println!("{} has the figures.", json.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The measurements to make: name, command of `duet-bench`, its options.
fn plan(what: Option<&str>) -> Vec<(String, &str, Vec<&'static str>)> {
    let short = [
        ("append", vec!["--short"]),
        ("startup", vec!["--short"]),
        ("load", vec!["--short"]),
        ("recall", vec!["--workspaces", "4", "--memories", "2000", "--seconds", "5"]),
        ("memory", vec![]),
    ];
    match what {
        None => short
            .into_iter()
            .map(|(what, options)| (what.to_owned(), what, options))
            .collect(),
        // 50 people, 70 % chat; two minutes of warm-up, ten measured, three trials, without and with model time; the full fixture.
        Some("protocol") => {
            let steady = ["--warm-up", "120", "--seconds", "600", "--rate", "25"];
            let trial = |number: usize| {
                let without = (format!("load-{number}"), "load", steady.to_vec());
                let model_time = ["--model-ms", "400", "--part-ms", "20"];
                let with = (
                    format!("load-model-time-{number}"),
                    "load",
                    steady.iter().copied().chain(model_time).collect(),
                );
                [without, with]
            };
            let recall = [("recall-10", "10"), ("recall-100", "100")];
            let recall = recall.map(|(name, workspaces)| {
                (
                    name.to_owned(),
                    "recall",
                    vec!["--workspaces", workspaces, "--cache-mb", "512"],
                )
            });
            (1..=3).flat_map(trial).chain(recall).collect()
        }
        Some(what) => vec![(what.to_owned(), what, Vec::new())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measurement_has_a_file_of_its_own() {
        for what in [None, Some("protocol"), Some("load")] {
            let mut names: Vec<String> = plan(what).into_iter().map(|(name, ..)| name).collect();
            let planned = names.len();
            names.sort();
            names.dedup();
            assert!(planned > 0 && names.len() == planned, "{what:?}: {names:?}");
        }
    }
}
