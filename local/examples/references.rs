//! Prints the generated references: `references cli` and `references configuration`.

fn main() -> std::process::ExitCode {
    let page = match std::env::args().nth(1).as_deref() {
        Some("cli") => duet_local::cli::reference_markdown(),
        Some("configuration") => duet_api::config::Config::reference_markdown(),
        _ => {
            eprintln!("Name one of: cli, configuration.");
            return std::process::ExitCode::from(2);
        }
    };
    print!("{page}");
    std::process::ExitCode::SUCCESS
}
