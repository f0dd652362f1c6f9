//! Access tokens of Supabase Auth: what is refused, how keys are had and kept, and what of it is asked of Auth. The issuer here is a small
//! server of these tests' own that signs and publishes as Supabase does (`issuer.rs`): the alpha implementation that other tests run
//! against has neither asymmetric keys nor a key set.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod asked;
mod checks;
mod holes;
mod issuer;
mod keys;
mod vectors;
