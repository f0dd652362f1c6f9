//! The least cosine at which a model's vectors say that two texts are related. Every model has its own baseline, even for unrelated
//! texts, so the bar is measured: with questions and facts that all have nothing to do with each other.

use crate::domain::Embedding;

/// Questions, none about one of the [`FACTS`].
pub(super) const QUESTIONS: [&str; 8] = [
    "Who repaired the bicycle?",
    "What does the professor teach?",
    "How much did the concert tickets cost?",
    "Which medicine do I take in the morning?",
    "Where did we spend the winter holidays?",
    "When is the meeting with the lawyer?",
    "Why was the flight delayed?",
    "What colour is the new sofa?",
];

/// Facts, none of which answers one of the [`QUESTIONS`].
pub(super) const FACTS: [&str; 8] = [
    "Grandfather kept bees behind the old mill.",
    "The bakery closes early on Mondays.",
    "My cousin studies geology in Toronto.",
    "We planted two pear trees last spring.",
    "The neighbour's parrot imitates the doorbell.",
    "I prefer green tea to coffee.",
    "The choir rehearses in the town hall.",
    "Her thesis compares medieval coins.",
];

/// How many standard deviations above the baseline a cosine must be. With 3, one in several hundred unrelated pairs passes.
const SPREADS: f64 = 3.0;

/// The cosine that unrelated texts rarely reach, from the vectors of the two lists.
pub(super) fn cosine(questions: &[Embedding], facts: &[Embedding]) -> f32 {
    let cosines: Vec<f64> = questions
        .iter()
        .flat_map(|question| facts.iter().map(|fact| dot(&question.vector, &fact.vector)))
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "a few dozen pairs")]
    let count = cosines.len().max(1) as f64;
    let mean = cosines.iter().sum::<f64>() / count;
    let spread = (cosines.iter().map(|cosine| (cosine - mean).powi(2)).sum::<f64>() / count).sqrt();
    #[expect(clippy::cast_possible_truncation, reason = "cosines are single precision")]
    let bar = (mean + SPREADS * spread) as f32;
    bar
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::EmbeddingModel;

    fn vector(x: f32, y: f32) -> Embedding {
        let model = EmbeddingModel {
            id: "m".into(),
            dimensions: 2,
        };
        Embedding::new(model, vec![x, y]).expect("a direction")
    }

    #[test]
    fn the_bar_is_above_what_strangers_have() {
        let right_angle = cosine(&[vector(1.0, 0.0)], &[vector(0.0, 1.0)]);
        assert!(right_angle.abs() < 1e-6, "{right_angle}");
        let strangers = [vector(0.1, 1.0), vector(0.3, 1.0), vector(-0.1, 1.0)];
        let bar = cosine(&[vector(1.0, 0.0)], &strangers);
        assert!(strangers.iter().all(|one| one.vector[0] < bar), "{bar}");
        assert!(bar < 0.7, "{bar}");
    }
}
