//! The bit index: one bit per dimension in sqlite-vec, for workspaces whose codes are not in memory.
//!
//! Bits are signs relative to the mean of the partition's vectors: embeddings share a direction, and most signs around zero would
//! agree. [`maintain`] fills the index behind the writes; codes that are not in it yet are searched directly.

use duet_core::StoreResult;
use rusqlite::{Connection, OptionalExtension, params};

use super::{EXACT_DIMENSIONS, vectors};
use crate::{db::Db, error::DbResult};

/// Candidates that the bits yield for exact comparison. Measured on 10,000 × 1536: 100 found .88 of the true ten on hard data,
/// 200 .9995, 400 all.
const CANDIDATES: usize = 400;
/// Codes that may wait for the index: searching them directly costs less than the index itself.
const WAITING: i64 = 256;
/// Codes indexed per transaction.
const STEP: usize = 2_000;

fn table(dimensions: usize) -> String {
    format!("memory_bits_{dimensions}")
}

/// The signs of a vector around a mean, eight per byte, lowest bit first; padded to whole bytes.
fn bits_of(vector: impl Iterator<Item = f32>, mean: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0u8; mean.len().div_ceil(8)];
    for (place, (x, m)) in vector.zip(mean).enumerate() {
        if x > *m {
            bytes[place / 8] |= 1 << (place % 8);
        }
    }
    bytes
}

/// Keys of the vectors whose bits are nearest to the question's, within these classes.
pub fn candidates(conn: &Connection, partition: i64, question: &[f32], classes: &[i64], count: usize) -> DbResult<Vec<i64>> {
    let mean: Vec<u8> = conn.query_row("SELECT mean FROM memory_partition WHERE key = ?1", [partition], |row| {
        row.get(0)
    })?;
    let bits = bits_of(question.iter().copied(), &vectors::vector_of(&mean));
    let classes = classes.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    let mut statement = conn.prepare_cached(&format!(
        "SELECT rowid FROM {} WHERE bits MATCH vec_bit(?1) AND k = ?2 AND partition = ?3 AND class IN ({classes})",
        table(question.len())
    ))?;
    let wanted = count.saturating_mul(8).clamp(CANDIDATES, 4096);
    let keys = statement.query_map(params![bits, i64::try_from(wanted).unwrap_or(4096), partition], |row| {
        row.get(0)
    })?;
    Ok(keys.collect::<Result<_, _>>()?)
}

/// Takes a vector out of the index, if it is there; returns whether it was.
pub fn remove(conn: &Connection, dimensions: usize, vector: i64) -> DbResult<bool> {
    if dimensions <= EXACT_DIMENSIONS || !exists(conn, dimensions)? {
        return Ok(false);
    }
    Ok(conn.execute(&format!("DELETE FROM {} WHERE rowid = ?1", table(dimensions)), [vector])? > 0)
}

fn exists(conn: &Connection, dimensions: usize) -> DbResult<bool> {
    let mut statement = conn.prepare_cached("SELECT 1 FROM sqlite_master WHERE name = ?1")?;
    Ok(statement.exists([table(dimensions)])?)
}

/// Creates the table for these dimensions. Not a migration: dimensions are known when a model is first used.
fn create(conn: &Connection, dimensions: usize) -> DbResult<()> {
    if exists(conn, dimensions)? {
        return Ok(());
    }
    let name = table(dimensions);
    // A small chunk wastes less on small partitions and makes inserts 70 times faster than the default of 1,024. sqlite-vec looks
    // up chunks by partition without an index of its own: without this one, the cost would grow with all workspaces together.
    conn.execute_batch(&format!(
        "CREATE VIRTUAL TABLE {name} USING vec0 (
             partition INTEGER PARTITION KEY, class INTEGER, bits BIT[{}], chunk_size=128
         );
         CREATE INDEX {name}_by_partition ON {name}_chunks (partition00);",
        dimensions.next_multiple_of(8)
    ))?;
    Ok(())
}

struct Due {
    partition: i64,
    dimensions: usize,
    bits_seq: i64,
    vectors: i64,
    mean: Option<Vec<u8>>,
    mean_of: i64,
}

