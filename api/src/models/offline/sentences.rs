//! Splits a message into sentences and classifies each.

use super::{
    phrases::{ABBREVIATIONS, ABOUT_ME, AUXILIARIES, HEADINGS, KEEP, POLITE, QUESTION_WORDS, VERBS},
    words::plain,
};

/// What a sentence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something to keep.
    Statement(Told),
    /// A question.
    Question,
    /// "Count to 200."
    Count(u32),
    /// "Tell me a story."
    Story {
        /// Whether a long one is wanted.
        long: bool,
    },
    /// Hello.
    Greeting,
    /// Who are you, what can you do.
    Help,
    /// Thank you.
    Thanks,
    /// Goodbye.
    Farewell,
    /// "Forget …": the rules do not do this.
    Forget,
    /// "I am fine": not worth keeping.
    SmallTalk,
    /// Anything else.
    Other,
}

/// What kind of statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Fact,
    Preference,
    Event,
}

/// A sentence; the text of a statement is what to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sentence {
    pub text: String,
    pub kind: Kind,
}

impl Sentence {
    /// The word for its kind in the `remember` tool's arguments.
    pub fn kind_word(&self) -> &'static str {
        match self.kind {
            Kind::Statement(Told::Preference) => "preference",
            Kind::Statement(Told::Event) => "event",
            _ => "fact",
        }
    }
}

/// Reads a message.
pub(super) fn read(message: &str) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    let mut announced = false;
    for text in split(message) {
        // "Please remember the following. …" refers to what follows.
        let follows = std::mem::replace(&mut announced, announces(&text));
        if announced {
            sentences.push(Sentence {
                text,
                kind: Kind::SmallTalk,
            });
            continue;
        }
        let mut sentence = classify(&text);
        if follows && matches!(sentence.kind, Kind::Other | Kind::SmallTalk) {
            sentence = keep(&text);
        }
        match sentence.kind {
            Kind::Statement(_) => sentences.extend(clauses(&sentence.text).into_iter().map(|clause| keep(&clause))),
            _ => sentences.push(sentence),
        }
    }
    sentences
}

/// "I live in Lyon, my cat is called Miso and I work at a bakery." makes three statements. A clause is separate if it begins with
/// the speaker and states something, and the text before it does too.
fn clauses(statement: &str) -> Vec<String> {
    let mut clauses = Vec::new();
    let mut rest = statement;
    let mut from = 0;
    while let Some((at, length)) = [", and ", "; and ", " and ", ", ", "; "]
        .iter()
        .filter_map(|join| rest[from..].find(join).map(|at| (from + at, join.len())))
        .min_by_key(|(at, length)| (*at, std::cmp::Reverse(*length)))
    {
        let (before, after) = (plain(&rest[..at]), plain(&rest[at + length..]));
        let subject = after
            .first()
            .is_some_and(|word| matches!(word.as_str(), "i" | "my" | "we" | "our"));
        let verb = |words: &[String]| {
            words
                .iter()
                .take(6)
                .any(|word| word == "i" || word == "we" || VERBS.contains(&word.as_str()))
        };
        let subordinate = before.first().is_some_and(|word| {
            matches!(
                word.as_str(),
                "if" | "when" | "because" | "while" | "after" | "before" | "since"
            )
        });
        if subject && !subordinate && states(&before) && verb(&before) && states(&after) && verb(&after) {
            clauses.push(rest[..at].to_owned());
            rest = &rest[at + length..];
            from = 0;
        } else {
            from = at + length;
        }
    }
    clauses.push(rest.to_owned());
    clauses
}

/// Sentences end with `.`, `!`, `?`, `…` before white space, or with a line; list marks are dropped.
fn split(message: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    for line in message.lines() {
        let line = line.trim().trim_start_matches(['-', '*', '•']).trim();
        let mut start = 0;
        let mut marks = line.char_indices().peekable();
        while let Some((at, mark)) = marks.next() {
            let ends = matches!(mark, '.' | '!' | '?' | '…')
                && marks
                    .peek()
                    .is_none_or(|(_, next)| next.is_whitespace() || matches!(next, '"' | '”' | ')'));
            let word = line[start..at]
                .rsplit(char::is_whitespace)
                .next()
                .unwrap_or_default()
                .to_lowercase();
            let number =
                word.len() <= 2 && !word.is_empty() && word.chars().all(|c| c.is_ascii_digit()) && line[start..at].trim() == word;
            if ends && number && mark == '.' {
                // "1. …" is a list mark.
                start = at + 1;
            } else if ends && !(mark == '.' && (ABBREVIATIONS.contains(&word.as_str()) || is_initial(&word))) {
                let mut end = at + mark.len_utf8();
                while let Some((next, closing)) = marks.next_if(|(_, c)| matches!(c, '"' | '”' | ')')) {
                    end = next + closing.len_utf8();
                }
                sentences.push(line[start..end].trim().to_owned());
                start = end;
            }
        }
        sentences.push(line[start..].trim().to_owned());
    }
    sentences.retain(|sentence| sentence.chars().any(char::is_alphanumeric));
    sentences
}

