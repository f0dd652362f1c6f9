//! The part of the commands' reference for `duet-api`.

use clap::CommandFactory;

use super::Cli;
use crate::command::reference;

/// The program's reference as Markdown sections, to follow those of `duet`.
pub fn reference_markdown() -> String {
    format!(
        "\n## The `duet-api` command\n\nThe server on Postgres, built with the feature `supabase` of the package `duet-api`. Data goes to the \
         standard output, words to the standard error; the exit codes are those above.\n{}",
        reference::commands(Cli::command(), "duet-api")
    )
}
