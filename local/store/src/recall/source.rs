//! What [`duet_core::recall`] ranks, read from one snapshot.

use std::sync::{Arc, PoisonError};

use duet_core::{
    Timestamp,
    domain::{Embedding, Position},
    ids::ConversationId,
    recall::{Conversation, Conversations, Document, Posting, RecallSource, TermPostings, Totals},
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    EXACT_DIMENSIONS, bits,
    block::{Block, Near, by_cosine, keep_with_equals},
    cache::VectorCache,
    load::Load,
    quantize::QuestionCode,
    vectors::{self, Partition},
};
use crate::{
    error::{DbError, DbResult},
    rows::{blob, id, time},
};

/// The question of one recall: everything that narrows it.
pub struct Question {
    /// The classes that may be found.
    pub classes: Vec<i64>,
    /// The time of asking.
    pub now: Timestamp,
    /// The workspace.
    pub workspace: [u8; 16],
    /// The question's vector.
    pub embedding: Option<Embedding>,
}

/// Reads for one recall.
pub struct Source<'a> {
    conn: &'a Connection,
    cache: &'a Arc<VectorCache>,
    question: &'a Question,
    /// A partition that was answered without its codes and should be loaded.
    pub load: Option<Load>,
}

const DOCUMENT: &str = "key, id, conversation_id, ordinal, occurred_at";

impl<'a> Source<'a> {
    /// For one question on one snapshot.
    pub fn new(conn: &'a Connection, cache: &'a Arc<VectorCache>, question: &'a Question) -> Self {
        Self {
            conn,
            cache,
            question,
            load: None,
        }
    }

    fn partition(&self, embedding: &Embedding) -> DbResult<Option<Partition>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT p.key, p.generation, p.vectors, p.bits_seq
             FROM embedding_model m JOIN memory_partition p ON p.workspace_id = ?1 AND p.model = m.key
             WHERE m.id = ?2 AND m.dimensions = ?3",
        )?;
        let found = statement.query_row(
            params![self.question.workspace, embedding.model.id, embedding.model.dimensions],
            |row| {
                Ok(Partition {
                    key: row.get(0)?,
                    generation: row.get(1)?,
                    vectors: usize::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
                    bits_seq: row.get(3)?,
                })
            },
        );
        Ok(found.optional()?)
    }

    fn nearest_keys(&mut self, embedding: &Embedding, count: usize) -> DbResult<Vec<Near>> {
        let Some(partition) = self.partition(embedding)? else {
            return Ok(Vec::new());
        };
        let vector = &embedding.vector;
        if let Some(shared) = self.cache.get(partition.key) {
            let block = shared.read().unwrap_or_else(PoisonError::into_inner);
            if block.generation >= partition.generation {
                return self.search(&block, vector, count);
            }
            drop(block);
            let mut block = shared.write().unwrap_or_else(PoisonError::into_inner);
            vectors::catch_up(self.conn, partition, &mut block)?;
            let bytes = block.bytes();
            drop(block);
            self.cache.resized(partition.key, bytes);
            let block = shared.read().unwrap_or_else(PoisonError::into_inner);
            return self.search(&block, vector, count);
        }
        let wanted = self
            .cache
            .want(partition.key, Block::bytes_for(vector.len(), partition.vectors));
        if vector.len() <= EXACT_DIMENSIONS || partition.bits_seq == 0 {
            // Narrow or small: the codes are read at once, and kept if there is room.
            let block = vectors::load_block(self.conn, partition, vector.len())?;
            return match wanted {
                Some(wanted) => {
                    let shared = self.cache.put(wanted.partition, block);
                    let block = shared.read().unwrap_or_else(PoisonError::into_inner);
                    self.search(&block, vector, count)
                }
                None => self.search(&block, vector, count),
            };
        }
        self.load = wanted.map(|wanted| Load::new(wanted, partition, vector.len()));
        self.cold(partition, vector, count)
    }

    fn search(&self, block: &Block, vector: &[f32], count: usize) -> DbResult<Vec<Near>> {
        let now = self.question.now.millis();
        block.nearest(&QuestionCode::of(vector), &self.question.classes, now, count, |key| {
            vectors::exact(self.conn, vector, key)
        })
    }

    /// The bit index for what it has, the codes for anything newer.
    fn cold(&self, partition: Partition, vector: &[f32], count: usize) -> DbResult<Vec<Near>> {
        let mut recent = Block::new(vector.len());
        vectors::entries(self.conn, partition.key, partition.bits_seq, |entry| recent.push(entry))?;
        let mut near = self.search(&recent, vector, count)?;
        let mut statement = self.conn.prepare_cached(
            "SELECT v.memory, v.vector FROM memory_vector v JOIN memory m ON m.key = v.memory
             WHERE v.key = ?1 AND (m.expires_at IS NULL OR m.expires_at > ?2)",
        )?;
        for key in bits::candidates(self.conn, partition.key, vector, &self.question.classes, count)? {
            let found = statement
                .query_row(params![key, self.question.now.millis()], |row| {
                    Ok(Near {
                        memory: row.get(0)?,
                        cosine: super::simd::cosine(vector, &vectors::vector_of(row.get_ref(1)?.as_blob()?)),
                    })
                })
                .optional()?;
            near.extend(found);
        }
        near.sort_by(by_cosine);
        keep_with_equals(&mut near, count);
        Ok(near)
    }

    fn document(&self, key: i64) -> DbResult<Option<Document>> {
        let mut statement = self.conn.prepare_cached(&format!(
            "SELECT {DOCUMENT} FROM memory WHERE key = ?1 AND live = 1 AND (expires_at IS NULL OR expires_at > ?2)"
        ))?;
        Ok(statement
            .query_row(params![key, self.question.now.millis()], document)
            .optional()?)
    }
}

