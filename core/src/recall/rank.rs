//! The steps of a recall, the same on every backend.

use std::{cmp::Ordering, collections::HashMap};

use crate::{
    clock::Timestamp,
    domain::{Bar, EmbeddingModel, RecallMode},
    ids::{ConversationId, MemoryId},
};

use super::{
    Bm25, Document, RecallSource, TermPostings,
    context::{self, CONVERSATION_SHARE, NEIGHBOUR_SHARES, Scored},
    fusion,
};

/// How many of the best full-text matches are scored together with their surroundings.
pub const TEXT_POOL: usize = 400;

/// How many candidates each signal contributes to the fusion (or twice the limit, if that is more).
pub const NEAREST_POOL: usize = 50;

/// How many of the best matches contribute their neighbours as candidates, even ones that share no word with the question.
pub const WIDENED: usize = 60;

/// The greatest distance between such a match and its neighbours.
pub const NEIGHBOUR_REACH: usize = NEIGHBOUR_SHARES.len();

/// The share of each next neighbour's calibrated cosine that a candidate gets.
const VECTOR_NEIGHBOUR_SHARES: &[f64] = &[0.1];

/// One place in a ranking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// The backend's handle for the memory.
    pub memory: i64,
    /// Its id.
    pub id: MemoryId,
    /// The score it is ordered by.
    pub score: f64,
    /// Its cosine, where vectors took part and it has one.
    pub cosine: Option<f32>,
    /// Its full-text score including its surroundings, where words matched.
    pub text: Option<f64>,
    /// Its full-text score as a share of the ceiling for the question's words.
    pub share: f64,
}

impl Ranked {
    /// Whether it is about the question.
    fn clears(&self, bar: &Bar) -> bool {
        self.score >= fusion::LEAST
            && ((self.text.is_some() && self.share >= bar.words) || self.cosine.is_some_and(|cosine| cosine >= bar.cosine))
    }
}

/// The full-text ranking for a question.
struct TextRanking {
    /// Best first.
    found: Vec<(Document, f64)>,
    /// The most that a memory can score on its own.
    ceiling: f64,
}

/// How many nearest memories [`rank`] asks its source for.
pub fn nearest_count(mode: RecallMode, limit: usize) -> usize {
    match mode {
        RecallMode::Fts => 0,
        RecallMode::Vector => limit,
        RecallMode::Hybrid => limit.saturating_mul(2).max(NEAREST_POOL),
    }
}

/// Ranks the memories in `source` for a question and returns at most `limit` that clear the bar, best first; equal scores by id.
/// `terms` are the question's ([`super::query_terms`]); `model` made the question's vector.
///
/// `Vector` orders by cosine alone, `Fts` by words alone; `Hybrid` adds the full-text score, scaled to 0…1, and the calibrated
/// cosine times its model's weight. Reciprocal rank fusion measured worse than BM25 alone.
pub fn rank<S: RecallSource + ?Sized>(
    source: &mut S,
    terms: &[String],
    model: Option<&EmbeddingModel>,
    mode: RecallMode,
    limit: usize,
    bar: &Bar,
    now: Timestamp,
) -> Result<Vec<Ranked>, S::Error> {
    let mut ranked = match (mode, model) {
        (RecallMode::Fts, _) | (RecallMode::Hybrid, None) => by_text(source, terms, now)?,
        (RecallMode::Vector, _) => by_vector(source, nearest_count(mode, limit))?,
        (RecallMode::Hybrid, Some(model)) => fused(source, terms, model, nearest_count(mode, limit), now)?,
    };
    if mode != RecallMode::Vector {
        ranked.retain(|ranked| ranked.clears(bar));
    }
    ranked.sort_by(|a, b| order((a.score, a.id), (b.score, b.id)));
    ranked.truncate(limit);
    Ok(ranked)
}

/// Higher scores first, equal ones by id.
fn order(a: (f64, MemoryId), b: (f64, MemoryId)) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

fn age(now: Timestamp, document: &Document) -> i64 {
    now.millis().saturating_sub(document.occurred_at.millis())
}

