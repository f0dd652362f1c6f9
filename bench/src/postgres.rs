//! A Postgres server to measure on: databases are created as an operator creates them, and reached as `duet-api` reaches them.
//!
//! The server has to let its superuser, `postgres` and `duet_worker` in without a password, like one of `cargo xtask postgres
//! --durable`.

use std::{collections::BTreeMap, str::FromStr, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow};
use duet_api::config::DatabaseConfig;
use duet_core::{
    Env,
    ids::{Id, WorkspaceId},
    ports::Stores,
};
use duet_supabase::{
    connect,
    install::Owner,
    rpc::{WireRpc, WireSettings},
    store::PostgresStore,
};
use secrecy::SecretString;
use serde::Serialize;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};

/// What a plain Postgres needs before the migrations.
const SHIM: &str = include_str!("../../deploy/postgres/shim.sql");

/// Roles belong to the server, not the database: everything that creates a database holds this lock, including the tests of other
/// packages.
const MAKING: i64 = 7_262_847;

/// Longest wait for a free connection, as in `duet-api serve`.
const ACQUIRE: Duration = Duration::from_secs(10);

/// Settings of the server that decide the figures.
const SETTINGS: [&str; 9] = [
    "shared_buffers",
    "effective_cache_size",
    "work_mem",
    "max_wal_size",
    "max_connections",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_level",
];

/// Options of every measurement that can also run on Postgres.
#[derive(Clone, Debug, Default, clap::Args)]
// The measurement's own options have the same group name.
#[group(skip)]
pub struct Options {
    /// Measure on this Postgres as well, after the encrypted file: a superuser's URL of a server that lets `postgres` and `duet_worker`
    /// in without a password, as one of `cargo xtask postgres --durable` does
    #[arg(long = "postgres", value_name = "URL")]
    pub url: Option<String>,
    /// Connections of one process to Postgres; without it the default of `duet-api`
    #[arg(long, value_name = "COUNT")]
    connections: Option<u32>,
    /// Leave the encrypted file out
    #[arg(long, requires = "url")]
    pub without_file: bool,
}

impl Options {
    /// The server, if one is named.
    pub fn server(&self) -> Result<Option<Server>> {
        self.url.as_deref().map(Server::at).transpose()
    }

    /// Connections per process.
    pub fn connections(&self) -> u32 {
        self.connections.unwrap_or(DatabaseConfig::default().connections)
    }
}

/// Where something was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// The encrypted file of `duet`.
    File,
    /// The database of `duet-api`.
    Postgres,
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::File => "file",
            Self::Postgres => "postgres",
        })
    }
}

/// A server, given by its superuser's URL.
#[derive(Clone)]
pub struct Server(Arc<PgConnectOptions>);

/// Facts about a server.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// Postgres' version.
    pub version: String,
    /// The version of pgvector.
    pub pgvector: String,
    /// The settings that affect the figures.
    pub settings: BTreeMap<&'static str, String>,
}

impl std::fmt::Display for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostgreSQL {}, pgvector {}", self.version, self.pgvector)?;
        self.settings
            .iter()
            .try_for_each(|(name, value)| write!(f, ", {name} {value}"))
    }
}

