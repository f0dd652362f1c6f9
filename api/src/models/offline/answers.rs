//! Finds the remembered statement that answers a question, and quotes it with its source.

use duet_core::{ports::ContextItem, run::UNTRUSTED_MARK};

use super::words::{content, is_property, plain, telling};

/// A statement that can be quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub text: &'a str,
    /// Date and speaker, if known.
    pub note: &'a str,
    pub untrusted: bool,
}

impl<'a> From<&'a ContextItem> for Item<'a> {
    fn from(item: &'a ContextItem) -> Self {
        Self {
            text: &item.text,
            note: &item.note,
            untrusted: item.untrusted,
        }
    }
}

/// The statements in the result of `recall`: lines of the form `- [id] (note) text`, with the note after the mark of an untrusted
/// source if there is one.
pub(super) fn items_of_result(result: &str) -> Vec<Item<'_>> {
    result
        .lines()
        .filter_map(|line| {
            let (_, rest) = line.strip_prefix("- [")?.split_once("] (")?;
            let marked = rest.strip_prefix(UNTRUSTED_MARK);
            let (note, text) = marked.unwrap_or(rest).split_once(") ")?;
            Some(Item {
                text,
                note,
                untrusted: marked.is_some(),
            })
        })
        .collect()
}

/// How well a statement fits a question.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Fit {
    /// Share of the question's words that it contains; things count double.
    coverage: f32,
    /// Whether it is certainly about the same thing.
    sure: bool,
}

fn fit(question: &[String], item: &str) -> Option<Fit> {
    let statement = content(item);
    let weight = |word: &String| if is_property(word) { 0.5_f32 } else { 1.0 };
    let all: f32 = question.iter().map(weight).sum();
    let matched: Vec<&String> = question
        .iter()
        .filter(|word| statement.iter().any(|other| same(word, other)))
        .collect();
    let coverage = matched.iter().map(|word| weight(word)).sum::<f32>() / all.max(f32::EPSILON);
    if matched.is_empty() || coverage <= 0.5 {
        return None;
    }
    // "What is my name?" contains no thing: then the statement must speak of the person, not of "my dog".
    let things = matched.iter().any(|word| !is_property(word));
    let before = statement
        .iter()
        .take_while(|word| !matched.iter().any(|other| same(word, other)));
    let own = before.into_iter().all(|word| is_property(word));
    Some(Fit {
        coverage,
        sure: things || own,
    })
}

/// Equal, or one a longer form of the other (`labrador`, `labradors`), for words long enough.
fn same(a: &str, b: &str) -> bool {
    a == b || (a.len().min(b.len()) >= 5 && (a.starts_with(b) || b.starts_with(a)))
}

/// The statements that answer a question, best first, and whether they certainly do.
fn ranked<'a>(question: &str, items: &[Item<'a>]) -> (Vec<Item<'a>>, bool) {
    let words = content(question);
    let mut fits: Vec<(Fit, &Item<'a>)> = items
        .iter()
        .filter_map(|item| Some((fit(&words, item.text)?, item)))
        .collect();
    // Stable: items arrive from recall best first, which decides ties.
    fits.sort_by(|(a, _), (b, _)| b.sure.cmp(&a.sure).then(b.coverage.total_cmp(&a.coverage)));
    let Some((top, _)) = fits.first().copied() else {
        return (Vec::new(), false);
    };
    let chosen = fits
        .iter()
        .filter(|(fit, _)| fit.sure == top.sure && fit.coverage >= top.coverage - 0.01)
        .map(|(_, item)| (*item).clone());
    (chosen.take(3).collect(), top.sure)
}

/// The best answer among what was recalled, if one certainly fits.
pub(super) fn best<'a>(question: &str, recalled: &'a [ContextItem]) -> Option<Item<'a>> {
    let items: Vec<Item<'a>> = recalled.iter().map(Item::from).collect();
    let (chosen, sure) = ranked(question, &items);
    chosen.into_iter().next().filter(|_| sure)
}

