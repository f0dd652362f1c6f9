use crate::{clock::Timestamp, domain::MemoryDomain};

/// The text that is embedded for a memory: an utterance with its speaker and day; a fact unchanged.
///
/// The neighbouring turns are left out on purpose: they may be private, local-only or redacted later, and a vector carries
/// traces of the text it was made from. Ranking adds the neighbours instead ([`super::rank`]).
pub fn embedding_text(domain: MemoryDomain, speaker: Option<&str>, occurred_at: Timestamp, text: &str) -> String {
    match (domain, speaker) {
        (MemoryDomain::Semantic | MemoryDomain::Working, None) => text.to_owned(),
        (_, speaker) => {
            let time = occurred_at.to_string();
            let day = time.split('T').next().unwrap_or_default();
            match speaker {
                Some(speaker) => format!("{speaker} ({day}): {text}"),
                None => format!("{day}: {text}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_has_speaker_and_day() {
        let at = Timestamp::from_millis(1_700_000_000_000);
        assert_eq!(
            embedding_text(MemoryDomain::Episodic, Some("Ann"), at, "Hi"),
            "Ann (2023-11-14): Hi"
        );
        assert_eq!(embedding_text(MemoryDomain::Episodic, None, at, "Hi"), "2023-11-14: Hi");
        assert_eq!(
            embedding_text(MemoryDomain::Semantic, None, at, "Tea is green"),
            "Tea is green"
        );
    }
}