fn is_initial(word: &str) -> bool {
    word.chars().count() == 1 && word.chars().all(char::is_alphabetic) && word != "i" && word != "a"
}

/// Whether a sentence only says that something to keep follows.
fn announces(sentence: &str) -> bool {
    let words = plain(sentence);
    let text = words.join(" ");
    words.len() <= 8
        && (sentence.ends_with(':')
            || ["following", "these", "things", "facts", "this"]
                .iter()
                .any(|word| words.last().is_some_and(|last| last == word)))
        && (text.contains("remember") || text.contains("note") || text.contains("keep in mind"))
}

/// Removes leading phrases, with the punctuation and space after them.
fn without<'a>(mut text: &'a str, phrases: &[&str]) -> &'a str {
    'again: loop {
        for phrase in phrases {
            if let Some(rest) = strip_phrase(text, phrase) {
                text = rest;
                continue 'again;
            }
        }
        return text;
    }
}

/// The text after a leading phrase, whatever its case.
fn strip_phrase<'a>(text: &'a str, phrase: &str) -> Option<&'a str> {
    let start = text.get(..phrase.len())?;
    let start = start.replace('’', "'");
    let rest = &text[phrase.len()..];
    (start.eq_ignore_ascii_case(phrase) && !rest.starts_with(|c: char| c.is_alphanumeric() || c == '\''))
        .then(|| rest.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ',' | ':' | '-' | '–' | '—' | '!')))
}

fn classify(original: &str) -> Sentence {
    let apostrophes = original.replace('’', "'");
    let text = without(apostrophes.trim(), POLITE);
    let asked = original.trim_end().ends_with('?');
    let words = plain(text);
    let first = words.first().map_or("", String::as_str);
    let sentence = |kind| Sentence {
        text: original.to_owned(),
        kind,
    };
    let joined = words.join(" ");

    if words.is_empty() {
        return sentence(Kind::Greeting);
    }
    if let Some(statement) = KEEP.iter().find_map(|phrase| strip_phrase(text, phrase)) {
        let statement = statement.trim_end_matches('?').trim();
        // "Remember these things: …"
        let statement = match statement.split_once(':') {
            Some((head, rest)) if plain(head).iter().all(|word| HEADINGS.contains(&word.as_str())) => rest.trim(),
            _ => statement,
        };
        if plain(statement).len() >= 2 && !is_question_word(plain(statement).first().map_or("", String::as_str)) {
            return keep(statement);
        }
    }
    if let Some(kind) = request(&joined, &words) {
        return sentence(kind);
    }
    if asked || asks(&joined, first) {
        return sentence(Kind::Question);
    }
    if let Some(kind) = small_talk(&joined) {
        return sentence(kind);
    }
    if states(&words) { keep(text) } else { sentence(Kind::Other) }
}

fn request(joined: &str, words: &[String]) -> Option<Kind> {
    let has = |word: &str| words.iter().any(|w| w == word);
    let says = |phrases: &[&str]| {
        phrases
            .iter()
            .any(|phrase| joined == *phrase || joined.starts_with(&format!("{phrase} ")))
    };
    if (says(&["count", "please count"]) || joined.contains("count to") || joined.contains("count from")) && words.len() <= 10 {
        let to = words.iter().filter_map(|word| word.parse::<u32>().ok()).max();
        return to.map(|to| Kind::Count(to.clamp(1, 2_000)));
    }
    if has("story")
        && (says(&[
            "tell",
            "write",
            "make up",
            "give",
            "i want",
            "i would like",
            "a story",
            "a long story",
        ]))
    {
        return Some(Kind::Story {
            long: has("long") || has("longer") || has("very"),
        });
    }
    if says(&["forget", "delete", "erase", "redact"]) {
        return Some(Kind::Forget);
    }
    let help = [
        "help",
        "who are you",
        "what are you",
        "what can you do",
        "what do you do",
        "how do you work",
        "how does this work",
        "what is this",
        "are you a robot",
        "are you an ai",
        "how do i configure a model",
        "how do i set up a model",
        "which model are you",
        "what model are you",
    ];
    (help.contains(&joined)).then_some(Kind::Help)
}

