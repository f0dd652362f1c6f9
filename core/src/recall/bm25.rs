/// How many documents there are, and their total length in terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Documents.
    pub documents: u64,
    /// Their total length in terms.
    pub length: u64,
}

/// Okapi BM25 over one set of documents.
#[derive(Clone, Copy, Debug)]
pub struct Bm25 {
    documents: f64,
    average_length: f64,
    saturation: f64,
    length_share: f64,
}

impl Bm25 {
    /// For memories: short texts, so length counts less than in articles.
    pub fn memories(totals: Totals) -> Self {
        Self::new(totals, 1.2, 0.5)
    }

    /// For whole conversations.
    pub fn conversations(totals: Totals) -> Self {
        Self::new(totals, 1.2, 0.75)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    fn new(totals: Totals, saturation: f64, length_share: f64) -> Self {
        let documents = totals.documents.max(1) as f64;
        Self {
            documents,
            average_length: (totals.length as f64 / documents).max(1.0),
            saturation,
            length_share,
        }
    }

    /// How informative a term is: high for rare ones, never negative.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub fn rarity(&self, documents_with_term: u64) -> f64 {
        let with = (documents_with_term as f64).min(self.documents);
        (1.0 + (self.documents - with + 0.5) / (with + 0.5)).ln()
    }

    /// The score of a term that occurs `frequency` times in a document of this length.
    pub fn score(&self, rarity: f64, frequency: u32, length: f64) -> f64 {
        let frequency = f64::from(frequency);
        let norm = 1.0 - self.length_share + self.length_share * length / self.average_length;
        rarity * frequency * (self.saturation + 1.0) / (frequency + self.saturation * norm)
    }

    /// The most that a term of this rarity can add.
    pub fn ceiling(&self, rarity: f64) -> f64 {
        rarity * (self.saturation + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rarer_terms_more_often_in_shorter_texts_score_higher(
            documents in 1u64..100_000, with in 1u64..1000, frequency in 1u32..50, length in 1u32..500,
        ) {
            let bm25 = Bm25::memories(Totals { documents, length: documents * 20 });
            let rarity = bm25.rarity(with);
            prop_assert!(rarity > 0.0 && rarity >= bm25.rarity(with + 1));
            let length = f64::from(length);
            let score = bm25.score(rarity, frequency, length);
            prop_assert!(score > 0.0 && score < bm25.ceiling(rarity));
            prop_assert!(bm25.score(rarity, frequency + 1, length) > score);
            prop_assert!(bm25.score(rarity, frequency, length + 1.0) < score);
        }
    }
}
