//! The memory part of [`duet_core::ports::SystemStore`].

use duet_core::{
    StoreError, StoreResult, Timestamp,
    domain::{Egress, Embedding, EmbeddingModel, EmbeddingProgress, Locality, Memory},
    ids::{MemoryId, WorkspaceId},
    ports::Unembedded,
    recall::embedding_text,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    index::{self, Bits},
    keys::FieldKeys,
    rows::{self, Stored},
};
use crate::{
    db::Db,
    error::DbResult,
    recall,
    rows::{Unreadable, blob, id},
};

/// Rows swept in one transaction.
const SWEEP: i64 = 500;

/// A condition on `m`, `k` and `c`: what an embedder computing there may read.
fn readable(locality: Locality) -> &'static str {
    match locality {
        Locality::Local => "1",
        Locality::Remote => "k.egress = 'any' AND c.sensitive = 0",
    }
}

fn model_key(conn: &Connection, model: &EmbeddingModel) -> DbResult<i64> {
    let mut statement = conn.prepare_cached("SELECT key FROM embedding_model WHERE id = ?1 AND dimensions = ?2")?;
    // No key is 0: if a model has no vector yet, everything is still to be embedded.
    Ok(statement
        .query_row(params![model.id, model.dimensions], |row| row.get(0))
        .optional()?
        .unwrap_or(0))
}

/// Keys of memories without a vector of this model: the oldest of each workspace first, then the next of each.
fn waiting(conn: &Connection, model: &EmbeddingModel, locality: Locality, now: Timestamp, limit: usize) -> DbResult<Vec<i64>> {
    let key = model_key(conn, model)?;
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut workspaces = conn.prepare_cached("SELECT id FROM workspace")?;
    let workspaces: Vec<[u8; 16]> = workspaces.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut turns: Vec<(usize, i64)> = Vec::new();
    for workspace in workspaces {
        let mut keys: Vec<i64> = Vec::new();
        // Three ranges of one index instead of a scan past everything that is embedded already.
        for lacking in ["m.embedded IS NULL AND ?2 >= 0", "m.embedded < ?2", "m.embedded > ?2"] {
            let mut statement = conn.prepare_cached(&format!(
                "SELECT m.key FROM memory m JOIN memory_class k ON k.key = m.class JOIN memory_content c ON c.memory = m.key
                 WHERE m.workspace_id = ?1 AND m.live = 1 AND {lacking} AND {}
                   AND NOT EXISTS (SELECT 1 FROM memory_refusal f
                                   WHERE f.memory = m.key AND f.model = ?4 AND f.dimensions = ?5 AND f.retry_at > ?6)
                 ORDER BY m.embedded, m.key LIMIT ?3",
                readable(locality)
            ))?;
            let named = params![workspace, key, most, model.id, model.dimensions, now.millis()];
            let found = statement.query_map(named, |row| row.get::<_, i64>(0))?;
            keys.extend(found.collect::<Result<Vec<_>, _>>()?);
        }
        keys.sort_unstable();
        turns.extend(keys.into_iter().take(limit).enumerate());
    }
    turns.sort_unstable();
    Ok(turns.into_iter().take(limit).map(|(_, key)| key).collect())
}

/// The workspaces and ids of these memories.
fn named(conn: &Connection, keys: &[i64]) -> DbResult<Vec<(WorkspaceId, MemoryId)>> {
    let mut statement = conn.prepare_cached("SELECT workspace_id, id FROM memory WHERE key = ?1")?;
    let mut named = Vec::with_capacity(keys.len());
    for key in keys {
        named.push(statement.query_row([key], |row| Ok((id(row, "workspace_id")?, id(row, "id")?)))?);
    }
    Ok(named)
}