/// The score as a share of the ceiling.
fn share(score: f64, ceiling: f64) -> f64 {
    if ceiling > 0.0 { score / ceiling } else { 0.0 }
}

fn by_text<S: RecallSource + ?Sized>(source: &mut S, terms: &[String], now: Timestamp) -> Result<Vec<Ranked>, S::Error> {
    let text = text_ranking(source, terms)?;
    Ok(text
        .found
        .into_iter()
        .map(|(document, score)| Ranked {
            memory: document.memory,
            id: document.id,
            score: score * fusion::recency(age(now, &document)),
            cosine: None,
            text: Some(score),
            share: share(score, text.ceiling),
        })
        .collect())
}

fn by_vector<S: RecallSource + ?Sized>(source: &mut S, limit: usize) -> Result<Vec<Ranked>, S::Error> {
    Ok(source
        .nearest(limit)?
        .into_iter()
        .map(|(document, cosine)| Ranked {
            memory: document.memory,
            id: document.id,
            score: f64::from(cosine),
            cosine: Some(cosine),
            text: None,
            share: 0.0,
        })
        .collect())
}

fn fused<S: RecallSource + ?Sized>(
    source: &mut S,
    terms: &[String],
    model: &EmbeddingModel,
    pool: usize,
    now: Timestamp,
) -> Result<Vec<Ranked>, S::Error> {
    let nearest = source.nearest(pool)?;
    let mut text = text_ranking(source, terms)?;
    text.found.truncate(pool);
    let best = text.found.first().map_or(0.0, |(_, score)| *score);

    let mut candidates: Vec<(Document, Option<f32>, Option<f64>)> = nearest
        .iter()
        .map(|(document, cosine)| (*document, Some(*cosine), None))
        .collect();
    let by_memory: HashMap<i64, usize> = nearest
        .iter()
        .enumerate()
        .map(|(place, (document, _))| (document.memory, place))
        .collect();
    let mut without_cosine = Vec::new();
    for (document, score) in text.found {
        match by_memory.get(&document.memory) {
            Some(&place) => candidates[place].2 = Some(score),
            None => {
                without_cosine.push(document.memory);
                candidates.push((document, None, Some(score)));
            }
        }
    }
    let cosines = source.cosines(&without_cosine)?;
    for (candidate, cosine) in candidates[nearest.len()..].iter_mut().zip(cosines) {
        candidate.1 = cosine;
    }

    #[expect(clippy::cast_precision_loss, reason = "a pool has some hundred members")]
    let fullness = nearest.len() as f64 / pool as f64;
    let floor = nearest.last().map_or(0.0, |(_, cosine)| f64::from(*cosine) * fullness);
    let documents: Vec<Document> = candidates.iter().map(|candidate| candidate.0).collect();
    let near: Vec<f64> = candidates
        .iter()
        .map(|candidate| candidate.1.map_or(0.0, |cosine| fusion::calibrate(f64::from(cosine), floor)))
        .collect();
    let neighbours = context::neighbour_sums(&documents, &near, VECTOR_NEIGHBOUR_SHARES);
    Ok(candidates
        .into_iter()
        .enumerate()
        .map(|(place, (document, cosine, text_score))| {
            let words = fusion::normalise(text_score.unwrap_or(0.0), best, text.ceiling);
            let vectors = near[place] + neighbours[place];
            let weight = fusion::vector_weight(model, text_score.is_some());
            Ranked {
                memory: document.memory,
                id: document.id,
                score: (words + weight * vectors) * fusion::recency(age(now, &document)),
                cosine,
                text: text_score,
                share: share(text_score.unwrap_or(0.0), text.ceiling),
            }
        })
        .collect())
}

