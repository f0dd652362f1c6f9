//! The memory part of [`duet_core::ports::SystemStore`].

use duet_core::{
    StoreError, StoreResult, Timestamp,
    domain::{Egress, Embedding, EmbeddingModel, EmbeddingProgress, Locality},
    ids::{MemoryId, WorkspaceId},
    ports::Unembedded,
    recall::embedding_text,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    index::{self, Bits},
    keys::FieldKeys,
    rows::{self, SELECT, stored},
};
use crate::store::{db::Db, error::DbResult, recall, rows::blob};

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
    // No key is 0: a model that has no vector yet leaves everything to be embedded.
    Ok(statement
        .query_row(params![model.id, model.dimensions], |row| row.get(0))
        .optional()?
        .unwrap_or(0))
}

/// Live memories without a vector of this model, oldest first.
pub async fn unembedded(
    db: &Db,
    keys: &FieldKeys,
    model: &EmbeddingModel,
    locality: Locality,
    limit: usize,
) -> StoreResult<Vec<Unembedded>> {
    let model = model.clone();
    let found = db
        .read(move |conn| {
            let model = model_key(conn, &model)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut found = Vec::new();
            // Three ranges of one index instead of a scan past everything that is embedded already.
            for lacking in ["m.embedded IS NULL AND ?1 >= 0", "m.embedded < ?1", "m.embedded > ?1"] {
                let mut statement = conn.prepare_cached(&format!(
                    "{SELECT} WHERE m.live = 1 AND {lacking} AND {} ORDER BY m.embedded, m.key LIMIT ?2",
                    readable(locality)
                ))?;
                let rows = statement.query_map(params![model, limit], stored)?;
                found.extend(rows.collect::<Result<Vec<_>, _>>()?);
            }
            found.sort_by_key(|stored| stored.key);
            found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            Ok(found)
        })
        .await?;
    Ok(rows::open(keys, found)
        .await?
        .into_iter()
        .map(|memory| Unembedded {
            workspace: memory.workspace_id,
            memory: memory.id,
            text: embedding_text(memory.domain, memory.speaker.as_deref(), memory.occurred_at, &memory.text),
            egress: if memory.sensitive { Egress::LocalOnly } else { memory.egress },
        })
        .collect())
}

/// Stores vectors; memories that are gone, superseded or redacted by now are passed over.
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
            }
        }
        Ok(())
    })
    .await
}

/// How many live memories have a vector of this model, of those that it may embed.
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

/// Deletes expired working memories and does the upkeep of the vector index; returns how many memories went.
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
    Ok(swept)
}

fn expire(conn: &Connection, now: Timestamp) -> DbResult<u64> {
    let mut statement = conn.prepare_cached("SELECT key FROM memory WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2")?;
    let keys: Vec<i64> = statement
        .query_map(params![now.millis(), SWEEP], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for key in &keys {
        index::remove_text(conn, *key)?;
        index::remove_vector(conn, *key, Bits::Now)?;
        conn.prepare_cached("UPDATE memory SET supersedes = NULL WHERE supersedes = ?1")?
            .execute([key])?;
        conn.prepare_cached("DELETE FROM memory_content WHERE memory = ?1")?
            .execute([key])?;
        conn.prepare_cached("DELETE FROM memory WHERE key = ?1")?.execute([key])?;
    }
    Ok(keys.len() as u64)
}

/// Refuses what no store can do with a vector.
pub fn check(embedding: Option<&Embedding>) -> Result<(), StoreError> {
    embedding.map_or(Ok(()), |embedding| embedding.check().map_err(StoreError::invalid))
}
