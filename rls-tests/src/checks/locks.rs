//! Locks and waiting: a call with ids that the actor may not see locks none of these rows, so that no stranger can block anybody, and
//! does not wait for their locks, so that no wait reveals their existence.

use anyhow::Result;

use crate::{
    Actor,
    attempt::{Effects, Outcome, Stage},
    calls::{self, Call},
    catalogue,
    matrix::Table,
    suite::Report,
    words::Place,
};

const CHECK: &str = "locks";

/// Who calls.
const CALLERS: [Actor; 6] = [
    Actor::Stranger,
    Actor::ExMember,
    Actor::Member,
    Actor::Owner,
    Actor::Agent,
    Actor::Demoted,
];

/// Tables whose rows belong to nobody in particular.
const NOBODYS: [&str; 2] = ["duet.installation", "duet.embedding_model"];

/// Finds locked rows and revealing waits. Needs a second connection: without one it finds nothing.
pub async fn locks(stage: &mut Stage, tables: &[Table], chosen: impl Fn(&str) -> bool, report: &mut Report) -> Result<()> {
    if stage.witness("select 1::text").await?.is_none() {
        return Ok(());
    }
    let there = catalogue::tables(stage).await?;
    let tables: Vec<&Table> = tables
        .iter()
        .filter(|table| there.contains(&table.name) && !NOBODYS.contains(&table.name.as_str()))
        .collect();
    let functions = catalogue::functions(stage, "public").await?;
    let calls: Vec<Call> = calls::declared()?
        .into_iter()
        .filter(|call| chosen(&call.name) && functions.iter().any(|function| function.name == call.name))
        .collect();
    kept(stage, &calls, report).await?;
    for actor in CALLERS {
        let calls: Vec<&Call> = calls
            .iter()
            .filter(|call| if actor.is_agent() { call.for_agents } else { call.for_people })
            .collect();
        held(stage, &tables, &calls, actor, report).await?;
        waited_for(stage, &tables, &calls, actor, report).await?;
    }
    Ok(())
}

/// The locks that a call has to take: without them, two concurrent calls each act as if the other did not exist.
async fn kept(stage: &mut Stage, calls: &[Call], report: &mut Report) -> Result<()> {
    for call in calls {
        for table in &call.holds {
            let mut kept = false;
            let free = format!(
                "select (count(*) > (select count(*) from (select 1 from {table} t for no key update of t skip locked) free))::text
                 from {table} t"
            );
            for actor in CALLERS {
                report.tried += 1;
                stage.begin_as(actor).await?;
                let statement = actor.place().fill(&call.statement("public", None));
                let answer = stage.attempt(&statement, Effects::Stay).await?;
                let answered = matches!(&answer, Outcome::Rows(rows) if rows.iter().any(|row| row.starts_with("{\"ok\"")));
                kept |= answered && stage.witness(&free).await?.unwrap_or_default() == ["true"];
                stage.rollback().await?;
            }
            if !kept {
                report.find(
                    CHECK,
                    format!("public.{} holds no row of {table}: another one may come between", call.name),
                );
            }
        }
    }
    Ok(())
}

/// The calls with a victim's ids, as the victim would make them and one id at a time.
fn attacks(call: &Call, actor: Actor) -> Vec<String> {
    let mut attacks = Vec::new();
    for call in call.variants() {
        for victim in actor.victims() {
            let mut whole = call.clone();
            for (argument, value) in &mut whole.arguments {
                // Naming another's secret, or an id yet to be created, requires knowing it.
                if call.tells.contains(argument) {
                    *value = Place::NOWHERE.fill(value);
                } else if call.tells_within.contains(argument) {
                    *value = actor.place().fill(value);
                }
            }
            attacks.push(victim.fill(&whole.statement("public", None)));
            for (argument, value) in &whole.arguments {
                if value.contains("{my:") {
                    attacks.push(
                        actor
                            .place()
                            .fill(&whole.statement("public", Some((argument, &victim.fill(value))))),
                    );
                }
            }
        }
    }
    attacks
}

/// The rows the actor has no rights to, with the number of those that are locked.
fn others(tables: &[&Table], actor: Actor, lock: &str) -> Vec<(String, String, String)> {
    tables
        .iter()
        .map(|table| {
            let condition = format!("({} or {}) is not true", table.tellable(actor), table.changeable(actor));
            let all = format!("select count(*)::text from {} t where {condition}", table.name);
            let free = format!(
                "select count(*)::text from (select 1 from {} t where {condition} for {lock} of t skip locked) free",
                table.name
            );
            (table.name.clone(), all, free)
        })
        .collect()
}

async fn held(stage: &mut Stage, tables: &[&Table], calls: &[&Call], actor: Actor, report: &mut Report) -> Result<()> {
    // The conditions query memberships: as another transaction sees them, before what happened meanwhile.
    if !actor.meanwhile().is_empty() {
        return Ok(());
    }
    let taken: Vec<String> = others(tables, actor, "no key update")
        .into_iter()
        .map(|(table, all, free)| format!("select '{table}' where ({all})::bigint > ({free})::bigint"))
        .collect();
    let taken = taken.join(" union all ");
    for call in calls {
        stage.begin_as(actor).await?;
        for attack in attacks(call, actor) {
            report.tried += 1;
            stage.attempt(&attack, Effects::Stay).await?;
        }
        for table in stage.witness(&taken).await?.unwrap_or_default() {
            let who = actor.name();
            report.find(CHECK, format!("{who} holds rows of {table} by public.{}", call.name));
        }
        let advisory = stage
            .witness(
                "select count(*)::text from pg_locks l join pg_stat_activity a on a.pid = l.pid
                      where l.locktype = 'advisory' and a.datname = current_database() and l.pid <> pg_backend_pid()",
            )
            .await?
            .unwrap_or_default();
        if advisory != ["0"] {
            report.find(
                CHECK,
                format!("{} holds a lock of its own by public.{}", actor.name(), call.name),
            );
        }
        stage.rollback().await?;
    }
    Ok(())
}

async fn waited_for(stage: &mut Stage, tables: &[&Table], calls: &[&Call], actor: Actor, report: &mut Report) -> Result<()> {
    let hold: Vec<String> = others(tables, actor, "update").into_iter().map(|(_, _, free)| free).collect();
    stage.begin(actor).await?;
    stage.witness(&format!("begin; {}", hold.join("; "))).await?;
    stage.run("set local lock_timeout = '20ms'").await?;
    stage.take_on(actor).await?;
    for call in calls {
        for attack in attacks(call, actor) {
            report.tried += 1;
            if let Outcome::Refused { code, .. } = stage.attempt(&attack, Effects::TakenBack).await?
                && code == "55P03"
            {
                let who = actor.name();
                report.find(
                    CHECK,
                    format!("{who} waits for others by {}", crate::attempt::shortened(&attack)),
                );
            }
        }
    }
    stage.rollback().await?;
    stage.witness("rollback").await?;
    Ok(())
}