fn document(row: &Row<'_>) -> rusqlite::Result<Document> {
    let position = match row.get::<_, Option<i64>>(3)? {
        Some(ordinal) => Some(Position {
            conversation_id: id(row, "conversation_id")?,
            ordinal,
        }),
        None => None,
    };
    Ok(Document {
        memory: row.get(0)?,
        id: id(row, "id")?,
        position,
        occurred_at: time(row, "occurred_at")?,
    })
}

impl RecallSource for Source<'_> {
    type Error = DbError;

    fn totals(&mut self) -> DbResult<Totals> {
        let mut totals = Totals::default();
        let mut statement = self
            .conn
            .prepare_cached("SELECT documents, length FROM memory_class WHERE key = ?1")?;
        for class in &self.question.classes {
            let (documents, length) = statement.query_row([class], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
            totals.documents += documents.unsigned_abs();
            totals.length += length.unsigned_abs();
        }
        Ok(totals)
    }

    fn postings(&mut self, term: &str) -> DbResult<TermPostings> {
        let mut statement = self
            .conn
            .prepare_cached("SELECT memory, frequency, length FROM memory_term WHERE class = ?1 AND term = ?2")?;
        let mut postings = Vec::new();
        for class in &self.question.classes {
            let mut rows = statement.query(params![class, term])?;
            while let Some(row) = rows.next()? {
                postings.push(Posting {
                    memory: row.get(0)?,
                    frequency: row.get(1)?,
                    length: row.get(2)?,
                });
            }
        }
        Ok(TermPostings {
            documents: postings.len() as u64,
            postings,
        })
    }

    fn documents(&mut self, memories: &[i64]) -> DbResult<Vec<Document>> {
        let mut documents = Vec::with_capacity(memories.len());
        for key in memories {
            documents.extend(self.document(*key)?);
        }
        Ok(documents)
    }

    fn at(&mut self, places: &[Position]) -> DbResult<Vec<Document>> {
        let mut statement = self.conn.prepare_cached(&format!(
            "SELECT {DOCUMENT}, class FROM memory
             WHERE workspace_id = ?1 AND conversation_id = ?2 AND ordinal = ?3 AND live = 1 AND (expires_at IS NULL OR expires_at > ?4)"
        ))?;
        let mut documents = Vec::new();
        for place in places {
            let found = params![
                self.question.workspace,
                blob(place.conversation_id),
                place.ordinal,
                self.question.now.millis()
            ];
            let mut rows = statement.query(found)?;
            while let Some(row) = rows.next()? {
                if self.question.classes.contains(&row.get("class")?) {
                    documents.push(document(row)?);
                }
            }
        }
        Ok(documents)
    }

    fn conversations(&mut self, asked: &[ConversationId]) -> DbResult<Conversations> {
        let mut lengths: std::collections::BTreeMap<[u8; 16], u64> = std::collections::BTreeMap::new();
        let mut statement = self
            .conn
            .prepare_cached("SELECT conversation_id, length FROM memory_thread WHERE class = ?1 AND documents > 0")?;
        for class in &self.question.classes {
            let mut rows = statement.query([class])?;
            while let Some(row) = rows.next()? {
                *lengths.entry(row.get(0)?).or_default() += row.get::<_, i64>(1)?.unsigned_abs();
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
                    lengths.get(&blob(*id)).map(|length| Conversation {
                        id: *id,
                        length: *length,
                    })
                })
                .collect(),
        })
    }

    fn nearest(&mut self, count: usize) -> DbResult<Vec<(Document, f32)>> {
        let question = self.question;
        let Some(embedding) = &question.embedding else {
            return Ok(Vec::new());
        };
        let mut found = Vec::with_capacity(count);
        for near in self.nearest_keys(embedding, count)? {
            found.extend(self.document(near.memory)?.map(|document| (document, near.cosine)));
        }
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.id.cmp(&b.0.id)));
        found.truncate(count);
        Ok(found)
    }

    fn cosines(&mut self, memories: &[i64]) -> DbResult<Vec<Option<f32>>> {
        let question = self.question;
        let Some(embedding) = &question.embedding else {
            return Ok(vec![None; memories.len()]);
        };
        let Some(partition) = self.partition(embedding)? else {
            return Ok(vec![None; memories.len()]);
        };
        let mut statement = self
            .conn
            .prepare_cached("SELECT vector FROM memory_vector WHERE memory = ?1 AND partition = ?2")?;
        let mut cosines = Vec::with_capacity(memories.len());
        for memory in memories {
            let cosine = statement
                .query_row(params![memory, partition.key], |row| {
                    Ok(super::simd::cosine(
                        &embedding.vector,
                        &vectors::vector_of(row.get_ref(0)?.as_blob()?),
                    ))
                })
                .optional()?;
            cosines.push(cosine);
        }
        Ok(cosines)
    }
}
