//! What each program links: no Postgres in the single-file program, no SQLite in the Postgres program, and in none what only tests use.

use super::Tree;
use crate::command;

/// A package, the features of its program, and the crates that must not be linked.
const PROGRAMS: [(&str, &str, &[&str]); 3] = [
    (
        "duet-local",
        "",
        &[
            "sqlx",
            "sqlx-core",
            "sqlx-postgres",
            "postgrest",
            "duet-supabase",
            "supabase-auth",
        ],
    ),
    (
        "duet-api",
        "supabase",
        &["rusqlite", "libsqlite3-sys", "sqlite-vec", "duet-sqlite", "supabase-auth"],
    ),
    (
        "duet-functions",
        "",
        &[
            "rusqlite",
            "libsqlite3-sys",
            "sqlite-vec",
            "duet-sqlite",
            "supabase-auth",
            "aws-lc-sys",
            "openssl-sys",
        ],
    ),
];

/// One sentence for each crate that must not be in a program.
pub fn check(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (package, features, banned) in PROGRAMS {
        let mut cargo = command::command("cargo");
        cargo.current_dir(&tree.root).args([
            "tree",
            "--locked",
            "--package",
            package,
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ]);
        if !features.is_empty() {
            cargo.args(["--features", features]);
        }
        match command::capture(&mut cargo) {
            Ok(listed) => problems.extend(found(&listed, banned).map(|name| format!("{package} links `{name}`"))),
            Err(error) => problems.push(format!("the crates of {package} cannot be listed: {error:#}")),
        }
    }
    problems
}

/// The crates of a list that are banned.
fn found<'a>(listed: &'a str, banned: &'a [&str]) -> impl Iterator<Item = &'a str> {
    banned
        .iter()
        .copied()
        .filter(|name| listed.lines().any(|line| line.split(' ').next() == Some(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_found_by_its_whole_name() {
        let listed = "duet-api v0.1.0\nsqlx-core v0.9.0\nrusqlite_migration v2.6.0\n";
        let names: Vec<&str> = found(listed, &["sqlx", "sqlx-core", "rusqlite"]).collect();
        assert_eq!(names, ["sqlx-core"]);
    }
}
