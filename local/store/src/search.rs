//! Full-text search over messages.

use duet_core::{
    domain::{ListPage, MessageHit},
    ids::Id,
    search::snippet,
};
use rusqlite::{Connection, params};

use super::{
    conversations::Owner,
    cursor,
    error::DbResult,
    rows::{blob, id, labels, time, word},
};

/// Messages of this person that contain all the words (the last one may be a prefix), newest first.
pub fn messages(conn: &Connection, owner: Owner, words: &[String], before: i64, size: usize) -> DbResult<ListPage<MessageHit>> {
    if words.is_empty() {
        return Ok(ListPage {
            items: Vec::new(),
            next_cursor: None,
        });
    }
    let terms: Vec<String> = words
        .iter()
        .map(|word| format!("\"{}\"", word.replace('"', "\"\"")))
        .collect();
    let owned = format!("{}{}", owner.workspace.uuid().simple(), owner.user.uuid().simple());
    let expression = format!("owner : \"{owned}\" AND text : ({} *)", terms.join(" AND "));
    let mut statement = conn.prepare_cached(
        "SELECT m.row, m.id, m.conversation_id, m.role, m.text, m.aside, m.labels, m.created_at, c.title
         FROM message_fts f
         CROSS JOIN message_shown m ON m.row = f.rowid
         CROSS JOIN conversation c ON c.workspace_id = m.workspace_id AND c.id = m.conversation_id
         WHERE message_fts MATCH ?1 AND f.rowid < ?2 AND m.workspace_id = ?3 AND m.user_id = ?4
           AND (m.labels & 2 = 0 OR duet_locality() = 'local')
         ORDER BY f.rowid DESC LIMIT ?5",
    )?;
    let rows = statement.query_map(
        params![
            expression,
            before,
            blob(owner.workspace),
            blob(owner.user),
            cursor::limit(size)
        ],
        |row| {
            let text: String = row.get("text")?;
            let hit = MessageHit {
                conversation_id: id(row, "conversation_id")?,
                title: row.get("title")?,
                message_id: id(row, "id")?,
                role: word(row, "role")?,
                snippet: snippet(&text, words),
                aside: row.get("aside")?,
                labels: labels(row, "labels")?,
                created_at: time(row, "created_at")?,
            };
            Ok((row.get::<_, i64>("row")?, hit))
        },
    )?;
    let found = cursor::page(rows.collect::<Result<Vec<_>, _>>()?, size, |(row, _)| row.to_string());
    Ok(ListPage {
        items: found.items.into_iter().map(|(_, hit)| hit).collect(),
        next_cursor: found.next_cursor,
    })
}
