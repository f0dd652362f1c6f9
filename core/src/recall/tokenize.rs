//! From text to index terms.

use std::{cell::RefCell, collections::BTreeMap};

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use super::stop_words::STOP_WORDS;

/// The most distinct terms that a question is searched by: its first ones.
pub const MAX_QUERY_TERMS: usize = 64;

/// Longest term, in characters; the rest is cut off (base64, hashes).
const MAX_TERM: usize = 40;

thread_local! {
    static STEMMER: RefCell<Stemmer> = RefCell::new(Stemmer::create(Algorithm::English));
}

/// The terms of a text, in order: words and numbers (Unicode word boundaries), compatibility forms and Latin accents folded,
/// lower case, without English stop words; words of plain Latin letters are stemmed, all others are kept as they are.
pub fn terms(text: &str) -> Vec<String> {
    let folded: String = text
        .nfkd()
        .filter(|c| !('\u{300}'..='\u{36f}').contains(c))
        .nfkc()
        .flat_map(char::to_lowercase)
        .collect();
    let mut terms = Vec::new();
    for word in folded.unicode_words() {
        let word = bare(word);
        if word.is_empty() || STOP_WORDS.binary_search(&word.as_str()).is_ok() {
            continue;
        }
        let term = if word.bytes().all(|b| b.is_ascii_lowercase()) {
            STEMMER.with_borrow(|stemmer| stemmer.stem(&word).into_owned())
        } else {
            word
        };
        terms.push(match term.char_indices().nth(MAX_TERM) {
            Some((end, _)) => term[..end].to_owned(),
            None => term,
        });
    }
    terms
}

/// A word without its apostrophes and English clitics, so that `Anna's` and `Anna`, `don't` and `dont` agree.
fn bare(word: &str) -> String {
    let straight = word.replace('\u{2019}', "'");
    let stem = straight.strip_suffix("'s").unwrap_or(&straight);
    stem.replace('\'', "")
}

/// What a memory is indexed under: each term of its speaker and text with its frequency, and the number of terms.
pub fn index_terms(speaker: Option<&str>, text: &str) -> (BTreeMap<String, u32>, u32) {
    let mut frequencies = BTreeMap::new();
    let mut length = 0;
    for term in speaker.into_iter().chain([text]).flat_map(terms) {
        *frequencies.entry(term).or_insert(0) += 1;
        length += 1;
    }
    (frequencies, length)
}

/// What a question is searched by: its distinct terms, in order, at most [`MAX_QUERY_TERMS`].
pub fn query_terms(question: &str) -> Vec<String> {
    let mut seen = Vec::new();
    for term in terms(question) {
        if seen.len() == MAX_QUERY_TERMS {
            break;
        }
        if !seen.contains(&term) {
            seen.push(term);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_folded_and_stemmed_numbers_and_other_scripts_kept() {
        assert_eq!(
            terms("The Cats were RUNNING in 2023, at 3.5 km"),
            ["cat", "run", "2023", "3.5", "km"]
        );
        assert_eq!(
            terms("Anna\u{2019}s café; don't ﬁnd Ünal"),
            ["anna", "cafe", "dont", "find", "unal"]
        );
        assert_eq!(terms("Москва 東京"), ["москва", "東", "京"]);
        assert_eq!(terms("what did the of"), Vec::<String>::new());
    }

    #[test]
    fn one_memory_counts_its_speaker() {
        let (frequencies, length) = index_terms(Some("Ben"), "Ben likes tea, tea likes Ben");
        assert_eq!(length, 7);
        assert_eq!(frequencies["ben"], 3);
        assert_eq!(frequencies["tea"], 2);
    }

    proptest! {
        #[test]
        fn any_text_gives_bounded_nonempty_terms(text in any::<String>()) {
            for term in terms(&text) {
                prop_assert!(!term.is_empty());
                prop_assert!(term.chars().count() <= MAX_TERM);
            }
            prop_assert!(query_terms(&text).len() <= MAX_QUERY_TERMS);
        }

        #[test]
        fn case_does_not_matter(text in "[a-zA-Z ,.]{0,80}") {
            prop_assert_eq!(terms(&text.to_uppercase()), terms(&text.to_lowercase()));
        }

        #[test]
        fn index_length_is_the_sum_of_frequencies(text in any::<String>()) {
            let (frequencies, length) = index_terms(None, &text);
            prop_assert_eq!(frequencies.values().sum::<u32>(), length);
        }
    }
}