/// Live memories without a vector of this model.
pub async fn unembedded(
    db: &Db,
    keys: &FieldKeys,
    model: &EmbeddingModel,
    locality: Locality,
    limit: usize,
) -> StoreResult<Vec<Unembedded>> {
    loop {
        let (asked, now) = (model.clone(), db.env().now());
        let (mut unreadable, found) = db
            .read(move |conn| {
                let waiting = waiting(conn, &asked, locality, now, limit)?;
                let mut passed = Unreadable::of("memories");
                let mut found: Vec<Stored> = Vec::with_capacity(waiting.len());
                for key in &waiting {
                    found.extend(passed.pass(rows::row_of_key(conn, *key))?.flatten());
                }
                Ok((named(conn, &waiting)?, found))
            })
            .await?;
        let memories = rows::open_all(keys, found).await;
        unreadable.retain(|(workspace, id)| {
            let is_read = |memory: &Memory| (memory.workspace_id, memory.id) == (*workspace, *id);
            !memories.iter().any(is_read)
        });
        // What cannot be read cannot be embedded, and must not stay first forever.
        let stuck = memories.is_empty() && !unreadable.is_empty();
        if !unreadable.is_empty() {
            put_off_embeddings(db, model, unreadable).await?;
        }
        if stuck {
            continue;
        }
        return Ok(memories
            .into_iter()
            .map(|memory| Unembedded {
                workspace: memory.workspace_id,
                memory: memory.id,
                text: embedding_text(memory.domain, memory.speaker.as_deref(), memory.occurred_at, &memory.text),
                egress: if memory.sensitive { Egress::LocalOnly } else { memory.egress },
            })
            .collect());
    }
}

/// Stores vectors; skips memories that are gone, superseded or redacted by now.
pub async fn put_embeddings(db: &Db, embeddings: Vec<(WorkspaceId, MemoryId, Embedding)>) -> StoreResult<()> {
    for (_, _, embedding) in &embeddings {
        check(Some(embedding))?;
    }
    db.write(move |conn| {
        for (workspace, memory, embedding) in &embeddings {
            let key: Option<i64> = conn
                .prepare_cached("SELECT key FROM memory WHERE workspace_id = ?1 AND id = ?2 AND live = 1")?
                .query_row(params![blob(*workspace), blob(*memory)], |row| row.get(0))
                .optional()?;
            if let Some(key) = key {
                index::add_vector(conn, key, embedding)?;
                forget_refusal(conn, key)?;
            }
        }
        Ok(())
    })
    .await
}

/// How long a memory is put off the first time, in milliseconds; it doubles up to a day.
const FIRST_PUT_OFF: i64 = 60_000;
const LONGEST_PUT_OFF: i64 = 86_400_000;

/// Puts off memories whose text this model refused.
pub async fn put_off_embeddings(db: &Db, model: &EmbeddingModel, memories: Vec<(WorkspaceId, MemoryId)>) -> StoreResult<()> {
    let (model, now) = (model.clone(), db.env().now());
    db.write(move |conn| {
        for (workspace, memory) in &memories {
            conn.prepare_cached(
                "INSERT INTO memory_refusal AS f (memory, model, dimensions, times, retry_at)
                 SELECT key, ?3, ?4, 1, ?5 + ?6 FROM memory WHERE workspace_id = ?1 AND id = ?2 AND live = 1
                 ON CONFLICT (memory) DO UPDATE SET model = excluded.model, dimensions = excluded.dimensions,
                     times = CASE WHEN f.model = excluded.model AND f.dimensions = excluded.dimensions
                             THEN min(f.times + 1, 20) ELSE 1 END,
                     retry_at = ?5 + CASE WHEN f.model = excluded.model AND f.dimensions = excluded.dimensions
                                     THEN min(?6 << min(f.times, 20), ?7) ELSE ?6 END",
            )?
            .execute(params![
                blob(*workspace),
                blob(*memory),
                model.id,
                model.dimensions,
                now.millis(),
                FIRST_PUT_OFF,
                LONGEST_PUT_OFF
            ])?;
        }
        Ok(())
    })
    .await
}

/// Forgets that a memory was put off.
pub fn forget_refusal(conn: &Connection, key: i64) -> DbResult<()> {
    conn.prepare_cached("DELETE FROM memory_refusal WHERE memory = ?1")?
        .execute([key])?;
    Ok(())
}