fn small_talk(joined: &str) -> Option<Kind> {
    let says = |phrases: &[&str]| {
        phrases
            .iter()
            .any(|phrase| joined == *phrase || joined.starts_with(&format!("{phrase} ")))
    };
    if says(&[
        "hello",
        "hi",
        "hey",
        "good morning",
        "good evening",
        "good afternoon",
        "good day",
        "greetings",
        "bonjour",
        "hallo",
        "hola",
    ]) {
        return Some(Kind::Greeting);
    }
    if says(&["thanks", "thank you", "thx", "cheers", "merci", "danke", "gracias"]) {
        return Some(Kind::Thanks);
    }
    if says(&[
        "bye",
        "goodbye",
        "good bye",
        "good night",
        "see you",
        "ciao",
        "i have to go",
        "i must go",
    ]) {
        return Some(Kind::Farewell);
    }
    let idle = [
        "i see",
        "i understand",
        "i know",
        "i don t know",
        "i do not know",
        "i think so",
        "i guess",
        "i mean",
        "i am fine",
        "i m fine",
        "i am ok",
        "i m ok",
        "i am okay",
        "i m okay",
        "i am good",
        "i m good",
        "i am well",
        "i have a question",
        "i want to ask",
        "i wonder",
        "i am back",
        "i m back",
        "i am here",
        "i m here",
        "yes",
        "no",
        "ok",
        "okay",
        "sure",
        "great",
        "nice",
        "cool",
        "good",
        "that is",
        "that s",
        "it is",
        "it s",
        "you are",
        "you re",
        "you can",
        "i love you",
        "i hate you",
        "i like you",
        "i want you",
        "i need you",
        "i d like you",
        "i would like you",
        "let s",
        "never mind",
        "i am sorry",
        "i m sorry",
        "sorry",
        "test",
        "testing",
    ];
    says(&idle).then_some(Kind::SmallTalk)
}

fn is_question_word(word: &str) -> bool {
    QUESTION_WORDS.contains(&word)
}

fn asks(joined: &str, first: &str) -> bool {
    let asking = [
        "tell me what",
        "tell me who",
        "tell me when",
        "tell me where",
        "tell me which",
        "tell me how",
        "tell me about",
        "tell me my",
        "tell me the",
        "remind me",
        "recall",
        "look up",
        "search",
        "list",
        "show me",
        "give me",
        "name my",
        "name the",
    ];
    // "When I was young, I lived in Lyon." states something, so these words count only with a verb after them.
    let subordinate =
        matches!(first, "when" | "while") && joined.split(' ').nth(1).is_some_and(|word| matches!(word, "i" | "we" | "my"));
    (is_question_word(first) || AUXILIARIES.contains(&first)) && !subordinate
        || asking
            .iter()
            .any(|phrase| joined == *phrase || joined.starts_with(&format!("{phrase} ")))
}

/// Whether a sentence states something: about the person, or a subject with one of the verbs that usually do.
fn states(words: &[String]) -> bool {
    let first = words.first().map_or("", String::as_str);
    let about_me = words.iter().any(|word| ABOUT_ME.contains(&word.as_str()));
    let vague = [
        "this",
        "that",
        "it",
        "you",
        "your",
        "let",
        "tell",
        "write",
        "make",
        "give",
        "explain",
        "translate",
        "summarise",
        "summarize",
        "show",
        "play",
        "sing",
        "open",
        "send",
    ];
    words.len() >= 3 && !vague.contains(&first) && (about_me || words.iter().skip(1).any(|word| VERBS.contains(&word.as_str())))
}

/// A statement in the form that is kept: from a capital letter to a full stop.
fn keep(text: &str) -> Sentence {
    let text = text.trim().trim_matches(['"', '“', '”']).trim();
    let mut letters = text.chars();
    let mut kept: String = match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    };
    if !kept.ends_with(['.', '!', '?', '…', ')']) {
        kept.push('.');
    }
    let kind = Kind::Statement(told(&plain(&kept)));
    Sentence { text: kept, kind }
}

fn told(words: &[String]) -> Told {
    let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    let joined = format!(" {} ", words.join(" "));
    let says = |list: &[&str]| list.iter().any(|phrase| joined.contains(&format!(" {phrase} ")));
    if has(&[
        "like",
        "likes",
        "love",
        "loves",
        "prefer",
        "prefers",
        "hate",
        "hates",
        "dislike",
        "dislikes",
        "enjoy",
        "enjoys",
        "favourite",
        "favorite",
        "rather",
    ]) || says(&["can t stand", "cannot stand", "fond of", "d rather", "fan of"])
    {
        return Told::Preference;
    }
    let when = says(&[
        "yesterday",
        "today",
        "last week",
        "last month",
        "last year",
        "last night",
        "this morning",
        "tonight",
        "tomorrow",
        "next week",
        "next month",
        "ago",
    ]);
    let happened = has(&[
        "went",
        "met",
        "bought",
        "saw",
        "visited",
        "arrived",
        "finished",
        "started",
        "won",
        "lost",
        "broke",
        "sold",
        "travelled",
        "traveled",
        "happened",
    ]);
    if when || (happened && has(&["i", "we"])) {
        Told::Event
    } else {
        Told::Fact
    }
}
