//! Passwords: argon2id at OWASP's parameters, off the async threads, few at a time.

use std::sync::LazyLock;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use duet_core::Env;
use tokio::sync::Semaphore;

use crate::error::{Code, Problem};

/// Shortest password, in characters.
pub const MIN_CHARACTERS: usize = 10;
/// Longest password, in bytes.
pub const MAX_BYTES: usize = 1024;

/// 19 MiB per hash: more at once would let a flood of sign-ins exhaust the memory.
static TURNS: Semaphore = Semaphore::const_new(4);

/// OWASP's first choice for argon2id: 19 MiB, two passes, one lane.
fn argon() -> Argon2<'static> {
    #[expect(clippy::expect_used, reason = "constants within the library's bounds")]
    let params = Params::new(19_456, 2, 1, None).expect("valid parameters");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Checks a new password; the message says what to change.
pub fn check(password: &str) -> Result<(), String> {
    if password.chars().count() < MIN_CHARACTERS {
        return Err(format!("A password needs at least {MIN_CHARACTERS} characters."));
    }
    if password.len() > MAX_BYTES {
        return Err(format!("A password can have at most {MAX_BYTES} bytes."));
    }
    Ok(())
}

/// The PHC string of a password.
pub async fn hash(env: &Env, password: String) -> Result<String, Problem> {
    let salt = env.bytes::<16>();
    off_thread(move || {
        argon()
            .hash_password_with_salt(password.as_bytes(), &salt)
            .map(|hash: PasswordHash| hash.to_string())
    })
    .await?
    .map_err(|_| Problem::internal())
}

/// Whether a password matches a PHC string; `None` (no such account) takes as long and never matches.
pub async fn verify(password: String, phc: Option<String>) -> Result<bool, Problem> {
    off_thread(move || {
        // Computed before the branch, so that the first unknown account is not slower than others.
        let nobody = &*NOBODY;
        let known = phc.is_some();
        let phc = phc.unwrap_or_else(|| nobody.clone());
        let fits = PasswordHash::new(&phc).is_ok_and(|hash| argon().verify_password(password.as_bytes(), &hash).is_ok());
        fits && known
    })
    .await
}

/// The hash that stands in for unknown accounts, so that the response time does not reveal them.
static NOBODY: LazyLock<String> = LazyLock::new(|| {
    argon()
        .hash_password_with_salt(b"nobody signs in with this", &[7; 16])
        .map(|hash: PasswordHash| hash.to_string())
        .unwrap_or_default()
});

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let unavailable = || Problem::new(Code::Unavailable, "Duet is shutting down. Try again in a moment.");
    let _turn = TURNS.acquire().await.map_err(|_| unavailable())?;
    tokio::task::spawn_blocking(work).await.map_err(|_| unavailable())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::env;

    #[tokio::test]
    async fn a_hash_fits_its_password_alone() {
        let phc = hash(&env(), "correct horse".into()).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert!(verify("correct horse".into(), Some(phc.clone())).await.unwrap());
        assert!(!verify("correct horsf".into(), Some(phc)).await.unwrap());
        assert!(!verify("correct horse".into(), None).await.unwrap());
        assert!(!verify("nobody signs in with this".into(), None).await.unwrap());
        assert!(!verify("correct horse".into(), Some("not a hash".into())).await.unwrap());
    }

    #[test]
    fn lengths() {
        assert!(check("123456789").is_err());
        assert!(check("1234567890").is_ok());
        assert!(check(&"x".repeat(1025)).is_err());
    }
}
