//! Full-text search over messages.

use duet_core::{
    domain::{MessageHit, Page},
    ids::Id,
};
use rusqlite::{Connection, params};

use super::{
    conversations::Owner,
    cursor,
    error::DbResult,
    rows::{blob, id, time, word},
};

/// Longest snippet, in characters.
const SNIPPET: usize = 240;
/// How much of it may stand before the first match.
const LEAD: usize = 60;
/// Words of a query that count.
const WORDS: usize = 32;

/// The words of a query that the index can know. Punctuation, operators and quotes of any kind are nothing special.
pub fn words(query: &str) -> Vec<String> {
    query
        .split_whitespace()
        .filter(|word| word.contains(char::is_alphanumeric))
        .map(|word| word.replace('\0', ""))
        .take(WORDS)
        .collect()
}

/// Messages of this person that have all the words (the last one may be a beginning), newest first.
pub fn messages(conn: &Connection, owner: Owner, words: &[String], before: i64, size: usize) -> DbResult<Page<MessageHit>> {
    if words.is_empty() {
        return Ok(Page {
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
        "SELECT m.row, m.id, m.conversation_id, m.role, m.text, m.created_at, c.title
         FROM message_fts f
         CROSS JOIN message m ON m.row = f.rowid
         CROSS JOIN conversation c ON c.workspace_id = m.workspace_id AND c.id = m.conversation_id
         WHERE message_fts MATCH ?1 AND f.rowid < ?2 AND m.workspace_id = ?3 AND m.user_id = ?4 AND m.superseded = 0
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
                created_at: time(row, "created_at")?,
            };
            Ok((row.get::<_, i64>("row")?, hit))
        },
    )?;
    let found = cursor::page(rows.collect::<Result<Vec<_>, _>>()?, size, |(row, _)| row.to_string());
    Ok(Page {
        items: found.items.into_iter().map(|(_, hit)| hit).collect(),
        next_cursor: found.next_cursor,
    })
}

/// The part of a text around the first word that is found in it, on one line.
fn snippet(text: &str, words: &[String]) -> String {
    let line: Vec<char> = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().collect();
    if line.len() <= SNIPPET {
        return line.into_iter().collect();
    }
    // One character for one, so that places in both agree.
    let folded: Vec<char> = line.iter().map(|c| c.to_lowercase().next().unwrap_or(*c)).collect();
    let found = words.iter().filter_map(|word| {
        let word: Vec<char> = word
            .trim_matches(|c: char| !c.is_alphanumeric())
            .chars()
            .map(|c| c.to_lowercase().next().unwrap_or(c))
            .collect();
        folded.windows(word.len().max(1)).position(|window| window == word)
    });
    let start = found.min().unwrap_or(0).saturating_sub(LEAD);
    let end = (start + SNIPPET - 2).min(line.len());
    let mut snippet = String::from(if start > 0 { "…" } else { "" });
    snippet.extend(&line[start..end]);
    if end < line.len() {
        snippet.push('…');
    }
    snippet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_shows_the_match_and_keeps_its_length() {
        let text = format!("{}Needle in hay {}", "hay ".repeat(100), "straw ".repeat(100));
        let found = snippet(&text, &words("needle"));
        assert!(found.contains("Needle in hay"), "{found}");
        assert!(found.starts_with('…') && found.ends_with('…'));
        assert!(found.chars().count() <= SNIPPET);
        assert_eq!(snippet("short\n text", &words("x")), "short text");
    }

    #[test]
    fn a_query_keeps_only_what_can_be_found() {
        assert_eq!(words("  \"AND\" ( * ) tea* -- é "), ["\"AND\"", "tea*", "é"]);
        assert!(words("!!! ??? \"\" *").is_empty());
    }
}
