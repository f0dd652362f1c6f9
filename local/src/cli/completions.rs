//! `duet completions`.

use clap::{Args, CommandFactory};

use super::{Cli, exit::Outcome, output::Output};

/// Options of `duet completions`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  duet completions bash > ~/.local/share/bash-completion/completions/duet")]
pub struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

pub fn run(output: Output, args: CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "duet", &mut script);
    output.raw(&String::from_utf8_lossy(&script))
}
