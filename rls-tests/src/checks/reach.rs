//! Who may execute what: `driver` is the server's alone, `private` is open to people and agents only where their functions depend on
//! it, and a role that lacks a privilege is refused when it tries.

use anyhow::Result;
use sqlx::Row;

use crate::{
    Actor,
    attempt::{Effects, Stage},
    calls,
    catalogue::{self, Function},
    suite::Report,
};

/// Finds functions that the wrong role may execute.
pub async fn reach(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let check = "reach";
    let mut all = Vec::new();
    for schema in ["public", "private", "driver"] {
        all.extend(catalogue::functions(stage, schema).await?);
    }
    for actor in Actor::COLUMNS {
        stage.begin_as(actor).await?;
        for function in all.iter().filter(|function| !meant_for(function, actor)) {
            report.tried += 1;
            let mut nulls: Vec<String> = function.arguments.iter().map(|(_, kind)| format!("null::{kind}")).collect();
            if function.variadic
                && let Some(last) = nulls.last_mut()
            {
                last.insert_str(0, "variadic ");
            }
            let call = format!("select {}.{}({})::text", function.schema, function.name, nulls.join(", "));
            if !stage.attempt(&call, Effects::TakenBack).await?.denied() {
                let who = actor.name();
                report.find(
                    check,
                    format!("{}.{} may be executed by {who}", function.schema, function.name),
                );
            }
        }
        stage.rollback().await?;
    }
    inner(stage, report).await?;
    let declared = calls::declared()?;
    for function in all.iter().filter(|function| function.schema == "public") {
        let arguments: Vec<&str> = function.arguments.iter().map(|(name, _)| name.as_str()).collect();
        let Some(call) = declared.iter().find(|call| {
            call.name == function.name
                && call
                    .arguments
                    .iter()
                    .map(|(name, _)| name.as_str())
                    .eq(arguments.iter().copied())
        }) else {
            report.find(
                check,
                format!(
                    "public.{}({}) has no sensible call in calls.txt",
                    function.name,
                    arguments.join(", ")
                ),
            );
            continue;
        };
        if call.for_people != function.for_people || call.for_agents != function.for_agents {
            let who = format!("people {}, agents {}", function.for_people, function.for_agents);
            report.find(
                check,
                format!("public.{} may be called otherwise than calls.txt says: {who}", function.name),
            );
        }
    }
    for call in declared.iter().filter(|call| {
        !all.iter()
            .any(|function| function.schema == "public" && function.name == call.name)
    }) {
        report.find(check, format!("calls.txt calls public.{}, which is not there", call.name));
    }
    Ok(())
}

/// Compares every function of `private` and `driver` and every existing role with `functions.txt`, including inherited grants.
async fn inner(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let check = "reach";
    let mut declared = calls::inner()?;
    let rows = stage
        .table(
            "select format('%s.%s', n.nspname, p.proname), p.prosecdef, array(
                 select r.rolname::text from pg_roles r
                 where not r.rolsuper and r.oid <> p.proowner and has_function_privilege(r.oid, p.oid, 'execute')
                   and r.rolname not like 'pg\\_%' and not pg_has_role(r.oid, p.proowner, 'member') order by 1)
             from pg_proc p join pg_namespace n on n.oid = p.pronamespace
             where n.nspname in ('private', 'driver', 'duet') and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
             order by 1",
        )
        .await?;
    for row in rows {
        report.tried += 1;
        let (name, definer, callers): (String, bool, Vec<String>) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let Some(at) = declared.iter().position(|function| function.name == name) else {
            report.find(check, format!("{name} is not in functions.txt, or is there more often"));
            continue;
        };
        let function = declared.swap_remove(at);
        if (function.definer, &function.callers) != (definer, &callers) {
            let rights = if definer { "its owner" } else { "its caller" };
            report.find(
                check,
                format!("{name} runs with the rights of {rights}, called by {callers:?}: functions.txt says {function:?}"),
            );
        }
    }
    for function in declared {
        report.find(
            check,
            format!("{} is in functions.txt and not in the database", function.name),
        );
    }
    Ok(())
}

/// Whether a function's grants let an actor's role execute it, within the schemas the actor may use at all.
fn meant_for(function: &Function, actor: Actor) -> bool {
    match actor.column() {
        Actor::Anon => false,
        Actor::Worker => function.schema == "driver",
        Actor::Agent => function.schema != "driver" && function.for_agents,
        _ => function.schema != "driver" && function.for_people,
    }
}
