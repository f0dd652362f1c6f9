//! What full-text search over messages shares between stores: the words of a query, and the part of a text that is shown.

use crate::domain::OFFLINE_LABEL;

/// Longest snippet, in characters.
const SNIPPET: usize = 240;
/// How much of it may precede the first match.
const LEAD: usize = 60;
/// Words of a query that count.
const WORDS: usize = 32;

/// The words of a query that the index can know. Punctuation, operators and quotes have no special meaning.
pub fn words(query: &str) -> Vec<String> {
    query
        .split_whitespace()
        .filter(|word| word.contains(char::is_alphanumeric))
        .map(|word| word.replace('\0', ""))
        .take(WORDS)
        .collect()
}

/// The part of a text around the first word that is found in it, on one line. The label of offline replies is left out.
pub fn snippet(text: &str, words: &[String]) -> String {
    let text = text.strip_prefix(OFFLINE_LABEL).unwrap_or(text);
    let line: Vec<char> = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().collect();
    if line.len() <= SNIPPET {
        return line.into_iter().collect();
    }
    // Maps each character to exactly one, so that positions in both agree.
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
    fn a_snippet_leaves_the_offline_label_out() {
        let reply = format!("{OFFLINE_LABEL}\n\nYou told me: “I live by the lake.”");
        assert_eq!(snippet(&reply, &words("lake")), "You told me: “I live by the lake.”");
        let long = format!("{reply}{}", " waves".repeat(100));
        assert!(snippet(&long, &words("configured")).starts_with("You told me"));
        let quoted = format!("It says {OFFLINE_LABEL}");
        assert_eq!(snippet(&quoted, &words("says")), quoted);
    }

    #[test]
    fn a_query_keeps_only_what_can_be_found() {
        assert_eq!(words("  \"AND\" ( * ) tea* -- é "), ["\"AND\"", "tea*", "é"]);
        assert!(words("!!! ??? \"\" *").is_empty());
    }
}
