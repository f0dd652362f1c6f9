//! One scale for words and vectors.

use crate::domain::EmbeddingModel;

/// How much the vectors of a model count beside full text, whose best possible score is 1.
///
/// The built-in lexical embedder adds little to the words themselves: on two synthetic sets of conversations, weights of 0.1 and
/// 0.25 pushed some answers that only neighbouring turns reveal out of full text's first ten. So it never reorders what words
/// found; it only appends memories that share no whole word with the question (another spelling, say), below every match of words
/// and above [`LEAST`].
pub fn vector_weight(model: &EmbeddingModel, words_found_it: bool) -> f64 {
    match (model.id.starts_with("builtin/"), words_found_it) {
        (true, true) => 0.0,
        (true, false) => 0.005,
        (false, _) => 1.0,
    }
}

/// A score that would be shown as 0.000 does not count.
pub(super) const LEAST: f64 = 0.0005;

/// Scales a cosine to 0…1, where 0 means "no nearer than anything else": every model has its own baseline. `floor` is the cosine of
/// the last memory in a full pool of nearest ones (in proportion, if the pool is not full).
pub fn calibrate(cosine: f64, floor: f64) -> f64 {
    if floor >= 1.0 {
        return 0.0;
    }
    ((cosine - floor) / (1.0 - floor)).clamp(0.0, 1.0)
}

/// Scales a full-text score to 0…1. `ceiling` is the score of a memory that says nothing but the question's words: if little of a
/// question is found, that little does not become a perfect match.
pub(super) fn normalise(score: f64, best: f64, ceiling: f64) -> f64 {
    let scale = best.max(ceiling * 0.5);
    if scale > 0.0 { score / scale } else { 0.0 }
}

/// Up to 2 % more for recent memories: decides between near ties, with a half-life of 90 days.
pub(super) fn recency(age_millis: i64) -> f64 {
    const HALF_LIFE: f64 = 90.0 * 86_400_000.0;
    #[expect(clippy::cast_precision_loss, reason = "an age in milliseconds")]
    let age = age_millis.max(0) as f64;
    1.0 + 0.02 * (-age / HALF_LIFE).exp2()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn calibration_keeps_order_and_bounds(a in -1.0f64..1.0, b in -1.0f64..1.0, floor in -1.0f64..0.99) {
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(calibrate(low, floor) <= calibrate(high, floor));
            prop_assert!((0.0..=1.0).contains(&calibrate(a, floor)));
            prop_assert_eq!(calibrate(floor, floor), 0.0);
        }

        #[test]
        fn newer_never_counts_less(age in 0i64..4_000_000_000_000, more in 0i64..4_000_000_000_000) {
            prop_assert!(recency(age) >= recency(age + more));
            prop_assert!((1.0..=1.02).contains(&recency(age)));
        }
    }
}
