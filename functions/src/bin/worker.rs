//! The Lambda function `worker`.

fn main() -> std::process::ExitCode {
    duet_functions::worker()
}
