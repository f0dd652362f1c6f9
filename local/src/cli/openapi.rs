//! `duet openapi`.

use super::{
    exit::{Failure, Outcome},
    output::Output,
};

pub fn run(output: Output) -> Outcome {
    let document = serde_json::to_string_pretty(&duet_api::openapi::document());
    output.line(&document.map_err(|error| Failure::failed(format!("The description cannot be written as JSON: {error}.")))?)
}