/// Updates the bit index if enough codes wait, and recentres a partition that has grown fourfold. Returns how many codes were
/// indexed.
pub async fn maintain(db: &Db) -> StoreResult<u64> {
    let mut indexed = 0;
    loop {
        let step = db.write(|conn| due(conn)?.map(|due| index(conn, &due)).transpose()).await?;
        match step {
            Some(count) => indexed += count,
            None => return Ok(indexed),
        }
    }
}

fn due(conn: &Connection) -> DbResult<Option<Due>> {
    let mut statement = conn.prepare_cached(
        "SELECT p.key, m.dimensions, p.bits_seq, p.vectors, p.mean, p.mean_of
         FROM memory_partition p JOIN embedding_model m ON m.key = p.model
         WHERE m.dimensions > ?1 AND p.generation - p.bits_seq >= ?2
           AND (SELECT count(*) FROM (SELECT 1 FROM memory_code c WHERE c.partition = p.key AND c.seq > p.bits_seq LIMIT ?2)) >= ?2
         LIMIT 1",
    )?;
    let limit = i64::try_from(EXACT_DIMENSIONS).unwrap_or(i64::MAX);
    let due = statement.query_row(params![limit, WAITING], |row| {
        Ok(Due {
            partition: row.get(0)?,
            dimensions: usize::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
            bits_seq: row.get(2)?,
            vectors: row.get(3)?,
            mean: row.get(4)?,
            mean_of: row.get(5)?,
        })
    });
    Ok(due.optional()?)
}

fn index(conn: &Connection, due: &Due) -> DbResult<u64> {
    create(conn, due.dimensions)?;
    let anew = due.mean.is_none() || due.vectors >= due.mean_of.saturating_mul(4);
    let (mean, from, limit) = match &due.mean {
        Some(mean) if !anew => (vectors::vector_of(mean), due.bits_seq, STEP),
        _ => (mean(conn, due)?, 0, usize::MAX),
    };
    let name = table(due.dimensions);
    // An agent's connection cannot reach the bit index: what the agent superseded is taken out here.
    conn.execute(
        &format!(
            "DELETE FROM {name} WHERE rowid IN (SELECT vector FROM memory_code_gone WHERE partition = ?1 AND generation > ?2)"
        ),
        params![due.partition, due.bits_seq],
    )?;
    if anew {
        conn.execute(
            &format!("DELETE FROM {name} WHERE rowid IN (SELECT vector FROM memory_code WHERE partition = ?1 AND seq <= ?2)"),
            params![due.partition, due.bits_seq],
        )?;
    }
    let mut insert = conn.prepare(&format!(
        "INSERT INTO {name} (rowid, partition, class, bits) VALUES (?1, ?2, ?3, vec_bit(?4))"
    ))?;
    let mut select = conn.prepare_cached(
        "SELECT seq, vector, class, scale, code FROM memory_code WHERE partition = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = select.query(params![due.partition, from, i64::try_from(limit).unwrap_or(-1)])?;
    let (mut count, mut last) = (0, from);
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        #[expect(clippy::cast_possible_truncation, reason = "stored from single precision")]
        let scale = row.get::<_, f64>(3)? as f32;
        let code = row.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?;
        let bits = bits_of(code.iter().map(|byte| f32::from(byte.cast_signed()) * scale), &mean);
        insert.execute(params![row.get::<_, i64>(1)?, due.partition, row.get::<_, i64>(2)?, bits])?;
        count += 1;
    }
    conn.execute(
        "UPDATE memory_partition SET bits_seq = ?2, mean = ?3, mean_of = CASE WHEN ?4 THEN ?5 ELSE mean_of END WHERE key = ?1",
        params![due.partition, last, vectors::bytes_of(&mean), anew, count],
    )?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The mean of a partition's vectors, from their codes.
fn mean(conn: &Connection, due: &Due) -> DbResult<Vec<f32>> {
    let mut sums = vec![0f64; due.dimensions];
    let mut count = 0u32;
    vectors::entries(conn, due.partition, 0, |entry| {
        count += 1;
        for (sum, code) in sums.iter_mut().zip(&entry.code.code) {
            *sum += f64::from(entry.code.scale) * f64::from(*code);
        }
    })?;
    #[expect(clippy::cast_possible_truncation, reason = "a mean of single-precision numbers")]
    Ok(sums.into_iter().map(|sum| (sum / f64::from(count.max(1))) as f32).collect())
}
