//! API keys: `duet_` and 256 random bits.

use duet_core::Env;

use super::secret;

/// What every key begins with, so that people and scanners recognise a leaked one.
pub const PREFIX: &str = "duet_";

/// Whether a bearer token is a key rather than an access token (which has dots, and no such prefix).
pub fn looks_like_key(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// A new key's text, shown once.
pub fn generate(env: &Env) -> String {
    format!("{PREFIX}{}", secret::random(env))
}

/// The part of a key's text that tells keys apart in a list.
pub fn shown_prefix(key: &str) -> String {
    key.chars().take(PREFIX.len() + 6).collect()
}
