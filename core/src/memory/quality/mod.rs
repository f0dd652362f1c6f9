//! Memory quality without a judge: how much of the evidence for a question is among the first 5, 10 or 20 recalled.

mod run;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use run::{Progress, Report, run};

/// One line of a data set: first all turns, then the questions about them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line {
    /// Something that was said.
    Turn(Turn),
    /// Something to be asked.
    Question(Question),
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// The conversation.
    pub conversation: String,
    /// The turn's name, unique in its conversation.
    pub id: String,
    /// Who said it.
    #[serde(default)]
    pub speaker: Option<String>,
    /// When it was said, RFC 3339 or a date.
    #[serde(default)]
    pub time: Option<String>,
    /// What was said.
    pub text: String,
}

/// A question and the turns that answer it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The conversation it is about.
    pub conversation: String,
    /// What is asked.
    pub text: String,
    /// The ids of the turns that hold the answer.
    pub evidence: Vec<String>,
    /// What kind of question it is.
    #[serde(default)]
    pub category: Option<Category>,
}

/// A category, by name or by number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Category {
    /// By name.
    Name(String),
    /// By number.
    Number(i64),
}

impl std::fmt::Display for Category {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// Reads a data set; the message names the line that is wrong.
pub fn parse(jsonl: &str) -> Result<(Vec<Turn>, Vec<Question>), String> {
    let (mut turns, mut questions) = (Vec::new(), Vec::new());
    for (number, line) in jsonl.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match serde_json::from_str(line) {
            Ok(Line::Turn(turn)) => turns.push(turn),
            Ok(Line::Question(question)) => questions.push(question),
            Err(error) => return Err(format!("Line {} is neither a turn nor a question: {error}.", number + 1)),
        }
    }
    if turns.is_empty() || questions.is_empty() {
        return Err("A data set needs at least one turn and one question.".into());
    }
    Ok((turns, questions))
}

/// The marks of one answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Marks {
    /// The share of the evidence among the first 5.
    pub recall_5: f64,
    /// … the first 10.
    pub recall_10: f64,
    /// … the first 20.
    pub recall_20: f64,
    /// One over the rank of the first evidence; 0 if there is none.
    pub reciprocal_rank: f64,
}

/// Compares an answer, best first, with the evidence; `None` for a question without evidence.
#[expect(clippy::cast_precision_loss, reason = "small counts")]
pub fn mark<T: PartialEq>(answer: &[T], evidence: &[T]) -> Option<Marks> {
    if evidence.is_empty() {
        return None;
    }
    let found = |places: usize| {
        let hits = evidence
            .iter()
            .filter(|wanted| answer.iter().take(places).any(|given| given == *wanted))
            .count();
        hits as f64 / evidence.len() as f64
    };
    let first = answer.iter().position(|given| evidence.contains(given));
    Some(Marks {
        recall_5: found(5),
        recall_10: found(10),
        recall_20: found(20),
        reciprocal_rank: first.map_or(0.0, |place| 1.0 / (place + 1) as f64),
    })
}

/// The averages of a group of questions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many questions.
    pub questions: u64,
    /// The share of the evidence among the first 5, on average.
    pub recall_5: f64,
    /// … the first 10.
    pub recall_10: f64,
    /// … the first 20.
    pub recall_20: f64,
    /// Mean reciprocal rank.
    pub mrr: f64,
    /// Median answer time in milliseconds.
    pub p50_ms: f64,
    /// 95th percentile of the answer time in milliseconds.
    pub p95_ms: f64,
}

/// Collects marks and times by category.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    groups: BTreeMap<String, Vec<(Marks, f64)>>,
}

impl Tally {
    /// The name of the group of all questions.
    pub const ALL: &'static str = "all";

    /// Adds one answer with its time in milliseconds.
    pub fn add(&mut self, category: Option<&Category>, marks: Marks, millis: f64) {
        let category = category.map_or_else(|| "none".to_owned(), Category::to_string);
        self.groups.entry(category).or_default().push((marks, millis));
    }

