//! Limits: how often one may try, how many streams one may hold, and from where.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{extract::ConnectInfo, http::request::Parts};
use duet_core::{Timestamp, ids::UserId};
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
    account: DefaultKeyedRateLimiter<[u8; 32]>,
    setup: DefaultKeyedRateLimiter<IpAddr>,
    invitations: DefaultKeyedRateLimiter<IpAddr>,
    devices: DefaultKeyedRateLimiter<IpAddr>,
    device_questions: DefaultKeyedRateLimiter<IpAddr>,
    device_codes: DefaultKeyedRateLimiter<UserId>,
    /// Networks from which somebody has signed in to an account, and when last.
    familiar: Mutex<HashMap<[u8; 32], Timestamp>>,
    clock: DefaultClock,
    streams_per_person: u32,
    streams: Arc<Mutex<HashMap<UserId, u32>>>,
}

/// How long a network from which somebody signed in stays familiar.
const FAMILIAR: Duration = Duration::from_secs(30 * 24 * 3600);
/// Most familiar networks remembered.
const MOST_FAMILIAR: usize = 10_000;

/// Where an attempt to sign in comes from.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The client's address.
    pub from: IpAddr,
    /// The email address it signs in with, in lower case.
    pub email: &'a str,
    /// The mark of its browser, if that has signed in as this person before.
    pub device: Option<&'a str>,
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

fn per_hour(count: u32) -> Quota {
    Quota::per_hour(NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN))
}

/// What counts as one place: an address, or for IPv6 its /64, which is the least that one customer gets.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

impl Limits {
    /// From the settings.
    pub fn new(config: &LimitsConfig) -> Self {
        Self {
            sign_in: RateLimiter::keyed(per_minute(config.sign_in_per_minute)),
            sign_in_address: RateLimiter::keyed(per_minute(config.sign_in_per_address_per_minute)),
            account: RateLimiter::keyed(per_hour(config.sign_in_per_account_per_hour)),
            familiar: Mutex::default(),
            setup: RateLimiter::keyed(per_minute(config.setup_per_minute)),
            invitations: RateLimiter::keyed(per_minute(config.invitations_per_minute)),
            devices: RateLimiter::keyed(per_minute(config.devices_per_minute)),
            device_questions: RateLimiter::keyed(per_minute(config.device_questions_per_minute)),
            device_codes: RateLimiter::keyed(per_minute(config.device_codes_per_minute)),
            clock: DefaultClock::default(),
            streams_per_person: config.streams_per_person,
            streams: Arc::default(),
        }
    }

    /// Counts a sign-in attempt: for the network, for the network at this account, and for the account. Strangers' attempts at an
    /// account are counted together, but never against a browser or a network from which its person has signed in before; those
    /// are counted separately. So nobody can lock somebody out of a place they have used.
    pub fn sign_in(&self, attempt: Attempt<'_>) -> ApiResult<()> {
        let network = network(attempt.from);
        let pair = pair(network, attempt.email);
        self.check(&self.sign_in_address, &network)?;
        self.check(&self.sign_in, &pair)?;
        let place = match attempt.device {
            Some(mark) => secret::hash(&format!("{mark}\n{}", attempt.email)),
            None if self.familiar().contains_key(&pair) => pair,
            None => secret::hash(attempt.email),
        };
        self.check(&self.account, &place)
    }

    /// Records that somebody signed in to the account from there.
    pub fn signed_in(&self, from: IpAddr, email: &str, now: Timestamp) {
        let mut familiar = self.familiar();
        if familiar.len() >= MOST_FAMILIAR {
            let oldest = familiar.iter().min_by_key(|(_, at)| **at).map(|(pair, _)| *pair);
            if let Some(oldest) = oldest {
                familiar.remove(&oldest);
            }
        }
        familiar.insert(pair(network(from), email), now);
    }

    /// Counts an attempt to renew a sign-in.
    pub fn refresh(&self, address: IpAddr, token: &str) -> ApiResult<()> {
        let network = network(address);
        self.check(&self.sign_in_address, &network)?;
        self.check(&self.sign_in, &pair(network, token))
    }

    /// Counts an attempt with a setup token.
    pub fn setup(&self, address: IpAddr) -> ApiResult<()> {
        self.check(&self.setup, &network(address))
    }

