//! Words as the rules compare them: lower case, without filler, stemmed, with some synonyms merged.

use std::collections::BTreeSet;

use rust_stemmers::{Algorithm, Stemmer};

/// Words that say nothing about what is asked.
const FILLER: &[&str] = &[
    "a",
    "about",
    "anybody",
    "anyone",
    "anything",
    "everything",
    "nothing",
    "someone",
    "something",
    "actually",
    "again",
    "all",
    "also",
    "am",
    "an",
    "and",
    "any",
    "are",
    "as",
    "at",
    "be",
    "been",
    "but",
    "by",
    "can",
    "could",
    "did",
    "do",
    "does",
    "ever",
    "for",
    "from",
    "had",
    "has",
    "have",
    "he",
    "her",
    "him",
    "his",
    "how",
    "i",
    "if",
    "in",
    "is",
    "it",
    "its",
    "just",
    "know",
    "many",
    "me",
    "mine",
    "much",
    "my",
    "now",
    "of",
    "on",
    "or",
    "our",
    "please",
    "really",
    "remember",
    "remind",
    "s",
    "said",
    "say",
    "she",
    "should",
    "so",
    "some",
    "tell",
    "that",
    "the",
    "their",
    "them",
    "there",
    "they",
    "this",
    "to",
    "told",
    "us",
    "was",
    "we",
    "were",
    "what",
    "when",
    "which",
    "who",
    "whom",
    "whose",
    "why",
    "will",
    "with",
    "would",
    "you",
    "your",
    "t",
    "m",
    "ve",
    "re",
    "d",
    "ll",
];

/// Words with the same meaning, as far as remembered statements and questions go; the first one represents all.
const SAME: &[&[&str]] = &[
    &["name", "named", "called", "names"],
    &[
        "live", "lives", "living", "lived", "move", "moved", "reside", "home", "address", "where",
    ],
    &["work", "works", "working", "worked", "job", "employer", "profession"],
    &[
        "like",
        "likes",
        "love",
        "loves",
        "enjoy",
        "enjoys",
        "prefer",
        "prefers",
        "favourite",
        "favorite",
    ],
    &["hate", "hates", "dislike", "dislikes", "detest"],
    &["birthday", "born", "birth"],
    &["wife", "husband", "spouse", "partner"],
    &["colour", "color"],
    &["phone", "telephone", "mobile"],
];

/// Words that name a property rather than a thing: sharing only these does not make two sentences about the same thing.
const PROPERTIES: &[&str] = &[
    "name", "live", "work", "like", "hate", "birthday", "colour", "age", "old", "kind", "type", "sort", "day", "date", "time",
    "year", "number", "phone", "mean", "want", "need", "drink", "eat", "food",
];

/// The words of a text, lower case, without punctuation.
pub(super) fn plain(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// The words that carry the meaning, in order, each once.
pub(super) fn content(text: &str) -> Vec<String> {
    let stemmer = Stemmer::create(Algorithm::English);
    let mut seen = BTreeSet::new();
    telling(text)
        .into_iter()
        .map(|word| match SAME.iter().find(|group| group.contains(&word.as_str())) {
            Some(group) => group[0].to_owned(),
            None => stemmer.stem(&word).into_owned(),
        })
        .filter(|word| seen.insert(word.clone()))
        .collect()
}

/// The words that are not filler, as written but in lower case. "Where" counts when nothing else does.
pub(super) fn telling(text: &str) -> Vec<String> {
    let words: Vec<String> = plain(text)
        .into_iter()
        .filter(|word| word == "where" || !FILLER.contains(&word.as_str()))
        .collect();
    let others: Vec<String> = words.iter().filter(|word| *word != "where").cloned().collect();
    if others.is_empty() { words } else { others }
}

/// Whether a content word only names a property.
pub(super) fn is_property(word: &str) -> bool {
    let stemmer = Stemmer::create(Algorithm::English);
    PROPERTIES
        .iter()
        .any(|property| *property == word || stemmer.stem(property) == word)
}
