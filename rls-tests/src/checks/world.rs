//! The suite knows every table, and the world has rows in each.

use anyhow::Result;
use sqlx::Row;

use crate::{
    Actor,
    attempt::Stage,
    catalogue,
    matrix::Table,
    suite::Report,
    words::{self, Place},
};

const CHECK: &str = "world";

/// Finds tables that nobody attacks.
pub async fn world(stage: &mut Stage, tables: &[Table], report: &mut Report) -> Result<()> {
    let there = catalogue::tables(stage).await?;
    for unknown in there.iter().filter(|name| tables.iter().all(|table| table.name != **name)) {
        report.find(
            CHECK,
            format!("{unknown} is not in matrix.txt: declare who may do what with it."),
        );
    }
    for table in tables {
        if !there.contains(&table.name) {
            report.find(CHECK, format!("{} is in matrix.txt and not in the database.", table.name));
            continue;
        }
        for (whose, condition) in wanted(table) {
            let found = stage
                .rows(&format!(
                    "select exists (select from {} t where {condition})::text",
                    table.name
                ))
                .await?;
            report.tried += 1;
            if found != ["true"] {
                report.find(CHECK, format!("{} has no row of {whose}: add one to world.sql.", table.name));
            }
        }
    }
    states(stage, tables, report).await
}

/// Where rows are needed in every state, besides every table having some: in two unrelated workspaces.
const EVERY_STATE: [Place; 2] = [Place::MEMBER, Place::STRANGER];

/// The states of a table's columns: each value that a check constraint lists, true and false, set and null, past and future; with the
/// column, and the condition for a row in that state.
const STATES: &str = r"
    select format('%s with %I = %L', c.oid::regclass, a.attname, value), c.oid::regclass::text, a.attname::text,
           format(case when t.typname = '_text' then '%2$L = any (t.%1$I)' else 't.%1$I = %2$L' end, a.attname, value)
    from pg_constraint k
    join pg_class c on c.oid = k.conrelid and c.relnamespace = 'duet'::regnamespace
    join pg_attribute a on a.attrelid = c.oid and k.conkey = array[a.attnum]
    join pg_type t on t.oid = a.atttypid
    cross join lateral (
        select distinct m[1] as value from regexp_matches(pg_get_constraintdef(k.oid), '''([a-z_]+)''::text', 'g') m
        where pg_get_constraintdef(k.oid) ~ 'ARRAY\['
    ) v
    where k.contype = 'c' and t.typname in ('text', '_text')
    union all
    select format('%s where %I is %s', c.oid::regclass, a.attname, state), c.oid::regclass::text, a.attname::text,
           format('t.%I is %s', a.attname, state)
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    cross join lateral (
        select unnest(case when a.atttypid = 'bool'::regtype then array['true', 'false']
                           when not a.attnotnull then array['null', 'not null'] end) as state
    ) s
    where c.relnamespace = 'duet'::regnamespace and c.relkind = 'r'
    union all
    select format('%s whose %I is %s', c.oid::regclass, a.attname, word), c.oid::regclass::text, a.attname::text,
           format('t.%I %s %L::timestamptz', a.attname, sign, current_setting('duet.now'))
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname in ('expires_at', 'lease_until') and not a.attisdropped
    cross join (values ('over', '<='), ('to come', '>')) as s (word, sign)
    where c.relnamespace = 'duet'::regnamespace and c.relkind = 'r'
    order by 1";

/// Finds states that no row of the world has.
async fn states(stage: &mut Stage, tables: &[Table], report: &mut Report) -> Result<()> {
    stage.begin(Actor::Anon).await?;
    for row in stage.table(STATES).await? {
        let (what, name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let (column, condition): (String, String) = (row.try_get(2)?, row.try_get(3)?);
        let Some(table) = tables.iter().find(|table| table.name == name) else {
            continue;
        };
        // A table with one row per installation cannot have two states.
        let Some(workspace) = table.workspace.as_ref().filter(|_| !table.stateless.contains(&column)) else {
            continue;
        };
        for place in EVERY_STATE {
            report.tried += 1;
            let there = place.fill(&format!(
                "select exists (select from {name} t where {condition} and {workspace} = {{ws}})::text"
            ));
            if stage.rows(&there).await? != ["true"] {
                report.find(
                    CHECK,
                    format!(
                        "there is no row of {what} in workspace {}: add one to world.sql",
                        place.workspace
                    ),
                );
            }
        }
    }
    stage.rollback().await
}

/// The rows that make an attack on a table meaningful.
fn wanted(table: &Table) -> Vec<(String, String)> {
    match (&table.workspace, &table.person) {
        (None, None) => vec![("any kind".into(), "true".into())],
        (None, Some(person)) => words::PEOPLE
            .iter()
            .map(|name| ((*name).to_owned(), format!("{person} = {}", words::person_id(name))))
            .collect(),
        (Some(workspace), None) => words::WORKSPACES
            .iter()
            .map(|name| {
                (
                    format!("workspace {name}"),
                    format!("{workspace} = {}", words::workspace_id(name)),
                )
            })
            .collect(),
        (Some(workspace), Some(person)) => Place::ALL
            .iter()
            .filter(|place| table.name != "duet.member" || **place != Place::FORMER)
            .map(|place| {
                let whose = format!("{} in workspace {}", place.person, place.workspace);
                (whose, place.fill(&format!("{workspace} = {{ws}} and {person} = {{me}}")))
            })
            .collect(),
    }
}
