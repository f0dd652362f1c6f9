//! Typed identifiers. Every id is a UUIDv7 (RFC 9562): its first 48 bits are Unix milliseconds, so ids made later
//! sort later, on every backend, as text and as bytes.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{clock::Env, refusal::Refusal};

/// An identifier that can be made from the environment's time and randomness.
pub trait Id: Copy {
    /// Wraps a UUID.
    fn from_uuid(uuid: Uuid) -> Self;
    /// The bare UUID.
    fn uuid(self) -> Uuid;
}

/// The id derived from `base` and `label`: always the same for the same two, so that a repeated effect writes the same row. Keeps
/// the base's time and takes the random part from SHA-256 of both.
pub fn derived<T: Id>(base: impl Id, label: &str) -> T {
    let base = base.uuid();
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    hash.update(b"duet id\0");
    hash.update(base.as_bytes());
    hash.update(label.as_bytes());
    let hash = hash.finish();
    let mut random = [0; 10];
    random.copy_from_slice(&hash.as_ref()[..10]);
    let mut millis = [0; 8];
    millis[2..].copy_from_slice(&base.as_bytes()[..6]);
    T::from_uuid(uuid::Builder::from_unix_timestamp_millis(u64::from_be_bytes(millis), &random).into_uuid())
}

/// The beginning of an id, as people type it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdPrefix {
    digits: u128,
    count: u32,
}

impl IdPrefix {
    /// The most ids that a store returns: enough to show which ones match.
    pub const MOST: u64 = 10;

    /// The first and the last possible id with this prefix.
    pub fn range(self) -> (Uuid, Uuid) {
        let open = 128 - 4 * self.count;
        let low = self.digits.checked_shl(open).unwrap_or(0);
        let rest = 1_u128.checked_shl(open).map_or(u128::MAX, |one| one - 1);
        (Uuid::from_u128(low), Uuid::from_u128(low | rest))
    }
}

impl std::str::FromStr for IdPrefix {
    type Err = Refusal;

    /// One to 32 hexadecimal digits; dashes are ignored.
    fn from_str(text: &str) -> Result<Self, Refusal> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let number = (1..=32)
            .contains(&digits.len())
            .then(|| u128::from_str_radix(&digits, 16).ok())
            .flatten();
        match number {
            Some(number) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(Self {
                digits: number,
                count: u32::try_from(digits.len()).unwrap_or(32),
            }),
            _ => Err(Refusal::IdPrefix),
        }
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema)]
        #[serde(transparent)]
        #[schema(value_type = String, format = Uuid)]
        pub struct $name(#[schemars(with = "String")] Uuid);

        impl Id for $name {
            fn from_uuid(uuid: Uuid) -> Self { Self(uuid) }
            fn uuid(self) -> Uuid { self.0 }
        }
        impl $name {
            /// A fresh id: the current time and 74 random bits.
            pub fn new(env: &Env) -> Self { Self(env.uuid()) }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { self.0.fmt(f) }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> { text.parse().map(Self) }
        }
    )+};
}

ids! {
    /// A workspace: the unit of isolation.
    WorkspaceId,
    /// A person.
    UserId,
    /// An agent, primary or specialist.
    AgentId,
    /// A conversation.
    ConversationId,
    /// A message of a conversation.
    MessageId,
    /// A run: a turn, later a plan or a delegated task.
    RunId,
    /// A memory item.
    MemoryId,
    /// A personal API key.
    ApiKeyId,
    /// A notice to a person.
    NoticeId,
    /// What a run asks of a person.
    RequestId,
    /// An invitation to a workspace.
    InvitationId,
    /// A sign-in of one browser or client.
    SessionId,
    /// A row of the audit log.
    AuditId,
    /// A redaction: the tombstone and its receipt.
    RedactionId,
    /// Fresh for each claim of a run; every write by a worker carries it.
    LeaseToken,
    /// Fresh for each write of a worker; the same when the write is repeated because its answer was lost.
    CommitId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_the_ids_that_begin_with_it() {
        let range = |text: &str| {
            let (low, high) = text.parse::<IdPrefix>().expect("a prefix").range();
            (low.to_string(), high.to_string())
        };
        assert_eq!(
            range("0198-7"),
            (
                "01987000-0000-0000-0000-000000000000".into(),
                "01987fff-ffff-ffff-ffff-ffffffffffff".into()
            )
        );
        let whole = "0198fe12-3456-7abc-8def-0123456789ab";
        assert_eq!(range(whole), (whole.into(), whole.into()));
        for bad in ["", "-", "x", "+1", "0198g", &"1".repeat(33), "ä"] {
            assert!(bad.parse::<IdPrefix>().is_err(), "{bad}");
        }
    }
}
