//! Random secrets and their hashes. Only hashes are stored; 256 random bits need no salt and no slow hash.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use duet_core::Env;

/// SHA-256 of a secret's text.
pub fn hash(secret: &str) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, secret.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

/// What the secret of a device's sign-in begins with, so that it is told from an access token, and recognised when it leaks.
const OF_DEVICE: &str = "device_";

/// The secret of a device's sign-in.
pub fn for_device(env: &Env) -> String {
    format!("{OF_DEVICE}{}", random(env))
}

/// Whether a bearer token is the sign-in of a device.
pub fn is_of_device(token: &str) -> bool {
    token.starts_with(OF_DEVICE)
}

/// 256 random bits as 43 characters of base64url.
pub fn random(env: &Env) -> String {
    URL_SAFE_NO_PAD.encode(env.bytes::<32>())
}
