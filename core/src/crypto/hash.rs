use ring::digest::{Context, SHA256, digest};

use crate::{
    clock::Timestamp,
    domain::{AuditOutcome, EventKind},
    ids::{AgentId, AuditId, Id, RunId, UserId, WorkspaceId},
};

/// A SHA-256.
pub type Hash = [u8; 32];

/// The predecessor of the first link of a chain.
pub const GENESIS: Hash = [0; 32];

/// The hash under which a secret with at least 128 random bits is stored.
pub fn token_hash(secret: &str) -> Hash {
    bytes(digest(&SHA256, secret.as_bytes()).as_ref())
}

/// The salted hash of an event's payload: it stays in the header when payload and salt are redacted, and then reveals nothing.
pub fn payload_hash(salt: &[u8], payload: &[u8]) -> Hash {
    Hasher::new("duet.event.payload.v1").field(salt).field(payload).end()
}

/// The hash of the arguments of a request to a person; the salt keeps it from telling a text that was redacted.
pub fn arguments_hash(salt: &[u8], arguments: &[u8]) -> Hash {
    Hasher::new("duet.request.arguments.v1").field(salt).field(arguments).end()
}

/// The hash of the request that an idempotency key was used for.
pub fn request_hash(parts: &[&[u8]]) -> Hash {
    parts
        .iter()
        .fold(Hasher::new("duet.request.v1"), |hasher, part| hasher.field(part))
        .end()
}

/// The header of a run event that its link covers.
#[derive(Clone, Copy, Debug)]
pub struct EventFields {
    /// The run.
    pub run: RunId,
    /// Its place in the chain.
    pub seq: u64,
    /// Its kind.
    pub kind: EventKind,
    /// When.
    pub at: Timestamp,
    /// [`payload_hash`].
    pub payload: Hash,
}

/// The link of a run event after `previous`.
pub fn event_hash(previous: &Hash, event: &EventFields) -> Hash {
    Hasher::new("duet.event.v1")
        .field(previous)
        .field(event.run.uuid().as_bytes())
        .number(event.seq)
        .field(event.kind.as_str().as_bytes())
        .field(&event.at.millis().to_be_bytes())
        .field(&event.payload)
        .end()
}

/// The fields of an audit row that its link covers.
#[derive(Clone, Copy, Debug)]
pub struct AuditFields<'a> {
    /// Its id.
    pub id: AuditId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its place in the chain.
    pub seq: u64,
    /// Who.
    pub actor: UserId,
    /// Through which agent.
    pub agent: Option<AgentId>,
    /// What.
    pub action: &'a str,
    /// To what.
    pub target: &'a str,
    /// With which outcome.
    pub outcome: AuditOutcome,
    /// The details as they are stored.
    pub details: &'a str,
    /// When.
    pub at: Timestamp,
}

/// The link of an audit row after `previous`.
pub fn audit_hash(previous: &Hash, row: &AuditFields<'_>) -> Hash {
    let agent = row.agent.map(|agent| agent.uuid().into_bytes());
    Hasher::new("duet.audit.v1")
        .field(previous)
        .field(row.id.uuid().as_bytes())
        .field(row.workspace.uuid().as_bytes())
        .number(row.seq)
        .field(row.actor.uuid().as_bytes())
        .field(agent.as_ref().map_or(&[][..], |agent| agent))
        .field(row.action.as_bytes())
        .field(row.target.as_bytes())
        .field(row.outcome.as_str().as_bytes())
        .field(row.details.as_bytes())
        .field(&row.at.millis().to_be_bytes())
        .end()
}

/// Every field is preceded by its length, so that no two lists of fields give the same bytes.
struct Hasher(Context);

impl Hasher {
    fn new(domain: &str) -> Self {
        Self(Context::new(&SHA256)).field(domain.as_bytes())
    }

    fn field(mut self, field: &[u8]) -> Self {
        self.0.update(&(field.len() as u64).to_be_bytes());
        self.0.update(field);
        self
    }

    fn number(self, number: u64) -> Self {
        self.field(&number.to_be_bytes())
    }

    fn end(self) -> Hash {
        bytes(self.0.finish().as_ref())
    }
}

fn bytes(digest: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest);
    hash
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn event() -> EventFields {
        EventFields {
            run: RunId::from_uuid(Uuid::from_u128(7)),
            seq: 3,
            kind: EventKind::Delta,
            at: Timestamp::from_millis(5),
            payload: payload_hash(b"salt", b"payload"),
        }
    }

    #[test]
    fn a_known_token_has_its_known_hash() {
        assert_eq!(
            hex::encode(token_hash("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn every_field_of_an_event_is_covered() {
        let base = event_hash(&GENESIS, &event());
        let other_run = RunId::from_uuid(Uuid::from_u128(8));
        let changed = [
            event_hash(&[1; 32], &event()),
            event_hash(
                &GENESIS,
                &EventFields {
                    run: other_run,
                    ..event()
                },
            ),
            event_hash(&GENESIS, &EventFields { seq: 4, ..event() }),
            event_hash(
                &GENESIS,
                &EventFields {
                    kind: EventKind::Tool,
                    ..event()
                },
            ),
            event_hash(
                &GENESIS,
                &EventFields {
                    at: Timestamp::from_millis(6),
                    ..event()
                },
            ),
            event_hash(
                &GENESIS,
                &EventFields {
                    payload: payload_hash(b"salt", b"other"),
                    ..event()
                },
            ),
        ];
        assert!(changed.iter().all(|hash| *hash != base));
        assert_eq!(base, event_hash(&GENESIS, &event()));
    }

    #[test]
    fn fields_cannot_be_shifted_into_each_other() {
        assert_ne!(payload_hash(b"ab", b"c"), payload_hash(b"a", b"bc"));
        assert_ne!(request_hash(&[b"ab", b"c"]), request_hash(&[b"a", b"bc"]));
        assert_ne!(request_hash(&[b"a"]), request_hash(&[b"a", b""]));
    }
}
