//! Listing and recalling.

use std::sync::Arc;

use duet_core::{
    Caller, StoreError, Timestamp, cursor,
    domain::{ListPage, MemoryDomain, MemoryFilter, PageRequest, RecallMode, RecallQuery, ReviewState},
    ids::{IdPrefix, MemoryId},
    recall::{Ranked, query_terms, rank},
    refusal::Refusal,
};
use rusqlite::{Connection, Row, params};

use super::rows::{self, SELECT, Stored, sees_private, stored};
use crate::{
    error::DbResult,
    recall::{Load, Question, Source, VectorCache},
    rows::{Unreadable, blob, id, int, opt_blob, page, time},
};

/// These memories, in the order asked for, as far as the caller can see them; one that cannot be read is `None`.
pub fn memories(conn: &Connection, caller: &Caller, ids: &[MemoryId], now: Timestamp) -> DbResult<Vec<Option<Stored>>> {
    let mut unreadable = Unreadable::of("memories");
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        match unreadable.pass(rows::row_of(conn, caller, *id, now))? {
            Some(None) => {}
            read => found.push(read.flatten()),
        }
    }
    Ok(found)
}

/// Ids that begin like this, of memories that the caller can see.
pub fn ids(conn: &Connection, caller: &Caller, prefix: IdPrefix, now: Timestamp) -> DbResult<Vec<MemoryId>> {
    let mut statement = conn.prepare_cached(&format!(
        "{SELECT} WHERE {} AND m.id BETWEEN ?5 AND ?6 ORDER BY m.id LIMIT ?7",
        rows::visible(caller)
    ))?;
    let (low, high) = prefix.range();
    let found = statement.query_map(
        params![
            blob(caller.workspace),
            blob(caller.user),
            sees_private(caller),
            now.millis(),
            low.as_bytes(),
            high.as_bytes(),
            int(IdPrefix::MOST),
        ],
        |row| id(row, "id"),
    )?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// One page, newest first.
pub fn list(
    conn: &Connection,
    caller: &Caller,
    filter: &MemoryFilter,
    request: &PageRequest,
    now: Timestamp,
) -> DbResult<ListPage<Stored>> {
    let (before, before_id) = match &request.cursor {
        Some(cursor) => parse_cursor(cursor)?,
        None => (i64::MAX, vec![0xff; 17]),
    };
    let review = filter.review.unwrap_or(ReviewState::Accepted);
    // The successor's row knows which memory it replaced, or will replace once it is accepted.
    let predecessor = match filter.superseded_by {
        Some(_) => {
            "c.superseded_by = ?11 AND m.key = (SELECT s.supersedes FROM memory s WHERE s.workspace_id = ?1 AND s.id = ?11)"
        }
        None => "?11 IS NULL",
    };
    let mut statement = conn.prepare_cached(&format!(
        "{SELECT} WHERE {} AND {predecessor} AND (m.created_at, m.id) < (?5, ?6) AND (?7 IS NULL OR k.domain = ?7) AND c.review = ?8
           AND (?9 OR (c.valid_to IS NULL AND c.redacted_at IS NULL))
         ORDER BY m.created_at DESC, m.id DESC LIMIT ?10",
        rows::visible(caller)
    ))?;
    let size = request.size();
    let found = statement.query(params![
        blob(caller.workspace),
        blob(caller.user),
        sees_private(caller),
        now.millis(),
        before,
        before_id,
        filter.domain.map(MemoryDomain::as_str),
        review.as_str(),
        filter.history,
        cursor::limit(size),
        opt_blob(filter.superseded_by),
    ])?;
    let place = |row: &Row<'_>| Ok(cursor::after(time(row, "created_at")?.millis(), id::<MemoryId>(row, "id")?));
    Ok(page("memories", found, size, stored, place)?)
}

fn parse_cursor(cursor: &str) -> DbResult<(i64, Vec<u8>)> {
    let parts = cursor
        .split_once('.')
        .and_then(|(time, id)| Some((time.parse().ok()?, hex::decode(id).ok()?)));
    parts.ok_or_else(|| Refusal::Cursor.into())
}

/// The result of a recall, in order, with the ranking's figures.
pub struct Recalled {
    /// The memories with their places.
    pub items: Vec<(Stored, Ranked)>,
    /// The signals that were used.
    pub mode: RecallMode,
    /// Codes to load in the background after answering.
    pub load: Option<Load>,
}

/// Ranks and reads the best.
pub fn recall(conn: &Connection, caller: &Caller, query: RecallQuery, cache: &Arc<VectorCache>) -> DbResult<Recalled> {
    let mode = match (query.mode, &query.embedding) {
        (RecallMode::Hybrid, None) => RecallMode::Fts,
        (RecallMode::Vector, None) => {
            return Err(Refusal::NoVector.into());
        }
        (mode, _) => mode,
    };
    let question = Question {
        classes: classes(conn, caller, &query)?,
        now: query.now,
        workspace: blob(caller.workspace),
        embedding: query.embedding,
    };
    let terms = if mode == RecallMode::Vector {
        Vec::new()
    } else {
        query_terms(&query.text)
    };
    let mut source = Source::new(conn, cache, &question);
    let model = question.embedding.as_ref().map(|embedding| &embedding.model);
    let ranked = rank(&mut source, &terms, model, mode, query.limit, &query.bar, query.now)?;
    let load = source.load.take();
    let mut unreadable = Unreadable::of("memories");
    let mut items = Vec::with_capacity(ranked.len());
    for ranked in ranked {
        if let Some(stored) = unreadable.pass(rows::row_of_key(conn, ranked.memory))? {
            items.push((stored.ok_or(StoreError::NotFound("the memory"))?, ranked));
        }
    }
    Ok(Recalled { items, mode, load })
}

/// The classes of memories that a recall may find: the caller's workspace, visibility and scopes, the domains asked for, and what
/// may reach a model that computes there.
fn classes(conn: &Connection, caller: &Caller, query: &RecallQuery) -> DbResult<Vec<i64>> {
    let mut statement = conn.prepare_cached(
        "SELECT key, domain, egress FROM memory_class WHERE workspace_id = ?1 AND (owner = x'' OR (owner = ?2 AND ?3)) ORDER BY key",
    )?;
    let mut rows = statement.query(params![blob(caller.workspace), blob(caller.user), sees_private(caller)])?;
    let mut classes = Vec::new();
    while let Some(row) = rows.next()? {
        let domain: MemoryDomain = crate::rows::word(row, "domain")?;
        let egress: duet_core::domain::Egress = crate::rows::word(row, "egress")?;
        let asked = query.domains.as_ref().is_none_or(|domains| domains.contains(&domain));
        if asked && rows::sees_domain(caller, domain) && egress.allows(query.locality) && egress.allows(rows::reads(caller)) {
            classes.push(row.get(0)?);
        }
    }
    Ok(classes)
}
