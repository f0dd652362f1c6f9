//! `cargo xtask bench`: the release build, measured.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    binary::{self, Profile},
    command, place, tools, web,
};

/// Options of `bench`.
#[derive(Args)]
pub struct Options {
    /// What to measure: `startup`, `load`, `recall`, `memory` or `protocol`. Without it: short runs of the first three.
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

    let measure = |what: &str, arguments: &[String]| -> Result<()> {
        let json: PathBuf = folder.join(format!("{what}.json"));
        let mut run = command::command(&bench);
        run.arg(what)
            .args(arguments)
            .env("DUET_BIN", &duet)
            .env("DUET_BENCH_JSON", &json);
        command::watch(&mut run)?;
        println!("{} has the figures.", json.display());
        Ok(())
    };
    match &options.what {
        Some(what) => measure(what, &options.arguments)?,
        None => {
            for what in ["startup", "load", "recall"] {
                measure(what, &["--short".to_owned()])?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
