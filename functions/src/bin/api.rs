//! The Lambda function `api`.

fn main() -> std::process::ExitCode {
    duet_functions::api()
}
