//! Checks the product with Supabase's own tools: the CLI applies the migrations and runs the official lints, and the implementation
//! of Auth and the Data API serves a database to the tests.

mod cli;
mod served;

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result, bail};

use crate::{
    command::{self, Output},
    npm, place,
    postgres::{self, Database, Tested},
};
use cli::{Advice, Cli, Migration};
pub use served::{SERVED, Served};

/// What a bare server lacks of Supabase; applied before the migrations.
const SHIM: &str = "deploy/postgres/shim.sql";

/// What `supabase start` runs after the migrations.
const SEED: &str = "supabase/seed.sql";

/// The owner of the schema on Supabase: no superuser.
const OWNER: &str = "postgres";

/// What a project's Realtime creates in the database.
const REALTIME: &str = "supabase/testbed/realtime.sql";

/// The columns of Auth's tables that Duet's functions use.
const AUTH_TABLES: &str = "
    create table auth.users (id uuid, email text, email_confirmed_at timestamptz, deleted_at timestamptz, is_anonymous boolean,
                             banned_until timestamptz);
    create table auth.sessions (id uuid, user_id uuid, created_at timestamptz, not_after timestamptz);";

/// Holes that the advisors must find, each with the name of its lint: otherwise a clean result means nothing.
const HOLES: [(&str, &str); 2] = [
    (
        "rls_disabled_in_public",
        "create table public.open (id int primary key); grant select on public.open to anon",
    ),
    (
        "function_search_path_mutable",
        "create function public.loose() returns int language sql as 'select 1'",
    ),
];

/// The folder with Supabase's packages and the server that uses them.
pub fn folder() -> PathBuf {
    place::root().join("supabase/testbed")
}

/// Installs Supabase's packages, unless already done.
pub fn install() -> Result<()> {
    npm::install(&folder())
}

/// The stage `supabase`.
pub fn check() -> Result<Output> {
    install()?;
    let server = Tested::new()?;
    let mut test = npm::npm(&folder(), &["run", "--silent", "test"]);
    let output = command::watch(test.env(postgres::URL, server.url()))?;
    migrations(server.url())?;
    Ok(output)
}

/// Applies the migrations to an empty database with `supabase db push`, as people do, and checks the result.
fn migrations(server: &str) -> Result<()> {
    let files = migration_files()?;
    let database = Database::create(server, "migrations")?;
    database.file(SHIM)?;
    let owner = Cli::new(database.url_as(OWNER)?)?;

    let applied = owner.push()?;
    if applied != files {
        bail!("`supabase db push` applied {applied:?}; migrations/ has {files:?}.");
    }
    println!("ok     {} migrations on an empty database", files.len());

    let again = owner.push()?;
    if !again.is_empty() {
        bail!("A second `supabase db push` applied {again:?} again.");
    }
    println!("ok     nothing the second time");

    let versions = files.iter().filter_map(|file| Some(file.split_once('_')?.0.to_owned()));
    let versions: Vec<Migration> = versions.map(Migration::applied).collect();
    let history = owner.migrations()?;
    if history != versions {
        bail!("`supabase migration list` tells {history:?}; migrations/ has {versions:?}.");
    }
    println!("ok     the history is that of the folder");

    let seed = fs::read_to_string(place::root().join(SEED)).with_context(|| format!("Cannot read {SEED}."))?;
    // Rolled back: a role's password belongs to the whole server.
    database.script(&format!("begin; {seed} rollback;"))?;
    println!("ok     {SEED} runs");

    // The advisors run as the superuser, as in the dashboard.
    let above = Cli::new(database.url()?)?;
    let advice = above.advisors()?;
    tell(&advice);
    let count = advice.iter().filter(|advice| advice.matters()).count();
    if count > 0 {
        bail!("`supabase db advisors` warns of {count} places.");
    }
    println!("ok     the advisors warn of nothing");
    lint(&database, &above)?;

    for (name, hole) in HOLES {
        database.sql(hole)?;
        if !above.advisors()?.iter().any(|advice| advice.name == name && advice.matters()) {
            bail!("The advisors do not see a planted hole ({name}): their silence proves nothing.");
        }
    }
    println!("ok     the advisors see {} planted holes", HOLES.len());
    Ok(())
}

/// Prints the important findings one by one and counts the remarks: a new database has as many unused indexes as indexes.
fn tell(advice: &[Advice]) {
    let mut remarks = BTreeMap::new();
    for Advice { level, name, detail } in advice.iter().filter(|advice| advice.matters()) {
        println!("       {level} {name}: {detail}");
    }
    for advice in advice.iter().filter(|advice| !advice.matters()) {
        *remarks.entry(&advice.name).or_insert(0) += 1;
    }
    for (name, count) in remarks {
        println!("       remark: {name}, {count} times");
    }
}

/// The checks of function bodies need an extension that not every server has; hosted Supabase has it.
fn lint(database: &Database, cli: &Cli) -> Result<()> {
    let available = database.sql("select count(*) from pg_available_extensions where name = 'plpgsql_check'")?;
    if available == "0" {
        println!("       `supabase db lint` was left out: this server has no plpgsql_check");
        return Ok(());
    }
    // Objects that functions refer to and every project has.
    database.script(AUTH_TABLES)?;
    database.file(REALTIME)?;
    // The tool creates it as `postgres`, who may do that only on hosted Supabase.
    database.sql("create extension if not exists plpgsql_check")?;
    cli.lint()?;
    println!("ok     `supabase db lint` finds no error");
    Ok(())
}

/// The names of the migrations, in order.
fn migration_files() -> Result<Vec<String>> {
    let folder = place::root().join("supabase/migrations");
    let entries = fs::read_dir(&folder).with_context(|| format!("Cannot read {}.", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let name = entry
            .with_context(|| format!("Cannot read {}.", folder.display()))?
            .file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".sql") {
            files.push(name.into_owned());
        }
    }
    files.sort();
    Ok(files)
}
