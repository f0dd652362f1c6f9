//! The user that Postgres runs as, since it refuses to run as root.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// The unprivileged user of every Linux and macOS.
const NOBODY: &str = "nobody";

/// A user to run as instead of root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// The user `nobody` if this process runs as root; else `None`.
    pub fn instead_of_root() -> Result<Option<Self>> {
        if id(&["-u"])? != 0 {
            return Ok(None);
        }
        let uid = id(&["-u", NOBODY]).context("Postgres does not run as root, and this machine has no user `nobody`.")?;
        let gid = id(&["-g", NOBODY])?;
        Ok(Some(Self { uid, gid }))
    }
}

/// Makes a command run as this user.
pub fn run_as(command: &mut Command, user: Option<User>) {
    if let Some(User { uid, gid }) = user {
        command.uid(uid).gid(gid);
    }
}

/// Gives a file or a folder to this user.
pub fn give(path: &Path, user: Option<User>) -> Result<()> {
    match user {
        Some(User { uid, gid }) => {
            chown(path, Some(uid), Some(gid)).with_context(|| format!("Cannot give {} to `{NOBODY}`.", path.display()))
        }
        None => Ok(()),
    }
}

/// Whether this user can start a program: parent folders may be closed to others.
pub fn can_start(program: &Path, user: Option<User>) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").current_dir("/");
    run_as(&mut command, user);
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Copies a folder with its contents for this user.
pub fn copy_for(user: Option<User>, from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to).with_context(|| format!("Cannot make {}.", to.display()))?;
    give(to, user)?;
    let entries = fs::read_dir(from).with_context(|| format!("Cannot read {}.", from.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("Cannot read {}.", from.display()))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_for(user, &source, &target)?;
        } else {
            fs::copy(&source, &target).with_context(|| format!("Cannot copy {}.", source.display()))?;
            give(&target, user)?;
        }
    }
    Ok(())
}

fn id(arguments: &[&str]) -> Result<u32> {
    let output = Command::new("id")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("Cannot start `id`.")?;
    if !output.status.success() {
        bail!("`id {}` failed.", arguments.join(" "));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    said.trim()
        .parse()
        .with_context(|| format!("`id {}` printed no number.", arguments.join(" ")))
}
