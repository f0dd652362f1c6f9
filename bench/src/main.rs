//! `duet-bench`: measurements of Duet from outside and of its parts. `cargo xtask bench` builds and runs it.

use clap::{Parser, Subcommand};
use duet_bench::{append, load, memory, recall, resume, startup, waiting};

#[derive(Parser)]
#[command(name = "duet-bench", about = "Measures Duet.", version)]
struct Arguments {
    #[command(subcommand)]
    command: Measurement,
}

#[derive(Subcommand)]
enum Measurement {
    /// Events appended to the logs of many runs at once, each append durable before it is answered.
    Append(append::Options),
    /// People who talk at the same time, with a scripted model behind.
    Load(load::Options),
    /// Recall of the nearest among many vectors, cold and warm, by one client and by many, against exact ground truth.
    Recall(recall::Options),
    /// How much of the evidence for a data set's questions is recalled.
    Memory(memory::Options),
    /// A long run claimed again, and its log read from the start.
    Resume(resume::Options),
    /// Cold start to first answer, memory at rest, size of the binary.
    Startup(startup::Options),
    /// Runs that wait for a person, and how soon one goes on once it is decided.
    Waiting(waiting::Options),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Measurement::Append(options) => append::run(&options).await,
        Measurement::Load(options) => load::run(&options).await,
        Measurement::Recall(options) => recall::run(&options).await,
        Measurement::Memory(options) => memory::run(&options).await,
        Measurement::Resume(options) => resume::run(&options).await,
        Measurement::Startup(options) => startup::run(&options).await,
        Measurement::Waiting(options) => waiting::run(&options).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_options_of_all_measurements_fit_together() {
        super::Arguments::command().debug_assert();
    }
}
