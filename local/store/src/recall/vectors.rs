//! Codes and vectors as rows.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    block::{Block, Entry},
    quantize::Code,
    simd,
};
use crate::error::DbResult;

/// A vector as it is stored.
pub fn bytes_of(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// A stored vector.
pub fn vector_of(bytes: &[u8]) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<4>();
    chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
}

/// The exact cosine of a stored vector, by its key; `None` when it is gone.
pub fn exact(conn: &Connection, question: &[f32], vector: i64) -> DbResult<Option<f32>> {
    let mut statement = conn.prepare_cached("SELECT vector FROM memory_vector WHERE key = ?1")?;
    Ok(statement
        .query_row([vector], |row| {
            Ok(simd::cosine(question, &vector_of(row.get_ref(0)?.as_blob()?)))
        })
        .optional()?)
}

/// The codes of a partition added after `seq`, in order.
pub fn entries(conn: &Connection, partition: i64, seq: i64, mut each: impl FnMut(Entry)) -> DbResult<()> {
    let mut statement = conn.prepare_cached(
        "SELECT seq, vector, memory, class, expires_at, scale, error, code FROM memory_code WHERE partition = ?1 AND seq > ?2 ORDER BY seq",
    )?;
    let mut rows = statement.query(params![partition, seq])?;
    while let Some(row) = rows.next()? {
        #[expect(clippy::cast_possible_truncation, reason = "stored from single precision")]
        each(Entry {
            seq: row.get(0)?,
            vector: row.get(1)?,
            memory: row.get(2)?,
            class: row.get(3)?,
            expires_at: row.get(4)?,
            code: Code {
                scale: row.get::<_, f64>(5)? as f32,
                error: row.get::<_, f64>(6)? as f32,
                code: row
                    .get_ref(7)?
                    .as_blob()
                    .map_err(rusqlite::Error::from)?
                    .iter()
                    .map(|byte| byte.cast_signed())
                    .collect(),
            },
        });
    }
    Ok(())
}

/// What a partition holds, as of this snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Partition {
    /// Its key.
    pub key: i64,
    /// How many changes there were so far.
    pub generation: i64,
    /// Vectors in it.
    pub vectors: usize,
    /// The bit index has the codes up to this one.
    pub bits_seq: i64,
}

/// Reads all codes of a partition.
pub fn load_block(conn: &Connection, partition: Partition, dimensions: usize) -> DbResult<Block> {
    let mut block = Block::new(dimensions);
    block.reserve(partition.vectors);
    entries(conn, partition.key, 0, |entry| block.push(entry))?;
    block.generation = block.generation.max(partition.generation);
    Ok(block)
}

/// Brings a cached block to this snapshot's state.
pub fn catch_up(conn: &Connection, partition: Partition, block: &mut Block) -> DbResult<()> {
    let seen = block.generation;
    let mut statement = conn.prepare_cached("SELECT vector FROM memory_code_gone WHERE partition = ?1 AND generation > ?2")?;
    let mut gone = statement.query(params![partition.key, seen])?;
    while let Some(row) = gone.next()? {
        block.remove(row.get(0)?);
    }
    entries(conn, partition.key, seen, |entry| block.push(entry))?;
    block.generation = block.generation.max(partition.generation);
    Ok(())
}
