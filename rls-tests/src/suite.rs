//! All checks, in sequence.

use anyhow::{Context, Result, bail};

use crate::{attempt::Stage, checks, matrix, mutants::Mutant};

/// Something that is not as it should be.
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
    /// The number of statements tried.
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

    /// The checks with findings, without duplicates.
    pub fn checks(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.findings.iter().map(|finding| finding.check.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// The checks of the catalogue and the tables, by the names used in findings.
pub const QUICK: [&str; 10] = [
    "world", "rule", "matrix", "reach", "whole", "inserts", "cases", "fixed", "chains", "effects",
];

/// The checks that call every function with every argument: they take many times as long. The last one leaves its changes behind.
pub const ATTACKS: [&str; 6] = ["claims", "locks", "tells", "hostile", "silence", "races"];

/// Runs all checks on a database with the world in it.
pub async fn run(stage: &mut Stage) -> Result<Report> {
    let mut report = quick(stage).await?;
    for check in ATTACKS {
        one(stage, check, &[], &mut report).await?;
    }
    Ok(report)
}

/// Runs the quick checks.
pub async fn quick(stage: &mut Stage) -> Result<Report> {
    let mut report = Report::default();
    for check in QUICK {
        one(stage, check, &[], &mut report).await?;
    }
    Ok(report)
}

/// Runs one check, given by its name or that of its finding (`rule 01_…`, `cases driver`, and `hostile member` for one attacker);
/// checks that call functions use only these functions, or all if none is named.
pub async fn one(stage: &mut Stage, check: &str, functions: &[&str], report: &mut Report) -> Result<()> {
    let tables = &matrix::declared()?;
    let chosen = |name: &str| functions.is_empty() || functions.contains(&name);
    let (kind, part) = check.split_once(' ').unwrap_or((check, ""));
    match kind {
        "world" => checks::world(stage, tables, report).await,
        "rule" => checks::rules(stage, report).await,
        "matrix" => checks::access(stage, tables, report).await,
        "reach" => checks::reach(stage, report).await,
        "whole" => checks::whole(stage, tables, report).await,
        "inserts" => checks::inserts(stage, tables, report).await,
        "cases" => checks::cases(stage, tables, |file| part.is_empty() || file == part, report).await,
        "fixed" => checks::fixed(stage, report).await,
        "chains" => checks::chains(stage, report).await,
        "effects" => checks::effects(stage, tables, chosen, report).await,
        "claims" => checks::claims(stage, tables, report).await,
        "locks" => checks::locks(stage, tables, chosen, report).await,
        "tells" => checks::tells(stage, tables, chosen, report).await,
        "hostile" => checks::hostile(stage, tables, chosen, part, report).await,
        "silence" => checks::silence(stage, chosen, report).await,
        "races" => checks::races(stage, report).await,
        _ => bail!("There is no check `{check}`."),
    }
}

/// Creates a hole as the schema's owner, as a migration would, and runs the check that has to find it.
pub async fn plant(stage: &mut Stage, mutant: &Mutant) -> Result<Report> {
    stage
        .run(&format!("begin; set local role postgres; {}; commit", mutant.sql))
        .await
        .with_context(|| format!("The hole {} can no longer be made in this way.", mutant.name))?;
    let functions: Vec<&str> = mutant.through.iter().map(String::as_str).collect();
    let mut report = Report::default();
    for check in mutant.finder.split(", ") {
        one(stage, check, &functions, &mut report).await?;
    }
    Ok(report)
}