/// BM25 of every memory that shares a term with the question; the best also get shares of their surroundings' scores.
fn text_ranking<S: RecallSource + ?Sized>(source: &mut S, terms: &[String]) -> Result<TextRanking, S::Error> {
    let bm25 = Bm25::memories(source.totals()?);
    let mut own: HashMap<i64, (f64, Vec<(usize, u32)>)> = HashMap::new();
    let mut ceiling = 0.0;
    for (index, term) in terms.iter().enumerate() {
        let TermPostings { documents, postings } = source.postings(term)?;
        let rarity = bm25.rarity(documents);
        ceiling += bm25.ceiling(rarity);
        for posting in postings {
            let entry = own.entry(posting.memory).or_default();
            entry.0 += bm25.score(rarity, posting.frequency, f64::from(posting.length));
            entry.1.push((index, posting.frequency));
        }
    }
    let mut matches: Vec<_> = own.into_iter().collect();
    matches.sort_by(|a, b| b.1.0.total_cmp(&a.1.0).then(a.0.cmp(&b.0)));
    matches.truncate(TEXT_POOL);

    let keys: Vec<i64> = matches.iter().map(|(memory, _)| *memory).collect();
    let documents: HashMap<i64, Document> = source
        .documents(&keys)?
        .into_iter()
        .map(|document| (document.memory, document))
        .collect();
    let found: Vec<Scored> = matches
        .into_iter()
        .filter_map(|(memory, (own, frequencies))| {
            documents.get(&memory).map(|document| Scored {
                document: *document,
                own,
                frequencies,
            })
        })
        .collect();
    let mut found = with_surroundings(source, found, terms.len())?;
    found.sort_by(|a, b| order((a.1, a.0.id), (b.1, b.0.id)));
    Ok(TextRanking { found, ceiling })
}

