//! Labels (information flow): what is known of a text that bounds where it may go and what may come of it. Every message, memory,
//! tool result and run has them; what is made of several texts has the join of theirs.

use serde::{Deserialize, Serialize};

use super::{Egress, Locality, Taint};

/// The labels of a text. The default is a person's own words: trusted, for any model, not sensitive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Labels {
    /// Where it came from: once untrusted text is among it, all of it is untrusted.
    pub integrity: Taint,
    /// Which models may read it.
    pub egress: Egress,
    /// Whether it holds text that is field-encrypted where it is kept.
    pub sensitive: bool,
    /// Whether another member's shared memory is among it: what is made of it is shared with nobody unless the person says so.
    pub others: bool,
}

impl Labels {
    const UNTRUSTED: u8 = 1;
    const LOCAL_ONLY: u8 = 2;
    const SENSITIVE: u8 = 4;
    const OTHERS: u8 = 8;

    /// Of what is made of both: the worse of each. Nothing gets better by it.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self::from_bits(self.bits() | other.bits())
    }

    /// Of what is made of all of them.
    pub fn of_all(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::default(), Self::join)
    }

    /// Whether a model computing there may read it.
    pub fn allows(self, locality: Locality) -> bool {
        self.egress.allows(locality)
    }

    /// Whether joining `other` would change nothing.
    pub fn covers(self, other: Self) -> bool {
        self.join(other) == self
    }

    /// As the databases keep it: one bit for each way of being worse, so that a join is an `or`.
    pub fn bits(self) -> u8 {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        bit(self.integrity == Taint::Untrusted, Self::UNTRUSTED)
            | bit(self.egress == Egress::LocalOnly, Self::LOCAL_ONLY)
            | bit(self.sensitive, Self::SENSITIVE)
            | bit(self.others, Self::OTHERS)
    }

    /// The same back. Bits that nobody knows are passed over.
    pub fn from_bits(bits: u8) -> Self {
        let has = |bit: u8| bits & bit != 0;
        Self {
            integrity: if has(Self::UNTRUSTED) {
                Taint::Untrusted
            } else {
                Taint::Trusted
            },
            egress: if has(Self::LOCAL_ONLY) {
                Egress::LocalOnly
            } else {
                Egress::Any
            },
            sensitive: has(Self::SENSITIVE),
            others: has(Self::OTHERS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Labels> {
        (0..16).map(Labels::from_bits)
    }

    #[test]
    fn a_join_is_commutative_associative_and_idempotent() {
        for a in all() {
            assert_eq!(a.join(a), a);
            assert_eq!(a.join(Labels::default()), a);
            for b in all() {
                assert_eq!(a.join(b), b.join(a));
                for c in all() {
                    assert_eq!(a.join(b).join(c), a.join(b.join(c)));
                }
            }
        }
    }

    #[test]
    fn a_join_only_worsens() {
        for (a, b) in all().flat_map(|a| all().map(move |b| (a, b))) {
            let joined = a.join(b);
            assert!(joined.covers(a) && joined.covers(b));
            assert!(joined.integrity >= a.integrity && joined.egress >= a.egress);
            assert!(joined.sensitive >= a.sensitive && joined.others >= a.others);
            for locality in Locality::ALL {
                assert!(a.allows(*locality) || !joined.allows(*locality));
            }
        }
    }

    #[test]
    fn bits_and_words_come_back() {
        for labels in all() {
            assert_eq!(Labels::from_bits(labels.bits()), labels);
            let words = serde_json::to_string(&labels).unwrap();
            assert_eq!(serde_json::from_str::<Labels>(&words).unwrap(), labels);
        }
        assert_eq!(serde_json::from_str::<Labels>("{}").unwrap(), Labels::default());
    }
}
