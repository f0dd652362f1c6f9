//! The cases of `cases/`.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    Actor,
    attempt::{Effects, Host, Outcome, Stage, shortened},
    cases::{self, Answer, Case, Step, Who},
    catalogue,
    digest::{self, Digest},
    matrix::Table,
    suite::Report,
    words::Place,
};

/// Finds cases with an unexpected result.
pub async fn cases(stage: &mut Stage, tables: &[Table], chosen: impl Fn(&str) -> bool, report: &mut Report) -> Result<()> {
    let there = catalogue::tables(stage).await?;
    let digest = Digest::of(tables, &there);
    // Only a superuser can create the platform's tables; on a real platform they exist, and are not the tests' to fill.
    let plays = |file: &str| chosen(file) && (file != "platform" || stage.host() == Host::Superuser);
    let files: Vec<_> = cases::FILES.iter().filter(|(file, _)| plays(file)).collect();
    for (file, text) in files {
        let check = format!("cases {file}");
        for case in cases::parse(text).with_context(|| format!("cases/{file}.txt cannot be read."))? {
            let differs = play(stage, &digest, &case, report)
                .await
                .with_context(|| format!("cases/{file}.txt, `{}`", case.title))?;
            if let Some(differs) = differs {
                report.find(&check, format!("{}: {differs}", case.title));
            }
        }
    }
    Ok(())
}

/// Plays a case; returns the first difference.
async fn play(stage: &mut Stage, digest: &Digest, case: &Case, report: &mut Report) -> Result<Option<String>> {
    let first = case.steps.iter().find_map(|step| match &step.who {
        Who::Actor(actor, _) => Some(*actor),
        _ => None,
    });
    stage.begin(first.unwrap_or(Actor::Anon)).await?;
    let mut differs = None;
    for step in &case.steps {
        report.tried += 1;
        differs = play_step(stage, digest, step).await?;
        if differs.is_some() {
            break;
        }
    }
    stage.rollback().await?;
    Ok(differs)
}

async fn play_step(stage: &mut Stage, digest: &Digest, step: &Step) -> Result<Option<String>> {
    let place = match &step.who {
        Who::Actor(actor, _) => actor.place(),
        _ => Place::MEMBER,
    };
    for given in &step.given {
        stage.run(&place.fill(given)).await?;
    }
    let before = match &step.changes {
        Some(_) => Some(digest.take(stage).await?),
        None => None,
    };
    match &step.who {
        Who::Actor(actor, settings) => {
            let settings: Vec<(String, String)> = settings
                .iter()
                .map(|(name, value)| (name.clone(), place.fill(value)))
                .collect();
            stage.run(&actor.statements_with(stage.host(), &settings)).await?;
        }
        Who::Role(role) => stage.run(&format!("set local role {role}")).await?,
        Who::Host => {}
    }
    let outcome = stage.attempt(&place.fill(&step.statement), Effects::Stay).await?;
    stage.step_back().await?;
    for answer in &step.answers {
        if !answers(&outcome, &place, answer) {
            return Ok(Some(format!(
                "{} instead of {answer:?}, from {}",
                short(&outcome),
                shortened(&step.statement)
            )));
        }
    }
    if let (Some(before), Some(expected)) = (before, &step.changes) {
        let changed = digest::changed(&before, &digest.take(stage).await?);
        if changed != *expected {
            return Ok(Some(format!(
                "changes {changed:?} instead of {expected:?}, by {}",
                shortened(&step.statement)
            )));
        }
    }
    for condition in &step.holds {
        let holds = stage.rows(&place.fill(&format!("select ({condition})::text"))).await?;
        if holds != ["true"] {
            return Ok(Some(format!(
                "after {} it does not hold that {condition}; the answer was {}",
                shortened(&step.statement),
                short(&outcome)
            )));
        }
    }
    Ok(None)
}

fn answers(outcome: &Outcome, place: &Place, expected: &Answer) -> bool {
    let rows = match outcome {
        Outcome::Rows(rows) => rows.join("\n"),
        Outcome::Refused { code, .. } => return matches!(expected, Answer::Error(wanted) if wanted == code),
    };
    let json: Option<Value> = serde_json::from_str(&rows).ok();
    match expected {
        Answer::Ok(None) => json.is_some_and(|json| json.get("ok").is_some()),
        Answer::Ok(Some(wanted)) => {
            let wanted: Option<Value> = serde_json::from_str(&place.fill(wanted)).ok();
            wanted.is_some() && json.and_then(|json| json.get("ok").cloned()) == wanted
        }
        Answer::Refused(code) => json.is_some_and(|json| json["refused"]["code"] == code.as_str()),
        Answer::Error(_) => false,
        Answer::Text(text) => rows == *text,
        Answer::Has(part) => rows.contains(part.as_str()),
        Answer::Lacks(part) => !rows.contains(part.as_str()),
    }
}

fn short(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Rows(rows) => shortened(&rows.join(" ")),
        Outcome::Refused { code, message } => format!("{code} {message}"),
    }
}
