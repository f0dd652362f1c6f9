//! Real time and real randomness, for tests that set neither.
#![allow(clippy::unwrap_used, reason = "only tests use it; the lint knows only `cfg(test)`")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use duet_core::{Clock, Env, Random, Timestamp};

struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "tests that do not set the time")]
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
    }
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

struct SystemRandom;

impl Random for SystemRandom {
    #[expect(clippy::disallowed_methods, reason = "tests that do not set the chance")]
    fn fill(&self, buffer: &mut [u8]) {
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), buffer).unwrap();
    }
}

/// The real time and real randomness.
pub fn env() -> Env {
    Env::new(Arc::new(SystemClock), Arc::new(SystemRandom))
}
