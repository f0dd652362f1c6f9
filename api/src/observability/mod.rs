//! What operators see: a span per request, logs, metrics. Ids, counts, times and kinds only; text of messages, memories,
//! prompts, passwords, tokens and keys never gets here, because it is never passed in.

pub mod logging;
pub mod measured;
pub mod metrics;
pub mod request;