/// How many of the live memories that this model may embed have a vector of it.
pub async fn embedding_progress(db: &Db, model: &EmbeddingModel, locality: Locality) -> StoreResult<EmbeddingProgress> {
    let model = model.clone();
    db.read(move |conn| {
        let model = model_key(conn, &model)?;
        let mut statement = conn.prepare_cached(&format!(
            "SELECT count(*), count(*) FILTER (WHERE m.embedded = ?1)
             FROM memory m JOIN memory_class k ON k.key = m.class JOIN memory_content c ON c.memory = m.key
             WHERE m.live = 1 AND {}",
            readable(locality)
        ))?;
        Ok(statement.query_row([model], |row| {
            Ok(EmbeddingProgress {
                total: row.get::<_, i64>(0)?.unsigned_abs(),
                embedded: row.get::<_, i64>(1)?.unsigned_abs(),
            })
        })?)
    })
    .await
}

/// Deletes expired working memories and maintains the vector index; returns how many memories were deleted.
pub async fn sweep(db: &Db, now: Timestamp) -> StoreResult<u64> {
    let mut swept = 0;
    loop {
        let step = db.write(move |conn| expire(conn, now)).await?;
        swept += step;
        if step < SWEEP.unsigned_abs() {
            break;
        }
    }
    recall::maintain(db).await?;
    db.write(forget_models).await?;
    Ok(swept)
}

/// Removes partitions without vectors, and models that nothing is embedded by.
fn forget_models(conn: &Connection) -> DbResult<()> {
    let mut empty = conn.prepare_cached(
        "SELECT p.key, m.dimensions FROM memory_partition p JOIN embedding_model m ON m.key = p.model
         WHERE p.vectors = 0 AND NOT EXISTS (SELECT 1 FROM memory_vector v WHERE v.partition = p.key)",
    )?;
    let empty: Vec<(i64, i64)> = empty
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (partition, dimensions) in empty {
        let mut gone = conn.prepare_cached("SELECT vector FROM memory_code_gone WHERE partition = ?1")?;
        let gone: Vec<i64> = gone.query_map([partition], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for vector in gone {
            recall::remove_bits(conn, usize::try_from(dimensions).unwrap_or(0), vector)?;
        }
        conn.execute("DELETE FROM memory_code_gone WHERE partition = ?1", [partition])?;
        conn.execute("DELETE FROM memory_partition WHERE key = ?1", [partition])?;
    }
    conn.execute(
        "DELETE FROM embedding_model WHERE NOT EXISTS (SELECT 1 FROM memory_partition p WHERE p.model = embedding_model.key)
           AND NOT EXISTS (SELECT 1 FROM memory m WHERE m.embedded = embedding_model.key)",
        [],
    )?;
    Ok(())
}

fn expire(conn: &Connection, now: Timestamp) -> DbResult<u64> {
    let mut statement = conn.prepare_cached("SELECT key FROM memory WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2")?;
    let keys: Vec<i64> = statement
        .query_map(params![now.millis(), SWEEP], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for key in &keys {
        index::remove_text(conn, *key)?;
        index::remove_vector(conn, *key, Bits::Now)?;
        forget_refusal(conn, *key)?;
        conn.prepare_cached("UPDATE memory SET supersedes = NULL WHERE supersedes = ?1")?
            .execute([key])?;
        conn.prepare_cached(
            "INSERT INTO memory_gone (workspace_id, memory_id) SELECT workspace_id, id FROM memory WHERE key = ?1",
        )?
        .execute([key])?;
        conn.prepare_cached("DELETE FROM memory_content WHERE memory = ?1")?
            .execute([key])?;
        conn.prepare_cached("DELETE FROM memory WHERE key = ?1")?.execute([key])?;
    }
    Ok(keys.len() as u64)
}

/// Refuses an embedding that no store can take.
pub fn check(embedding: Option<&Embedding>) -> Result<(), StoreError> {
    Ok(embedding.map_or(Ok(()), Embedding::check)?)
}
