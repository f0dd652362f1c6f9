//! Real time and the operating system's randomness: the only place where Duet's programs ask the machine for either.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use duet_core::{Clock, Env, Random, Timestamp};
use ring::rand::SecureRandom;

/// This machine's time and randomness.
pub fn system() -> Env {
    Env::new(Arc::new(SystemClock), Arc::new(SystemRandom(secure_random())))
}

#[expect(clippy::disallowed_methods, reason = "this is where `Env` gets its randomness")]
fn secure_random() -> ring::rand::SystemRandom {
    ring::rand::SystemRandom::new()
}

struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where `Env` gets its time")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let millis = since_epoch.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        Timestamp::from_millis(millis)
    }
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

struct SystemRandom(ring::rand::SystemRandom);

impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) {
        // Continuing with predictable ids and tokens would be worse than stopping.
        if self.0.fill(buffer).is_err() {
            eprintln!("duet: The operating system gives no random numbers; Duet cannot work without them.");
            std::process::abort();
        }
    }
}
