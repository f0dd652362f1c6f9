//! Rules about the checkout's files that no compiler checks.

mod borders;
mod linked;
mod links;
mod names;
mod paths;
mod project_keys;
mod size;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::command::{self, Output};

/// The checkout's own files: tracked, or new and not ignored.
pub struct Tree {
    root: PathBuf,
    files: Vec<String>,
}

impl Tree {
    fn of_checkout(root: &Path) -> Result<Self> {
        let mut git = command::command("git");
        git.current_dir(root)
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let listed = command::capture(&mut git)?;
        let files = listed
            .split('\0')
            .filter(|name| !name.is_empty() && root.join(name).is_file());
        Ok(Self {
            root: root.to_path_buf(),
            files: files.map(str::to_owned).collect(),
        })
    }

    /// Files whose names have one of these endings, with their text. Skips files that are not UTF-8.
    fn texts<'a>(&'a self, endings: &'a [&str]) -> impl Iterator<Item = (&'a str, String)> {
        self.files
            .iter()
            .filter(move |name| endings.is_empty() || endings.iter().any(|ending| name.ends_with(ending)))
            .filter_map(|name| Some((name.as_str(), fs::read_to_string(self.root.join(name)).ok()?)))
    }

    fn exists(&self, path: &Path) -> bool {
        self.root.join(path).exists()
    }
}

/// A rule: one sentence for each violation.
type Rule = fn(&Tree) -> Vec<String>;

/// Applies all rules.
pub fn check(root: &Path) -> Result<Output> {
    let tree = Tree::of_checkout(root).context("The files of the checkout cannot be listed.")?;
    let rules: [(&str, Rule); 7] = [
        ("links in the documentation lead somewhere", links::check),
        ("paths that ARCHITECTURE.md names exist", paths::check),
        ("no file names a machine or a registry's host", names::check),
        ("no source file is over 800 lines", size::check),
        (
            "no program that answers requests knows a key past row level security",
            project_keys::check,
        ),
        (
            "web features do not import each other; packages point at the core only",
            borders::check,
        ),
        (
            "`duet` links no Postgres, `duet-api` and the functions no SQLite, none of them what only tests use",
            linked::check,
        ),
    ];
    let mut broken = 0;
    for (rule, check) in rules {
        let problems = check(&tree);
        println!("{} {rule}", if problems.is_empty() { "ok    " } else { "BROKEN" });
        for problem in &problems {
            println!("       {problem}");
        }
        broken += problems.len();
    }
    if broken > 0 {
        bail!("{broken} places break a rule of the tree.");
    }
    Ok(Output::default())
}

#[cfg(test)]
pub mod fixture {
    //! A small tree on disk.

    use super::Tree;

    /// A tree of these files; it exists as long as the folder is kept.
    pub fn tree(files: &[(&str, &str)]) -> (Tree, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        let files = files.iter().map(|(name, _)| (*name).to_owned()).collect();
        (
            Tree {
                root: folder.path().to_path_buf(),
                files,
            },
            folder,
        )
    }
}
