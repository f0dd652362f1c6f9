//! Adds a memory to the full-text index and the vectors, and takes it out again.

use std::collections::BTreeMap;

use duet_core::{
    domain::{Egress, Embedding, MemoryDomain},
    ids::{UserId, WorkspaceId},
    recall::index_terms,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    error::DbResult,
    recall::{self, Code},
    rows::blob,
};

/// The class of memories with this owner (`None`: shared), created if it does not exist.
pub fn class(
    conn: &Connection,
    workspace: WorkspaceId,
    owner: Option<UserId>,
    domain: MemoryDomain,
    egress: Egress,
) -> DbResult<i64> {
    let owner = owner.map_or_else(Vec::new, |owner| blob(owner).to_vec());
    let named = params![blob(workspace), owner, domain.as_str(), egress.as_str()];
    conn.prepare_cached("INSERT OR IGNORE INTO memory_class (workspace_id, owner, domain, egress) VALUES (?1, ?2, ?3, ?4)")?
        .execute(named)?;
    Ok(conn
        .prepare_cached("SELECT key FROM memory_class WHERE workspace_id = ?1 AND owner = ?2 AND domain = ?3 AND egress = ?4")?
        .query_row(named, |row| row.get(0))?)
}

/// Indexes a memory's text.
pub fn add_text(conn: &Connection, memory: i64, class: i64, speaker: Option<&str>, text: &str) -> DbResult<()> {
    let (frequencies, length) = index_terms(speaker, text);
    let mut insert =
        conn.prepare_cached("INSERT INTO memory_term (class, term, memory, frequency, length) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (term, frequency) in &frequencies {
        insert.execute(params![class, term, memory, frequency, length])?;
    }
    conn.prepare_cached("UPDATE memory_content SET terms = ?2 WHERE memory = ?1")?
        .execute(params![memory, serde_json::to_string(&frequencies)?])?;
    conn.prepare_cached("UPDATE memory SET length = ?2 WHERE key = ?1")?
        .execute(params![memory, length])?;
    count(conn, memory, class, 1, i64::from(length))
}

/// Takes a memory out of the full-text index exactly as it was put in; returns how many postings it had.
pub fn remove_text(conn: &Connection, memory: i64) -> DbResult<u64> {
    let found = conn
        .prepare_cached(
            "SELECT m.class, m.length, c.terms FROM memory m JOIN memory_content c ON c.memory = m.key WHERE m.key = ?1",
        )?
        .query_row([memory], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, Option<i64>>(1)?,
                row.get::<_, Option<String>>(2)?,
            ))
        })?;
    let (class, Some(length), Some(terms)) = found else {
        return Ok(0);
    };
    let frequencies: BTreeMap<String, u32> = serde_json::from_str(&terms)?;
    let mut delete = conn.prepare_cached("DELETE FROM memory_term WHERE class = ?1 AND term = ?2 AND memory = ?3")?;
    let mut removed = 0;
    for term in frequencies.keys() {
        removed += delete.execute(params![class, term, memory])? as u64;
    }
    conn.prepare_cached("UPDATE memory_content SET terms = NULL WHERE memory = ?1")?
        .execute([memory])?;
    count(conn, memory, class, -1, -length)?;
    conn.prepare_cached("UPDATE memory SET length = NULL WHERE key = ?1")?
        .execute([memory])?;
    Ok(removed)
}

/// Adds a memory to the counts, or subtracts it.
fn count(conn: &Connection, memory: i64, class: i64, documents: i64, length: i64) -> DbResult<()> {
    conn.prepare_cached("UPDATE memory_class SET documents = documents + ?2, length = length + ?3 WHERE key = ?1")?
        .execute(params![class, documents, length])?;
    let conversation: Option<Vec<u8>> = conn
        .prepare_cached("SELECT conversation_id FROM memory WHERE key = ?1")?
        .query_row([memory], |row| row.get(0))?;
    if let Some(conversation) = conversation {
        conn.prepare_cached(
            "INSERT OR IGNORE INTO memory_thread (class, conversation_id, documents, length) VALUES (?1, ?2, 0, 0)",
        )?
        .execute(params![class, conversation])?;
        conn.prepare_cached(
            "UPDATE memory_thread SET documents = documents + ?3, length = length + ?4 WHERE class = ?1 AND conversation_id = ?2",
        )?
        .execute(params![class, conversation, documents, length])?;
    }
    Ok(())
}

