//! Whether an answer reveals the existence of something that the caller may not see, in another workspace or of another member: every
//! call with such ids has the same answer as with ids that do not exist, one argument at a time and all together.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::{
    Actor,
    attempt::{Effects, Outcome, Stage},
    calls::{self, Call},
    catalogue,
    knowledge::Knowledge,
    matrix::Table,
    suite::Report,
    words::{self, Place},
};

const CHECK: &str = "tells";
const WORLD: &str = include_str!("../../world.sql");

/// Finds answers that differ. `chosen` selects the functions.
pub async fn tells(stage: &mut Stage, tables: &[Table], chosen: impl Fn(&str) -> bool, report: &mut Report) -> Result<()> {
    // Every kind of id in the world.
    let kinds: Vec<String> = words::words_of(WORLD)
        .into_iter()
        .filter(|word| !["{name", "{mark", "{limits"].iter().any(|kind| word.starts_with(kind)))
        .collect();
    let existing = catalogue::tables(stage).await?;
    let tables: Vec<&Table> = tables.iter().filter(|table| existing.contains(&table.name)).collect();
    let there = catalogue::functions(stage, "public").await?;
    let calls = calls::declared()?;
    let calls: Vec<&Call> = calls
        .iter()
        .filter(|call| chosen(&call.name) && there.iter().any(|function| function.name == call.name))
        .collect();
    let mut sensible = vec![false; calls.len()];
    for actor in ASKERS {
        stage.begin(actor).await?;
        let knowledge = Knowledge::of(stage, &tables, actor).await?;
        stage.take_on(actor).await?;
        for (place, call) in calls.iter().enumerate() {
            let own = actor.place().fill(&call.statement("public", None));
            sensible[place] |= answered(&stage.attempt(&own, Effects::TakenBack).await?);
            let function = there.iter().find(|function| function.name == call.name);
            let types = function.map(|function| function.arguments.as_slice()).unwrap_or_default();
            let mut asked = BTreeSet::new();
            for victim in actor.victims() {
                for (what, theirs, nowhere) in questions(call, types, &kinds, actor, *victim, &knowledge) {
                    if theirs == nowhere || !asked.insert(theirs.clone()) {
                        continue;
                    }
                    report.tried += 2;
                    let found = stage.attempt(&theirs, Effects::TakenBack).await?.without_ids();
                    let nothing = stage.attempt(&nowhere, Effects::TakenBack).await?.without_ids();
                    if found != nothing {
                        let who = actor.name();
                        report.find(
                            CHECK,
                            format!(
                                "{who} learns of {}'s from {what}: {} instead of {}",
                                victim.person,
                                short(&found),
                                short(&nothing)
                            ),
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

/// Who asks. A former member is a stranger like any other, and `matrix` covers the lesser rights of agents.
const ASKERS: [Actor; 6] = [
    Actor::Stranger,
    Actor::ExMember,
    Actor::Member,
    Actor::Owner,
    Actor::Agent,
    Actor::Demoted,
];

/// The questions, with a victim's ids and with ids that do not exist: all together if the victim is in a workspace that the actor is
/// not in, and one argument at a time. In the actor's own workspace only single ids are tried.
fn questions(
    call: &Call,
    types: &[(String, String)],
    kinds: &[String],
    actor: Actor,
    victim: Place,
    knowledge: &Knowledge,
) -> Vec<(String, String, String)> {
    let within = actor.workspaces().contains(&victim.workspace);
    let mine = actor.place();
    let mut questions = Vec::new();
    for call in call.variants() {
        if !within {
            // Arguments that may reveal something stay the actor's own.
            let mut whole = call.clone();
            for (argument, value) in &mut whole.arguments {
                if call.tells.contains(argument) {
                    *value = mine.fill(value);
                }
            }
            let whole = whole.statement("public", None);
            questions.push((call.name.clone(), victim.fill(&whole), Place::NOWHERE.fill(&whole)));
            // All arguments are the victim's, plus one more existing id where the sensible call creates something new.
            for (argument, value) in call.arguments.iter().filter(|(_, value)| value.starts_with("{new:")) {
                for word in kinds
                    .iter()
                    .filter(|word| words::kind(word) == words::kind(value) && word.starts_with("{my:"))
                {
                    let with = |place: Place| place.fill(&call.statement("public", Some((argument, word))));
                    questions.push((
                        format!("{}, {argument} := {word}, there", call.name),
                        with(victim),
                        with(Place::NOWHERE),
                    ));
                }
            }
        }
        // Placeholders inside an argument: in JSON, in a list.
        for (argument, value) in &call.arguments {
            if call.tells.contains(argument) || within && call.tells_within.contains(argument) {
                continue;
            }
            for word in words::words_of(value) {
                if word.starts_with("{my") && knowledge.is_forbidden(&word, victim) {
                    let with = |place: Place| {
                        let value = value.replace(&word, &place.fill(&word));
                        mine.fill(&call.statement("public", Some((argument, &value))))
                    };
                    let what = format!("{}, {argument} with {word}", call.name);
                    questions.push((what, with(victim), with(Place::NOWHERE)));
                }
            }
        }
    }
    for (argument, kind) in types.iter().filter(|(argument, _)| !call.tells.contains(argument)) {
        let value = call
            .arguments
            .iter()
            .find(|(name, _)| name == argument)
            .map_or("", |(_, value)| value);
        for word in kinds.iter().filter(|word| fits(kind, word)) {
            // Ids of things in a certain state are tried where things of that kind belong.
            let meant: Vec<String> = words::words_of(value)
                .iter()
                .map(|word| words::kind(word).to_owned())
                .collect();
            if word.contains('_') && !meant.iter().any(|kind| kind == words::kind(word)) {
                continue;
            }
            if within && (call.tells_within.contains(argument) || !knowledge.is_forbidden(word, victim)) {
                continue;
            }
            let value = |place: Place| match kind.as_str() {
                "uuid[]" => format!("array[{}]", place.fill(word)),
                "text" => format!("{}::text", place.fill(word)),
                _ => place.fill(word),
            };
            let own = |value: &str| mine.fill(&call.statement("public", Some((argument, value))));
            questions.push((
                format!("{}, {argument} := {word}", call.name),
                own(&value(victim)),
                own(&value(Place::NOWHERE)),
            ));
        }
    }
    questions
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
