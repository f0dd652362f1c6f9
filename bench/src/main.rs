//! `duet-bench`: measurements of Duet from outside and of its parts. `cargo xtask bench` builds and runs it.

use clap::{Parser, Subcommand};
use duet_bench::{load, startup};

#[derive(Parser)]
#[command(name = "duet-bench", about = "Measures Duet.", version)]
struct Arguments {
    #[command(subcommand)]
    command: Measurement,
}

#[derive(Subcommand)]
enum Measurement {
    /// People who talk at the same time, with a scripted model behind.
    Load(load::Options),
    /// Cold start to first answer, memory at rest, size of the binary.
    Startup(startup::Options),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Measurement::Load(options) => load::run(&options).await,
        Measurement::Startup(options) => startup::run(&options).await,
    }
}
