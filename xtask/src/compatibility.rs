//! Compares the tested versions on the compatibility page with those of the program.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{command, place};

const PAGE: &str = "docs/compatibility.md";

/// Fails if the row of the tested platform does not name this program's versions.
pub fn check(duet: &Path) -> Result<()> {
    let home = std::env::temp_dir().join(format!("duet-doctor-{}", std::process::id()));
    fs::create_dir_all(&home).with_context(|| format!("Cannot make {}.", home.display()))?;
    let mut doctor = command::command(duet);
    // A home of its own: no data file, no settings, no keyring.
    doctor
        .args(["doctor", "--json", "--no-network"])
        .env_clear()
        .env("HOME", &home);
    let said = command::capture(&mut doctor);
    fs::remove_dir_all(&home).with_context(|| format!("Cannot remove {}.", home.display()))?;
    let report: Value = serde_json::from_str(&said?).context("`duet doctor --json` did not answer with JSON.")?;
    let page = fs::read_to_string(place::root().join(PAGE)).with_context(|| format!("Cannot read {PAGE}."))?;
    match missing(&page, &report)? {
        missing if missing.is_empty() => Ok(()),
        missing => bail!(
            "{PAGE} does not name {} as tested, which this program has. Test it, then write it there.",
            missing.join(" and ")
        ),
    }
}

/// The reported versions that no tested row of the page names.
fn missing(page: &str, report: &Value) -> Result<Vec<String>> {
    let checks = report["checks"].as_array().context("The report has no checks.")?;
    let cipher = checks
        .iter()
        .find(|check| check["name"] == "cipher")
        .context("The report has no check of the cipher.")?;
    let found = cipher["found"].as_str().unwrap_or_default();
    if cipher["verdict"] != "ok" {
        bail!("The cipher does not work: {found}");
    }
    let tested: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with('|') && line.contains("| tested"))
        .collect();
    // "SQLCipher 4.14.0 community, sqlite-vec v0.1.9, FTS5": name first, then version.
    let versions = found.split(", ").filter_map(|part| Some((part, part.split_once(' ')?.1)));
    let missing = versions.filter(|(_, version)| !tested.iter().any(|row| row.contains(&format!("| {version} |"))));
    Ok(missing.map(|(part, _)| part.to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_than_the_tested_one_is_found() {
        let page = "| Linux | 4.14.0 community | v0.1.9 | FTS5 | tested: all |\n| Mac | 5.0.0 | v0.1.9 | FTS5 | not tested |\n";
        let report = |found: &str| serde_json::json!({"checks": [{"name": "cipher", "verdict": "ok", "found": found}]});
        let same = report("SQLCipher 4.14.0 community, sqlite-vec v0.1.9, FTS5");
        assert!(missing(page, &same).expect("an answer").is_empty());
        let other = report("SQLCipher 5.0.0, sqlite-vec v0.1.9, FTS5");
        assert_eq!(missing(page, &other).expect("an answer"), ["SQLCipher 5.0.0"]);
        assert!(missing(page, &serde_json::json!({})).is_err());
    }
}
