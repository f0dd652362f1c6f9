//! Runs a program, shows its output as it arrives, and keeps the important part.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{place, tally::Tally};

/// Number of last lines kept for a failure's report.
const KEPT: usize = 12;

/// The output of a program.
#[derive(Debug, Default)]
pub struct Output {
    /// Its test runners' closing lines, in order.
    pub closing: Vec<String>,
    /// The tests that those lines count.
    pub tally: Tally,
    /// Its last lines.
    pub last: VecDeque<String>,
}

/// A program in the checkout's root, without standard input.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(place::root()).stdin(Stdio::null());
    // Removes what cargo tells this program about its own package. Build scripts watch these variables: with them, builds here and by
    // hand would invalidate each other.
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy();
        if told.starts_with("CARGO_PKG_") || told.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs it and shows both outputs as they arrive. A nonzero exit code is an error that names the command.
pub fn watch(command: &mut Command) -> Result<Output> {
    let shown = show(command);
    println!("$ {shown}");
    let (reader, writer) = std::io::pipe().context("Cannot make a pipe.")?;
    command
        .stdout(writer.try_clone().context("Cannot copy a pipe.")?)
        .stderr(writer);
    let mut child = command.spawn().with_context(|| format!("Cannot start `{shown}`."))?;
    // The pipe's write ends in `command` would keep it open after the child is gone.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let mut output = Output::default();
    let mut screen = std::io::stdout();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.with_context(|| format!("Cannot read what `{shown}` prints."))?;
        let line = String::from_utf8_lossy(&line);
        // A closed terminal is no reason to lose the child's result.
        let _ = writeln!(screen, "{line}");
        output.note(&line);
    }
    let status = child.wait().with_context(|| format!("Cannot wait for `{shown}`."))?;
    if !status.success() {
        bail!(Failed {
            command: shown,
            status: status.to_string(),
            output
        });
    }
    Ok(output)
}

/// Runs it quietly and returns its standard output.
pub fn capture(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("Cannot start `{shown}`."))?;
    if !output.status.success() {
        bail!("`{shown}` failed: {}.", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` printed something that is not UTF-8."))
}

/// A command that failed, with its last output.
#[derive(Debug)]
pub struct Failed {
    /// The command line.
    pub command: String,
    /// How it ended.
    pub status: String,
    /// Its output.
    pub output: Output,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` failed: {}", self.command, self.status)
    }
}

impl std::error::Error for Failed {}

impl Output {
    fn note(&mut self, line: &str) {
        let plain = without_colour(line);
        if self.tally.read(&plain) {
            self.closing.push(plain.trim().to_owned());
        }
        if plain.trim().is_empty() {
            return;
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(plain);
    }

    /// Adds another program's output to this one's.
    pub fn add(&mut self, other: Output) {
        self.closing.extend(other.closing);
        self.tally += other.tally;
        self.last = other.last;
    }
}

/// The line without terminal escapes and carriage returns.
fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                for next in characters.by_ref() {
                    if next.is_ascii_alphabetic() {
                        break;
                    }
                }
            }
            '\r' => {}
            _ => plain.push(character),
        }
    }
    plain
}

fn show(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let mut shown = name.to_string_lossy().into_owned();
    for argument in command.get_args() {
        shown.push(' ');
        shown.push_str(&argument.to_string_lossy());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_closing_lines_without_colour() {
        let mut output = Output::default();
        output.note("\u{1b}[32m     Summary\u{1b}[0m [   0.1s] 3 tests run: 3 passed, 0 skipped");
        assert_eq!(output.closing, ["Summary [   0.1s] 3 tests run: 3 passed, 0 skipped"]);
        assert_eq!(output.tally.passed, 3);
    }

    #[test]
    #[cfg(unix)]
    fn a_failing_command_says_so_and_keeps_its_last_words() {
        let error = watch(command("sh").args(["-c", "echo out; echo words >&2; exit 3"])).unwrap_err();
        let failed = error.downcast_ref::<Failed>().expect("a failed command");
        assert!(failed.to_string().contains("exit status: 3"), "{failed}");
        assert_eq!(failed.output.last, ["out", "words"]);
    }
}
