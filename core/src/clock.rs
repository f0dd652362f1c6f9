//! Time and randomness, passed in: the core never asks the machine for either.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::Id;

/// A point in time, in whole milliseconds since the Unix epoch, UTC. On the wire it is RFC 3339 with milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, utoipa::ToSchema)]
#[schema(value_type = String, format = DateTime)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest time that stores keep: the beginning of year 1.
    pub const EARLIEST: Self = Self(-62_135_596_800_000);
    /// The latest: the beginning of 30 December 9999.
    pub const LATEST: Self = Self(253_402_128_000_000);

    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }
    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }
    /// To the minute, as people read it: `2026-05-01 14:03 UTC`.
    pub fn to_the_minute(self) -> String {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
            Err(_) => self.to_string(),
        }
    }
    /// This time plus a duration; saturates instead of overflowing.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
    /// This time minus a duration; saturates likewise.
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
    /// How long after `earlier` this is; zero when it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>().map(|time| Self(time.as_millisecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The time, and waiting.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
    /// Returns after `duration` of this clock's time.
    async fn sleep(&self, duration: Duration);
}

/// A cryptographically secure source of random bytes (in tests: a seeded one).
pub trait Random: Send + Sync {
    /// Fills `buffer`.
    fn fill(&self, buffer: &mut [u8]);
}

/// All that code may know of the world: time and randomness.
#[derive(Clone)]
pub struct Env {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Env {
    /// Bundles a clock and a source of randomness.
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { clock, random }
    }
    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
    /// Returns after `duration` of the clock's time.
    pub async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }
    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes);
        bytes
    }
    /// A UUIDv7 for the current time.
    pub fn uuid(&self) -> Uuid {
        let millis = u64::try_from(self.now().millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &self.bytes()).into_uuid()
    }
    /// A fresh typed id.
    pub fn id<T: Id>(&self) -> T {
        T::from_uuid(self.uuid())
    }
}