fn with_surroundings<S: RecallSource + ?Sized>(
    source: &mut S,
    mut found: Vec<Scored>,
    terms: usize,
) -> Result<Vec<(Document, f64)>, S::Error> {
    if found.iter().all(|scored| scored.document.position.is_none()) {
        return Ok(found.into_iter().map(|scored| (scored.document, scored.own)).collect());
    }
    let mut involved: Vec<ConversationId> = found
        .iter()
        .filter_map(|scored| scored.document.position.map(|place| place.conversation_id))
        .collect();
    involved.sort_unstable();
    involved.dedup();
    let conversations = context::conversation_scores(&found, terms, &source.conversations(&involved)?);
    let gaps = context::gaps(found.iter().take(WIDENED));
    let known: std::collections::HashSet<i64> = found.iter().map(|scored| scored.document.memory).collect();
    for document in source.at(&gaps)? {
        if !known.contains(&document.memory) {
            found.push(Scored {
                document,
                own: 0.0,
                frequencies: Vec::new(),
            });
        }
    }
    let documents: Vec<Document> = found.iter().map(|scored| scored.document).collect();
    let own: Vec<f64> = found.iter().map(|scored| scored.own).collect();
    let neighbours = context::neighbour_sums(&documents, &own, NEIGHBOUR_SHARES);
    Ok(found
        .into_iter()
        .zip(neighbours)
        .map(|(scored, neighbours)| {
            let conversation = scored
                .document
                .position
                .and_then(|place| conversations.get(&place.conversation_id))
                .copied()
                .unwrap_or(0.0);
            (scored.document, scored.own + neighbours + CONVERSATION_SHARE * conversation)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, convert::Infallible};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        domain::Position,
        ids::{ConversationId, Id},
        recall::{Conversation, Conversations, Posting, Totals, index_terms, query_terms},
    };

    /// Memories in a list; the index is the handle.
    #[derive(Clone, Debug, Default)]
    struct Shelf {
        texts: Vec<(String, Option<Position>, f32)>,
        /// Whether postings come in reverse order.
        backwards: bool,
    }

    fn id<T: Id>(number: i64) -> T {
        T::from_uuid(uuid::Uuid::from_u128(number.unsigned_abs().into()))
    }

    impl Shelf {
        fn document(&self, memory: i64) -> Document {
            Document {
                memory,
                id: id(memory),
                position: self.texts[usize::try_from(memory).unwrap()].1,
                occurred_at: Timestamp::from_millis(0),
            }
        }
        fn ask(&mut self, question: &str, mode: RecallMode, limit: usize) -> Vec<Ranked> {
            self.ask_above(&Bar::NONE, question, mode, limit)
        }
        fn ask_above(&mut self, bar: &Bar, question: &str, mode: RecallMode, limit: usize) -> Vec<Ranked> {
            let model = EmbeddingModel {
                id: "m".into(),
                dimensions: 2,
            };
            rank(
                self,
                &query_terms(question),
                Some(&model),
                mode,
                limit,
                bar,
                Timestamp::from_millis(1),
            )
            .unwrap()
        }
        fn handles(&mut self, question: &str, mode: RecallMode) -> Vec<i64> {
            self.ask(question, mode, 100).iter().map(|ranked| ranked.memory).collect()
        }
    }

    impl RecallSource for Shelf {
        type Error = Infallible;
        fn totals(&mut self) -> Result<Totals, Infallible> {
            Ok(Totals {
                documents: self.texts.len() as u64,
                length: self.texts.iter().map(|(text, ..)| u64::from(index_terms(None, text).1)).sum(),
            })
        }
        fn postings(&mut self, term: &str) -> Result<TermPostings, Infallible> {
            let mut postings: Vec<Posting> = (0i64..)
                .zip(&self.texts)
                .filter_map(|(memory, (text, ..))| {
                    let (frequencies, length) = index_terms(None, text);
                    frequencies.get(term).map(|frequency| Posting {
                        memory,
                        frequency: *frequency,
                        length,
                    })
                })
                .collect();
            if self.backwards {
                postings.reverse();
            }
            Ok(TermPostings {
                documents: postings.len() as u64,
                postings,
            })
        }
        fn documents(&mut self, memories: &[i64]) -> Result<Vec<Document>, Infallible> {
            Ok(memories.iter().map(|memory| self.document(*memory)).collect())
        }
        fn at(&mut self, places: &[Position]) -> Result<Vec<Document>, Infallible> {
            Ok((0i64..)
                .zip(&self.texts)
                .filter(|(_, (_, position, _))| position.is_some_and(|position| places.contains(&position)))
                .map(|(memory, _)| self.document(memory))
                .collect())
        }
        fn conversations(&mut self, asked: &[ConversationId]) -> Result<Conversations, Infallible> {
            let mut lengths: BTreeMap<ConversationId, u64> = BTreeMap::new();
            for (text, position, _) in &self.texts {
                if let Some(position) = position {
                    *lengths.entry(position.conversation_id).or_default() += u64::from(index_terms(None, text).1);
                }
            }
            Ok(Conversations {
                totals: Totals {
                    documents: lengths.len() as u64,
                    length: lengths.values().sum(),
                },
                asked: asked
                    .iter()
                    .filter_map(|id| {
                        lengths.get(id).map(|length| Conversation {
                            id: *id,
                            length: *length,
                        })
                    })
                    .collect(),
            })
        }
        fn nearest(&mut self, count: usize) -> Result<Vec<(Document, f32)>, Infallible> {
            let mut near: Vec<(Document, f32)> = (0i64..)
                .zip(&self.texts)
                .map(|(memory, (_, _, cosine))| (self.document(memory), *cosine))
                .collect();
            near.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.id.cmp(&b.0.id)));
            near.truncate(count);
            Ok(near)
        }
        fn cosines(&mut self, memories: &[i64]) -> Result<Vec<Option<f32>>, Infallible> {
            Ok(memories
                .iter()
                .map(|memory| Some(self.texts[usize::try_from(*memory).unwrap()].2))
                .collect())
        }
    }

    fn shelf() -> impl Strategy<Value = Shelf> {
        let text = prop::collection::vec(prop::sample::select(vec!["tea", "lake", "red", "house", "boat"]), 1..8);
        let position = prop::option::of((1i64..4, 1i64..6));
        prop::collection::vec((text, position, -1.0f32..1.0), 1..40).prop_map(|items| Shelf {
            texts: items
                .into_iter()
                .map(|(words, position, cosine)| {
                    let position = position.map(|(conversation, ordinal)| Position {
                        conversation_id: id(conversation),
                        ordinal,
                    });
                    (words.join(" "), position, cosine)
                })
                .collect(),
            backwards: false,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn the_order_of_reading_does_not_matter(mut shelf in shelf(), mode in prop::sample::select(RecallMode::ALL.to_vec())) {
            let once = shelf.ask("red tea house", mode, 10);
            shelf.backwards = true;
            prop_assert_eq!(&once, &shelf.ask("red tea house", mode, 10));
            prop_assert!(once.windows(2).all(|pair| pair[0].score > pair[1].score || (pair[0].score == pair[1].score && pair[0].id < pair[1].id)));
            prop_assert!(once.len() <= 10);
        }

        #[test]
        fn a_shorter_answer_is_the_start_of_a_longer_one(mut shelf in shelf(), mode in prop::sample::select(vec![RecallMode::Fts, RecallMode::Vector])) {
            let long = shelf.ask("boat lake", mode, 20);
            let short = shelf.ask("boat lake", mode, 5);
            prop_assert_eq!(&long[..short.len()], &short[..]);
        }

        #[test]
        fn both_signals_keep_what_words_alone_put_first_when_vectors_say_nothing(mut shelf in shelf()) {
            for text in &mut shelf.texts {
                text.2 = 0.5;
            }
            let words = shelf.handles("red tea house", RecallMode::Fts);
            let both: Vec<i64> = shelf.handles("red tea house", RecallMode::Hybrid).into_iter().filter(|memory| words.contains(memory)).collect();
            // With equal vectors, a memory moves by its neighbours' share at most, and only if it has a position.
            if shelf.texts.iter().all(|(_, position, _)| position.is_none()) {
                prop_assert_eq!(both, words);
            }
        }
    }

    #[test]
    fn what_is_not_about_the_question_is_no_answer() {
        let mut shelf = Shelf {
            texts: vec![
                ("my boat is red".into(), None, 0.6),
                ("a vessel for the lake".into(), None, 0.55),
                ("tea at four".into(), None, 0.1),
                (
                    "the house with the tea garden and the long red fence by the station".into(),
                    None,
                    0.05,
                ),
            ],
            backwards: false,
        };
        let bar = Bar { words: 0.2, cosine: 0.4 };
        for (mode, expected) in [(RecallMode::Hybrid, vec![0, 1]), (RecallMode::Fts, vec![0])] {
            let mut found: Vec<i64> = shelf
                .ask_above(&bar, "where is my boat, the red one", mode, 10)
                .iter()
                .map(|ranked| ranked.memory)
                .collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{mode}");
            assert!(shelf.ask_above(&bar, "opera tickets", RecallMode::Fts, 10).is_empty());
        }
        let vectors = shelf.ask_above(&bar, "", RecallMode::Vector, 10);
        assert_eq!(vectors.len(), 4, "the nearest were asked for");
        for text in &mut shelf.texts {
            text.2 = 0.0;
        }
        assert!(
            shelf.ask("opera tickets", RecallMode::Hybrid, 10).is_empty(),
            "a score of 0.000 is none"
        );
    }

    #[test]
    fn what_surrounds_a_memory_counts() {
        let place = |ordinal| {
            Some(Position {
                conversation_id: id(1),
                ordinal,
            })
        };
        let mut shelf = Shelf {
            texts: vec![
                ("which boat did you buy".into(), place(1), 0.0),
                ("the green one by the jetty".into(), place(2), 0.0),
                ("nothing to see".into(), place(9), 0.0),
                ("a boat".into(), None, 0.0),
            ],
            backwards: false,
        };
        let found = shelf.handles("boat", RecallMode::Fts);
        assert!(found.contains(&1), "the neighbour is a candidate without a word in common");
        assert!(!found.contains(&2));
        assert!(
            shelf
                .ask("boat", RecallMode::Fts, 100)
                .iter()
                .find(|ranked| ranked.memory == 1)
                .is_some_and(|ranked| ranked.score > 0.0)
        );
    }
}
