//! Hostile claims and settings: whatever else a token says, and whatever settings exist, actors see no more than their identity
//! allows; and a token that names nobody shows its bearer nothing.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::{
    Actor,
    attempt::{Effects, Outcome, Stage, shortened},
    calls::{self, Call},
    catalogue,
    knowledge::Knowledge,
    matrix::{Reach, Table},
    suite::Report,
};

const CHECK: &str = "claims";

/// Additional claims of a token, in the place of `…`; the victim's placeholders are filled in. The last `sub` of a token counts.
const BESIDE: &[&str] = &[
    r#""role": "service_role""#,
    r#""role": "postgres""#,
    r#""role": "duet_worker""#,
    r#""role": "duet_agent""#,
    r#""role": "owner", "user_role": "owner", "is_admin": true"#,
    r#""role": ["service_role", "owner"]"#,
    r#""role": {"authenticated": "owner"}"#,
    r#""app_metadata": {"role": "owner", "workspace_id": "{ws}", "workspaces": ["{ws}"], "sub": "{me}"}"#,
    r#""user_metadata": {"role": "owner", "sub": "{me}", "email": "{email}"}"#,
    r#""email": "{email}", "email_verified": true"#,
    r#""workspace_id": "{ws}", "workspace": "{ws}", "user_id": "{me}", "uid": "{me}", "id": "{me}""#,
    r#""duet": {"workspace_id": "{ws}", "agent_id": "{the:agent}"}, "duet.workspace_id": "{ws}""#,
    r#""act": {"sub": "{me}"}, "on_behalf_of": "{me}", "actor": "{me}""#,
    r#""amr": [{"sub": "{me}"}], "session_id": "{my:session}", "aal": "aal2""#,
];

/// Tokens that name nobody.
const NOBODY: &[&str] = &[
    "",
    "{}",
    "[]",
    "null",
    r#""{me}""#,
    r#"["{me}"]"#,
    r#"{"sub": null}"#,
    r#"{"sub": ""}"#,
    r#"{"sub": ["{me}"]}"#,
    r#"{"sub": {"id": "{me}"}}"#,
    r#"{"sub": {"sub": "{me}"}}"#,
    r#"{"sub": "*"}"#,
    r#"{"sub": "%"}"#,
    r#"{"sub": "00000000-0000-0000-0000-000000000000"}"#,
    r#"{"SUB": "{me}"}"#,
    r#"{"claims": {"sub": "{me}"}}"#,
    r#"[{"sub": "{me}"}]"#,
    r#"{"user_id": "{me}", "role": "authenticated"}"#,
    r#"{"role": "service_role"}"#,
    "{\"sub\": \"{me}",
];

/// Settings that a person may bring; the victim's placeholders are filled in.
const SETTINGS: &[(&str, &str)] = &[
    ("request.jwt.claim.sub", "{me}::text"),
    ("request.jwt.claim.role", "'service_role'"),
    ("request.jwt.claim.email", "'owner@example.test'"),
    ("request.jwt", "{me}::text"),
    (
        "request.headers",
        "'{\"x-user\": \"owner\", \"authorization\": \"Bearer x\"}'",
    ),
    ("request.path", "'/rest/v1/rpc/x'"),
    ("duet.workspace_id", "{ws}::text"),
    ("duet.agent_id", "{the:agent}::text"),
    ("duet.run_id", "{my:run}::text"),
    ("duet.user_id", "{me}::text"),
    ("duet.role", "'owner'"),
    ("duet.only_workspace", "{ws}::text"),
    ("duet.only_workspace", "'x'"),
    (
        "duet.agent_scopes",
        r#"'{"capabilities": ["read_memory", "write_memory"], "memory_scopes": {"domains": ["episodic", "semantic", "working"], "private": true}}'"#,
    ),
    ("app.user_id", "{me}::text"),
    ("row_security", "'off'"),
];

/// Settings that an agent may bring instead of its own.
const AGENT_SETTINGS: &[(&str, &str)] = &[
    ("duet.workspace_id", "''"),
    ("duet.workspace_id", "'x'"),
    ("duet.agent_id", "''"),
    ("duet.agent_id", "'x'"),
    ("duet.agent_id", "{the:agent}::text"),
    ("duet.agent_id", "{me}::text"),
    ("duet.agent_scopes", "''"),
    ("duet.agent_scopes", "'{}'"),
    ("duet.agent_scopes", "'[]'"),
    ("duet.agent_scopes", "'null'"),
    ("duet.agent_scopes", "'\"all\"'"),
    (
        "duet.agent_scopes",
        "'{\"capabilities\": \"read_memory\", \"memory_scopes\": \"all\"}'",
    ),
    (
        "duet.agent_scopes",
        "'{\"capabilities\": [[\"read_memory\"]], \"memory_scopes\": {\"domains\": {\"semantic\": true}, \"private\": \"yes\"}}'",
    ),
    (
        "duet.agent_scopes",
        "'{\"capabilities\": [\"*\"], \"memory_scopes\": {\"domains\": [\"*\"], \"private\": true}}'",
    ),
];

