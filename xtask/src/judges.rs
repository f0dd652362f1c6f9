//! Independent checkers of row level security: `pgrls` reads the catalogue, `rls-policy-tester` acts as persons in the world of the
//! security suite. Their findings fail the stage; each also has to find a planted hole.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{binary, command, fetch, place, postgres::Database};

/// What a bare server lacks of Supabase; applied before the migrations.
const SHIM: &str = "deploy/postgres/shim.sql";
/// The checks that `pgrls` skips, with reasons.
const CONFIGURATION: &str = "rls-tests/judges/pgrls.toml";
/// Who may read what, in the format of `rls-policy-tester`.
const DEFINITION: &str = "rls-tests/judges/isolation.json";
/// The owner of the schema.
const OWNER: &str = "postgres";
/// A hole for each judge.
const LINTED_HOLE: &str = "alter table duet.message disable row level security";
const TRIED_HOLE: &str = "create policy hole on duet.conversation for select to authenticated using (true)";

/// Runs both.
pub fn ask(server: &str) -> Result<()> {
    let packages = fetch::rls_judges()?;
    let database = Database::create(server, "judges")?;
    database.file(SHIM)?;
    let mut migrations: Vec<PathBuf> = fs::read_dir(place::root().join("migrations"))
        .context("Cannot read migrations/.")?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    migrations.sort();
    for migration in migrations {
        let text = fs::read_to_string(&migration).with_context(|| format!("Cannot read {}.", migration.display()))?;
        database.script(&format!("begin; set local role {OWNER};\n{text};\ncommit;"))?;
    }
    database.script(&world()?)?;

    let lint = || pgrls(&packages, &database);
    command::watch(&mut lint()?)?;
    println!("ok     pgrls finds nothing at warning level");
    let tester = || rls_policy_tester(&packages, &database);
    command::watch(&mut tester()?)?;
    println!("ok     rls-policy-tester finds everybody where they belong");

    database.sql(TRIED_HOLE)?;
    refuses(tester()?, "rls-policy-tester", TRIED_HOLE)?;
    database.sql(LINTED_HOLE)?;
    refuses(lint()?, "pgrls", LINTED_HOLE)?;
    println!("ok     both see a planted hole");
    Ok(())
}

/// The statements that create the world of the security suite.
fn world() -> Result<String> {
    let program = binary::test_build()?.example("rls_world")?;
    let output = Command::new(&program).output().context("Cannot start rls_world.")?;
    if !output.status.success() {
        bail!("rls_world failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).context("The world is text.")
}

fn pgrls(packages: &Path, database: &Database) -> Result<Command> {
    let mut judge = python(packages, "pgrls");
    judge
        .args(["lint", "--min-severity", "warning", "--config"])
        .arg(place::root().join(CONFIGURATION))
        .args(["--database-url", &database.url()?]);
    Ok(judge)
}

fn rls_policy_tester(packages: &Path, database: &Database) -> Result<Command> {
    let mut judge = python(packages, "rls_kit.cli");
    judge
        .args(["--quiet", "--no-setup", "--dsn", &database.url()?, "--file"])
        .arg(place::root().join(DEFINITION));
    Ok(judge)
}

/// A module of the checkers' packages as a program.
fn python(packages: &Path, module: &str) -> Command {
    let mut python = command::command("python3");
    python
        .args(["-m", module])
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

/// A checker that accepts a hole proves nothing when it accepts the rest.
fn refuses(mut judge: Command, name: &str, hole: &str) -> Result<()> {
    let status = judge
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("Cannot start {name}."))?;
    if status.code() != Some(1) {
        bail!("{name} does not see a planted hole ({hole}; it ended with {status}): its silence proves nothing.");
    }
    Ok(())
}
