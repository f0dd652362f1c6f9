//! What the database's catalogue contains.

use anyhow::Result;
use sqlx::Row;

use crate::attempt::Stage;

/// Duet's schemas. `public` is one of them: it holds only Duet's functions.
pub const SCHEMAS: &str = "('duet', 'private', 'driver', 'public')";

/// A function.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its arguments: names and types. The last one of a variadic function has the array's type.
    pub arguments: Vec<(String, String)>,
    /// Whether it takes any number of arguments.
    pub variadic: bool,
    /// Whether people may call it.
    pub for_people: bool,
    /// Whether agents may call it.
    pub for_agents: bool,
}

/// The functions of a schema, without trigger functions.
pub async fn functions(stage: &mut Stage, schema: &str) -> Result<Vec<Function>> {
    let rows = stage
        .table(&format!(
            "select p.proname::text, coalesce(p.proargnames[1:p.pronargs], '{{}}')::text[],
                    array(select format_type(t, null) from unnest(p.proargtypes::oid[]) with ordinality u (t, o) order by o)::text[],
                    p.provariadic <> 0, has_function_privilege('authenticated', p.oid, 'execute'),
                    has_function_privilege('duet_agent', p.oid, 'execute')
             from pg_proc p join pg_namespace n on n.oid = p.pronamespace
             where n.nspname = '{schema}' and p.prokind = 'f' and p.prorettype <> 'trigger'::regtype
               and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
             order by 1, 2"
        ))
        .await?;
    rows.iter()
        .map(|row| {
            let names: Vec<String> = row.try_get(1)?;
            let types: Vec<String> = row.try_get(2)?;
            Ok(Function {
                schema: schema.to_owned(),
                name: row.try_get(0)?,
                arguments: names.into_iter().zip(types).collect(),
                variadic: row.try_get(3)?,
                for_people: row.try_get(4)?,
                for_agents: row.try_get(5)?,
            })
        })
        .collect()
}

/// All tables, with their schema.
pub async fn tables(stage: &mut Stage) -> Result<Vec<String>> {
    stage
        .rows(&format!(
            "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where n.nspname in {SCHEMAS} and c.relkind in ('r', 'p', 'f', 'm', 'v') order by 1"
        ))
        .await
}

/// The columns of a table that statements can name.
pub async fn columns(stage: &mut Stage, table: &str) -> Result<Vec<String>> {
    stage
        .rows(&format!(
            "select quote_ident(attname) from pg_attribute
             where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped order by attnum"
        ))
        .await
}
