//! One call fetches everything that ranking would read: answers equal those of a source that holds everything, beyond the cut of the
//! word matches, with neighbours, conversations and vectors.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
};

use duet_core::{
    contract::{
        Harness, TestEnv, World,
        memories::{direction, fact, model},
    },
    domain::{Bar, Embedding, Locality, MemoryDomain, NewMemory, Position, RecallMode, RecallQuery},
    ids::ConversationId,
    recall::{
        self, Conversation, Conversations, Document, Posting, RecallSource, TermPostings, Totals, index_terms, query_terms,
    },
};
use duet_supabase::testing::ServedDatabase;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Everything, in storage order; the index is the handle.
struct Everything<'a> {
    memories: &'a [(NewMemory, Embedding)],
    question: &'a Embedding,
}

impl Everything<'_> {
    fn document(&self, handle: i64) -> Document {
        let (memory, _) = &self.memories[usize::try_from(handle).unwrap()];
        Document {
            memory: handle,
            id: memory.id,
            position: memory.position,
            occurred_at: memory.occurred_at,
        }
    }

    fn cosine(&self, handle: i64) -> f32 {
        let (_, vector) = &self.memories[usize::try_from(handle).unwrap()];
        vector.vector.iter().zip(&self.question.vector).map(|(a, b)| a * b).sum()
    }

    fn handles(&self) -> impl Iterator<Item = (i64, &NewMemory)> {
        (0..).zip(self.memories.iter().map(|(memory, _)| memory))
    }
}

impl RecallSource for Everything<'_> {
    type Error = Infallible;

    fn totals(&mut self) -> Result<Totals, Infallible> {
        Ok(Totals {
            documents: self.memories.len() as u64,
            length: self
                .handles()
                .map(|(_, memory)| u64::from(index_terms(None, &memory.text).1))
                .sum(),
        })
    }

    fn postings(&mut self, term: &str) -> Result<TermPostings, Infallible> {
        let postings: Vec<Posting> = self
            .handles()
            .filter_map(|(handle, memory)| {
                let (frequencies, length) = index_terms(None, &memory.text);
                frequencies.get(term).map(|frequency| Posting {
                    memory: handle,
                    frequency: *frequency,
                    length,
                })
            })
            .collect();
        Ok(TermPostings {
            documents: postings.len() as u64,
            postings,
        })
    }

    fn documents(&mut self, memories: &[i64]) -> Result<Vec<Document>, Infallible> {
        Ok(memories.iter().map(|handle| self.document(*handle)).collect())
    }

    fn at(&mut self, places: &[Position]) -> Result<Vec<Document>, Infallible> {
        let there = |(_, memory): &(i64, &NewMemory)| memory.position.is_some_and(|place| places.contains(&place));
        Ok(self
            .handles()
            .filter(there)
            .map(|(handle, _)| self.document(handle))
            .collect())
    }

    fn conversations(&mut self, asked: &[ConversationId]) -> Result<Conversations, Infallible> {
        let mut lengths: BTreeMap<ConversationId, u64> = BTreeMap::new();
        for (_, memory) in self.handles() {
            if let Some(place) = memory.position {
                *lengths.entry(place.conversation_id).or_default() += u64::from(index_terms(None, &memory.text).1);
            }
        }
        Ok(Conversations {
            totals: Totals {
                documents: lengths.len() as u64,
                length: lengths.values().sum(),
            },
            asked: asked
                .iter()
                .map(|id| Conversation {
                    id: *id,
                    length: lengths[id],
                })
                .collect(),
        })
    }

    fn nearest(&mut self, count: usize) -> Result<Vec<(Document, f32)>, Infallible> {
        let mut near: Vec<(Document, f32)> = self
            .handles()
            .map(|(handle, _)| (self.document(handle), self.cosine(handle)))
            .collect();
        near.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.id.cmp(&b.0.id)));
        near.truncate(count);
        Ok(near)
    }

    fn cosines(&mut self, memories: &[i64]) -> Result<Vec<Option<f32>>, Infallible> {
        Ok(memories.iter().map(|handle| Some(self.cosine(*handle))).collect())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_those_of_everything_read() {
    const WORDS: &[&str] = &[
        "tea", "lake", "red", "house", "boat", "cello", "train", "garden", "violet", "mountain",
    ];
    let served = ServedDatabase::telling(TestEnv::new(3).standing_still()).await;
    let world = World::new(&served).await;
    // Written over one transport, queried over both.
    let (over_sqlx, over_rest) = (served.database.stores(), served.stores());
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let talks: Vec<ConversationId> = (0..12).map(|_| world.env.id()).collect();
    let mut ordinals: HashMap<ConversationId, i64> = HashMap::new();
    let mut stored = Vec::new();
    for _ in 0..700 {
        let length = random.random_range(3..14);
        // The first words are the most common, so that more memories match than are considered.
        let words: Vec<&str> = (0..length)
            .map(|_| WORDS[random.random_range(0..WORDS.len()).min(random.random_range(0..WORDS.len()))])
            .collect();
        let mut memory = fact(&world.env, &words.join(" "));
        if random.random_range(0..4) > 0 {
            let conversation_id = talks[random.random_range(0..talks.len())];
            let ordinal = ordinals.entry(conversation_id).or_default();
            *ordinal += 1;
            memory.domain = MemoryDomain::Episodic;
            memory.position = Some(Position {
                conversation_id,
                ordinal: *ordinal,
            });
        }
        let vector = direction(&mut random, "other/model", 24);
        over_sqlx
            .memories
            .remember(&world.owner, memory.clone(), Some(vector.clone()))
            .await
            .unwrap();
        stored.push((memory, vector));
    }
    for (text, limit) in [
        ("tea lake", 10),
        ("the red house by the boat", 10),
        ("violet mountain cello tea", 30),
        ("train", 100),
    ] {
        let question = direction(&mut random, "other/model", 24);
        for mode in [RecallMode::Fts, RecallMode::Vector, RecallMode::Hybrid] {
            let query = RecallQuery {
                text: text.into(),
                embedding: Some(question.clone()),
                mode,
                limit,
                domains: None,
                locality: Locality::Local,
                bar: Bar::NONE,
                now: world.env.now(),
            };
            let terms = if mode == RecallMode::Vector {
                Vec::new()
            } else {
                query_terms(text)
            };
            let mut everything = Everything {
                memories: &stored,
                question: &question,
            };
            let Ok(expected) = recall::rank(
                &mut everything,
                &terms,
                Some(&model("other/model", 24)),
                mode,
                limit,
                &query.bar,
                query.now,
            );
            for (transport, stores) in [("sqlx", &over_sqlx), ("PostgREST", &over_rest)] {
                let answer = stores.memories.recall(&world.owner, query.clone()).await.unwrap();
                let found: Vec<_> = answer.items.iter().map(|item| item.memory.id).collect();
                assert_eq!(
                    found,
                    expected.iter().map(|ranked| ranked.id).collect::<Vec<_>>(),
                    "{text}, {mode}, {transport}"
                );
                for (item, ranked) in answer.items.iter().zip(&expected) {
                    assert!(
                        (f64::from(item.score) - ranked.score).abs() < 1e-4,
                        "{text}, {mode}, {transport}"
                    );
                }
            }
        }
    }
}
