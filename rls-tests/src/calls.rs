//! `calls.txt`: a sensible call of every function.

use anyhow::{Context, Result};

/// The file.
const TEXT: &str = include_str!("../calls.txt");

/// A sensible call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The function in `public`.
    pub name: String,
    /// Its arguments as expressions with words.
    pub arguments: Vec<(String, String)>,
    /// Whether people may call it.
    pub for_people: bool,
    /// Whether agents may call it.
    pub for_agents: bool,
    /// Arguments whose trying may tell whether an id is taken, each with its reason.
    pub tells: Vec<String>,
}

impl Call {
    /// The call as a statement, with one argument given otherwise if wanted.
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
}

/// All of them.
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
        if let Some(told) = line.strip_prefix('!') {
            let last = calls.last_mut().context("An exception belongs to a function.")?;
            last.tells.push(split(told)?.0);
        } else if line.starts_with(' ') {
            let last = calls.last_mut().context("An argument belongs to a function.")?;
            last.arguments.push(split(line)?);
        } else {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or_default().to_owned();
            let callers: Vec<&str> = words.collect();
            calls.push(Call {
                name,
                for_people: callers.contains(&"people"),
                for_agents: callers.contains(&"agents"),
                arguments: Vec::new(),
                tells: Vec::new(),
            });
        }
    }
    Ok(calls)
}
