//! `duet openapi`.

use super::{exit::Outcome, output::Output};

pub fn run(output: Output) -> Outcome {
    output.value(&duet_api::openapi::document())
}
