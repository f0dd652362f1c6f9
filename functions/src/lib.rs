//! Duet as AWS Lambda functions. `api` answers requests, `stream` sends events as they happen (and starts the turns of AG-UI clients, which are answered with events), `worker` drives runs; all three use
//! the same router and stores as `duet-api serve`. When the platform cuts one off, its unfinished work is in the run's log, and
//! another continues from there.
#![allow(
    clippy::result_large_err,
    reason = "a problem is made once for a failed request; boxing it would only blur every signature"
)]

mod app;
mod invoke;
mod platform;
mod task;
mod worker;

use std::process::ExitCode;

use duet_api::config::{Config, Sources};
use lambda_runtime::Error;

use app::{App, Role};
use platform::service;

/// Reads the settings and starts the log. Connects nothing before the first event.
fn settings() -> Result<Config, String> {
    let mut sources = Sources::from_process(std::env::var_os("DUET_CONFIG").map(Into::into));
    let says_form = |(name, _): &(String, String)| matches!(name.as_str(), "DUET_LOG_FORMAT" | "DUET_LOG__FORMAT");
    if !sources.env.iter().any(says_form) {
        sources.env.push(("DUET_LOG_FORMAT".into(), "json".into()));
    }
    let config = sources.load().map_err(|error| error.to_string())?;
    duet_api::observability::logging::install(&config.log);
    Ok(config)
}

/// Runs one of the functions until the platform ends the process.
fn run<F: Future<Output = Result<(), Error>>>(role: Role, function: impl FnOnce(App) -> F) -> ExitCode {
    let config = match settings() {
        Ok(config) => config,
        Err(sentence) => {
            eprintln!("{sentence}");
            return ExitCode::from(2);
        }
    };
    // One event at a time: a single thread starts faster, and waits just as well.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("The function cannot start its runtime: {error}.");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(function(App::new(config, role))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("The platform's runtime interface failed: {error}.");
            ExitCode::FAILURE
        }
    }
}

/// The function `api`: buffered answers.
pub fn api() -> ExitCode {
    run(Role::Api, |app| lambda_http::run(service(app)))
}

/// The function `stream`: streamed answers.
pub fn stream() -> ExitCode {
    run(Role::Stream, |app| lambda_http::run_with_streaming_response(service(app)))
}

/// The function `worker`: drives runs, and does the maintenance.
pub fn worker() -> ExitCode {
    run(Role::Worker, |app| async move {
        let worker = worker::Worker::new(app);
        lambda_runtime::run(lambda_runtime::service_fn(|event| worker.handle(event))).await
    })
}
