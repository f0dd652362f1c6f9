//! The provider adapters against a server that speaks the providers' wire formats.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "providers/embedders.rs"]
mod embedders;
#[path = "providers/endless.rs"]
mod endless;
#[path = "providers/failures.rs"]
mod failures;
#[path = "providers/replies.rs"]
mod replies;
#[path = "providers/requests.rs"]
mod requests;
#[path = "providers/support.rs"]
mod support;
