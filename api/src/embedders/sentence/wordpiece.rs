//! BERT's tokenizer: text is cleaned and split at spaces and punctuation, and each word into its longest known pieces.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// Longer words are unknown as a whole.
const MAX_WORD: usize = 100;

/// Cuts texts as `tokenizer.json` says.
pub(super) struct WordPiece {
    vocabulary: HashMap<String, u32>,
    prefix: String,
    lowercase: bool,
    strip_accents: bool,
    unknown: u32,
    first: u32,
    last: u32,
}

#[derive(Deserialize)]
struct File {
    model: Model,
    normalizer: Option<Value>,
}

#[derive(Deserialize)]
struct Model {
    vocab: HashMap<String, u32>,
    #[serde(default = "unknown_token")]
    unk_token: String,
    #[serde(default = "subword_prefix")]
    continuing_subword_prefix: String,
}

fn unknown_token() -> String {
    "[UNK]".into()
}

fn subword_prefix() -> String {
    "##".into()
}

impl WordPiece {
    /// Reads the content of `tokenizer.json`; the error says what is wrong with it.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        let file: File = serde_json::from_slice(json).map_err(|_| "it is no WordPiece tokenizer".to_owned())?;
        let flag = |name: &str| {
            file.normalizer
                .as_ref()
                .and_then(|normalizer| normalizer.get(name))
                .and_then(Value::as_bool)
        };
        let lowercase = flag("lowercase").unwrap_or(true);
        let token = |name: &str| {
            file.model
                .vocab
                .get(name)
                .copied()
                .ok_or_else(|| format!("its vocabulary has no `{name}`"))
        };
        Ok(Self {
            unknown: token(&file.model.unk_token)?,
            first: token("[CLS]")?,
            last: token("[SEP]")?,
            lowercase,
            // Unset means the same as `lowercase`.
            strip_accents: flag("strip_accents").unwrap_or(lowercase),
            prefix: file.model.continuing_subword_prefix,
            vocabulary: file.model.vocab,
        })
    }

    /// The largest token; the model has to know it.
    pub fn largest(&self) -> u32 {
        self.vocabulary.values().copied().max().unwrap_or(0)
    }

    /// The tokens of a text, enclosed by the first and the last special token, at most `limit` in all.
    pub fn tokens(&self, text: &str, limit: usize) -> Vec<u32> {
        let mut tokens = vec![self.first];
        for word in self.words(text) {
            self.pieces(&word, &mut tokens);
            if tokens.len() >= limit {
                break;
            }
        }
        tokens.truncate(limit.saturating_sub(1));
        tokens.push(self.last);
        tokens
    }

    fn words(&self, text: &str) -> Vec<String> {
        let mut clean = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '\0' | '\u{FFFD}' => {}
                c if c.is_whitespace() => clean.push(' '),
                c if c.is_control() || is_format(c) => {}
                c if is_ideograph(c) || is_punctuation(c) => clean.extend([' ', c, ' ']),
                c => clean.push(c),
            }
        }
        if self.strip_accents {
            clean = clean.nfd().filter(|c| !is_combining_mark(*c)).collect();
        }
        if self.lowercase {
            clean = clean.to_lowercase();
        }
        clean.split_whitespace().map(str::to_owned).collect()
    }

    /// The longest known piece first, then the longest known continuation, and so on.
    fn pieces(&self, word: &str, tokens: &mut Vec<u32>) {
        let letters: Vec<char> = word.chars().collect();
        if letters.len() > MAX_WORD {
            tokens.push(self.unknown);
            return;
        }
        let begin = tokens.len();
        let mut start = 0;
        while start < letters.len() {
            let known = (start + 1..=letters.len()).rev().find_map(|end| {
                let letters: String = letters[start..end].iter().collect();
                let piece = if start == 0 {
                    letters
                } else {
                    format!("{}{letters}", self.prefix)
                };
                Some((end, *self.vocabulary.get(&piece)?))
            });
            let Some((end, token)) = known else {
                tokens.truncate(begin);
                tokens.push(self.unknown);
                return;
            };
            tokens.push(token);
            start = end;
        }
    }
}

fn is_format(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}')
}

/// ASCII punctuation and symbols, and the common punctuation of other scripts.
fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation()
        || matches!(c,
            '¡' | '§' | '«' | '¶' | '·' | '»' | '¿' | '՚'..='՟' | '։' | '،' | '؛' | '؟' | '।' | '॥'
            | '‐'..='‧' | '‰'..='⁃' | '⁅'..='⁑' | '⁓'..='⁞' | '、'..='〃' | '〈'..='】' | '〔'..='〟'
            | '！'..='＃' | '％'..='＊' | '，'..='／' | '：' | '；' | '？' | '＠' | '［'..='］' | '＿' | '｛' | '｝' | '｟'..='･')
}

/// Whether a character is Han; each of those is a word of its own.
fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{4E00}'..='\u{9FFF}' | '\u{3400}'..='\u{4DBF}' | '\u{20000}'..='\u{2CEAF}' | '\u{F900}'..='\u{FAFF}' | '\u{2F800}'..='\u{2FA1F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> WordPiece {
        let words = [
            "[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "cafe", ",", "!", "日", "本", "run", "##ning",
        ];
        let vocab: serde_json::Map<String, Value> = words
            .iter()
            .enumerate()
            .map(|(at, word)| ((*word).to_owned(), at.into()))
            .collect();
        let file = serde_json::json!({
            "normalizer": {"type": "BertNormalizer", "lowercase": true, "strip_accents": null},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": vocab}
        });
        WordPiece::read(file.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn texts_become_their_longest_known_pieces() {
        let table: &[(&str, &[u32])] = &[
            ("", &[]),
            ("unaffable", &[4, 5, 6]),
            ("UNAFFABLE, running!", &[4, 5, 6, 8, 12, 13, 9]),
            ("Café", &[7]),
            ("日本", &[10, 11]),
            ("unx", &[1]),
            ("run\u{200B}ning\tcafe\0", &[12, 13, 7]),
            (&"x".repeat(101), &[1]),
        ];
        for (text, expected) in table {
            let mut whole = vec![2];
            whole.extend_from_slice(expected);
            whole.push(3);
            assert_eq!(tokenizer().tokens(text, 64), whole, "{text}");
        }
        assert_eq!(tokenizer().tokens(&"cafe ".repeat(500), 10).len(), 10);
    }

    #[test]
    fn other_files_are_refused() {
        for file in [
            "",
            "{}",
            r#"{"model": {"vocab": {"[UNK]": 0}}}"#,
            r#"{"model": {"type": "BPE", "merges": []}}"#,
        ] {
            assert!(WordPiece::read(file.as_bytes()).is_err(), "{file}");
        }
    }
}
