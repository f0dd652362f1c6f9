//! The `duet` command.

fn main() -> std::process::ExitCode {
    duet_local::cli::main()
}
