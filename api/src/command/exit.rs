//! How a command ends: the exit code, and one sentence on standard error that says what to do.

use std::{fmt, process::ExitCode};

use super::output::{Style, coloured, paint, printable};

/// Exit codes, as documented for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command failed.
    Failed = 1,
    /// The command line, the configuration or the input is wrong.
    Usage = 2,
    /// Refused: wrong key or token, not signed in, or not allowed.
    Refused = 3,
    /// There is no such thing.
    NotFound = 4,
    /// Not now: file in use, port taken, server, model or disk unavailable.
    Unavailable = 5,
    /// Not done yet: it waits for a person's decision.
    Waiting = 6,
    /// Interrupted by Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// The code and its meaning, for the reference.
    pub const TABLE: [(u8, &'static str); 8] = [
        (0, "done"),
        (1, "failed"),
        (2, "the command line, the configuration or the input is wrong"),
        (3, "refused: wrong key or token, not signed in, or not allowed"),
        (4, "there is no such thing"),
        (
            5,
            "not available now: file in use, port taken, server, model or disk unavailable",
        ),
        (6, "not done yet: it waits for a person's decision (`duet inbox`)"),
        (130, "interrupted by Ctrl-C"),
    ];
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ended early.
#[derive(Debug)]
pub enum Failure {
    /// Say this and end with that code.
    Say(Exit, String),
    /// Everything has been said already; end with that code.
    Silent(Exit),
    /// The reader of the output is gone: end quietly.
    Closed,
}

/// What commands return.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure with its sentence.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self::Say(exit, message.into())
    }
    /// Something went wrong.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }
    /// The command line, the configuration or the input has to change.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }
    /// Not allowed.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, message)
    }
    /// Not now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Exit::Unavailable, message)
    }

    /// Prints the sentence, if there is one, after the program's name, and returns the exit code.
    pub fn report(self, program: &str) -> ExitCode {
        match self {
            Self::Say(exit, message) => {
                let program = paint(Style::Red, &format!("{program}:"), coloured(&std::io::stderr()));
                // It may quote names that people chose.
                eprintln!("{program} {}", printable(&message));
                exit.into()
            }
            Self::Silent(exit) => exit.into(),
            Self::Closed => ExitCode::SUCCESS,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Say(_, message) => f.write_str(message),
            Self::Silent(exit) => write!(f, "ended with code {}", *exit as u8),
            Self::Closed => f.write_str("the output was closed"),
        }
    }
}