impl Server {
    /// By its URL; does not connect yet.
    pub fn at(url: &str) -> Result<Self> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| anyhow!("That is no URL of a Postgres: write `postgres://SUPERUSER@HOST:PORT/postgres`."))?;
        Ok(Self(Arc::new(options.disable_statement_logging())))
    }

    async fn connect(&self) -> Result<PgConnection> {
        let options = &self.0;
        options.connect().await.with_context(|| {
            format!(
                "Cannot connect to {}:{} as its superuser.",
                options.get_host(),
                options.get_port()
            )
        })
    }

    /// Queries the facts.
    pub async fn facts(&self) -> Result<Facts> {
        let mut admin = self.connect().await?;
        let mut settings = BTreeMap::new();
        for name in SETTINGS {
            let value: String = sqlx::query_scalar("select current_setting($1)")
                .bind(name)
                .fetch_one(&mut admin)
                .await?;
            settings.insert(name, value);
        }
        let (version, pgvector) = sqlx::query_as(
            "select current_setting('server_version'),
                    (select default_version from pg_available_extensions where name = 'vector')",
        )
        .fetch_one(&mut admin)
        .await
        .context("The server does not tell its version, or it has no pgvector.")?;
        Ok(Facts {
            version,
            pgvector,
            settings,
        })
    }

    /// Does work that must not run twice at once on this server.
    pub async fn alone<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut admin = self.connect().await?;
        sqlx::query("select pg_advisory_lock($1)")
            .bind(MAKING)
            .execute(&mut admin)
            .await?;
        let done = work.await;
        // Closing the connection releases the lock.
        admin.close().await?;
        done
    }

    /// Creates an empty database with what the migrations need; replaces one of the same name.
    pub async fn create(&self, name: &str) -> Result<Database> {
        let database = self.database(name);
        let making = async {
            let mut admin = self.connect().await?;
            run(&mut admin, &format!("drop database if exists {name} with (force)")).await?;
            run(&mut admin, &format!("create database {name}")).await?;
            run(&mut database.superuser().await?, SHIM).await
        };
        self.alone(making).await.context("Cannot make a database.")?;
        Ok(database)
    }

    /// A database with a unique name, for `duet-api migrate`.
    pub async fn fresh_unmigrated(&self, purpose: &str) -> Result<Database> {
        let number: String = sqlx::query_scalar("select replace(gen_random_uuid()::text, '-', '')")
            .fetch_one(&mut self.connect().await?)
            .await?;
        self.create(&format!("duet_bench_{purpose}_{number}")).await
    }

    /// A migrated database with a unique name.
    pub async fn fresh(&self, purpose: &str) -> Result<Database> {
        let database = self.fresh_unmigrated(purpose).await?;
        database.migrate().await?;
        Ok(database)
    }

    /// The database with that name; not looked up yet.
    pub fn database(&self, name: &str) -> Database {
        Database {
            server: self.clone(),
            name: name.to_owned(),
        }
    }
}

/// A database of a server.
#[derive(Clone)]
pub struct Database {
    server: Server,
    name: String,
}

impl Database {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    fn options(&self) -> PgConnectOptions {
        PgConnectOptions::clone(&self.server.0).database(&self.name)
    }

    async fn superuser(&self) -> Result<PgConnection> {
        let connected = self.options().connect().await;
        connected.with_context(|| format!("Cannot connect to the database {}.", self.name))
    }

    /// Its URL for this login.
    pub fn url_as(&self, login: &str) -> String {
        self.options().username(login).to_url_lossy().into()
    }

    /// Applies the missing migrations, as `duet-api migrate` does.
    pub async fn migrate(&self) -> Result<()> {
        let owner = connect::Database::from_url("the owner's URL", &SecretString::from(self.url_as("postgres")))?;
        let migrating = async { Ok(Owner::connect(owner).await?.migrate().await?) };
        self.server.alone(migrating).await?;
        Ok(())
    }

    /// Vacuums and analyses everything, which autovacuum would do over time, and writes dirty pages, so that they are not written
    /// during a measurement.
    pub async fn settle(&self) -> Result<()> {
        let mut superuser = self.superuser().await?;
        run(&mut superuser, "vacuum (analyze)").await?;
        run(&mut superuser, "checkpoint").await
    }

    /// Copies all memories of a workspace, with their indexes, into one that has none. Keys that are unique within the database are
    /// shifted by `number`.
    pub async fn copy_memories(&self, from: WorkspaceId, to: WorkspaceId, number: usize) -> Result<()> {
        let mut superuser = self.superuser().await?;
        // Counters and referenced rows are copied as well, so triggers and foreign keys are off.
        run(&mut superuser, "set session_replication_role = replica").await?;
        let tables: Vec<(String, Vec<String>)> = sqlx::query_as(
            "select c.relname::text, array_agg(a.attname::text order by a.attnum)
             from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
             where c.relnamespace = 'duet'::regnamespace and c.relkind = 'r' and c.relname like 'memory%' and a.attgenerated = ''
             group by c.relname",
        )
        .fetch_all(&mut superuser)
        .await?;
        for (table, columns) in tables {
            let values: Vec<String> = columns
                .iter()
                .map(|column| match column.as_str() {
                    "workspace_id" => "$2".to_owned(),
                    "key" | "class" | "memory" => format!("{column} + $3"),
                    _ => column.clone(),
                })
                .collect();
            let copy = format!(
                "insert into duet.{table} ({}) overriding system value select {} from duet.{table} where workspace_id = $1",
                columns.join(", "),
                values.join(", "),
            );
            sqlx::query(AssertSqlSafe(copy))
                .bind(from.uuid())
                .bind(to.uuid())
                .bind(i64::try_from(number)? << 32)
                .execute(&mut superuser)
                .await
                .with_context(|| format!("Cannot copy duet.{table}."))?;
        }
        Ok(())
    }

