//! `cargo xtask bench`: measures the release build.

use std::{fs, process::ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    binary::{self, Profile},
    command, lambda, place,
    postgres::{self, Server, Tested},
    tools, web,
};

/// Options of `bench`.
#[derive(Args)]
#[command(after_help = "Beside the encrypted file, on Postgres:\n  \
    cargo xtask bench --postgres                      short runs\n  \
    cargo xtask bench append --postgres\n  \
    cargo xtask bench startup --postgres\n  \
    cargo xtask bench load --postgres -- --rate 25\n  \
    cargo xtask bench recall --postgres -- --workspaces 10\n  \
    cargo xtask bench recall --postgres -- --crowd    a small workspace beside 20,000 and 200,000 foreign memories\n  \
    cargo xtask bench protocol --postgres             all of it, long\n\n\
    `duet-bench WHAT --help` has the options behind `--`.")]
pub struct Options {
    /// What to measure: `append`, `startup`, `load`, `recall`, `memory`, `resume`, `waiting`, `lambda`, or `protocol` (the long one).
    /// Without it: short runs of the first five.
    #[arg(value_name = "WHAT")]
    what: Option<String>,
    /// Measure on Postgres as well: on a durable server that is started for it and goes with its data afterwards, or on the one of
    /// this superuser's URL.
    #[arg(long, value_name = "URL", num_args = 0..=1, require_equals = true)]
    postgres: Option<Option<String>>,
    /// Megabytes of the started server's own cache; without it a sixth of the memory, at most 4096.
    #[arg(long, value_name = "MB")]
    shared_buffers_mb: Option<u32>,
    /// Build as `cargo xtask run` does, in a third of the time, and not as it is shipped.
    #[arg(long)]
    quick: bool,
    /// Passed on to `duet-bench WHAT`, for example `-- --help`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Builds `duet`, `duet-bench` and, for Postgres, `duet-api`, runs the measurements and writes their JSON under the target folder.
pub fn bench(options: &Options) -> Result<ExitCode> {
    let profile = if options.quick { Profile::Quick } else { Profile::Release };
    if options.what.as_deref() == Some("lambda") {
        tools::for_testing()?;
        return lambda::measure(profile);
    }
    tools::for_building()?;
    web::build()?;
    let duet = binary::build(profile, "duet-local", "duet")?;
    let bench = binary::build(profile, "duet-bench", "duet-bench")?;
    let postgres = match &options.postgres {
        None => None,
        Some(url) => Some((
            binary::build(profile, "duet-api", "duet-api")?,
            server(url.as_deref(), options)?,
        )),
    };
    let folder = place::target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("Cannot make {}.", folder.display()))?;

    for (name, what, mut arguments) in plan(options.what.as_deref()) {
        let json = folder.join(format!("{name}.json"));
        println!("\n=== {name}");
        let mut run = command::command(&bench);
        if let Some((duet_api, server)) = &postgres
            && what != "memory"
        {
            arguments.extend(["--postgres", server.url()]);
            run.env("DUET_API_BIN", duet_api);
        }
        arguments.extend(options.arguments.iter().map(String::as_str));
        run.arg(what)
            .args(arguments)
            .env("DUET_BIN", &duet)
            .env("DUET_BENCH_JSON", &json);
        command::watch(&mut run)?;
        println!("{} has the figures.", json.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The server to measure on.
fn server(url: Option<&str>, options: &Options) -> Result<Tested> {
    if let Some(url) = url {
        return Ok(Tested::Named(url.to_owned()));
    }
    let megabytes = match options.shared_buffers_mb {
        Some(megabytes) => megabytes,
        None => (memory_mb().unwrap_or(6144) / 6).clamp(256, 4096),
    };
    println!("Starting a durable Postgres with {megabytes} MB of shared buffers; its data is in the folder for temporary files.");
    let server = Server::start(&postgres::Options {
        durable: true,
        shared_buffers_mb: Some(megabytes),
        port: None,
    })?;
    Ok(Tested::Started(server))
}

/// The machine's memory, if known (Linux).
fn memory_mb() -> Option<u32> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    u32::try_from(kib / 1024).ok()
}

/// The measurements to make: name, command of `duet-bench`, its options.
fn plan(what: Option<&str>) -> Vec<(String, &str, Vec<&str>)> {
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
            let crowd = ("recall-crowd".to_owned(), "recall", vec!["--crowd"]);
            let append = ("append".to_owned(), "append", Vec::new());
            let startup = ("startup".to_owned(), "startup", Vec::new());
            let [resume, waiting] = ["resume", "waiting"].map(|what| (what.to_owned(), what, Vec::new()));
            let rest = [crowd, append, resume, waiting, startup];
            (1..=3).flat_map(trial).chain(recall).chain(rest).collect()
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
