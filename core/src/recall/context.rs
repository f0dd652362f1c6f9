//! Scores an episodic memory together with its surroundings.

use std::collections::HashMap;

use super::{Bm25, Conversations, Document};
use crate::{domain::Position, ids::ConversationId};

/// The shares of its neighbours' full-text scores that a memory gets, by distance.
///
/// Measured by hand on public long-conversation sets: plain BM25 found .60 of the evidence among the first ten; with 0.3 to 0.5 of
/// the next neighbours' scores and 0.3 of the conversation's, .69. The one after that counts for little: an exclamation often comes
/// between a question and its answer.
pub(super) const NEIGHBOUR_SHARES: &[f64] = &[0.4, 0.15];

/// The share of its conversation's own score that a memory gets.
pub(super) const CONVERSATION_SHARE: f64 = 0.3;

/// A memory with its own full-text score.
#[derive(Clone, Debug)]
pub(super) struct Scored {
    pub document: Document,
    /// Its own score by BM25, before its surroundings count.
    pub own: f64,
    /// How often each term of the question occurs in it, `(term, frequency)`.
    pub frequencies: Vec<(usize, u32)>,
}

/// The places next to these memories that none of them occupies.
pub(super) fn gaps<'a>(found: impl Iterator<Item = &'a Scored> + Clone) -> Vec<Position> {
    let known: std::collections::HashSet<Position> = found.clone().filter_map(|scored| scored.document.position).collect();
    let mut gaps: Vec<Position> = found
        .filter_map(|scored| scored.document.position)
        .flat_map(|place| neighbours(place, NEIGHBOUR_SHARES.len()).map(|(_, place)| place))
        .filter(|place| !known.contains(place))
        .collect();
    gaps.sort_unstable_by_key(|place| (place.conversation_id, place.ordinal));
    gaps.dedup();
    gaps
}

/// The places before and after, with their distance less one, up to `reach`.
pub(super) fn neighbours(place: Position, reach: usize) -> impl Iterator<Item = (usize, Position)> {
    (0..reach).zip(1i64..).flat_map(move |(index, distance)| {
        [place.ordinal.checked_sub(distance), place.ordinal.checked_add(distance)]
            .into_iter()
            .flatten()
            .map(move |ordinal| (index, Position { ordinal, ..place }))
    })
}

/// For each memory, the sum of its shares of its neighbours' values; the value of a place is the greatest one there.
pub(super) fn neighbour_sums(documents: &[Document], values: &[f64], shares: &[f64]) -> Vec<f64> {
    let mut at: HashMap<Position, f64> = HashMap::new();
    for (document, &value) in documents.iter().zip(values) {
        if let Some(place) = document.position {
            let best = at.entry(place).or_insert(value);
            *best = best.max(value);
        }
    }
    documents
        .iter()
        .map(|document| match document.position {
            Some(place) => neighbours(place, shares.len())
                .filter_map(|(index, other)| at.get(&other).map(|value| shares[index] * value))
                .sum(),
            None => 0.0,
        })
        .collect()
}

/// The score of each conversation as one document, from the memories found in it.
pub(super) fn conversation_scores(found: &[Scored], terms: usize, all: &Conversations) -> HashMap<ConversationId, f64> {
    let lengths: HashMap<ConversationId, u64> = all
        .asked
        .iter()
        .map(|conversation| (conversation.id, conversation.length))
        .collect();
    let mut frequencies: HashMap<ConversationId, Vec<u32>> = HashMap::new();
    for scored in found {
        if let Some(place) = scored.document.position {
            let counts = frequencies.entry(place.conversation_id).or_insert_with(|| vec![0; terms]);
            for &(term, frequency) in &scored.frequencies {
                counts[term] += frequency;
            }
        }
    }
    let bm25 = Bm25::conversations(all.totals);
    let rarities: Vec<f64> = (0..terms)
        .map(|term| bm25.rarity(frequencies.values().filter(|counts| counts[term] > 0).count() as u64))
        .collect();
    frequencies
        .into_iter()
        .map(|(conversation, counts)| {
            #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
            let length = lengths.get(&conversation).copied().unwrap_or(0) as f64;
            // Summed in the order of the terms: floating point addition is not associative.
            let score = counts
                .iter()
                .zip(&rarities)
                .filter(|(count, _)| **count > 0)
                .map(|(count, rarity)| bm25.score(*rarity, *count, length))
                .sum();
            (conversation, score)
        })
        .collect()
}
