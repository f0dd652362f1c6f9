//! The `duet-api` command.

fn main() -> std::process::ExitCode {
    duet_api::server::main()
}
