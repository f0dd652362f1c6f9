//! The web app's packages and its build.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use anyhow::{Context, Result};

use crate::{
    command::{self, Output},
    npm, place,
};

/// The web app's folder.
pub fn folder() -> PathBuf {
    place::root().join("web")
}

/// Installs exactly the packages of the lockfile, unless already done.
pub fn install() -> Result<()> {
    npm::install(&folder())
}

/// Builds the web app into `web/dist`, unless its sources are unchanged since the last build.
pub fn build() -> Result<()> {
    install()?;
    let stamp = folder().join("node_modules/.duet-built");
    let sources = fingerprint(&folder())?;
    let built =
        folder().join("dist/client/_shell.html").is_file() && fs::read_to_string(&stamp).is_ok_and(|built| built == sources);
    if built {
        return Ok(());
    }
    script("build")?;
    fs::write(&stamp, sources).with_context(|| format!("Cannot write {}.", stamp.display()))
}

/// Runs a script of `web/package.json`.
pub fn script(name: &str) -> Result<Output> {
    command::watch(&mut npm(&["run", "--silent", name]))
}

/// An npm command in the web app's folder.
pub fn npm(arguments: &[&str]) -> std::process::Command {
    npm::npm(&folder(), arguments)
}

/// Names, sizes and times of all source files, as one number.
fn fingerprint(folder: &Path) -> Result<String> {
    let mut files = Vec::new();
    sources(folder, &mut files).with_context(|| format!("Cannot read {}.", folder.display()))?;
    files.sort();
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

fn sources(folder: &Path, files: &mut Vec<(PathBuf, u64, u128)>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name();
        if ["node_modules", "dist", "e2e", ".tanstack"]
            .iter()
            .any(|skipped| name == *skipped)
        {
            continue;
        }
        let about = entry.metadata()?;
        if about.is_dir() {
            sources(&path, files)?;
        } else {
            let changed = about.modified()?.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
            files.push((path, about.len(), changed));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_changes_with_the_sources_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        fs::create_dir_all(path.join("src")).expect("src");
        fs::write(path.join("src/a.ts"), "1").expect("a");
        let first = fingerprint(path).expect("a fingerprint");
        fs::create_dir_all(path.join("dist")).expect("dist");
        fs::write(path.join("dist/out.js"), "x").expect("out");
        assert_eq!(fingerprint(path).expect("a fingerprint"), first);
        fs::write(path.join("src/b.ts"), "2").expect("b");
        assert_ne!(fingerprint(path).expect("a fingerprint"), first);
    }
}