/// Stores a memory's vector with its code, replacing one of another model. Not for a memory that is not live.
pub fn add_vector(conn: &Connection, memory: i64, embedding: &Embedding) -> DbResult<()> {
    let (workspace, class, expires_at) = conn
        .prepare_cached("SELECT workspace_id, class, expires_at FROM memory WHERE key = ?1 AND live = 1")?
        .query_row([memory], |row| {
            Ok((
                row.get::<_, [u8; 16]>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, Option<i64>>(2)?,
            ))
        })?;
    remove_vector(conn, memory, Bits::Later)?;
    let model = model(conn, embedding)?;
    conn.prepare_cached("INSERT OR IGNORE INTO memory_partition (workspace_id, model) VALUES (?1, ?2)")?
        .execute(params![workspace, model])?;
    let partition: i64 = conn
        .prepare_cached("SELECT key FROM memory_partition WHERE workspace_id = ?1 AND model = ?2")?
        .query_row(params![workspace, model], |row| row.get(0))?;
    let seq = changed(conn, partition, 1)?;
    let vector: i64 = conn
        .prepare_cached("INSERT INTO memory_vector (memory, partition, seq, vector) VALUES (?1, ?2, ?3, ?4) RETURNING key")?
        .query_row(params![memory, partition, seq, recall::bytes_of(&embedding.vector)], |row| {
            row.get(0)
        })?;
    let code = Code::of(&embedding.vector);
    let bytes: Vec<u8> = code.code.iter().map(|step| step.cast_unsigned()).collect();
    conn.prepare_cached(
        "INSERT INTO memory_code (partition, seq, vector, memory, class, expires_at, scale, error, code)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        partition,
        seq,
        vector,
        memory,
        class,
        expires_at,
        f64::from(code.scale),
        f64::from(code.error),
        bytes
    ])?;
    conn.prepare_cached("UPDATE memory SET embedded = ?2 WHERE key = ?1")?
        .execute(params![memory, model])?;
    Ok(())
}

/// Whether the bit index is cleaned at once, or by the next upkeep (agents' connections do not reach it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// At once.
    Now,
    /// By the next upkeep; until then the entry points nowhere.
    Later,
}

/// What was removed along with a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovedVector {
    /// Float rows.
    pub vectors: u64,
    /// Codes of one byte per dimension.
    pub codes: u64,
    /// Entries of the bit index.
    pub bits: u64,
    /// The partition that it was in.
    pub partition: Option<i64>,
}

/// Removes a memory's vector, if it has one, with its codes.
pub fn remove_vector(conn: &Connection, memory: i64, bits: Bits) -> DbResult<RemovedVector> {
    let found = conn
        .prepare_cached(
            "SELECT v.key, v.partition, v.seq, d.dimensions FROM memory_vector v
             JOIN memory_partition p ON p.key = v.partition JOIN embedding_model d ON d.key = p.model WHERE v.memory = ?1",
        )?
        .query_row([memory], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, i64>(2)?,
                row.get::<_, i64>(3)?,
            ))
        })
        .optional()?;
    let Some((vector, partition, seq, dimensions)) = found else {
        return Ok(RemovedVector::default());
    };
    let codes = conn
        .prepare_cached("DELETE FROM memory_code WHERE partition = ?1 AND seq = ?2")?
        .execute([partition, seq])?;
    let vectors = conn
        .prepare_cached("DELETE FROM memory_vector WHERE key = ?1")?
        .execute([vector])?;
    let bits = bits == Bits::Now && recall::remove_bits(conn, usize::try_from(dimensions).unwrap_or(0), vector)?;
    let generation = changed(conn, partition, -1)?;
    conn.prepare_cached("INSERT INTO memory_code_gone (partition, generation, vector) VALUES (?1, ?2, ?3)")?
        .execute([partition, generation, vector])?;
    conn.prepare_cached("UPDATE memory SET embedded = NULL WHERE key = ?1")?
        .execute([memory])?;
    Ok(RemovedVector {
        vectors: vectors as u64,
        codes: codes as u64,
        bits: u64::from(bits),
        partition: Some(partition),
    })
}

/// A memory's vector as it was stored.
pub fn vector(conn: &Connection, memory: i64) -> DbResult<Option<Embedding>> {
    let mut statement = conn.prepare_cached(
        "SELECT d.id, d.dimensions, v.vector FROM memory_vector v
         JOIN memory_partition p ON p.key = v.partition JOIN embedding_model d ON d.key = p.model WHERE v.memory = ?1",
    )?;
    let found = statement.query_row([memory], |row| {
        Ok(Embedding {
            model: duet_core::domain::EmbeddingModel {
                id: row.get(0)?,
                dimensions: row.get(1)?,
            },
            vector: recall::vector_of(row.get_ref(2)?.as_blob()?),
        })
    });
    Ok(found.optional()?)
}

fn model(conn: &Connection, embedding: &Embedding) -> DbResult<i64> {
    let named = params![embedding.model.id, embedding.model.dimensions];
    conn.prepare_cached("INSERT OR IGNORE INTO embedding_model (id, dimensions) VALUES (?1, ?2)")?
        .execute(named)?;
    Ok(conn
        .prepare_cached("SELECT key FROM embedding_model WHERE id = ?1 AND dimensions = ?2")?
        .query_row(named, |row| row.get(0))?)
}

/// Counts a change of a partition and returns its number.
fn changed(conn: &Connection, partition: i64, vectors: i64) -> DbResult<i64> {
    Ok(conn
        .prepare_cached(
            "UPDATE memory_partition SET generation = generation + 1, vectors = vectors + ?2 WHERE key = ?1 RETURNING generation",
        )?
        .query_row([partition, vectors], |row| row.get(0))?)
}
