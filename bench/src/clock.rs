//! Real time, and randomness from a seed: rebuilding a fixture gives the same ids and vectors.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use duet_core::{Clock, Env, Random, Timestamp};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

struct Real {
    chance: Mutex<ChaCha8Rng>,
}

/// The environment of a measurement.
pub fn env(seed: u64) -> Env {
    let real = Arc::new(Real {
        chance: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
    });
    Env::new(real.clone(), real)
}

#[async_trait]
impl Clock for Real {
    #[expect(clippy::disallowed_methods, reason = "measurements happen in real time")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

impl Random for Real {
    fn fill(&self, buffer: &mut [u8]) {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(buffer);
    }
}

/// Starts a stop-watch.
#[expect(clippy::disallowed_methods, reason = "durations are what is measured")]
pub fn start() -> Instant {
    Instant::now()
}