    /// The averages by category, and those of all questions under [`Tally::ALL`].
    pub fn summaries(&self) -> BTreeMap<String, Summary> {
        let all: Vec<(Marks, f64)> = self.groups.values().flatten().copied().collect();
        let mut summaries: BTreeMap<String, Summary> = self
            .groups
            .iter()
            .map(|(category, marks)| (category.clone(), summarise(marks)))
            .collect();
        summaries.insert(Self::ALL.to_owned(), summarise(&all));
        summaries
    }
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn summarise(marks: &[(Marks, f64)]) -> Summary {
    if marks.is_empty() {
        return Summary::default();
    }
    let mean = |value: fn(&Marks) -> f64| marks.iter().map(|(marks, _)| value(marks)).sum::<f64>() / marks.len() as f64;
    let mut millis: Vec<f64> = marks.iter().map(|(_, millis)| *millis).collect();
    millis.sort_by(f64::total_cmp);
    Summary {
        questions: marks.len() as u64,
        recall_5: mean(|marks| marks.recall_5),
        recall_10: mean(|marks| marks.recall_10),
        recall_20: mean(|marks| marks.recall_20),
        mrr: mean(|marks| marks.reciprocal_rank),
        p50_ms: percentile(&millis, 50),
        p95_ms: percentile(&millis, 95),
    }
}

/// The percentile of a sorted list by nearest rank; 0 for an empty list.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}

impl Report {
    /// As a table for people.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{} turns, {} questions, embedder {}\n\n",
            self.turns, self.questions, self.model
        );
        let width = self
            .modes
            .values()
            .flat_map(BTreeMap::keys)
            .map(|name| name.chars().count())
            .max()
            .unwrap_or(0)
            .max(8);
        text.push_str(&format!(
            "{:<7} {:<width$} {:>9} {:>7} {:>7} {:>7} {:>7} {:>8} {:>8}\n",
            "mode", "category", "questions", "R@5", "R@10", "R@20", "MRR", "p50 ms", "p95 ms"
        ));
        for (mode, categories) in &self.modes {
            for (category, s) in categories {
                text.push_str(&format!(
                    "{mode:<7} {category:<width$} {:>9} {:>7.3} {:>7.3} {:>7.3} {:>7.3} {:>8.2} {:>8.2}\n",
                    s.questions, s.recall_5, s.recall_10, s.recall_20, s.mrr, s.p50_ms, s.p95_ms
                ));
            }
        }
        for (mode, average) in &self.off_topic {
            text.push_str(&format!(
                "{mode:<7} {average:.2} of the first eight at questions without evidence\n"
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_count_evidence_by_place() {
        let answer: Vec<u32> = (1..=20).collect();
        let marks = mark(&answer, &[3, 8, 15, 99]).expect("has evidence");
        assert_eq!((marks.recall_5, marks.recall_10, marks.recall_20), (0.25, 0.5, 0.75));
        assert!((marks.reciprocal_rank - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(mark(&answer, &[]), None);
    }

    #[test]
    fn a_wrong_line_is_named() {
        let good = r#"{"type":"turn","conversation":"c","id":"1","text":"Hi"}"#;
        assert_eq!(
            parse(&format!("{good}\n\n{{\"type\":\"x\"}}"))
                .expect_err("third line")
                .split(':')
                .next(),
            Some("Line 3 is neither a turn nor a question")
        );
        let question = r#"{"type":"question","conversation":"c","text":"?","evidence":["1"],"category":3}"#;
        let (turns, questions) = parse(&format!("{good}\n{question}")).expect("a data set");
        assert_eq!(
            (turns.len(), questions[0].category.as_ref().map(Category::to_string)),
            (1, Some("3".into()))
        );
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(
            (percentile(&sorted, 50), percentile(&sorted, 95), percentile(&[], 50)),
            (50.0, 95.0, 0.0)
        );
    }
}
