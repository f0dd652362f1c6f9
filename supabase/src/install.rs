//! What the operator does over the owner's connection: the schema, the server's password, the setup token.

use sqlx::{AssertSqlSafe, PgConnection, migrate::MigrateError, types::Json};

use crate::{
    check,
    connect::{ConnectError, Database},
    migrate::{self, Applied, SchemaVersion},
};

/// Why the owner's work failed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection goes through a transaction pooler.
    #[error(
        "The owner's URL leads through a transaction pooler, which cannot apply migrations: take the direct URL (on Supabase: port 5432)."
    )]
    Pooled,
    /// The database's migrations are unknown to this program, or differ from its own.
    #[error(
        "The database has migration {0}, which this `duet-api` does not know or knows otherwise: run the version that the database was migrated with, or a newer one."
    )]
    Foreign(i64),
    /// Another runner applies this database's migrations, and has not applied all of them.
    #[error(
        "The migrations of this database are applied by another command (`supabase db push`, sqlx-cli), and {0} is missing: apply it by that command."
    )]
    Elsewhere(String),
    /// A migration failed.
    #[error(
        "The migrations cannot be applied (error {0}): run them as the database's owner; on a plain Postgres apply `deploy/postgres/shim.sql` as a superuser first."
    )]
    Failed(String),
}

/// The owner's connection.
pub struct Owner {
    database: Database,
    connection: PgConnection,
}

/// Whether the installation has an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It has an owner.
    Owned,
    /// It has no owner and no setup token.
    Open,
    /// It has no owner, but a setup token.
    TokenMade,
}

impl Owner {
    /// Connects, directly.
    pub async fn connect(database: Database) -> Result<Self, InstallError> {
        let connection = database.connect().await?;
        if check::pooling(&database).await? == check::Pooling::Transaction {
            return Err(InstallError::Pooled);
        }
        Ok(Self { database, connection })
    }

    /// Applies the missing migrations and returns their number.
    pub async fn migrate(&mut self) -> Result<usize, InstallError> {
        if let Some(told) = self.told().await?
            && told.elsewhere()
        {
            return match told.compare() {
                SchemaVersion::Equal(_) => Ok(0),
                SchemaVersion::Older(missing) => Err(InstallError::Elsewhere(missing.join(", "))),
                SchemaVersion::Newer(_) => Ok(0),
            };
        }
        let before = self.applied().await?;
        migrate::apply(&mut self.connection).await.map_err(|error| match error {
            MigrateError::VersionMissing(version) | MigrateError::VersionMismatch(version) | MigrateError::Dirty(version) => {
                InstallError::Foreign(version)
            }
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => self.failed(error),
            other => InstallError::Failed(other.to_string()),
        })?;
        // A project may have got Realtime after Duet.
        sqlx::query("select private.attach_realtime()")
            .execute(&mut self.connection)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(self.applied().await? - before)
    }

    /// The contents of the ledgers, if the schema exists.
    async fn told(&mut self) -> Result<Option<Applied>, InstallError> {
        let there: bool = sqlx::query_scalar("select to_regprocedure('driver.schema_version()') is not null")
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| self.failed(error))?;
        if !there {
            return Ok(None);
        }
        let Json(answer): Json<serde_json::Value> = sqlx::query_scalar("select driver.schema_version()")
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(serde_json::from_value(answer["ok"].clone()).ok())
    }

    async fn applied(&mut self) -> Result<usize, InstallError> {
        let ledger: bool = sqlx::query_scalar("select to_regclass('duet_migrations.applied') is not null")
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| self.failed(error))?;
        if !ledger {
            return Ok(0);
        }
        let count: i64 = sqlx::query_scalar("select count(*) from duet_migrations.applied")
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Sets the password of `duet_worker`. `verifier` is SCRAM's (`SCRAM-SHA-256$…`), so that no statement contains the password
    /// itself.
    pub async fn set_worker_password(&mut self, verifier: &str) -> Result<(), InstallError> {
        let statement: String = sqlx::query_scalar("select format('alter role duet_worker password %L', $1::text)")
            .bind(verifier)
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| self.failed(error))?;
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut self.connection)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(())
    }

    /// Whether the installation has an owner.
    pub async fn ownership(&mut self) -> Result<Ownership, InstallError> {
        let (owned, token): (bool, bool) =
            sqlx::query_as("select owner_since is not null, setup_token_hash is not null from duet.installation")
                .fetch_one(&mut self.connection)
                .await
                .map_err(|error| self.failed(error))?;
        Ok(match (owned, token) {
            (true, _) => Ownership::Owned,
            (false, true) => Ownership::TokenMade,
            (false, false) => Ownership::Open,
        })
    }

    /// Stores the hash of a setup token, replacing the previous one.
    pub async fn put_setup_token(&mut self, hash: [u8; 32]) -> Result<(), InstallError> {
        sqlx::query("update duet.installation set setup_token_hash = $1 where owner_since is null")
            .bind(&hash[..])
            .execute(&mut self.connection)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(())
    }

    fn failed(&self, error: sqlx::Error) -> InstallError {
        match error.as_database_error() {
            // Migrations contain nobody's text, so the database's message may be shown.
            Some(said) => InstallError::Failed(format!("{}: {}", said.code().unwrap_or_default(), said.message())),
            None => InstallError::Connect(self.database.explain(&error)),
        }
    }
}
