//! The changes of successful calls: exactly the tables that `calls.txt` lists, with the audit entries it lists, in the caller's name.
//! Refused calls change nothing.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::{
    Actor,
    attempt::{Effects, Outcome, Stage},
    calls::{self, Call},
    catalogue,
    digest::{self, Digest},
    matrix::Table,
    suite::Report,
};

const CHECK: &str = "effects";

/// Who calls.
const CALLERS: [Actor; 7] = [
    Actor::Stranger,
    Actor::ExMember,
    Actor::Member,
    Actor::Owner,
    Actor::Demoted,
    Actor::Agent,
    Actor::Scoped,
];

/// Entries made in this act, with their recorded actor.
const ENTRIES: &str = "select e.action || ' ' || e.outcome || case
        when e.actor = {me} and (e.agent_id is not null) = {agent} and (not {agent} or e.agent_id = {the:agent}) then ''
        else ' in the name of somebody else' end
    from duet.audit_entry e where age(e.xmin) <= age(pg_current_xact_id()::xid) order by e.workspace_id, e.seq";

/// Finds calls that change something else.
pub async fn effects(stage: &mut Stage, tables: &[Table], chosen: impl Fn(&str) -> bool, report: &mut Report) -> Result<()> {
    let there = catalogue::tables(stage).await?;
    let functions = catalogue::functions(stage, "public").await?;
    let digest = Digest::of(tables, &there);
    let calls: Vec<Call> = calls::declared()?
        .into_iter()
        .filter(|call| chosen(&call.name) && functions.iter().any(|function| function.name == call.name))
        .collect();
    let mut done = vec![false; calls.len()];
    for actor in CALLERS {
        stage.begin(actor).await?;
        let before = digest.take(stage).await?;
        stage.rollback().await?;
        for (call, done) in calls.iter().zip(&mut done) {
            if !if actor.is_agent() { call.for_agents } else { call.for_people } {
                continue;
            }
            for call in call.variants() {
                report.tried += 1;
                stage.begin_as(actor).await?;
                let outcome = stage
                    .attempt(&actor.place().fill(&call.statement("public", None)), Effects::Stay)
                    .await?;
                stage.step_back().await?;
                let changed = digest::changed(&before, &digest.take(stage).await?);
                let agent = if actor.is_agent() { "true" } else { "false" };
                let entries = actor.place().fill(&ENTRIES.replace("{agent}", agent));
                let entries = if changed.is_empty() {
                    Vec::new()
                } else {
                    stage.rows(&entries).await?
                };
                stage.rollback().await?;
                *done |= look(&call, actor, &outcome, &changed, &entries, report);
            }
        }
    }
    for (call, _) in calls.iter().zip(done).filter(|(_, done)| !done) {
        report.find(
            CHECK,
            format!("public.{} does for nobody what calls.txt says that it changes", call.name),
        );
    }
    Ok(())
}

/// Whether the call had exactly its declared effects.
fn look(
    call: &Call,
    actor: Actor,
    outcome: &Outcome,
    changed: &BTreeSet<String>,
    entries: &[String],
    report: &mut Report,
) -> bool {
    let who = actor.name();
    let answered = matches!(outcome, Outcome::Rows(rows) if rows.iter().any(|row| row.starts_with("{\"ok\"")));
    if !answered && !changed.is_empty() {
        report.find(CHECK, format!("public.{} refuses {who} and changes {changed:?}", call.name));
        return false;
    }
    let more: Vec<&String> = changed
        .iter()
        .filter(|table| !call.changes.contains(*table) && !call.may_change.contains(*table))
        .collect();
    if !more.is_empty() {
        report.find(
            CHECK,
            format!(
                "public.{} called by {who} changes {more:?}, of which calls.txt knows nothing",
                call.name
            ),
        );
    }
    let expected: Vec<String> = call.audited.iter().map(|action| format!("{action} done")).collect();
    if !changed.is_empty() && entries != expected {
        report.find(
            CHECK,
            format!(
                "public.{} called by {who} is recorded as {entries:?} instead of {expected:?}",
                call.name
            ),
        );
    }
    answered && call.changes.is_subset(changed)
}
