//! Rows that actors insert directly, where they may insert any: each column in turn as somebody else's. Accepted rows have to be the
//! actor's own by `matrix.txt`, and say no more than the actor's row allows. Superseding rows have a rule of their own, so each row
//! is tried as a proposal as well.

use anyhow::Result;
use sqlx::Row;

use crate::{
    Actor,
    attempt::{Effects, Outcome, Stage},
    catalogue,
    matrix::{Reach, Table},
    suite::Report,
};

const CHECK: &str = "inserts";

/// Who writes.
const WRITERS: [Actor; 8] = [
    Actor::Stranger,
    Actor::ExMember,
    Actor::Member,
    Actor::Demoted,
    Actor::Agent,
    Actor::Narrow,
    Actor::Scoped,
    Actor::Bare,
];

/// Finds accepted rows that the actor may not write.
pub async fn inserts(stage: &mut Stage, tables: &[Table], report: &mut Report) -> Result<()> {
    let there = catalogue::tables(stage).await?;
    for table in tables.iter().filter(|table| there.contains(&table.name)) {
        let mut inserted = 0;
        let mut any = false;
        for actor in WRITERS
            .into_iter()
            .filter(|actor| table.cell("insert", *actor).reach != Reach::Refused)
        {
            any = true;
            inserted += forge(stage, table, actor, report).await?;
        }
        if any && inserted == 0 {
            report.find(
                CHECK,
                format!(
                    "{}: nobody puts in a row of their own: attacks on it prove nothing",
                    table.name
                ),
            );
        }
    }
    Ok(())
}

/// Copies rows with new ids, and with each value of each column that other rows have.
async fn forge(stage: &mut Stage, table: &Table, actor: Actor, report: &mut Report) -> Result<usize> {
    let name = &table.name;
    stage.begin(actor).await?;
    let columns = stage
        .rows(&format!(
            "select a.attname from pg_attribute a
             where a.attrelid = '{name}'::regclass and a.attnum > 0 and not a.attisdropped
               and has_column_privilege('{}', a.attrelid, a.attnum, 'insert') order by a.attnum",
            actor.role()
        ))
        .await?;
    // Everybody's rows, as patterns: the actor's own, those of others, and those written by agents.
    let patterns = stage
        .rows(&format!(
            "select (to_jsonb(t) || jsonb_build_object('id', gen_random_uuid()) || {} || proposed.said)::text from {name} t
             cross join (select '{{}}'::jsonb union all
                         select jsonb_build_object('review', 'proposed', 'supersedes', id) from unnest(array[{}]) id) proposed (said)
             where t.id in ({})",
            said_by(actor),
            actor.place().fill(SUPERSEDED),
            actor.place().fill(PATTERNS)
        ))
        .await?;
    let mut values: Vec<(String, String)> = Vec::new();
    for column in columns.iter().filter(|column| *column != "id") {
        // Many values of columns that hold keys or ids, a few of the others.
        let found = stage
            .table(&format!(
                "select coalesce(v, 'null')::text from (
                     select distinct to_jsonb(t) -> '{column}' as v from {name} t
                     union select to_jsonb(gen_random_uuid()) where '{column}' like 'from\\_%' union select 'null'
                 ) x where length(v::text) < 200 or v is null
                 order by md5(coalesce(v, 'null')::text)
                 limit (select case when a.atttypid = 'int8'::regtype then 40 when a.atttypid = 'uuid'::regtype then 8 else 4 end
                        from pg_attribute a where a.attrelid = '{name}'::regclass and a.attname = '{column}')"
            ))
            .await?;
        for row in found {
            values.push((column.clone(), row.try_get(0)?));
        }
    }
    let list = columns.join(", ");
    let condition = table.condition("insert", actor);
    stage.take_on(actor).await?;
    let mut inserted = 0;
    for pattern in &patterns {
        let pattern = pattern.replace('\'', "''");
        let whole = std::iter::once(None).chain(values.iter().map(Some));
        for change in whole {
            report.tried += 1;
            let change = change.map_or_else(
                || "'{}'".to_owned(),
                |(column, value)| format!("jsonb_build_object('{column}', '{}'::jsonb)", value.replace('\'', "''")),
            );
            let sql = format!(
                "insert into {name} ({list}) select {list} from jsonb_populate_record(null::{name}, '{pattern}'::jsonb || {change})
                 returning id::text"
            );
            let Outcome::Rows(_) = stage.attempt(&sql, Effects::Stay).await? else {
                continue;
            };
            inserted += 1;
            stage.step_back().await?;
            let id = format!("('{pattern}'::jsonb ->> 'id')::uuid");
            let theirs = stage
                .rows(&format!(
                    "select (({condition}) is true)::text from {name} t where t.id = {id}"
                ))
                .await?;
            if theirs != ["true"] {
                report.find(CHECK, format!("{} puts a row into {name} with {change}", actor.name()));
            }
            // Back to the unchanged pattern.
            stage.rollback().await?;
            stage.begin_as(actor).await?;
        }
    }
    stage.rollback().await?;
    Ok(inserted)
}

/// The provenance that an agent's rows state.
fn said_by(actor: Actor) -> String {
    let settings = actor.settings();
    let setting = |wanted: &str| {
        settings
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.clone())
    };
    match (setting("duet.agent_id"), setting("duet.run_id")) {
        (Some(agent), Some(run)) => format!("jsonb_build_object('from_agent', {agent}, 'from_run', {run})"),
        _ => "'{}'".to_owned(),
    }
}

/// What proposals are to supersede: shared and private memories, their own and another's.
const SUPERSEDED: &str = "{my:memory}, {my:secret}, {owner:memory}";

/// The rows that are copied.
const PATTERNS: &str = "{my:memory}, {my:secret}, {my:secret_proposed}, {my:secret_working}, {owner:secret}";
