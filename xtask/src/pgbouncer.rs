//! PgBouncer, a transaction pooler, for tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{command, fetch, place};

/// An installed PgBouncer; else Debian's, unpacked next to its libraries but not installed, so that no service starts.
pub fn program() -> Result<PathBuf> {
    const HOW: &str = "The tests of the pooler need PgBouncer. Install it (Debian: `apt-get install pgbouncer`; macOS: `brew install \
                       pgbouncer`), or name one in DUET_TEST_PGBOUNCER.";
    let installed = [place::which("pgbouncer"), Some("/usr/sbin/pgbouncer".into())];
    if let Some(program) = installed.into_iter().flatten().find(|program| program.is_file()) {
        return Ok(program);
    }
    if place::which("apt-get").is_none() || place::which("dpkg-deb").is_none() {
        bail!(HOW);
    }
    let folder = place::cache("debian")?.join("pgbouncer");
    let program = folder.join("pgbouncer");
    if program.is_file() {
        return Ok(program);
    }
    println!("No PgBouncer here; unpacking Debian's.");
    let partial = folder.with_file_name(format!("pgbouncer.partial-{}", std::process::id()));
    let unpacked = unpack(&partial).and_then(|()| match folder.exists() {
        true => Ok(()),
        false => fs::rename(&partial, &folder).with_context(|| format!("Cannot make {}.", folder.display())),
    });
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("Cannot remove {}.", partial.display()))?;
    }
    unpacked.context(HOW).map(|()| program)
}

/// Fetches Debian's package, and those of libraries that may be missing, and puts their files side by side.
fn unpack(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("Cannot make {}.", folder.display()))?;
    let depends = |update: bool| {
        if update && fetch::is_root() {
            let mut update = command::command("apt-get");
            command::watch(update.args(["update", "-qq"]))?;
        }
        command::capture(command::command("apt-cache").args(["depends", "pgbouncer"]))
    };
    let said = depends(false).or_else(|_| depends(true))?;
    let libraries = said
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .filter(|name| {
            ["libevent-", "libc-ares", "libcares"]
                .iter()
                .any(|library| name.starts_with(library))
        });
    let packages: Vec<&str> = std::iter::once("pgbouncer").chain(libraries).collect();
    let download = || {
        let mut download = command::command("apt-get");
        download.args(["download", "-qq"]).args(&packages).current_dir(folder);
        command::watch(&mut download)
    };
    if download().is_err() {
        depends(true)?;
        download()?;
    }
    for package in fs::read_dir(folder).with_context(|| format!("Cannot read {}.", folder.display()))? {
        let package = package.context("Cannot read a package.")?.path();
        let mut unpack = command::command("dpkg-deb");
        command::watch(unpack.arg("-x").arg(&package).arg(folder.join("unpacked")))?;
    }
    for part in ["unpacked/usr/sbin", "unpacked/usr/lib"] {
        lay_flat(&folder.join(part), folder)?;
    }
    Ok(())
}

/// Moves programs and libraries from their folders into one; replaces links by their files.
fn lay_flat(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("Cannot read {}.", from.display()))? {
        let path = entry.context("Cannot read a folder.")?.path();
        if path.is_dir() {
            lay_flat(&path, to)?;
            continue;
        }
        let name = path.file_name().unwrap_or_default();
        if name == "pgbouncer" || name.to_string_lossy().contains(".so") {
            fs::copy(&path, to.join(name)).with_context(|| format!("Cannot copy {}.", path.display()))?;
        }
    }
    Ok(())
}
