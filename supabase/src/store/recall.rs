//! The data that [`duet_core::recall`] ranks, prefetched in one call.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
};

use duet_core::{
    Timestamp,
    domain::Position,
    ids::{ConversationId, MemoryId},
    recall::{Conversation, Conversations, Document, Posting, RecallSource, TermPostings, Totals},
};
use serde::Deserialize;

/// The answer of `memory_recall_bundle`, column by column. A column without rows is `null`.
#[derive(Deserialize)]
pub struct Bundle {
    totals: Counters,
    terms: Option<Vec<u64>>,
    documents: Documents,
    postings: Postings,
    conversations: Threads,
    nearest: Cosines,
    cosines: Cosines,
}

#[derive(Deserialize)]
struct Counters {
    documents: u64,
    length: u64,
}

#[derive(Deserialize)]
struct Documents {
    id: Option<Vec<MemoryId>>,
    conversation_id: Option<Vec<Option<ConversationId>>>,
    ordinal: Option<Vec<Option<i64>>>,
    occurred_at: Option<Vec<i64>>,
}

#[derive(Deserialize)]
struct Postings {
    term: Option<Vec<usize>>,
    memory: Option<Vec<i64>>,
    frequency: Option<Vec<u32>>,
    length: Option<Vec<u32>>,
}

#[derive(Deserialize)]
struct Threads {
    documents: u64,
    length: u64,
    id: Option<Vec<ConversationId>>,
    of: Option<Vec<u64>>,
}

#[derive(Deserialize)]
struct Cosines {
    memory: Option<Vec<i64>>,
    cosine: Option<Vec<f32>>,
}

impl Cosines {
    fn rows(self) -> impl Iterator<Item = (i64, f32)> {
        self.memory
            .unwrap_or_default()
            .into_iter()
            .zip(self.cosine.unwrap_or_default())
    }
}

/// Everything that ranking may read for one query. A memory's handle is its index among the documents.
pub struct Prefetched {
    totals: Totals,
    postings: HashMap<String, TermPostings>,
    documents: Vec<Document>,
    conversations: Totals,
    lengths: HashMap<ConversationId, u64>,
    nearest: Vec<(i64, f32)>,
    cosines: HashMap<i64, f32>,
}

impl Prefetched {
    /// Unpacks the answer for these terms.
    pub fn new(bundle: Bundle, terms: &[String]) -> Self {
        let Bundle { documents, postings, .. } = bundle;
        let documents = (0..)
            .zip(documents.id.unwrap_or_default())
            .zip(documents.conversation_id.unwrap_or_default())
            .zip(documents.ordinal.unwrap_or_default())
            .zip(documents.occurred_at.unwrap_or_default())
            .map(|((((memory, id), conversation), ordinal), occurred_at)| Document {
                memory,
                id,
                position: conversation.zip(ordinal).map(|(conversation_id, ordinal)| Position {
                    conversation_id,
                    ordinal,
                }),
                occurred_at: Timestamp::from_millis(occurred_at),
            })
            .collect();
        let mut by_term: Vec<TermPostings> = bundle
            .terms
            .unwrap_or_default()
            .into_iter()
            .map(|documents| TermPostings {
                documents,
                postings: Vec::new(),
            })
            .collect();
        let rows = postings
            .term
            .unwrap_or_default()
            .into_iter()
            .zip(postings.memory.unwrap_or_default())
            .zip(postings.frequency.unwrap_or_default())
            .zip(postings.length.unwrap_or_default());
        for (((term, memory), frequency), length) in rows {
            if let Some(of_term) = by_term.get_mut(term) {
                of_term.postings.push(Posting {
                    memory,
                    frequency,
                    length,
                });
            }
        }
        Self {
            totals: Totals {
                documents: bundle.totals.documents,
                length: bundle.totals.length,
            },
            postings: terms.iter().cloned().zip(by_term).collect(),
            documents,
            conversations: Totals {
                documents: bundle.conversations.documents,
                length: bundle.conversations.length,
            },
            lengths: bundle
                .conversations
                .id
                .unwrap_or_default()
                .into_iter()
                .zip(bundle.conversations.of.unwrap_or_default())
                .collect(),
            nearest: bundle.nearest.rows().collect(),
            cosines: bundle.cosines.rows().collect(),
        }
    }

    fn document(&self, memory: i64) -> Option<Document> {
        usize::try_from(memory)
            .ok()
            .and_then(|place| self.documents.get(place))
            .copied()
    }
}

impl RecallSource for Prefetched {
    type Error = Infallible;

    fn totals(&mut self) -> Result<Totals, Infallible> {
        Ok(self.totals)
    }

    fn postings(&mut self, term: &str) -> Result<TermPostings, Infallible> {
        Ok(self.postings.get(term).cloned().unwrap_or_default())
    }

    fn documents(&mut self, memories: &[i64]) -> Result<Vec<Document>, Infallible> {
        Ok(memories.iter().filter_map(|memory| self.document(*memory)).collect())
    }

    fn at(&mut self, places: &[Position]) -> Result<Vec<Document>, Infallible> {
        let places: HashSet<&Position> = places.iter().collect();
        let there = |document: &&Document| document.position.as_ref().is_some_and(|place| places.contains(place));
        Ok(self.documents.iter().filter(there).copied().collect())
    }

    fn conversations(&mut self, asked: &[ConversationId]) -> Result<Conversations, Infallible> {
        Ok(Conversations {
            totals: self.conversations,
            asked: asked
                .iter()
                .filter_map(|id| {
                    self.lengths.get(id).map(|length| Conversation {
                        id: *id,
                        length: *length,
                    })
                })
                .collect(),
        })
    }

    fn nearest(&mut self, count: usize) -> Result<Vec<(Document, f32)>, Infallible> {
        let known = |(memory, cosine): &(i64, f32)| self.document(*memory).map(|document| (document, *cosine));
        Ok(self.nearest.iter().filter_map(known).take(count).collect())
    }

    fn cosines(&mut self, memories: &[i64]) -> Result<Vec<Option<f32>>, Infallible> {
        Ok(memories.iter().map(|memory| self.cosines.get(memory).copied()).collect())
    }
}
