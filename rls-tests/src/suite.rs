//! All checks, one after the other.

use anyhow::Result;

use crate::{attempt::Stage, checks, matrix};

/// Something that is not as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which check found it.
    pub check: String,
    /// What it is.
    pub what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}] {}", self.check, self.what)
    }
}

/// What the checks found, and how much they tried: a check that tries nothing finds nothing.
#[derive(Default, Debug)]
pub struct Report {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Statements that were tried.
    pub tried: usize,
}

impl Report {
    /// Adds a finding.
    pub fn find(&mut self, check: &str, what: impl Into<String>) {
        self.findings.push(Finding {
            check: check.to_owned(),
            what: what.into(),
        });
    }

    /// The checks that found something, each once.
    pub fn checks(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.findings.iter().map(|finding| finding.check.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Runs all checks on a database with the world in it.
pub async fn run(stage: &mut Stage) -> Result<Report> {
    let mut report = quick(stage).await?;
    attacks(stage, &mut report).await?;
    Ok(report)
}

/// The checks that ask the catalogue and the tables.
pub async fn quick(stage: &mut Stage) -> Result<Report> {
    let tables = matrix::declared()?;
    let mut report = Report::default();
    checks::world(stage, &tables, &mut report).await?;
    checks::rules(stage, &mut report).await?;
    checks::access(stage, &tables, &mut report).await?;
    checks::reach(stage, &mut report).await?;
    Ok(report)
}

/// The checks that call every function with every argument: they take some fifteen times as long.
pub async fn attacks(stage: &mut Stage, report: &mut Report) -> Result<()> {
    tells(stage, report).await?;
    hostile(stage, report).await
}

/// What answers tell of other workspaces.
pub async fn tells(stage: &mut Stage, report: &mut Report) -> Result<()> {
    checks::tells(stage, report).await
}

/// What hostile arguments do.
pub async fn hostile(stage: &mut Stage, report: &mut Report) -> Result<()> {
    checks::hostile(stage, &matrix::declared()?, report).await
}
