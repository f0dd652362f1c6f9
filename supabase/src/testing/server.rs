//! A Postgres for a single test: one that can be stopped and started, or one that requires passwords.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use super::tool::xtask;

/// A server that nobody else uses. It stops, and its data is deleted, when this is dropped or the test ends in any way.
pub struct OwnServer {
    keeper: Child,
    words: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    url: String,
}

impl OwnServer {
    /// Starts one that requires no passwords.
    ///
    /// # Panics
    /// Like all of these: if the server does not do as told.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one that requires a password (SCRAM) from every login except the superuser's and the owner's.
    ///
    /// # Panics
    /// If it does not start.
    pub fn with_passwords() -> Self {
        Self::with(&["--passwords"])
    }

    fn with(options: &[&str]) -> Self {
        let mut keeper = Command::new(xtask());
        keeper.arg("postgres-keeper").args(options);
        let mut keeper = keeper
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the keeper of Postgres starts");
        let words = keeper.stdin.take();
        let answers = BufReader::new(keeper.stdout.take().expect("its output"));
        let mut server = Self {
            keeper,
            words,
            answers,
            url: String::new(),
        };
        // Earlier output is about fetching Postgres.
        while !server.url.starts_with("postgres://") {
            server.url = server.answer();
        }
        server
    }

    /// Its URL, as its superuser.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops it, which cuts its connections.
    ///
    /// # Panics
    /// If it does not stop.
    pub fn stop(&mut self) {
        self.say("stop");
        assert_eq!(self.answer(), "stopped");
    }

    /// Starts it again, on the same port and with its data.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        self.say("start");
        assert_eq!(self.answer(), self.url);
    }

    fn say(&mut self, word: &str) {
        let words = self.words.as_mut().expect("it runs");
        writeln!(words, "{word}").expect("the keeper of Postgres listens");
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line).expect("the keeper of Postgres answers");
        assert!(read > 0, "Postgres could not be started; the lines above say why");
        line.trim_end().to_owned()
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // Closing its input ends the server.
        drop(self.words.take());
        if let Err(error) = self.keeper.wait() {
            eprintln!("The keeper of Postgres cannot be waited for: {error}.");
        }
    }
}
