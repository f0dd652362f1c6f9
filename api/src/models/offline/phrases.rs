//! Word lists that tell sentences apart.

/// A full stop after one of these does not end a sentence.
pub(super) const ABBREVIATIONS: &[&str] = &[
    "mr", "mrs", "ms", "dr", "st", "prof", "e.g", "i.e", "etc", "vs", "no", "approx",
];

/// Said before the actual statement.
pub(super) const POLITE: &[&str] = &[
    "please",
    "hey",
    "hi",
    "hello",
    "ok",
    "okay",
    "well",
    "so",
    "and",
    "also",
    "oh",
    "by the way",
    "btw",
    "duet",
    "can you",
    "could you",
    "would you",
    "will you",
];

/// Ask to remember what follows.
pub(super) const KEEP: &[&str] = &[
    "remember that",
    "remember this",
    "remember",
    "note that",
    "note",
    "keep in mind that",
    "keep in mind",
    "don't forget that",
    "don't forget",
    "do not forget that",
    "do not forget",
    "make a note that",
    "make a note",
    "write down that",
    "for the record",
    "fyi",
];

/// Words of a heading before what is to be kept.
pub(super) const HEADINGS: &[&str] = &[
    "one",
    "two",
    "three",
    "four",
    "five",
    "couple",
    "several",
    "please",
    "of",
    "my",
    "for",
    "later",
    "that",
    "and",
    "it",
    "is",
    "are",
    "this",
    "these",
    "the",
    "following",
    "a",
    "few",
    "some",
    "things",
    "thing",
    "facts",
    "fact",
    "about",
    "me",
];

/// Begin a question.
pub(super) const QUESTION_WORDS: &[&str] = &["who", "whom", "whose", "what", "when", "where", "which", "why", "how"];

/// Begin a question too.
pub(super) const AUXILIARIES: &[&str] = &[
    "do", "does", "did", "is", "are", "am", "was", "were", "can", "could", "will", "would", "should", "shall", "has", "have",
    "had", "may", "might",
];

/// Say that a sentence is about the speaker.
pub(super) const ABOUT_ME: &[&str] = &[
    "i", "my", "mine", "me", "we", "our", "us", "ich", "mein", "meine", "wir", "je", "j", "mon", "ma", "mes", "yo", "mi", "mis",
];

/// Say that a sentence states something.
pub(super) const VERBS: &[&str] = &[
    "is", "are", "was", "were", "has", "have", "had", "lives", "lived", "works", "worked", "likes", "loves", "hates", "prefers",
    "moved", "born", "called", "named", "plays", "speaks", "studies", "wants", "needs", "owns", "drinks", "eats", "comes",
    "goes", "went", "starts", "ends", "costs", "means", "will", "ist", "heißt", "est", "s",
];
