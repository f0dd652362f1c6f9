//! The real Supabase CLI against one database, without its telemetry.

use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::place;

/// The CLI with the address of a database.
pub struct Cli {
    program: std::path::PathBuf,
    home: std::path::PathBuf,
    remote: String,
}

/// A row of the migration history: the versions in the folder and in the database; empty where missing.
#[derive(Debug, PartialEq, Eq)]
pub struct Migration {
    /// The version in the folder.
    pub local: String,
    /// The version in the database.
    pub remote: String,
}

impl Migration {
    /// A migration that both have.
    pub fn applied(version: String) -> Self {
        Self {
            local: version.clone(),
            remote: version,
        }
    }
}

/// A finding of an advisor.
#[derive(Debug, PartialEq, Eq)]
pub struct Advice {
    /// `INFO`, `WARN` or `ERROR`.
    pub level: String,
    /// The lint's name.
    pub name: String,
    /// The place and the finding.
    pub detail: String,
}

impl Advice {
    /// Whether it is more than a remark.
    pub fn matters(&self) -> bool {
        self.level != "INFO"
    }
}

impl Cli {
    /// For the database at an address.
    pub fn new(url: String) -> Result<Self> {
        Ok(Self {
            program: super::folder().join("node_modules/.bin/supabase"),
            home: place::cache("supabase-cli")?,
            remote: format!("--remote={url}"),
        })
    }

    /// Applies the missing migrations; returns the names of the applied files.
    pub fn push(&self) -> Result<Vec<String>> {
        let answer = self.answer(&["db", "push", "--yes"])?;
        pushed(&answer)
    }

    /// The history in the folder and in the database.
    pub fn migrations(&self) -> Result<Vec<Migration>> {
        let answer = self.answer(&["migration", "list"])?;
        history(&answer)
    }

    /// The official lints of security and performance, with all their findings.
    pub fn advisors(&self) -> Result<Vec<Advice>> {
        let arguments = ["db", "advisors", "--type", "all", "--level", "info", "--fail-on", "warn"];
        let output = self.run(&arguments)?;
        // It fails if there are findings, and then prints them.
        let advice = serde_json::from_slice(&output.stdout).ok().and_then(|answer| advice(&answer));
        match advice {
            Some(advice) if output.status.success() != advice.iter().any(Advice::matters) => Ok(advice),
            _ => bail!(failed(&arguments, &output)),
        }
    }

    /// Checks the bodies of functions; a flaw is an error.
    pub fn lint(&self) -> Result<()> {
        let arguments = ["db", "lint", "--schema", "public,private,driver", "--fail-on", "error"];
        self.answer(&arguments).map(|_| ())
    }

    fn answer(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.run(arguments)?;
        if !output.status.success() {
            bail!(failed(arguments, &output));
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("`supabase {}` did not answer with JSON.", arguments.join(" ")))
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        // The address may contain a password, so it is not shown.
        println!("$ supabase {}", arguments.join(" "));
        let mut cli = Command::new(&self.program);
        cli.arg("--workdir").arg(place::root()).args(arguments);
        cli.arg(&self.remote).args(["--output-format", "json"]);
        cli.current_dir(place::root()).stdin(Stdio::null());
        // A home of its own: nobody's login or settings are used, and nothing is reported.
        cli.env("SUPABASE_HOME", &self.home).env("SUPABASE_NO_KEYRING", "1");
        cli.env("SUPABASE_TELEMETRY_DISABLED", "1").env("DO_NOT_TRACK", "1");
        cli.env("SUPABASE_NO_UPDATE_NOTIFIER", "1");
        cli.output()
            .context("Cannot start the Supabase command line. Were its packages removed meanwhile?")
    }
}

fn failed(arguments: &[&str], output: &Output) -> String {
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).trim().to_owned());
    format!(
        "`supabase {}` failed ({}):\n{}",
        arguments.join(" "),
        output.status,
        said.join("\n")
    )
}

fn pushed(answer: &Value) -> Result<Vec<String>> {
    let names = answer["migrations"]
        .as_array()
        .context("`supabase db push` does not say what it applied.")?;
    Ok(names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn history(answer: &Value) -> Result<Vec<Migration>> {
    let rows = answer["migrations"]
        .as_array()
        .context("`supabase migration list` lists nothing.")?;
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let migrations = rows.iter().map(|row| Migration {
        local: text(row, "local"),
        remote: text(row, "remote"),
    });
    Ok(migrations.collect())
}

fn advice(answer: &Value) -> Option<Vec<Advice>> {
    let results = answer["results"].as_array()?;
    results
        .iter()
        .map(|result| {
            let text = |key: &str| result[key].as_str().map(str::to_owned);
            Some(Advice {
                level: text("level")?,
                name: text("name")?,
                detail: text("detail")?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_was_applied() {
        let answer = json!({"upToDate": false, "migrations": ["1_a.sql", "2_b.sql"]});
        assert_eq!(pushed(&answer).expect("names"), ["1_a.sql", "2_b.sql"]);
        assert!(pushed(&json!({"message": "?"})).is_err());
    }

    #[test]
    fn reads_the_history_with_its_gaps() {
        let answer = json!({"migrations": [{"local": "1", "remote": "1"}, {"local": "2", "remote": ""}, {"remote": "3"}]});
        let history = history(&answer).expect("rows");
        let agree: Vec<bool> = history.iter().map(|row| row.local == row.remote).collect();
        assert_eq!(agree, [true, false, false]);
    }

    #[test]
    fn an_advice_that_cannot_be_read_is_not_passed_over() {
        let info = json!({"name": "no_primary_key", "level": "INFO", "detail": "Table `t` …"});
        let read = advice(&json!({"results": [info]})).expect("advice");
        assert!(!read[0].matters());
        assert_eq!(advice(&json!({"results": [{"name": "x"}]})), None);
        assert_eq!(advice(&json!({"error": {}})), None);
    }
}
