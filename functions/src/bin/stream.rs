//! The Lambda function `stream`.

fn main() -> std::process::ExitCode {
    duet_functions::stream()
}
