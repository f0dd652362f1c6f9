//! Whether the files of this suite are complete: a call with every argument and every field, and a statement for each column that may
//! hold a secret.

use anyhow::Result;
use sqlx::Row;

use crate::{
    attempt::Stage,
    calls::{self, Call},
    matrix::Table,
    suite::Report,
};

const CHECK: &str = "whole";

/// The fields that functions of `public` read from their arguments.
const FIELDS: &str = r"
    select p.proname::text, m[1], m[2]
    from pg_proc p, regexp_matches(pg_get_functiondef(p.oid), '(p_\w+) ->>? ''(\w+)''', 'g') m
    where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'
      and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
    union
    select p.proname::text, m[1], field
    from pg_proc p, regexp_matches(pg_get_functiondef(p.oid), '(p_\w+) #>>? ''\{([\w,]+)\}''', 'g') m, unnest(string_to_array(m[2], ',')) field
    where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'
      and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
    order by 1, 2, 3";

/// Columns that may hold secrets.
const SECRETS: &str = r"
    select c.oid::regclass::text, a.attname::text
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relnamespace = 'duet'::regnamespace and c.relkind in ('r', 'p')
      and (a.atttypid = 'bytea'::regtype or a.attname ~ '(secret|token|password|hash|salt|signing)')
    order by 1, 2";

/// Finds what the files omit.
pub async fn whole(stage: &mut Stage, tables: &[Table], report: &mut Report) -> Result<()> {
    let calls = calls::declared()?;
    for call in &calls {
        for (argument, value) in call.arguments.iter().filter(|(_, value)| value == "null") {
            report.tried += 1;
            if call.instead.iter().all(|(name, _)| name != argument) {
                report.find(
                    CHECK,
                    format!(
                        "no call of public.{} has its {argument}, which is {value} in the sensible one",
                        call.name
                    ),
                );
            }
        }
        for (argument, _) in &call.instead {
            if call.arguments.iter().all(|(name, _)| name != argument) {
                report.find(CHECK, format!("public.{} has no argument {argument}", call.name));
            }
        }
    }
    for row in stage.table(FIELDS).await? {
        let (function, argument, field): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        report.tried += 1;
        let Some(call) = calls.iter().find(|call| call.name == function) else {
            continue;
        };
        if !given(call, &argument, &field) {
            report.find(
                CHECK,
                format!("no call of public.{function} gives {argument} its field `{field}`"),
            );
        }
    }
    for row in stage.table(SECRETS).await? {
        let (name, column): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        report.tried += 1;
        if let Some(table) = tables.iter().find(|table| table.name == name)
            && !table.secret.contains(&column)
            && !table.open.contains(&column)
        {
            report.find(CHECK, format!("matrix.txt does not say whether {name}.{column} is a secret"));
        }
    }
    Ok(())
}

/// Whether some call sets a field of an argument.
fn given(call: &Call, argument: &str, field: &str) -> bool {
    let names = [format!("\"{field}\":"), format!("'{field}',")];
    call.arguments.iter().chain(&call.instead).any(|(name, value)| {
        name == argument
            && names.iter().any(|quoted| {
                value
                    .split(quoted.as_str())
                    .skip(1)
                    .any(|rest| !rest.trim_start().starts_with("null"))
            })
    })
}
