//! `cargo xtask run`: from a clone to a running Duet.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    binary::{self, Profile},
    tools, web,
};

/// Options of `run`.
#[derive(Args)]
pub struct Options {
    /// Build as for a release: slower to build.
    #[arg(long)]
    release: bool,
    /// Passed on to `duet serve`, for example `-- --help`.
    #[arg(last = true)]
    serve: Vec<String>,
}

/// Builds what has changed and starts the server in this terminal. Ends with the server's exit code.
pub fn run(options: &Options) -> Result<ExitCode> {
    tools::for_building()?;
    web::build()?;
    let profile = if options.release { Profile::Release } else { Profile::Quick };
    let duet = binary::build(profile, "duet-local", "duet")?;
    let mut serve = Command::new(&duet);
    serve.arg("serve").args(&options.serve);
    start(serve).with_context(|| format!("Cannot start {}.", duet.display()))
}

/// The server replaces this process, so that it gets the signals and the terminal.
#[cfg(unix)]
fn start(mut serve: Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(serve.exec().into())
}

#[cfg(not(unix))]
fn start(mut serve: Command) -> Result<ExitCode> {
    let status = serve.status()?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}
