//! The project's commands. `cargo xtask run` starts Duet from a fresh clone, `cargo xtask test` checks everything.

mod bench;
mod binary;
mod command;
mod compatibility;
mod fetch;
mod generate;
mod judges;
mod lambda;
mod npm;
mod pgbouncer;
mod place;
mod postgres;
mod run;
mod supabase;
mod tally;
mod test;
mod tools;
mod tree;
mod web;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Runs, tests and measures Duet.", version)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build Duet with its web app and start it; the address and the setup token are printed.
    Run(run::Options),
    /// Check everything: formatting, lints, licences, generated files, the web app, all tests, the browser.
    Test(test::Options),
    /// Measure the release build and write the figures as JSON.
    Bench(bench::Options),
    /// Write the generated files: the CLI and configuration references, the OpenAPI document, the web app's API types.
    Gen(generate::Options),
    /// Start a Postgres with pgvector for development and print its address; Ctrl-C stops it and removes its data.
    Postgres(postgres::Options),
    /// The other half of `postgres`, not for people.
    #[command(hide = true)]
    PostgresKeeper(postgres::KeeperOptions),
    /// Print where a tool of the tests is, after fetching it when it is not there yet.
    #[command(hide = true)]
    Fetch {
        /// Which.
        tool: fetch::Tool,
    },
    /// What CI runs: the same as `test`.
    Ci,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Task::Run(options) => run::run(&options),
        Task::Test(options) => test::test(&options),
        Task::Bench(options) => bench::bench(&options),
        Task::Gen(options) => generate::run(&options),
        Task::Postgres(options) => postgres::run(&options),
        Task::PostgresKeeper(options) => postgres::keep(&options),
        Task::Fetch { tool } => fetch::print(tool),
        Task::Ci => test::test(&test::Options::default()),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
