//! What has to hold for a database before Duet serves from it. Everything is checked with the server's own powerless login.

/// Runs a query in its own transaction. Without one, a transaction pooler may prepare a statement in one session and execute it in
/// another, which then executes somebody else's statement.
macro_rules! alone {
    ($connection:expr, $inside:ident => $look:expr) => {
        async {
            let mut transaction = $connection.begin().await?;
            let $inside = &mut *transaction;
            let found = $look.await;
            // Rolls back after a failure.
            transaction.commit().await?;
            found
        }
        .await
    };
}

mod link;
pub mod project;
mod realtime;
mod rights;

use serde::Serialize;
use sqlx::{Connection, PgConnection, types::Json};

pub use self::link::{Pooling, pooling};
use crate::{
    auth::AuthSettings,
    connect::{ConnectError, Database},
    migrate::{Applied, SchemaVersion},
};

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Duet works, but not as well as it could.
    Warning,
    /// It has to be fixed.
    Problem,
}

/// One check with its result.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was checked.
    pub name: &'static str,
    /// The outcome.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            verdict: Verdict::Ok,
            found: found.into(),
            fix: None,
        }
    }
    /// Not as well as it could be.
    pub fn warning(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            name,
            verdict: Verdict::Warning,
            found: found.into(),
            fix: Some(fix.into()),
        }
    }
    /// To be fixed.
    pub fn problem(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Problem,
            ..Self::warning(name, found, fix)
        }
    }
}

/// What to run after most problems.
const MIGRATE: &str = "Run `duet-api migrate` of this version with the owner's URL.";

/// Runs all checks of the database. Fails without a connection.
pub async fn inspect(database: &Database, direct: &Database) -> Result<Vec<Finding>, ConnectError> {
    let mut connection = database.connect().await?;
    let mut findings = vec![alone!(connection, inside => reached(database, inside)).map_err(|error| database.explain(&error))?];
    findings.push(looked(database, "login", alone!(connection, inside => rights::login(inside))));
    findings.push(looked(
        database,
        "memberships",
        alone!(connection, inside => rights::memberships(inside)),
    ));
    findings.push(looked(database, "schema", alone!(connection, inside => schema(inside))));
    findings.push(looked(
        database,
        "pgvector",
        alone!(connection, inside => rights::vector(inside)),
    ));
    findings.push(looked(
        database,
        "row security",
        alone!(connection, inside => rights::row_security(inside)),
    ));
    findings.push(looked(
        database,
        "table grants",
        alone!(connection, inside => rights::tables(inside)),
    ));
    findings.push(looked(
        database,
        "temporary",
        alone!(connection, inside => rights::temporary(inside)),
    ));
    findings.push(looked(
        database,
        "functions",
        alone!(connection, inside => rights::functions(inside)),
    ));
    findings.push(looked(
        database,
        "server's own",
        alone!(connection, inside => rights::driver(inside)),
    ));
    findings.push(looked(
        database,
        "realtime",
        alone!(connection, inside => realtime::state(inside)),
    ));
    findings.push(link::describe(database).await);
    findings.extend(link::direct(database, direct).await);
    Ok(findings)
}

/// Also checks a Supabase project: its Auth, its Data API, and what the database needs for them.
pub async fn inspect_project(project: &AuthSettings, database: &Database) -> Result<Vec<Finding>, ConnectError> {
    let mut findings = project::inspect(project, database).await;
    findings.extend(project::of_database(database, &mut database.connect().await?).await);
    Ok(findings)
}

/// Checks what must hold before a process serves; the sentence says what does not.
pub async fn before_serving(database: &Database) -> Result<(), Refusal> {
    let mut connection = database.connect().await?;
    let failed = |error: sqlx::Error| Refusal::Connect(database.explain(&error));
    for finding in [
        alone!(connection, inside => rights::login(inside)).map_err(failed)?,
        alone!(connection, inside => schema(inside)).map_err(failed)?,
    ] {
        if finding.verdict == Verdict::Problem {
            return Err(Refusal::Unfit(format!(
                "The database at {} will not do: {}. {}",
                database.name(),
                finding.found,
                finding.fix.unwrap_or_default()
            )));
        }
    }
    Ok(())
}

/// Why a process does not serve.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The database or the project is not set up as required.
    #[error("{0}")]
    Unfit(String),
    /// The project does not answer at the moment.
    #[error("{0}")]
    Unavailable(String),
}

/// A failed query is a problem of its check.
fn looked(database: &Database, name: &'static str, result: Result<Finding, sqlx::Error>) -> Finding {
    result.unwrap_or_else(|error| Finding::problem(name, database.explain(&error).to_string(), MIGRATE))
}

async fn reached(database: &Database, connection: &mut PgConnection) -> Result<Finding, sqlx::Error> {
    let number: i32 = sqlx::query_scalar("select current_setting('server_version_num')::int")
        .persistent(false)
        .fetch_one(connection)
        .await?;
    let version = format!("{}, PostgreSQL {}.{}", database.name(), number / 10_000, number % 10_000);
    Ok(match number {
        160_000.. => Finding::ok("connection", version),
        _ => Finding::problem(
            "connection",
            version,
            "Move the database to PostgreSQL 16 or newer: roles without inheritance need it.",
        ),
    })
}

async fn schema(connection: &mut PgConnection) -> Result<Finding, sqlx::Error> {
    const NAME: &str = "schema";
    let answer: Result<Json<serde_json::Value>, sqlx::Error> = sqlx::query_scalar("select driver.schema_version()")
        .persistent(false)
        .fetch_one(connection)
        .await;
    let Json(answer) = match answer {
        Ok(answer) => answer,
        Err(error) if matches!(code(&error).as_deref(), Some("3F000" | "42883")) => {
            return Ok(Finding::problem(
                NAME,
                "the database has no schema of Duet, or one from long ago",
                MIGRATE,
            ));
        }
        Err(error) if code(&error).as_deref() == Some("42501") => {
            return Ok(Finding::problem(
                NAME,
                "this login may not ask for the schema's version",
                "Connect as `duet_worker`, and run `duet-api migrate` of this version.",
            ));
        }
        Err(error) => return Err(error),
    };
    let applied: Applied = serde_json::from_value(answer["ok"].clone()).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(match applied.compare() {
        SchemaVersion::Equal(version) => Finding::ok(NAME, format!("version {version}, as this program")),
        SchemaVersion::Older(missing) => Finding::problem(
            NAME,
            format!(
                "its schema is older than this program: migration {} is missing",
                missing.join(", ")
            ),
            MIGRATE,
        ),
        SchemaVersion::Newer(more) => Finding::problem(
            NAME,
            format!(
                "its schema is newer than this program, which does not know migration {}",
                more.join(", ")
            ),
            "Run the version of `duet-api` that the database was migrated with.",
        ),
    })
}

fn code(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    Some(code.into_owned())
}
