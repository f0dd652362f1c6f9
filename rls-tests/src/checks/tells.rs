//! Whether an answer tells that something is there which the asker may not see: every call with ids of another workspace is answered as
//! the same call with ids that are nowhere, one argument after the other and all together.

use anyhow::Result;

use crate::{
    Actor,
    attempt::{Effects, Outcome, Stage},
    calls::{self, Call},
    catalogue,
    suite::Report,
    words::{self, Place},
};

const CHECK: &str = "tells";
const WORLD: &str = include_str!("../../world.sql");

/// Finds answers that differ.
pub async fn tells(stage: &mut Stage, report: &mut Report) -> Result<()> {
    // Every kind of id that the world has.
    let kinds: Vec<String> = words::words_of(WORLD).into_iter().filter(|word| word != "{name}").collect();
    let there = catalogue::functions(stage, "public").await?;
    let calls = calls::declared()?;
    let calls: Vec<&Call> = calls
        .iter()
        .filter(|call| there.iter().any(|function| function.name == call.name))
        .collect();
    let mut sensible = vec![false; calls.len()];
    for actor in Actor::ALL
        .into_iter()
        .filter(|actor| !matches!(actor, Actor::Anon | Actor::Worker))
    {
        stage.begin_as(actor).await?;
        for (place, call) in calls.iter().enumerate() {
            let own = actor.place().fill(&call.statement("public", None));
            sensible[place] |= answered(&stage.attempt(&own, Effects::TakenBack).await?);
            let function = there.iter().find(|function| function.name == call.name);
            let types = function.map(|function| function.arguments.as_slice()).unwrap_or_default();
            for victim in victims(actor) {
                // Arguments that may tell stay the actor's own.
                let mut whole = (*call).clone();
                for (argument, value) in &mut whole.arguments {
                    if call.tells.contains(argument) {
                        *value = actor.place().fill(value);
                    }
                }
                let whole = whole.statement("public", None);
                let mut pairs = vec![(call.name.clone(), whole.clone(), whole)];
                for (argument, kind) in types.iter().filter(|(argument, _)| !call.tells.contains(argument)) {
                    for word in kinds.iter().filter(|word| fits(kind, word)) {
                        let value = |place: Place| match kind.as_str() {
                            "uuid[]" => format!("array[{}]", place.fill(word)),
                            "text" => format!("{}::text", place.fill(word)),
                            _ => place.fill(word),
                        };
                        let own = |value: &str| actor.place().fill(&call.statement("public", Some((argument, value))));
                        pairs.push((
                            format!("{}, {argument} := {word}", call.name),
                            own(&value(victim)),
                            own(&value(Place::NOWHERE)),
                        ));
                    }
                }
                for (what, theirs, nowhere) in pairs {
                    report.tried += 2;
                    let theirs = stage.attempt(&victim.fill(&theirs), Effects::TakenBack).await?.without_ids();
                    let nowhere = stage
                        .attempt(&Place::NOWHERE.fill(&nowhere), Effects::TakenBack)
                        .await?
                        .without_ids();
                    if theirs != nowhere {
                        let who = actor.name();
                        report.find(
                            CHECK,
                            format!("{who} learns from {what}: {} instead of {}", short(&theirs), short(&nowhere)),
                        );
                    }
                }
            }
        }
        stage.rollback().await?;
    }
    for (call, _) in calls.iter().zip(sensible).filter(|(_, sensible)| !sensible) {
        report.find(
            CHECK,
            format!(
                "public.{} answers nobody's sensible call: attacks on it prove nothing",
                call.name
            ),
        );
    }
    Ok(())
}

/// Those in workspaces that the actor is not in.
fn victims(actor: Actor) -> impl Iterator<Item = Place> {
    actor
        .victims()
        .iter()
        .copied()
        .filter(move |victim| !actor.workspaces().contains(&victim.workspace))
}

fn fits(kind: &str, word: &str) -> bool {
    match kind {
        "uuid" | "uuid[]" => !word.starts_with("{bytes"),
        "bytea" => word.starts_with("{bytes"),
        "text" => word.starts_with("{the"),
        _ => false,
    }
}

fn answered(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Rows(rows) if rows.iter().any(|row| row.starts_with("{\"ok\"")))
}

fn short(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Rows(rows) => crate::attempt::shortened(&rows.join(" ")),
        Outcome::Refused { code, message } => format!("{code} {message}"),
    }
}