/// Whether a question asks for everything at once.
pub(super) fn is_overview(question: &str) -> bool {
    let joined = plain(question).join(" ");
    [
        "know about me",
        "remember about me",
        "remember of me",
        "i told you",
        "i tell you",
        "have i told",
        "did i tell",
        "do you remember",
        "about me",
        "in your memory",
        "do you know",
    ]
    .iter()
    .any(|phrase| joined.contains(phrase))
        && content(question).is_empty()
}

/// What to search memory for; `None` if the question has no usable word.
pub(super) fn search_words(question: &str) -> Option<String> {
    let words = telling(question);
    if words.is_empty() { None } else { Some(words.join(" ")) }
}

/// The answer in words.
pub(super) fn answer(question: &str, recalled: &[ContextItem], found: &[Item<'_>]) -> String {
    let mut items: Vec<Item<'_>> = recalled.iter().map(Item::from).collect();
    for item in found {
        if !items.iter().any(|known| known.text == item.text) {
            items.push(item.clone());
        }
    }
    if is_overview(question) {
        return if items.is_empty() {
            "I remember nothing yet that I can show here. Tell me something, such as “My dog is called Rex.”".into()
        } else {
            list("This is some of what I remember:", &items[..items.len().min(8)])
        };
    }
    let (chosen, sure) = ranked(question, &items);
    match (chosen.as_slice(), sure) {
        ([], _) => {
            let words = telling(question).join(", ");
            let looked = if words.is_empty() {
                String::new()
            } else {
                format!(" I looked for: {words}.")
            };
            format!(
                "I have nothing in memory that answers “{}”.{looked} Tell me, and I will remember it.",
                question.trim()
            )
        }
        ([item], true) => format!("You told me: {}", quote(item)),
        (items, true) => list("You told me:", items),
        ([item], false) => format!("I am not sure. The closest that I remember: {}", quote(item)),
        (items, false) => list("I am not sure. The closest that I remember:", items),
    }
}

fn list(head: &str, items: &[Item<'_>]) -> String {
    let lines: Vec<String> = items.iter().map(quote).collect();
    format!("{head}\n- {}", lines.join("\n- "))
}

fn quote(item: &Item<'_>) -> String {
    let origin = if item.untrusted {
        "from outside, unchecked"
    } else {
        "from our conversation"
    };
    let note = if item.note.is_empty() {
        String::new()
    } else {
        format!(", {}", item.note)
    };
    format!("“{}” ({origin}{note})", item.text.trim())
}

/// Sentences that hold one value at a time: what precedes these words is their subject.
const SINGLE: &[&str] = &[
    "is called",
    "is named",
    "name is",
    "favorite",
    "i live in",
    "i live at",
    "i work at",
    "i work for",
    "birthday is",
    "number is",
    "address is",
];

/// The remembered statement that a new one makes outdated: both begin the same, up to one of the words that hold one value.
pub(super) fn outdated_by<'a>(statement: &str, recalled: &'a [ContextItem]) -> Option<&'a ContextItem> {
    let subject = single_valued(statement)?;
    recalled
        .iter()
        .filter(|item| !item.untrusted && plain(&item.text) != plain(statement))
        .find(|item| single_valued(&item.text).as_ref() == Some(&subject))
}

fn single_valued(statement: &str) -> Option<String> {
    let words: Vec<String> = plain(statement)
        .into_iter()
        .filter(|word| !matches!(word.as_str(), "now" | "actually" | "today" | "currently"))
        // One spelling for both, since they mean the same.
        .map(|word| word.replace("favourite", "favorite").replace("colour", "color"))
        .collect();
    // Someone who moved now lives elsewhere.
    let joined = words.join(" ").replace("i moved to", "i live in");
    SINGLE.iter().find_map(|mark| {
        let at = joined.find(mark)?;
        let end = match *mark {
            // "My favourite colour is red": the subject extends to the verb.
            "favorite" => joined[at..].find(" is ").map(|length| at + length)?,
            mark => at + mark.len(),
        };
        let starts_a_word = at == 0 || joined.as_bytes()[at - 1] == b' ';
        (starts_a_word && joined.len() > end).then(|| joined[..end].to_owned())
    })
}
