//! Access tokens of Supabase Auth: which are rejected, how keys are fetched and cached, and what Auth is asked. The issuer is a small
//! server of these tests' own that signs and publishes like Supabase (`issuer.rs`): the alpha implementation that other tests run
//! against has neither asymmetric keys nor a key set.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod asked;
mod checks;
mod holes;
mod issuer;
mod keys;
mod package;
mod vectors;
