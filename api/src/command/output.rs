//! Data to the standard output, words to the standard error.

use std::io::{self, IsTerminal, Write};

use duet_core::Timestamp;
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

    /// Says something beside the data that need not catch the eye.
    pub fn aside(&self, text: &str) {
        self.say(&paint(Style::Dim, text, coloured(&io::stderr())));
    }

    /// A text for the standard output that stands out, where it is a terminal.
    pub fn strong(&self, text: &str) -> String {
        paint(Style::Bold, text, coloured(&io::stdout()))
    }

    /// Writes rows in aligned columns under a heading; says so when there are none.
    pub fn table<const N: usize>(&self, heading: [&str; N], rows: &[[String; N]], none: &str) -> Outcome {
        if rows.is_empty() {
            self.say(none);
            return Ok(());
        }
        self.raw(&aligned(heading, rows, coloured(&io::stdout())))
    }
}

/// Rows in columns under a heading; on a terminal the heading stands out and the first column, mostly ids, steps back.
fn aligned<const N: usize>(heading: [&str; N], rows: &[[String; N]], colour: bool) -> String {
    let heading = heading.map(str::to_owned);
    let all = || std::iter::once(&heading).chain(rows);
    let width: [usize; N] = std::array::from_fn(|column| all().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for (number, row) in all().enumerate() {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(width).enumerate() {
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()) + 2);
            match (number, column) {
                (1.., 0) => line.push_str(&paint(Style::Dim, cell, colour)),
                _ => line.push_str(cell),
            }
            line.push_str(&padding);
        }
        match number {
            0 => text.push_str(&paint(Style::Bold, line.trim_end(), colour)),
            _ => text.push_str(line.trim_end()),
        }
        text.push('\n');
    }
    text
}

/// How a text is set off on a terminal.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// Stands out.
    Bold,
    /// Steps back.
    Dim,
    /// Something is wrong.
    Red,
}

/// The text in that style where colour is wanted; as it is otherwise.
pub fn paint(style: Style, text: &str, colour: bool) -> String {
    let code = match style {
        Style::Bold => "1",
        Style::Dim => "2",
        Style::Red => "1;31",
    };
    match colour && !text.is_empty() {
        true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        false => text.to_owned(),
    }
}

/// Whether a stream takes colour: a terminal does, unless `NO_COLOR` is set or it is a dumb one.
pub fn coloured(stream: &impl IsTerminal) -> bool {
    let set = |name| std::env::var(name).unwrap_or_default();
    wants_colour(stream.is_terminal(), &set("NO_COLOR"), &set("TERM"))
}

fn wants_colour(terminal: bool, no_color: &str, term: &str) -> bool {
    terminal && no_color.is_empty() && term != "dumb"
}

/// A time as people here read it: `2026-05-01 14:30` in the time zone of this machine (or of `TZ`).
pub fn local_time(at: Timestamp) -> String {
    in_zone(at, jiff::tz::TimeZone::system(), "%Y-%m-%d %H:%M")
}

/// The day of it, there.
pub fn local_day(at: Timestamp) -> String {
    in_zone(at, jiff::tz::TimeZone::system(), "%Y-%m-%d")
}

fn in_zone(at: Timestamp, zone: jiff::tz::TimeZone, format: &str) -> String {
    match jiff::Timestamp::from_millisecond(at.millis()) {
        Ok(time) => time.to_zoned(zone).strftime(format).to_string(),
        // Beyond the calendar.
        Err(_) => at.to_string(),
    }
}

/// A reader that has gone ends the command quietly; anything else is a failure.
pub fn closed(error: io::Error) -> Failure {
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
    fn colour_is_for_terminals_that_want_it() {
        assert!(wants_colour(true, "", "xterm"));
        assert!(!wants_colour(false, "", "xterm"));
        assert!(!wants_colour(true, "1", "xterm"));
        assert!(!wants_colour(true, "", "dumb"));
        let rows = [["1".to_owned(), "one".to_owned()]];
        assert_eq!(aligned(["ID", "WORD"], &rows, false), "ID  WORD\n1   one\n");
        assert_eq!(
            aligned(["ID", "WORD"], &rows, true),
            "\u{1b}[1mID  WORD\u{1b}[0m\n\u{1b}[2m1\u{1b}[0m   one\n"
        );
    }

    #[test]
    fn times_are_local() {
        let at: Timestamp = "2026-05-01T22:30:59.999Z".parse().unwrap();
        let zone = |hours| jiff::tz::TimeZone::fixed(jiff::tz::offset(hours));
        assert_eq!(in_zone(at, zone(2), "%Y-%m-%d %H:%M"), "2026-05-02 00:30");
        assert_eq!(in_zone(at, zone(0), "%Y-%m-%d"), "2026-05-01");
        assert!(in_zone(Timestamp::from_millis(i64::MAX), zone(0), "%Y").ends_with("ms"));
    }

    #[test]
    fn printable_keeps_lines_and_drops_escapes() {
        assert_eq!(printable("a\n\tb\u{1b}]0;title\u{7}\u{9b}c"), "a\n\tb]0;titlec");
    }
}
