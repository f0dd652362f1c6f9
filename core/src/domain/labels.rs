//! Labels (information flow): what limits where a text may go and what may be made from it. Every message, memory, tool result and
//! run has labels; a text made from several others has the join of their labels.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Egress, Locality, Taint, word_enum};
use crate::refusal::Refusal;

word_enum! {
    /// One of the labels, by the name used to clear it.
    Label {
        /// The text contains untrusted text; once cleared, it is trusted.
        Integrity = "integrity",
        /// Only local models may read it; once cleared, any model may.
        Egress = "egress",
        /// It contains field-encrypted text; once cleared, it does not.
        Sensitive = "sensitive",
        /// It contains another member's shared memory; once cleared, it counts as the person's own.
        Others = "others",
    }
}

/// The labels of a text. The default is a person's own words: trusted, for any model, not sensitive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Labels {
    /// Where it came from: if any part of it is untrusted, all of it is.
    pub integrity: Taint,
    /// Which models may read it.
    pub egress: Egress,
    /// Whether it contains text that is field-encrypted in storage.
    pub sensitive: bool,
    /// Whether it contains another member's shared memory: what is made from it is shared with nobody unless the person says so.
    pub others: bool,
}

impl Labels {
    const UNTRUSTED: u8 = 1;
    const LOCAL_ONLY: u8 = 2;
    const SENSITIVE: u8 = 4;
    const OTHERS: u8 = 8;

    /// The labels of a text made from both: the stricter of each. A join never relaxes a label.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self::from_bits(self.bits() | other.bits())
    }

    /// The labels of a text made from all of them.
    pub fn of_all(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::default(), Self::join)
    }

    /// Whether a model with this locality may read it.
    pub fn allows(self, locality: Locality) -> bool {
        self.egress.allows(locality)
    }

    /// The labels that make it stricter than a person's own words.
    pub fn marks(self) -> BTreeSet<Label> {
        Label::ALL
            .iter()
            .copied()
            .filter(|label| self.bits() & label.bit() != 0)
            .collect()
    }

    /// The labels with these cleared. The others stay as they are, so clearing never makes anything stricter.
    #[must_use]
    pub fn without(self, cleared: &BTreeSet<Label>) -> Self {
        Self::from_bits(self.bits() & !bits_of(cleared))
    }

    /// Whether joining `other` would change nothing.
    pub fn covers(self, other: Self) -> bool {
        self.join(other) == self
    }

    /// As databases store them: one bit per label, so that a join is an `or`.
    pub fn bits(self) -> u8 {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        bit(self.integrity == Taint::Untrusted, Self::UNTRUSTED)
            | bit(self.egress == Egress::LocalOnly, Self::LOCAL_ONLY)
            | bit(self.sensitive, Self::SENSITIVE)
            | bit(self.others, Self::OTHERS)
    }

    /// The reverse of [`Labels::bits`]; unknown bits are ignored.
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

impl Label {
    /// Its bit in [`Labels::bits`].
    const fn bit(self) -> u8 {
        match self {
            Self::Integrity => Labels::UNTRUSTED,
            Self::Egress => Labels::LOCAL_ONLY,
            Self::Sensitive => Labels::SENSITIVE,
            Self::Others => Labels::OTHERS,
        }
    }
}

fn bits_of(labels: &BTreeSet<Label>) -> u8 {
    labels.iter().fold(0, |bits, label| bits | label.bit())
}

/// A person's statement that these labels do not apply to a text they know. It cannot make a label stricter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelEdit {
    /// The labels to clear, at least one; the others stay.
    pub clear: BTreeSet<Label>,
}

impl LabelEdit {
    /// Checks the edit for a message.
    pub fn check(&self) -> Result<(), Refusal> {
        match self.clear.is_empty() {
            true => Err(Refusal::NoLabel),
            false => Ok(()),
        }
    }

    /// Checks the edit for a memory, which stores no `others` label: it follows from whose memory it is.
    pub fn check_for_memory(&self) -> Result<(), Refusal> {
        if self.clear.contains(&Label::Others) {
            return Err(Refusal::NoLabelOfMemory);
        }
        self.check()
    }

    /// The labels to clear, as databases store them.
    pub fn bits(&self) -> u8 {
        bits_of(&self.clear)
    }

    /// Those labels to clear that a text with these labels actually has.
    pub fn cleared_of(&self, labels: Labels) -> BTreeSet<Label> {
        &self.clear & &labels.marks()
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
    fn clearing_takes_what_is_named_and_nothing_else() {
        for (labels, named) in all().flat_map(|labels| all().map(move |named| (labels, named.marks()))) {
            let cleared = labels.without(&named);
            assert!(labels.covers(cleared), "nothing gets worse");
            assert_eq!(cleared.marks(), &labels.marks() - &named);
            let edit = LabelEdit { clear: named };
            assert_eq!(edit.check().is_ok(), !edit.clear.is_empty());
            assert_eq!(edit.cleared_of(labels), &labels.marks() - &cleared.marks());
        }
        let every = LabelEdit {
            clear: Label::ALL.iter().copied().collect(),
        };
        assert!(every.check_for_memory().is_err());
        assert_eq!(Labels::from_bits(15).without(&every.clear), Labels::default());
        assert!(serde_json::from_str::<LabelEdit>(r#"{"clear": ["egress"], "egress": "local_only"}"#).is_err());
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
