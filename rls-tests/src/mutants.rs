//! `mutants/`: holes, each a file of statements that could have been in a migration, with its class and the check that has to find
//! it.

use std::{fs, path::Path};

use anyhow::{Context, Result};

/// The classes of holes, in the order of the README.
pub const CLASSES: [&str; 17] = [
    "members of one workspace",
    "rows in every state",
    "driver and leases",
    "append-only and audit",
    "row level security itself",
    "grants and roles",
    "keys across workspaces",
    "objects anywhere",
    "agents",
    "rows put in",
    "claims and settings",
    "changed roles",
    "locks and waiting",
    "columns and secrets",
    "optional arguments",
    "other workspaces",
    "broken requests",
];

/// A hole.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// Its file name, without the extension.
    pub name: String,
    /// Its class.
    pub class: String,
    /// The check that has to find it.
    pub finder: String,
    /// The functions that this check calls here, to save time: all if none is named.
    pub through: Vec<String>,
    /// The statements that create it.
    pub sql: String,
}

/// All holes of a folder, by name.
pub fn planted(folder: &Path) -> Result<Vec<Mutant>> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .with_context(|| format!("Cannot read {}.", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    files.iter().map(|file| read(file)).collect()
}

fn read(file: &Path) -> Result<Mutant> {
    let sql = fs::read_to_string(file).with_context(|| format!("Cannot read {}.", file.display()))?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let said = |what: &str| sql.lines().find_map(|line| line.strip_prefix(&format!("-- {what}: ")));
    let needed = |what: &str| {
        said(what)
            .map(str::to_owned)
            .with_context(|| format!("{name} does not say its `{what}`."))
    };
    Ok(Mutant {
        class: needed("class")?,
        finder: needed("found by")?,
        through: said("through")
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        sql: format!(
            "{}{sql}",
            replacements(&sql).with_context(|| format!("{name} cannot be planted."))?
        ),
        name,
    })
}

/// The statements for a mutant's replacements: `in` a function, `for` a text, `put` another. Ignores differences in white space, so
/// that reindenting a function does not matter.
fn replacements(sql: &str) -> Result<String> {
    let mut statements = String::new();
    let mut lines = sql.lines();
    while let Some(line) = lines.next() {
        let Some(function) = line.strip_prefix("-- in: ") else {
            continue;
        };
        let mut next = |what: &str| {
            let line = lines.next().unwrap_or_default();
            line.strip_prefix(what)
                .with_context(|| format!("After `in: {function}` comes `{what}`."))
        };
        let (found, put) = (next("-- for: ")?, next("-- put:")?.trim());
        let words: Vec<String> = found.split_whitespace().map(escaped).collect();
        statements.push_str(&format!(
            "do $hole$
             declare
                 body text := pg_get_functiondef('{function}'::regproc);
                 found text := $found${}$found$;
             begin
                 if body !~ found then
                     raise exception 'the function no longer says what this hole replaces';
                 end if;
                 execute regexp_replace(body, found, $put${}$put$);
             end;
             $hole$;\n",
            words.join("\\s+"),
            put.replace('\\', "\\\\")
        ));
    }
    Ok(statements)
}

/// Escapes a word for a regular expression.
fn escaped(word: &str) -> String {
    word.chars().fold(String::new(), |mut text, c| {
        if !c.is_alphanumeric() && c != '_' {
            text.push('\\');
        }
        text.push(c);
        text
    })
}
