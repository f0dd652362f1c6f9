//! `cases/`: what somebody tries under given circumstances, the expected result, and the expected changes.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};

use crate::Actor;

macro_rules! files {
    ($($name:literal),+ $(,)?) => { [$(($name, include_str!(concat!("../cases/", $name, ".txt")))),+] };
}

/// All files: the folder has these and no more (a test compares).
pub const FILES: &[(&str, &str)] = &files![
    "audit", "devices", "driver", "fixed", "labels", "memory", "people", "platform", "policy", "requests", "turns",
];

/// Who tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// An actor of the world, with some settings replaced.
    Actor(Actor, Vec<(String, String)>),
    /// The owner of the database, or of the server.
    Host,
    /// A role without claims or settings.
    Role(String),
}

/// An expected answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `{"ok": …}`, with this content if given.
    Ok(Option<String>),
    /// `{"refused": {"code": …}}`.
    Refused(String),
    /// An error with this SQLSTATE.
    Error(String),
    /// This text.
    Text(String),
    /// A text that contains this.
    Has(String),
    /// A text that does not contain this.
    Lacks(String),
}

/// One try.
#[derive(Clone, Debug)]
pub struct Step {
    /// Who tries it.
    pub who: Who,
    /// What the database's owner did before.
    pub given: Vec<String>,
    /// The statement.
    pub statement: String,
    /// The expected answers: all of them.
    pub answers: Vec<Answer>,
    /// The tables whose rows change, if stated.
    pub changes: Option<BTreeSet<String>>,
    /// Conditions that the database's owner checks afterwards.
    pub holds: Vec<String>,
}

/// A sequence of tries in one transaction.
#[derive(Clone, Debug)]
pub struct Case {
    /// What the case shows.
    pub title: String,
    /// Its tries.
    pub steps: Vec<Step>,
}

/// The cases of a file.
pub fn parse(text: &str) -> Result<Vec<Case>> {
    let mut cases: Vec<Case> = Vec::new();
    let mut who = Who::Host;
    let mut given: Vec<String> = Vec::new();
    for line in lines(text) {
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let rest = rest.trim();
        if word == "=" {
            given.clear();
            who = Who::Host;
            cases.push(Case {
                title: rest.to_owned(),
                steps: Vec::new(),
            });
            continue;
        }
        let case = cases.last_mut().context("A case begins with its title.")?;
        match word {
            "as" => who = named(rest)?,
            "with" => {
                let Who::Actor(_, settings) = &mut who else {
                    bail!("Settings are somebody's: {line}");
                };
                let (name, value) = rest
                    .split_once(' ')
                    .with_context(|| format!("A setting has a value: {line}"))?;
                settings.push((name.to_owned(), value.trim().to_owned()));
            }
            "given" => given.push(rest.to_owned()),
            "call" | "do" => case.steps.push(Step {
                who: who.clone(),
                given: std::mem::take(&mut given),
                statement: if word == "do" {
                    rest.to_owned()
                } else {
                    format!("select ({rest})::text")
                },
                answers: Vec::new(),
                changes: None,
                holds: Vec::new(),
            }),
            _ => {
                let step = case
                    .steps
                    .last_mut()
                    .with_context(|| format!("Something is tried before `{line}`."))?;
                match word {
                    "is" => step.answers.push(answer(rest)?),
                    "changes" => {
                        step.changes = Some(
                            rest.split_whitespace()
                                .filter(|name| *name != "nothing")
                                .map(str::to_owned)
                                .collect(),
                        );
                    }
                    "holds" => step.holds.push(rest.to_owned()),
                    _ => bail!("`{word}` is no word of a case: {line}"),
                }
            }
        }
    }
    for case in &cases {
        if case.steps.is_empty() || case.steps.iter().any(|step| step.answers.is_empty() && step.holds.is_empty()) {
            bail!("A case tries something and says what comes of it: {}", case.title);
        }
    }
    Ok(cases)
}

/// The lines without comments; continuation lines are indented by four more spaces.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        match lines.last_mut() {
            Some(last) if line.starts_with("      ") => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => lines.push(line.trim().to_owned()),
        }
    }
    lines
}

fn named(name: &str) -> Result<Who> {
    if name == "host" {
        return Ok(Who::Host);
    }
    if let Some(role) = name.strip_prefix("role ") {
        return Ok(Who::Role(role.trim().to_owned()));
    }
    let actor = Actor::named(name).with_context(|| format!("`{name}` is nobody."))?;
    Ok(Who::Actor(actor, Vec::new()))
}

fn answer(text: &str) -> Result<Answer> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim().to_owned();
    Ok(match word {
        "ok" => Answer::Ok((!rest.is_empty()).then_some(rest)),
        "refused" => Answer::Refused(rest),
        "error" => Answer::Error(rest),
        "text" => Answer::Text(rest),
        "has" => Answer::Has(rest),
        "lacks" => Answer::Lacks(rest),
        _ => bail!("`{text}` is no answer."),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_the_folder_and_every_case_is_whole() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/cases");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names, FILES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        for (name, text) in FILES {
            let cases = parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!cases.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_case_is_read() {
        let text = "= One\n  as member\n  with duet.x 'y'\n  given update t\n      set a = 1\n  call f(1)\n  is refused denied\n  changes nothing\n";
        let cases = parse(text).unwrap();
        let step = &cases[0].steps[0];
        assert_eq!(step.given, ["update t set a = 1"]);
        assert_eq!(step.who, Who::Actor(Actor::Member, vec![("duet.x".into(), "'y'".into())]));
        assert_eq!(step.answers, [Answer::Refused("denied".into())]);
        assert_eq!(step.changes, Some(BTreeSet::new()));
        assert!(parse("= Two\n  as member\n").is_err());
    }
}
