//! `builtin/lexical-v1`: vectors made from words alone, in this process, without a model or a download.
//!
//! Stemmed words, their parts (character 3- to 5-grams) and pairs of neighbouring words are hashed with a sign into 384
//! dimensions. Texts come out close when they share words, forms of words or similar spellings ("Marseille", "Marseilles"). It
//! knows nothing of meaning: "dog" and "puppy" are as far apart as any two words. Its purpose is that recall by vectors works
//! from the first minute; full text does most of the finding.

use async_trait::async_trait;
use duet_core::{
    domain::{Embedding, EmbeddingModel, Locality},
    ports::{EmbedError, EmbedPurpose, Embedder},
};
use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};
use unicode_segmentation::UnicodeSegmentation;

const DIMENSIONS: usize = 384;
/// Longest part of a text that is read, in bytes.
const MAX_BYTES: usize = 32 * 1024;

/// Weights of a whole word, of all its parts together, and of a pair of words.
const WORD: f32 = 1.0;
const PARTS: f32 = 0.6;
const PAIR: f32 = 0.3;
/// Weight of a word that says little.
const FILLER: f32 = 0.1;

const FILLERS: &[&str] = &[
    "a", "about", "an", "and", "are", "as", "at", "be", "but", "by", "did", "do", "does", "for", "from", "had", "has", "have",
    "he", "her", "his", "how", "i", "in", "is", "it", "its", "me", "my", "of", "on", "or", "our", "she", "so", "that", "the",
    "their", "them", "there", "they", "this", "to", "was", "we", "were", "what", "when", "where", "which", "who", "why", "will",
    "with", "you", "your", "am", "been", "if", "not", "der", "die", "das", "und", "ist", "ich", "ein", "eine", "le", "la", "les",
    "de", "des", "et", "est", "je", "un", "une", "el", "los", "y", "en", "que",
];

/// The built-in embedder.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lexical;

impl Lexical {
    /// The vector of a text; a text without words gets the vector of an empty text.
    pub fn vector(text: &str) -> Vec<f32> {
        let text = &text[..text.floor_char_boundary(MAX_BYTES)];
        let stemmer = Stemmer::create(Algorithm::English);
        let mut vector = vec![0.0_f32; DIMENSIONS];
        let mut previous: Option<String> = None;
        for word in text.unicode_words() {
            let word: String = word
                .nfkd()
                .filter(|c| !is_combining_mark(*c))
                .flat_map(char::to_lowercase)
                .collect();
            if FILLERS.contains(&word.as_str()) {
                add(&mut vector, b"w", &word, FILLER);
                continue;
            }
            let stem = stemmer.stem(&word).into_owned();
            add(&mut vector, b"w", &stem, WORD);
            let parts = parts(&word);
            #[expect(clippy::cast_precision_loss, reason = "a handful of parts")]
            let share = PARTS / (parts.len().max(1) as f32).sqrt();
            for part in &parts {
                add(&mut vector, b"p", part, share);
            }
            if let Some(before) = previous.replace(stem.clone()) {
                add(&mut vector, b"2", &format!("{before} {stem}"), PAIR);
            }
        }
        if vector.iter().all(|x| *x == 0.0) {
            add(&mut vector, b"w", "", WORD);
        }
        vector
    }
}

/// The character 3- to 5-grams of a word with its ends marked.
fn parts(word: &str) -> Vec<String> {
    let letters: Vec<char> = std::iter::once('^')
        .chain(word.chars().take(40))
        .chain(std::iter::once('$'))
        .collect();
    (3..=5)
        .flat_map(|length| letters.windows(length).map(|part| part.iter().collect()))
        .collect()
}

/// Adds a feature at the places and with the signs that its hash gives. Two places, so that one collision does not decide.
fn add(vector: &mut [f32], kind: &[u8], feature: &str, weight: f32) {
    let hash = hash(kind, feature.as_bytes());
    for part in [hash, hash.rotate_right(32).wrapping_mul(0x9E37_79B9_7F4A_7C15)] {
        let place = usize::try_from((part >> 1) % (vector.len() as u64)).unwrap_or(0);
        vector[place] += if part & 1 == 0 { weight } else { -weight };
    }
}

/// FNV-1a with a final mix: fixed for good, since stored vectors depend on it.
fn hash(kind: &[u8], bytes: &[u8]) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for byte in kind.iter().chain(b":").chain(bytes) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash ^ (hash >> 33)
}

#[async_trait]
impl Embedder for Lexical {
    fn model(&self) -> EmbeddingModel {
        EmbeddingModel {
            id: "builtin/lexical-v1".into(),
            dimensions: DIMENSIONS as u32,
        }
    }

    fn locality(&self) -> Locality {
        Locality::Local
    }

    async fn embed(&self, _purpose: EmbedPurpose, texts: &[String]) -> Result<Vec<Embedding>, EmbedError> {
        texts
            .iter()
            .map(|text| Embedding::new(self.model(), Self::vector(text)).map_err(EmbedError::Misconfigured))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(a: &str, b: &str) -> f32 {
        let unit = |text: &str| Embedding::new(Lexical.model(), Lexical::vector(text)).unwrap().vector;
        unit(a).iter().zip(unit(b)).map(|(x, y)| x * y).sum()
    }

    #[test]
    fn shared_words_forms_and_spellings_are_close_and_meaning_is_not_known() {
        let dog = "My dog is called Rex.";
        assert!(cosine(dog, dog) > 0.999);
        assert!(cosine("What is my dog called?", dog) > 0.5);
        assert!(cosine("What is my dog called?", dog) > cosine("What is my dog called?", "I live in Lyon.") + 0.3);
        assert!(cosine("We moved to Marseille", "moving to Marseilles") > 0.4);
        assert!(cosine("café", "cafe") > 0.999);
        // A known limit.
        assert!(cosine("puppy", "dog") < 0.3);
    }

    #[test]
    fn vectors_never_change() {
        // Stored vectors are compared with these for years: a change needs a new model id.
        let vector = Lexical::vector("My dog is called Rex.");
        let places: Vec<(usize, i32)> = vector
            .iter()
            .enumerate()
            .filter(|(_, x)| x.abs() > 0.9)
            .map(|(at, x)| (at, (x * 100.0).round() as i32))
            .collect();
        assert_eq!(places, [(15, 100), (30, 100), (37, -100), (261, 100), (279, 100)]);
    }

    #[tokio::test]
    async fn every_text_has_a_vector() {
        let texts: Vec<String> = ["", "  ", "!?", "日本語のテキスト", "🙂", "the", &"x".repeat(100_000)]
            .iter()
            .map(|text| (*text).to_owned())
            .collect();
        let vectors = Lexical.embed(EmbedPurpose::Document, &texts).await.unwrap();
        assert_eq!(vectors.len(), texts.len());
        for vector in vectors {
            let norm: f32 = vector.vector.iter().map(|x| x * x).sum();
            assert!((norm - 1.0).abs() < 1e-4);
        }
    }
}
