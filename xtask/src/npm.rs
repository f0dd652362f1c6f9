//! Node packages, exactly as locked.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::command;

/// Installs the packages of a folder's lockfile, unless already done.
pub fn install(folder: &Path) -> Result<()> {
    let lock = folder.join("package-lock.json");
    let wanted = fs::read(&lock).with_context(|| format!("Cannot read {}.", lock.display()))?;
    let stamp = folder.join("node_modules/.duet-installed");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let mut npm = npm(folder, &["ci", "--no-audit", "--no-fund"]);
    command::watch(&mut npm).with_context(|| {
        format!(
            "The packages of {} could not be installed. Is the npm registry reachable?",
            folder.display()
        )
    })?;
    fs::write(&stamp, wanted).with_context(|| format!("Cannot write {}.", stamp.display()))
}

/// An npm command in a folder.
pub fn npm(folder: &Path, arguments: &[&str]) -> Command {
    let mut npm = command::command("npm");
    npm.current_dir(folder)
        .args(arguments)
        .env("CI", "true")
        // Packages declare engines that they do not need; what stops npm is an error.
        .env("npm_config_loglevel", "error")
        .env("npm_config_update_notifier", "false");
    npm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_that_packages_name_are_no_news() {
        let folder = tempfile::tempdir().expect("a folder");
        let package = r#""name":"a","version":"1.0.0","engines":{"node":">=999"}"#;
        fs::write(folder.path().join("package.json"), format!("{{{package}}}")).expect("package.json");
        fs::write(
            folder.path().join("package-lock.json"),
            format!(r#"{{"name":"a","version":"1.0.0","lockfileVersion":3,"packages":{{"":{{{package}}}}}}}"#),
        )
        .expect("package-lock.json");
        let done = npm(folder.path(), &["ci", "--no-audit", "--no-fund"]).output().expect("npm");
        assert!(done.status.success());
        assert_eq!(String::from_utf8_lossy(&done.stderr), "");
    }
}
