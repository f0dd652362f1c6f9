//! The program with an environment of its own, and databases for it.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use duet_api::testing::Browser;
use duet_supabase::testing::EmptyDatabase;
use serde_json::Value;

/// What a person who runs it has in the environment.
#[derive(Clone, Default)]
pub struct Program {
    env: Vec<(String, String)>,
}

impl Program {
    /// With the URLs of a database whose logins have no passwords.
    pub fn of(database: &EmptyDatabase) -> Self {
        Self::default()
            .with("DUET_DATABASE_OWNER_URL", &database.url("postgres"))
            .with("DUET_DATABASE_URL", &database.url("duet_worker"))
    }

    /// With this in the environment, in place of what was there under that name.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The program with nothing else of the caller's environment.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_duet-api"));
        command
            .args(arguments)
            .env_clear()
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Done {
        Done::from(self.command(arguments).output().unwrap())
    }

    /// Runs it with this on its standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Done {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        // A command that refuses before reading closes the pipe: that is for it to say.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Done::from(child.wait_with_output().unwrap())
    }

    /// Applies the schema and returns the setup token.
    pub fn migrate(&self) -> String {
        let told = self.run(&["migrate", "--json"]).json();
        told["setup_token"].as_str().unwrap().to_owned()
    }

    /// Starts a server on a free port and waits until it says where it is. What it logs is in the tests' own output.
    pub fn serve(&self) -> Served {
        let mut child = self
            .command(&["serve", "--json", "--quiet", "--bind", "127.0.0.1:0"])
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the server said {line:?}"));
        assert_eq!(told["pid"], child.id());
        Served {
            url: told["url"].as_str().unwrap().to_owned(),
            needs_owner: told["needs_owner"].as_bool().unwrap(),
            child,
        }
    }
}

/// A command that has ended.
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Done {
    /// Its standard output; it must have gone well.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "out: {}\nerr: {}", self.out, self.err);
        self.out
    }

    /// Its standard output as JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// It must have ended with this code, in its parser's own words.
    #[track_caller]
    pub fn code_is(self, code: i32) {
        assert_eq!(self.code, code, "out: {}\nerr: {}", self.out, self.err);
    }

    /// It must have been refused with this code and one sentence on the standard error that holds these words.
    #[track_caller]
    pub fn refused(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "out: {}\nerr: {}", self.out, self.err);
        let said: Vec<&str> = self.err.lines().filter(|line| line.starts_with("duet-api: ")).collect();
        assert_eq!(said.len(), 1, "one sentence, not: {}", self.err);
        for word in words {
            assert!(said[0].contains(word), "{word:?} is not in {:?}", said[0]);
        }
        assert!(
            self.out.is_empty() && !self.err.contains("panicked"),
            "{}{}",
            self.out,
            self.err
        );
    }
}

/// A running server.
pub struct Served {
    pub url: String,
    pub needs_owner: bool,
    child: Child,
}

impl Served {
    /// Ends it as a crash or a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop (SIGTERM) and waits.
    pub async fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(sent.success());
        for _ in 0..3_600 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server did not stop within three minutes");
    }

    /// Somebody who signs in.
    pub async fn sign_in(&self) -> Browser {
        let mut browser = Browser::new(&self.url);
        browser.sign_in().await;
        browser
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