/// An actor under some settings.
struct Disguise {
    settings: Vec<(String, String)>,
    nobody: bool,
}

/// Finds disguises that work.
pub async fn claims(stage: &mut Stage, tables: &[Table], report: &mut Report) -> Result<()> {
    let there = catalogue::tables(stage).await?;
    let tables: Vec<&Table> = tables.iter().filter(|table| there.contains(&table.name)).collect();
    let functions = catalogue::functions(stage, "public").await?;
    let calls: Vec<Call> = calls::declared()?
        .into_iter()
        .filter(|call| call.changes.is_empty() && functions.iter().any(|function| function.name == call.name))
        .collect();
    for actor in [Actor::Member, Actor::ExMember, Actor::Stranger, Actor::Agent, Actor::Scoped] {
        let shown: Vec<&&Table> = tables
            .iter()
            .filter(|table| table.cell("select", actor).reach != Reach::Refused)
            .collect();
        let calls: Vec<&Call> = calls
            .iter()
            .filter(|call| if actor.is_agent() { call.for_agents } else { call.for_people })
            .collect();
        stage.begin(actor).await?;
        let knowledge = Knowledge::of(stage, &tables, actor).await?;
        let nothing = BTreeSet::new();
        let mut plain: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        stage.take_on(actor).await?;
        for table in &shown {
            let rows = stage.rows(&format!("select t::text from {} t", table.name)).await?;
            plain.insert(table.name.clone(), rows.into_iter().collect());
        }
        stage.rollback().await?;
        for disguise in disguises(actor) {
            stage.begin(actor).await?;
            stage.run(&actor.statements_with(stage.host(), &disguise.settings)).await?;
            for table in &shown {
                report.tried += 1;
                let outcome = stage
                    .attempt(&format!("select t::text from {} t", table.name), Effects::TakenBack)
                    .await?;
                let Outcome::Rows(rows) = outcome else { continue };
                let known = if disguise.nobody { &nothing } else { &plain[&table.name] };
                let more = rows.iter().filter(|row| !known.contains(*row)).count();
                if more > 0 {
                    report.find(
                        CHECK,
                        format!(
                            "{} sees {more} more rows of {} with {:?}",
                            actor.name(),
                            table.name,
                            disguise.settings
                        ),
                    );
                }
            }
            for call in &calls {
                for place in [&[actor.place()], actor.victims()].concat() {
                    report.tried += 1;
                    let statement = place.fill(&call.statement("public", None));
                    let outcome = stage.attempt(&statement, Effects::TakenBack).await?;
                    if let Outcome::Rows(rows) = &outcome
                        && let Some(leak) = knowledge.leak(&statement, &rows.join("\n"))
                    {
                        report.find(
                            CHECK,
                            format!(
                                "{} reads {leak} by {} with {:?}",
                                actor.name(),
                                shortened(&statement),
                                disguise.settings
                            ),
                        );
                    }
                }
            }
            stage.rollback().await?;
        }
    }
    Ok(())
}

/// All disguises of an actor.
fn disguises(actor: Actor) -> Vec<Disguise> {
    let mut disguises = Vec::new();
    let claims = "request.jwt.claims".to_owned();
    for victim in actor.victims() {
        let email = format!("{}@example.test", victim.person);
        // A text with the victim's placeholders filled in, as an expression.
        let text = |template: &str| {
            let mut quoted = template.replace('\'', "''").replace("{email}", &email);
            for word in ["{ws}", "{me}", "{the:agent}", "{my:session}"] {
                quoted = quoted.replace(word, &format!("' || {} || '", victim.fill(word)));
            }
            format!("'{quoted}'")
        };
        for said in NOBODY {
            disguises.push(Disguise {
                settings: vec![(claims.clone(), text(said))],
                nobody: true,
            });
        }
        for said in BESIDE {
            let me = actor.place().fill("{me}");
            let value = format!(
                "{} || {me} || '\"}}'",
                text(&format!("{{\"sub\": \"{{me}}\", {said}, \"sub\": \""))
            );
            disguises.push(Disguise {
                settings: vec![(claims.clone(), value)],
                nobody: false,
            });
        }
        let settings = if actor.is_agent() { AGENT_SETTINGS } else { SETTINGS };
        for (name, value) in settings {
            // An agent that is not of the workspace, or has no workspace, is nobody there.
            let own = value.contains("{the:agent}") && victim.workspace == actor.place().workspace;
            disguises.push(Disguise {
                settings: vec![((*name).to_owned(), victim.fill(value))],
                nobody: actor.is_agent() && matches!(*name, "duet.agent_id" | "duet.workspace_id") && !own,
            });
        }
        // All settings that make an agent, at once, brought by a person.
        if !actor.is_agent() {
            let all = SETTINGS
                .iter()
                .filter(|(name, value)| name.starts_with("duet.") && *value != "'x'" && *name != "duet.only_workspace");
            disguises.push(Disguise {
                settings: all.map(|(name, value)| ((*name).to_owned(), victim.fill(value))).collect(),
                nobody: false,
            });
        }
    }
    disguises
}
