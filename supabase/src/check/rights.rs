//! The rights of the login, and of everybody else. The catalogue shows all of it to every login.

use sqlx::PgConnection;

use super::{Finding, MIGRATE};
use crate::migrate;

/// The login is `duet_worker`, neither superuser nor exempt from row level security.
pub async fn login(connection: &mut PgConnection) -> Result<Finding, sqlx::Error> {
    const NAME: &str = "login";
    const FIX: &str =
        "Connect as `duet_worker`, which `duet-api migrate` makes; the owner's URL is for `duet-api migrate` alone.";
    let (who, superuser, bypass, makes_roles): (String, bool, bool, bool) = sqlx::query_as(
        "select rolname::text, rolsuper, rolbypassrls, rolcreaterole from pg_catalog.pg_roles where rolname = current_user",
    )
    .persistent(false)
    .fetch_one(connection)
    .await?;
    let power = match (superuser, bypass, makes_roles) {
        (true, _, _) => "is a superuser",
        (_, true, _) => "passes row level security by (BYPASSRLS)",
        (_, _, true) => "may make roles (CREATEROLE)",
        _ if who != "duet_worker" => "is not the server's own login",
        _ => return Ok(Finding::ok(NAME, "duet_worker, without powers of its own")),
    };
    Ok(Finding::problem(NAME, format!("the login `{who}` {power}"), FIX))
}

/// The login may assume `authenticated` and `duet_agent`, and has neither's rights before it does.
pub async fn memberships(connection: &mut PgConnection) -> Result<Finding, sqlx::Error> {
    const NAME: &str = "memberships";
    let rows: Vec<(String, bool, bool, bool)> = sqlx::query_as(
        "select g.rolname::text, bool_or(m.inherit_option), bool_or(m.set_option), bool_or(m.admin_option)
         from pg_catalog.pg_auth_members m
         join pg_catalog.pg_roles g on g.oid = m.roleid join pg_catalog.pg_roles u on u.oid = m.member
         where u.rolname = current_user group by g.rolname order by g.rolname",
    )
    .persistent(false)
    .fetch_all(connection)
    .await?;
    let mut wrong = Vec::new();
    for needed in ["authenticated", "duet_agent"] {
        match rows.iter().find(|(role, ..)| role == needed) {
            None => wrong.push(format!("it is not a member of `{needed}`")),
            Some((_, true, ..)) => wrong.push(format!("it inherits `{needed}`")),
            Some((_, _, false, _)) => wrong.push(format!("it may not become `{needed}`")),
            Some((.., true)) => wrong.push(format!("it may give `{needed}` away")),
            Some(_) => {}
        }
    }
    let strangers = rows
        .iter()
        .filter(|(role, ..)| role != "authenticated" && role != "duet_agent");
    wrong.extend(strangers.map(|(role, ..)| format!("it is a member of `{role}`, which it must not be")));
    if wrong.is_empty() {
        return Ok(Finding::ok(NAME, "authenticated and duet_agent, without inheritance"));
    }
    Ok(Finding::problem(
        NAME,
        wrong.join("; "),
        "As the owner: `grant authenticated, duet_agent to duet_worker with inherit false, set true, admin false`, and revoke other roles.",
    ))
}

/// Nobody may create temporary objects, whose names functions would resolve before all others.
pub async fn temporary(connection: &mut PgConnection) -> Result<Finding, sqlx::Error> {
    const NAME: &str = "temporary";
    let (database, able): (String, Vec<String>) = sqlx::query_as(
        "select current_database()::text, array(
             select r.rolname::text from pg_catalog.pg_roles r
             where r.rolname in ('anon', 'authenticated', 'duet_agent', 'duet_worker')
               and has_database_privilege(r.oid, current_database(), 'temporary') order by 1)",
    )
    .persistent(false)
    .fetch_one(connection)
    .await?;
    if able.is_empty() {
        return Ok(Finding::ok(NAME, "nobody but the owner makes temporary objects"));
    }
    Ok(Finding::problem(
        NAME,
        format!(
            "{} may make temporary objects, whose names come before all others",
            able.join(", ")
        ),
        format!(
            "As the database's owner: `revoke temporary on database \"{database}\" from public`. A restored copy needs it again."
        ),
    ))
}

/// The vector extension is in the schema where the functions expect it.
pub async fn vector(connection: &mut PgConnection) -> Result<Finding, sqlx::Error> {
    const NAME: &str = "pgvector";
    let found: Option<(String, String)> = sqlx::query_as(
        "select e.extversion, n.nspname::text from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace
         where e.extname = 'vector'",
    )
    .persistent(false)
    .fetch_optional(connection)
    .await?;
    Ok(match found {
        Some((version, schema)) if schema == "extensions" => Finding::ok(NAME, format!("version {version}")),
        Some((_, schema)) => Finding::problem(
            NAME,
            format!("it is in schema `{schema}`, where Duet's functions do not look"),
            "As the owner: `alter extension vector set schema extensions`.",
        ),
        None => Finding::problem(
            NAME,
            "the extension `vector` is not there",
            "Install pgvector on the server, then, as the owner: `create extension vector with schema extensions`.",
        ),
    })
}

