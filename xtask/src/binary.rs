//! Builds programs of the workspace and locates them.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command;

/// How a program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Optimised, fast to link: `cargo xtask run`.
    Quick,
    /// As measured and shipped.
    Release,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Release => "release",
        }
    }
}

/// Builds a single program, so that no other package's features get into it, and returns its path.
pub fn build(profile: Profile, package: &str, program: &str) -> Result<PathBuf> {
    let mut arguments = vec!["build", "--profile", profile.name(), "--package", package, "--bin", program];
    if program == "duet-api" {
        arguments.extend(["--features", "supabase"]);
    }
    let found = cargo(&arguments)?;
    find(&found, "bin", program)
}

/// Programs from the tests' own build: another selection of packages would recompile all dependencies with other features.
pub struct TestBuild(Vec<Value>);

/// What everything tested or linted is built with: the sentence-transformer with real weights, and the program `duet-api`. One
/// selection for all, so that nothing is compiled twice.
pub const SELECTION: [&str; 3] = ["--workspace", "--features", "duet-api/minilm-tests,duet-api/supabase"];

/// Builds all tests, with the programs and examples.
pub fn test_build() -> Result<TestBuild> {
    let arguments: Vec<&str> = ["test", "--no-run"].into_iter().chain(SELECTION).collect();
    cargo(&arguments).map(TestBuild)
}

impl TestBuild {
    /// The `duet` program.
    pub fn duet(&self) -> Result<PathBuf> {
        find(&self.0, "bin", "duet")
    }

    /// The `duet-api` program.
    pub fn duet_api(&self) -> Result<PathBuf> {
        find(&self.0, "bin", "duet-api")
    }

    /// An example program.
    pub fn example(&self, name: &str) -> Result<PathBuf> {
        find(&self.0, "example", name)
    }
}

/// Runs cargo and returns its messages; those meant for people go to the terminal.
fn cargo(arguments: &[&str]) -> Result<Vec<Value>> {
    println!("$ cargo {}", arguments.join(" "));
    let mut cargo = command::command("cargo");
    cargo
        .args(arguments)
        .args(["--locked", "--message-format=json-render-diagnostics"])
        .stderr(Stdio::inherit());
    let output = cargo.output().context("Cannot start cargo.")?;
    if !output.status.success() {
        bail!("`cargo {}` failed.", arguments.join(" "));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    Ok(messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn find(messages: &[Value], kind: &str, name: &str) -> Result<PathBuf> {
    let executable = messages
        .iter()
        .filter(|message| message["target"]["name"] == name && message["target"]["kind"][0] == kind)
        .filter(|message| message["profile"]["test"] == false)
        .find_map(|message| message["executable"].as_str());
    executable
        .map(PathBuf::from)
        .with_context(|| format!("cargo built `{name}` but does not say where it is."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_and_not_its_tests() {
        let message = |kind: &str, test: bool, path: &str| serde_json::json!({"target": {"name": "duet", "kind": [kind]}, "profile": {"test": test}, "executable": path});
        let messages = [
            message("bin", true, "/a/duet-123"),
            message("example", false, "/a/examples/duet"),
            message("bin", false, "/a/duet"),
        ];
        assert_eq!(find(&messages, "bin", "duet").expect("a path"), PathBuf::from("/a/duet"));
        assert!(find(&messages, "bin", "other").is_err());
    }
}
