//! `calls.txt`: a sensible call of every function; and `functions.txt`: the functions that the Data API does not reach.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};

/// The files.
const TEXT: &str = include_str!("../calls.txt");
const FUNCTIONS: &str = include_str!("../functions.txt");

/// A sensible call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The function in `public`.
    pub name: String,
    /// Its arguments as expressions with placeholders.
    pub arguments: Vec<(String, String)>,
    /// Alternative values of arguments, above all where the sensible call passes nothing.
    pub instead: Vec<(String, String)>,
    /// Whether people may call it.
    pub for_people: bool,
    /// Whether agents may call it.
    pub for_agents: bool,
    /// Arguments that may reveal whether an id is taken, each with its reason.
    pub tells: Vec<String>,
    /// Arguments that may reveal to a member that another member of the same workspace has taken an id.
    pub tells_within: Vec<String>,
    /// The tables that a successful call changes.
    pub changes: BTreeSet<String>,
    /// The tables that it may also change.
    pub may_change: BTreeSet<String>,
    /// The audit entries written by a call that changes something.
    pub audited: Vec<String>,
    /// The tables in which a successful call locks a row, so that concurrent calls follow one another.
    pub holds: Vec<String>,
}

impl Call {
    /// The call as a statement, optionally with one argument replaced.
    pub fn statement(&self, schema: &str, instead: Option<(&str, &str)>) -> String {
        let arguments: Vec<String> = self
            .arguments
            .iter()
            .map(|(name, value)| match instead {
                Some((other, expression)) if other == name => format!("{name} => {expression}"),
                _ => format!("{name} => {value}"),
            })
            .collect();
        format!("select {schema}.{}({})::text", self.name, arguments.join(", "))
    }

    /// The call, the call with each of its alternative arguments, and with the first alternative of each argument at once.
    pub fn variants(&self) -> Vec<Self> {
        let mut variants = vec![self.clone()];
        let mut all = self.clone();
        for (name, expression) in &mut all.arguments {
            if let Some((_, other)) = self
                .instead
                .iter()
                .find(|(argument, value)| argument == name && value != "null")
            {
                expression.clone_from(other);
            }
        }
        if self.instead.len() > 1 {
            variants.push(all);
        }
        for (argument, value) in &self.instead {
            let mut other = self.clone();
            for (name, expression) in &mut other.arguments {
                if name == argument {
                    expression.clone_from(value);
                }
            }
            variants.push(other);
        }
        variants
    }
}

/// All calls.
pub fn declared() -> Result<Vec<Call>> {
    let mut calls: Vec<Call> = Vec::new();
    for line in TEXT.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let split = |text: &str| -> Result<(String, String)> {
            let (name, rest) = text
                .trim()
                .split_once(' ')
                .with_context(|| format!("`{line}` has a name and a value."))?;
            Ok((name.to_owned(), rest.trim().to_owned()))
        };
        let mark = line.chars().next().unwrap_or_default();
        if matches!(mark, ' ' | '!' | '~' | '?' | '>') {
            let last = calls
                .last_mut()
                .with_context(|| format!("A function comes before `{line}`."))?;
            let rest = &line[1..];
            match mark {
                ' ' => last.arguments.push(split(rest)?),
                '!' => last.tells.push(split(rest)?.0),
                '~' => last.tells_within.push(split(rest)?.0),
                '?' => last.instead.push(split(rest)?),
                _ => {
                    if let Some(action) = rest.trim().strip_prefix("audit ") {
                        last.audited.push(action.trim().to_owned());
                        last.changes
                            .extend(["duet.audit_entry", "duet.audit_head"].map(str::to_owned));
                    } else if let Some(tables) = rest.trim().strip_prefix("holds ") {
                        last.holds.extend(tables.split_whitespace().map(str::to_owned));
                    } else if let Some(tables) = rest.strip_prefix('?') {
                        last.may_change.extend(tables.split_whitespace().map(str::to_owned));
                    } else {
                        last.changes.extend(rest.split_whitespace().map(str::to_owned));
                    }
                }
            }
        } else {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or_default().to_owned();
            let callers: Vec<&str> = words.collect();
            calls.push(Call {
                name,
                for_people: callers.contains(&"people"),
                for_agents: callers.contains(&"agents"),
                arguments: Vec::new(),
                instead: Vec::new(),
                tells: Vec::new(),
                tells_within: Vec::new(),
                changes: BTreeSet::new(),
                may_change: BTreeSet::new(),
                audited: Vec::new(),
                holds: Vec::new(),
            });
        }
    }
    Ok(calls)
}

/// A function that no call of the Data API reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Its name, with its schema.
    pub name: String,
    /// Whether it is security definer.
    pub definer: bool,
    /// The roles that may call it.
    pub callers: Vec<String>,
}

/// All functions of `functions.txt`.
pub fn inner() -> Result<Vec<Inner>> {
    let lines = FUNCTIONS
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, rights, callers @ ..] = words.as_slice() else {
                bail!("A function has rights and callers: {line}");
            };
            let mut callers: Vec<String> = callers
                .iter()
                .filter(|name| **name != "-")
                .map(|name| (*name).to_owned())
                .collect();
            callers.sort();
            Ok(Inner {
                name: (*name).to_owned(),
                definer: match *rights {
                    "owner" => true,
                    "caller" => false,
                    _ => bail!("A function runs with the rights of `owner` or `caller`: {line}"),
                },
                callers,
            })
        })
        .collect()
}
