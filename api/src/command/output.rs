//! Data to the standard output, words to the standard error.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::exit::{Failure, Outcome};

/// Where a command writes.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// Data as JSON instead of text for people.
    pub json: bool,
    /// No words beside the data.
    pub quiet: bool,
}

impl Output {
    /// Writes data as it is and flushes: text that streams has to show at once.
    pub fn raw(&self, text: &str) -> Outcome {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(closed)
    }

    /// Writes one line of data.
    pub fn line(&self, text: &str) -> Outcome {
        self.raw(&format!("{text}\n"))
    }

    /// Writes one JSON value: indented for a person at a terminal, else on one line.
    pub fn value(&self, value: &impl Serialize) -> Outcome {
        let text = if io::stdout().is_terminal() {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        self.line(&text.map_err(|error| Failure::failed(format!("The answer cannot be written as JSON: {error}.")))?)
    }

    /// Says something that is not data.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Writes rows in aligned columns under a heading; says so when there are none.
    pub fn table<const N: usize>(&self, heading: [&str; N], rows: &[[String; N]], none: &str) -> Outcome {
        if rows.is_empty() {
            self.say(none);
            return Ok(());
        }
        let heading = heading.map(str::to_owned);
        let all = || std::iter::once(&heading).chain(rows);
        let width: [usize; N] = std::array::from_fn(|column| all().map(|row| row[column].chars().count()).max().unwrap_or(0));
        let mut text = String::new();
        for row in all() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(width) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        self.raw(&text)
    }
}

/// A reader that has gone ends the command quietly; anything else is a failure.
fn closed(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Closed,
        io::ErrorKind::StorageFull => {
            Failure::unavailable("The output cannot be written: the disk is full. Free some space and repeat the command.")
        }
        _ => Failure::failed(format!("The output cannot be written: {error}.")),
    }
}

/// Asks a yes-no question on the terminal; without a terminal the answer is no.
pub fn confirm(question: &str) -> bool {
    if !io::stdin().is_terminal() {
        return false;
    }
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// The first line of a text, at most `max` characters, without control characters: for tables.
pub fn brief(text: &str, max: usize) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    if line.chars().count() <= max {
        return line;
    }
    let mut short: String = line.chars().take(max.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Text from a model or memory for a terminal: control characters other than newline and tab could drive it.
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brief_is_one_clean_line() {
        assert_eq!(brief("a\n b\tc", 10), "a b c");
        assert_eq!(brief("äöüäöü", 4), "äöü…");
        assert_eq!(brief("x\u{1b}[31mred", 20), "x[31mred");
    }

    #[test]
    fn printable_keeps_lines_and_drops_escapes() {
        assert_eq!(printable("a\n\tb\u{1b}]0;title\u{7}\u{9b}c"), "a\n\tb]0;titlec");
    }
}
