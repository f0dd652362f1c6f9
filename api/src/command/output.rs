//! Data goes to standard output, messages to standard error.

use std::io::{self, IsTerminal, Write};

use duet_core::Timestamp;
use serde::Serialize;

use super::exit::{Failure, Outcome};

/// Where a command writes.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// Data as JSON instead of text for people.
    pub json: bool,
    /// Print nothing but data.
    pub quiet: bool,
}

impl Output {
    /// Writes data as it is and flushes: streamed text has to show at once.
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
        let text = text.map_err(|error| Failure::failed(format!("The answer cannot be written as JSON: {error}.")))?;
        self.line(&visible(&text))
    }

    /// Says something that is not data.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Prints an unobtrusive note beside the data.
    pub fn aside(&self, text: &str) {
        self.say(&paint(Style::Dim, text, coloured(&io::stderr())));
    }

    /// A text for standard output that is highlighted on a terminal.
    pub fn strong(&self, text: &str) -> String {
        paint(Style::Bold, text, coloured(&io::stdout()))
    }

    /// Writes rows in aligned columns under a heading, or `none` if there are no rows.
    pub fn table<const N: usize>(&self, heading: [&str; N], rows: &[[String; N]], none: &str) -> Outcome {
        if rows.is_empty() {
            self.say(none);
            return Ok(());
        }
        self.raw(&aligned(heading, rows, coloured(&io::stdout())))
    }
}

/// Rows in columns under a heading; on a terminal the heading is bold and the first column, mostly ids, dimmed.
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

/// The text in that style if colour is wanted; otherwise unchanged.
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

/// The day of a time, in the same time zone.
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

/// If the reader is gone, the command ends quietly; anything else is a failure.
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
    let line = visible(&line.chars().filter(|c| !c.is_control()).collect::<String>());
    if line.chars().count() <= max {
        return line;
    }
    let mut short: String = line.chars().take(max.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Text from a model or memory for a terminal: control characters other than newline and tab could control it.
pub fn printable(text: &str) -> String {
    visible(
        &text
            .chars()
            .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
            .collect::<String>(),
    )
}

/// [`printable`] text as a quotation: no line of it can pass for one that Duet says.
pub fn quoted(text: &str) -> String {
    let text = printable(text);
    let lines: Vec<String> = text.split('\n').map(|line| format!("> {line}")).collect();
    lines.join("\n")
}

/// Shows characters that are invisible or change the order of others as `\u202e`, which is also how JSON may write them. Joiners
/// stay where they join letters of other scripts or pictures.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut before = None;
    for c in text.chars() {
        let hidden = match c {
            '\u{200c}' | '\u{200d}' => before.is_some_and(|before: char| before.is_ascii()),
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}' => true,
            '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{e0000}'..='\u{e007f}' => true,
            _ => false,
        };
        if hidden {
            for unit in c.encode_utf16(&mut [0; 2]) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(c);
        }
        before = Some(c);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brief_is_one_clean_line() {
        assert_eq!(brief("a\n b\tc", 10), "a b c");
        assert_eq!(brief("äöüäöü", 4), "äöü…");
        assert_eq!(brief("x\u{1b}[31mred", 20), "x[31mred");
        assert_eq!(brief("pay \u{202e}live", 20), "pay \\u202elive");
    }

    #[test]
    fn what_nobody_sees_is_shown() {
        for hidden in [
            '\u{ad}', '\u{61c}', '\u{200b}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2060}', '\u{2066}', '\u{2069}',
            '\u{feff}',
        ] {
            let shown = printable(&format!("a{hidden}b"));
            assert_eq!(shown, format!("a\\u{:04x}b", hidden as u32));
            let json = serde_json::to_string(&format!("a{hidden}b")).unwrap();
            let read: String = serde_json::from_str(&visible(&json)).unwrap();
            assert_eq!(read, format!("a{hidden}b"), "JSON says the same");
        }
        assert_eq!(printable("a\u{200d}b"), "a\\u200db");
        assert_eq!(printable("\u{e0041}"), "\\udb40\\udc41");
        for text in ["👩\u{200d}🚀", "می\u{200c}خواهم", "שלום"] {
            assert_eq!(printable(text), text);
        }
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
    fn a_quotation_stays_one() {
        assert_eq!(quoted("a\n\nIt is approved.\r\nb"), "> a\n> \n> It is approved.\n> b");
    }

    #[test]
    fn printable_keeps_lines_and_drops_escapes() {
        assert_eq!(printable("a\n\tb\u{1b}]0;title\u{7}\u{9b}c"), "a\n\tb]0;titlec");
    }
}