    /// Counts an attempt with the token of an invitation.
    pub fn invitation(&self, address: IpAddr) -> ApiResult<()> {
        self.check(&self.invitations, &network(address))
    }

    /// Counts a device that begins to be signed in.
    pub fn device(&self, address: IpAddr) -> ApiResult<()> {
        self.check(&self.devices, &network(address))
    }

    /// Counts a device that asks whether it is signed in.
    pub fn device_question(&self, address: IpAddr) -> ApiResult<()> {
        self.check(&self.device_questions, &network(address))
    }

    /// Counts the code of a device that a person tries.
    pub fn device_code(&self, user: UserId) -> ApiResult<()> {
        self.check(&self.device_codes, &user)
    }

    fn familiar(&self) -> MutexGuard<'_, HashMap<[u8; 32], Timestamp>> {
        self.familiar.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check<K: Clone + std::hash::Hash + Eq>(&self, limiter: &DefaultKeyedRateLimiter<K>, key: &K) -> ApiResult<()> {
        limiter.check_key(key).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            Problem::too_many(
                format!("Too many attempts. Try again in {}.", in_words(seconds.max(1))),
                seconds,
            )
        })
    }

    /// Takes a slot for a stream.
    pub fn stream(&self, user: UserId) -> ApiResult<StreamSlot> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let open = streams.entry(user).or_default();
        if *open >= self.streams_per_person {
            return Err(Problem::too_many(
                format!("You have {open} event streams open, which is the limit. Close one first."),
                5,
            ));
        }
        *open += 1;
        Ok(StreamSlot {
            user,
            streams: Arc::clone(&self.streams),
        })
    }

    /// Forgets idle addresses; called at intervals so that the tables stay small.
    pub fn forget_quiet(&self, now: Timestamp) {
        self.sign_in.retain_recent();
        self.sign_in_address.retain_recent();
        self.account.retain_recent();
        self.familiar().retain(|_, at| now.since(*at) < FAMILIAR);
        self.setup.retain_recent();
        self.invitations.retain_recent();
        self.devices.retain_recent();
        self.device_questions.retain_recent();
        self.device_codes.retain_recent();
    }
}

/// The addresses themselves are not kept, only a hash of the pair that was tried.
fn pair(network: IpAddr, account: &str) -> [u8; 32] {
    secret::hash(&format!("{network}\n{account}"))
}

fn peer(parts: &Parts) -> Option<IpAddr> {
    parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(address)| address.ip().to_canonical())
}

/// The client's address: the peer's, or the one the proxy in front reports, if one is configured.
pub fn client_address(parts: &Parts, server: &ServerConfig) -> IpAddr {
    let forwarded = || {
        let last = parts.headers.get_all("x-forwarded-for").iter().next_back()?;
        let address = last.to_str().ok()?.rsplit(',').next()?.trim().parse::<IpAddr>().ok()?;
        Some(address.to_canonical())
    };
    server
        .behind_proxy
        .then(forwarded)
        .flatten()
        .or_else(|| peer(parts))
        .unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
}

fn in_words(seconds: u64) -> String {
    match seconds {
        1 => "1 second".into(),
        many => format!("{many} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_second_is_singular() {
        assert_eq!([1, 2].map(in_words), ["1 second".to_owned(), "2 seconds".to_owned()]);
    }

    #[test]
    fn one_place_is_an_address_or_a_64() {
        for (address, place) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            assert_eq!(
                network(address.parse().unwrap()),
                place.parse::<IpAddr>().unwrap(),
                "{address}"
            );
        }
    }

    #[test]
    fn familiar_networks_are_bounded_and_forgotten() {
        let limits = Limits::new(&LimitsConfig::default());
        let address = |number: usize| IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
        for number in 0..MOST_FAMILIAR + 5 {
            let now = Timestamp::from_millis(i64::try_from(number).unwrap());
            limits.signed_in(address(number), "ada@example.org", now);
        }
        assert_eq!(limits.familiar().len(), MOST_FAMILIAR);
        let newest = pair(address(MOST_FAMILIAR + 4), "ada@example.org");
        assert!(limits.familiar().contains_key(&newest));
        limits.forget_quiet(Timestamp::from_millis(0).plus(FAMILIAR * 2));
        assert!(limits.familiar().is_empty());
    }
}