    /// Its size on disk, without the server's log.
    pub async fn bytes(&self) -> Result<u64> {
        let bytes: i64 = sqlx::query_scalar("select pg_database_size(current_database())")
            .fetch_one(&mut self.superuser().await?)
            .await?;
        Ok(u64::try_from(bytes).unwrap_or_default())
    }

    /// The text written with [`Database::label`]; `None` without such a database or label.
    pub async fn labelled(&self) -> Result<Option<String>> {
        let label: Option<Option<String>> =
            sqlx::query_scalar("select shobj_description(oid, 'pg_database') from pg_database where datname = $1")
                .bind(&self.name)
                .fetch_optional(&mut self.server.connect().await?)
                .await?;
        Ok(label.flatten())
    }

    /// Labels it with a text.
    pub async fn label(&self, text: &str) -> Result<()> {
        let text = text.replace('\'', "''");
        let comment = format!("comment on database {} is '{text}'", self.name);
        run(&mut self.server.connect().await?, &comment).await
    }

    /// Drops it.
    pub async fn remove(&self) -> Result<()> {
        let drop = format!("drop database if exists {} with (force)", self.name);
        run(&mut self.server.connect().await?, &drop).await
    }

    /// What a process of `duet-api` opens, without live hints.
    pub fn open(&self, env: &Env, connections: u32) -> Process {
        Process::new(self.options().username("duet_worker"), env, connections)
    }

    /// The same with live hints, as `duet-api serve` has them.
    pub fn serve(&self, env: &Env, connections: u32) -> Process {
        let worker = self.options().username("duet_worker");
        let Process { rpc, store } = Process::new(worker.clone(), env, connections);
        Process {
            rpc,
            store: store.listening(worker),
        }
    }

    /// For filling: commits do not wait for the disk.
    pub fn fill(&self, env: &Env, connections: u32) -> Process {
        let worker = self.options().username("duet_worker");
        Process::new(worker.options([("synchronous_commit", "off")]), env, connections)
    }
}

/// The stores on a database, and their connections.
pub struct Process {
    rpc: Arc<WireRpc>,
    store: PostgresStore,
}

impl Process {
    fn new(connect: PgConnectOptions, env: &Env, connections: u32) -> Self {
        let settings = WireSettings {
            connect,
            connections,
            statement_timeout: DatabaseConfig::default().statement_timeout(),
            acquire_timeout: ACQUIRE,
        };
        let rpc = Arc::new(WireRpc::new(settings, env.clone()));
        let store = PostgresStore::new(rpc.clone(), rpc.clone(), env.clone());
        Self { rpc, store }
    }

    /// The stores.
    pub fn stores(&self) -> Stores {
        self.store.stores()
    }

    /// Closes the connections.
    pub async fn close(self) {
        drop(self.store);
        self.rpc.close().await;
    }
}

async fn run(connection: &mut PgConnection, sql: &str) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// The server of the tests.
#[cfg(test)]
pub fn test_server() -> Server {
    let url = std::env::var("DUET_TEST_POSTGRES_URL").expect(
        "DUET_TEST_POSTGRES_URL names no Postgres: run `cargo xtask test --only rust`, or `cargo xtask postgres` and set it",
    );
    Server::at(&url).expect("DUET_TEST_POSTGRES_URL is a Postgres URL")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_database_is_made_labelled_found_and_removed() {
        let server = test_server();
        let facts = server.facts().await.expect("what the server is");
        assert!(facts.to_string().contains("shared_buffers"), "{facts}");
        let database = server.fresh("self").await.expect("a database");
        assert_eq!(database.labelled().await.expect("no label"), None);
        database.label("it's \"this\"").await.expect("a label");
        assert_eq!(database.labelled().await.expect("a label").as_deref(), Some("it's \"this\""));
        database.settle().await.expect("vacuumed");
        let process = database.open(&clock::env(1), 1);
        assert!(process.stores().accounts.needs_owner().await.expect("an answer"));
        process.close().await;
        database.remove().await.expect("dropped");
        assert_eq!(database.labelled().await.expect("nothing"), None);
    }
}
