//! The `duet-api` command line: one file per command. Data goes to standard output, messages to standard error.

mod audit;
mod check;
mod database;
pub mod deployment;
mod issuer;
mod migrate;
mod password;
mod project;
mod reference;
mod serve;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

pub use reference::reference_markdown;

use crate::{
    command::{
        exit::{Exit, Failure, Outcome},
        output::Output,
    },
    config::{Config, Sources},
};

/// Duet's server on Postgres.
#[derive(Debug, Parser)]
#[command(
    name = "duet-api",
    version,
    max_term_width = 100,
    after_help = "Examples:\n  \
        duet-api migrate       apply the schema as the database's owner and print the setup token\n  \
        duet-api check         check the database and say what to fix\n  \
        duet-api serve         serve the HTTP API and answer messages\n\n\
        Exit codes: 0 done, 1 failed, 2 wrong input, 3 refused, 4 not found, 5 not available now, 130 interrupted."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Configuration file (default: none, only the environment)
    #[arg(long, global = true, env = "DUET_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write data as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Print nothing but data and errors
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the HTTP API, and drive runs, until SIGTERM or Ctrl-C
    Serve(serve::ServeArgs),
    /// Bring the database to this version, as its owner, and print the setup token of a new installation
    Migrate(migrate::MigrateArgs),
    /// Check the database and the connections to it, and say how to fix what is wrong
    Check,
    /// Check the audit logs and the runs' event logs
    #[command(subcommand)]
    Audit(audit::AuditCommand),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    const NAME: &str = "duet-api";
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() {
                Exit::Usage.into()
            } else {
                ExitCode::SUCCESS
            };
            // If the terminal is gone, there is nobody to tell.
            let _ = error.print();
            return code;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("Duet cannot start its threads: {error}.")).report(NAME),
    };
    let outcome = runtime.block_on(dispatch(cli));
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(NAME),
    }
}

async fn dispatch(Cli { global, command }: Cli) -> Outcome {
    let output = Output {
        json: global.json,
        quiet: global.quiet,
    };
    match command {
        Command::Serve(args) => serve::run(&global, output, args).await,
        Command::Migrate(args) => migrate::run(output, args).await,
        Command::Check => check::run(&global, output).await,
        Command::Audit(command) => audit::run(&global, output, command).await,
    }
}

/// The settings: file, environment, flags.
fn settings(global: &Global, flags: Vec<(String, String)>) -> Outcome<Config> {
    let mut sources = Sources::from_process(global.config.clone());
    sources.flags = flags;
    sources.load().map_err(|error| Failure::usage(error.to_string()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Words of settings that would give more than a powerless login: none of them may become a setting, a flag or a variable.
    const FORBIDDEN: [&str; 6] = [
        "service_role",
        "service-role",
        "servicerole",
        "secret_key",
        "jwt_secret",
        "anon_key",
    ];

    #[test]
    fn no_setting_flag_or_variable_holds_a_key_of_the_project() {
        let mut names: Vec<String> = Config::reference()
            .into_iter()
            .flat_map(|setting| std::iter::once(setting.key).chain(setting.env))
            .collect();
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        for command in std::iter::once(&command).chain(command.get_subcommands()) {
            for argument in command.get_arguments() {
                names.push(argument.get_id().to_string());
                names.extend(argument.get_env().map(|name| name.to_string_lossy().into_owned()));
            }
        }
        assert!(names.len() > 50, "the settings are looked at");
        for name in names {
            let name = name.to_lowercase();
            assert!(!FORBIDDEN.iter().any(|word| name.contains(word)), "{name}");
            assert!(!name.contains("owner_url") || name == "owner_url", "{name}");
        }
    }
}