/// Every table of Duet's schema has row level security.
pub async fn row_security(connection: &mut PgConnection) -> Result<Finding, sqlx::Error> {
    const NAME: &str = "row security";
    let rows: Vec<(String, bool)> = sqlx::query_as(
        "select c.relname::text, c.relrowsecurity from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'duet' and c.relkind in ('r', 'p') order by c.relname",
    )
    .persistent(false)
    .fetch_all(connection)
    .await?;
    let open: Vec<&str> = rows.iter().filter(|(_, on)| !on).map(|(table, _)| table.as_str()).collect();
    Ok(match (rows.len(), open.first()) {
        (0, _) => Finding::problem(NAME, "there is no table of Duet", MIGRATE),
        (count, None) => Finding::ok(NAME, format!("on for all {count} tables")),
        (_, Some(first)) => Finding::problem(
            NAME,
            format!("off for {}: everyone with a grant sees all rows", named("duet", &open)),
            format!("As the owner: `alter table duet.{first} enable row level security`, and the same for the others named."),
        ),
    })
}

/// Anonymous callers have no rights on tables.
pub async fn tables(connection: &mut PgConnection) -> Result<Finding, sqlx::Error> {
    const NAME: &str = "table grants";
    let open: Vec<String> = sqlx::query_scalar(
        "select distinct c.relname::text from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         cross join lateral aclexplode(c.relacl) a left join pg_catalog.pg_roles r on r.oid = a.grantee
         where n.nspname = 'duet' and (a.grantee = 0 or r.rolname in ('anon', 'duet_worker')) order by 1",
    )
    .persistent(false)
    .fetch_all(connection)
    .await?;
    if open.is_empty() {
        return Ok(Finding::ok(NAME, "none for PUBLIC, anon or the server's own login"));
    }
    let tables: Vec<&str> = open.iter().map(String::as_str).collect();
    Ok(Finding::problem(
        NAME,
        format!("PUBLIC, anon or duet_worker has rights on {}", named("duet", &tables)),
        format!(
            "As the owner: `revoke all on {} from public, anon, duet_worker`.",
            tables
                .iter()
                .map(|table| format!("duet.{table}"))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    ))
}

/// Anonymous callers may not call functions of Duet, and all functions exist.
pub async fn functions(connection: &mut PgConnection) -> Result<Finding, sqlx::Error> {
    const NAME: &str = "functions";
    let mut open = Vec::new();
    let mut missing = Vec::new();
    let mut count = 0;
    for schema in ["public", "private", "driver"] {
        // `public` may contain functions of others, whose grants are not Duet's concern.
        let own: Vec<String> = migrate::functions(schema).into_iter().collect();
        let rows: Vec<(String, String, bool)> = sqlx::query_as(
            "select p.proname::text, p.oid::regprocedure::text, exists (
                 select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                 left join pg_catalog.pg_roles r on r.oid = a.grantee
                 where a.privilege_type = 'EXECUTE' and (a.grantee = 0 or r.rolname = 'anon'))
             from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
             where n.nspname = $1 and ($1 <> 'public' or p.proname = any ($2)) order by 2",
        )
        .bind(schema)
        .bind(&own)
        .persistent(false)
        .fetch_all(&mut *connection)
        .await?;
        count += rows.len();
        missing.extend(
            own.iter()
                .filter(|name| !rows.iter().any(|(known, ..)| known == *name))
                .map(|name| format!("{schema}.{name}")),
        );
        open.extend(rows.into_iter().filter(|(.., open)| *open).map(|(_, signature, _)| signature));
    }
    if let Some(first) = open.first() {
        return Ok(Finding::problem(
            NAME,
            format!("people who are not signed in (PUBLIC or anon) may call {}", open.join(", ")),
            format!("As the owner: `revoke execute on function {first} from public, anon`, and the same for the others named."),
        ));
    }
    if !missing.is_empty() {
        return Ok(Finding::problem(NAME, format!("there is no {}", missing.join(", ")), MIGRATE));
    }
    Ok(Finding::ok(NAME, format!("{count}, none open to PUBLIC or anon")))
}

/// Only the server may call the functions of `driver`, and it may call all of them.
pub async fn driver(connection: &mut PgConnection) -> Result<Finding, sqlx::Error> {
    const NAME: &str = "server's own";
    let rows: Vec<(String, bool, bool)> = sqlx::query_as(
        "select p.oid::regprocedure::text, has_function_privilege('duet_worker', p.oid, 'execute'), exists (
             select from aclexplode(p.proacl) a join pg_catalog.pg_roles r on r.oid = a.grantee
             where r.rolname in ('authenticated', 'duet_agent', 'anon', 'service_role'))
         from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace where n.nspname = 'driver' order by 1",
    )
    .persistent(false)
    .fetch_all(connection)
    .await?;
    let names = |wanted: fn(&(String, bool, bool)) -> bool| {
        let names: Vec<&str> = rows
            .iter()
            .filter(|row| wanted(row))
            .map(|(name, ..)| name.as_str())
            .collect();
        names.join(", ")
    };
    let (lacking, open) = (names(|row| !row.1), names(|row| row.2));
    if !open.is_empty() {
        return Ok(Finding::problem(
            NAME,
            format!("others than the server may call {open}"),
            "As the owner: revoke execute on them from authenticated, duet_agent, anon and service_role.",
        ));
    }
    if !lacking.is_empty() {
        return Ok(Finding::problem(
            NAME,
            format!("duet_worker may not call {lacking}"),
            "As the owner: grant execute on them to duet_worker.",
        ));
    }
    Ok(Finding::ok(NAME, format!("{} functions, for duet_worker alone", rows.len())))
}

fn named(schema: &str, names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("{schema}.{name}"))
        .collect::<Vec<_>>()
        .join(", ")
}
