//! Bounds: how often one may try, how many streams one may hold, and from where.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{extract::ConnectInfo, http::request::Parts};
use duet_core::ids::UserId;
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};

use crate::{
    auth::secret,
    config::{LimitsConfig, ServerConfig},
    error::{ApiResult, Problem},
};

/// Rates and open streams.
pub struct Limits {
    sign_in: DefaultKeyedRateLimiter<[u8; 32]>,
    sign_in_address: DefaultKeyedRateLimiter<IpAddr>,
    setup: DefaultKeyedRateLimiter<IpAddr>,
    invitations: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
    streams_per_person: u32,
    streams: Arc<Mutex<HashMap<UserId, u32>>>,
}

/// One open stream of a person; dropping it makes room.
pub struct StreamSlot {
    user: UserId,
    streams: Arc<Mutex<HashMap<UserId, u32>>>,
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = streams.get_mut(&self.user) {
            *open -= 1;
            if *open == 0 {
                streams.remove(&self.user);
            }
        }
    }
}

fn per_minute(count: u32) -> Quota {
    Quota::per_minute(NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN))
}

impl Limits {
    /// From the settings.
    pub fn new(config: &LimitsConfig) -> Self {
        Self {
            sign_in: RateLimiter::keyed(per_minute(config.sign_in_per_minute)),
            sign_in_address: RateLimiter::keyed(per_minute(config.sign_in_per_address_per_minute)),
            setup: RateLimiter::keyed(per_minute(config.setup_per_minute)),
            invitations: RateLimiter::keyed(per_minute(config.invitations_per_minute)),
            clock: DefaultClock::default(),
            streams_per_person: config.streams_per_person,
            streams: Arc::default(),
        }
    }

    /// Counts a sign-in attempt.
    pub fn sign_in(&self, address: IpAddr, email: &str) -> ApiResult<()> {
        // The address itself is not kept: only that somebody tried this pair.
        let pair = secret::hash(&format!("{address}\n{email}"));
        self.check(&self.sign_in_address, &address)?;
        self.check(&self.sign_in, &pair)
    }

    /// Counts an attempt with a setup token.
    pub fn setup(&self, address: IpAddr) -> ApiResult<()> {
        self.check(&self.setup, &address)
    }

    /// Counts an attempt with the token of an invitation.
    pub fn invitation(&self, address: IpAddr) -> ApiResult<()> {
        self.check(&self.invitations, &address)
    }

    fn check<K: Clone + std::hash::Hash + Eq>(&self, limiter: &DefaultKeyedRateLimiter<K>, key: &K) -> ApiResult<()> {
        limiter.check_key(key).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            Problem::too_many(format!("Too many attempts. Try again in {} s.", seconds.max(1)), seconds)
        })
    }

    /// Takes a slot for a stream.
    pub fn stream(&self, user: UserId) -> ApiResult<StreamSlot> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let open = streams.entry(user).or_default();
        if *open >= self.streams_per_person {
            return Err(Problem::too_many(
                format!("You have {open} event streams open, the most allowed. Close one first."),
                5,
            ));
        }
        *open += 1;
        Ok(StreamSlot {
            user,
            streams: Arc::clone(&self.streams),
        })
    }

    /// Forgets addresses that have been quiet; called now and then so that the tables stay small.
    pub fn forget_quiet(&self) {
        self.sign_in.retain_recent();
        self.sign_in_address.retain_recent();
        self.setup.retain_recent();
        self.invitations.retain_recent();
    }
}

fn peer(parts: &Parts) -> Option<IpAddr> {
    parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(address)| address.ip().to_canonical())
}

/// The client's address: the peer's, or what the proxy in front says where one is configured.
pub fn client_address(parts: &Parts, server: &ServerConfig) -> IpAddr {
    let forwarded = || {
        let last = parts.headers.get_all("x-forwarded-for").iter().next_back()?;
        last.to_str().ok()?.rsplit(',').next()?.trim().parse::<IpAddr>().ok()
    };
    server
        .behind_proxy
        .then(forwarded)
        .flatten()
        .or_else(|| peer(parts))
        .unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
}

/// Whether the request comes from this machine itself, and not through a proxy on it.
pub fn is_loopback_peer(parts: &Parts) -> bool {
    let proxied = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"]
        .iter()
        .any(|name| parts.headers.contains_key(*name));
    !proxied && peer(parts).is_some_and(|address| address.is_loopback())
}
