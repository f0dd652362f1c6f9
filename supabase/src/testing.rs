//! A fresh, migrated database for each test, on the server of `DUET_TEST_POSTGRES_URL` (a superuser's URL; `cargo xtask postgres`
//! starts one), and the same behind a Data API.

mod empty;
#[cfg(unix)]
mod pooler;
mod project;
mod served;
mod server;
mod tool;

use std::{str::FromStr, sync::Arc, time::Duration};

use async_trait::async_trait;
use duet_core::{
    contract::{Harness, TestEnv},
    crypto::MasterKey,
    ids::{Id, UserId},
    ports::Stores,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};

use crate::{
    migrate,
    rpc::{WireRpc, WireSettings},
    store::PostgresStore,
};

#[cfg(unix)]
pub use self::pooler::Pooler;
pub use self::{empty::EmptyDatabase, project::SupabaseProject, served::ServedDatabase, server::OwnServer, tool::tool};

/// What a plain Postgres needs before the migrations.
const SHIM: &str = include_str!("../../deploy/postgres/shim.sql");

/// Makes a database follow the tests' clock instead of its own: only this function differs from what is shipped.
pub const CLOCK: &str = "create or replace function private.now() returns timestamptz
    language sql volatile set search_path = '' as $$
        select date_trunc('milliseconds', coalesce(coalesce(
            nullif(current_setting('duet.now', true), ''),
            nullif(current_setting('request.headers', true), '')::jsonb ->> 'x-duet-test-now')::timestamptz, clock_timestamp()))
    $$";

/// The statements that prepare a database for being served: a change of these makes another template.
const SERVER: [&str; 3] = [
    include_str!("../testbed/app.mjs"),
    include_str!("../testbed/auth-tables.mjs"),
    include_str!("../testbed/package-lock.json"),
];

/// A database for one test. It stays on the server until that stops.
pub struct TestDatabase {
    url: String,
    name: String,
    owner: PgConnectOptions,
    worker: PgConnectOptions,
    store: PostgresStore,
    time: TestEnv,
}

impl TestDatabase {
    /// Creates one from the template that all tests share.
    ///
    /// # Panics
    /// Without a server, with a sentence that says how to get one.
    pub async fn fresh() -> Self {
        Self::telling(TestEnv::new(1)).await
    }

    /// One whose stores and database follow this clock.
    ///
    /// # Panics
    /// As [`TestDatabase::fresh`].
    pub async fn telling(time: TestEnv) -> Self {
        Self::copy(time, false).await
    }

    /// One that can be served as a project.
    async fn served(time: TestEnv) -> Self {
        Self::copy(time, true).await
    }

    async fn copy(time: TestEnv, served: bool) -> Self {
        let url = server_url();
        let server = PgConnectOptions::from_str(&url).expect("DUET_TEST_POSTGRES_URL is a Postgres URL");
        let mut admin = server.connect().await.expect("the test server answers");
        run(&mut admin, "select pg_advisory_lock(7262847)").await;
        let mut template = template(&server, &mut admin).await;
        if served {
            template = served_template(&url, &mut admin, &template).await;
        }
        run(&mut admin, "select pg_advisory_unlock(7262847)").await;
        let name: String = sqlx::query_scalar("select 'duet_test_' || replace(gen_random_uuid()::text, '-', '')")
            .fetch_one(&mut admin)
            .await
            .expect("a name");
        run(
            &mut admin,
            &format!("create database {name} template {template} owner postgres"),
        )
        .await;
        // A copy loses the original's privileges on the database itself.
        run(&mut admin, &format!("revoke temporary on database {name} from public")).await;
        let worker = server.clone().database(&name).username("duet_worker");
        Self {
            url,
            owner: server.database(&name).username("postgres"),
            store: process(&worker, &time),
            worker,
            time,
            name,
        }
    }

    /// The stores of another process on the same database.
    pub fn another_process(&self) -> Stores {
        process(&self.worker, &self.time).stores()
    }

    /// A connection as the database's owner, which bypasses row level security.
    pub async fn owner(&self) -> PgConnection {
        self.owner.connect().await.expect("the owner's connection")
    }

    /// A connection as the server's superuser, to plant what nobody else could.
    ///
    /// # Panics
    /// If the server does not answer.
    pub async fn superuser(&self) -> PgConnection {
        let mut url: reqwest::Url = self.url.parse().expect("DUET_TEST_POSTGRES_URL is a URL");
        url.set_path(&self.name);
        let options = PgConnectOptions::from_str(url.as_str()).expect("a Postgres URL");
        options.connect().await.expect("the superuser's connection")
    }

    /// The connection options of the database's owner.
    pub fn owner_options(&self) -> PgConnectOptions {
        self.owner.clone()
    }

    /// The connection options of the server's own login.
    pub fn worker_options(&self) -> PgConnectOptions {
        self.worker.clone()
    }

    /// A connection with the server's own login, as held by an attacker who got that far.
    pub async fn worker(&self) -> PgConnection {
        self.worker.connect().await.expect("the worker's connection")
    }
}

#[async_trait]
impl Harness for TestDatabase {
    fn stores(&self) -> Stores {
        self.store.stores()
    }

    fn env(&self) -> TestEnv {
        self.time.clone()
    }

    async fn account(&self, email: &str) -> UserId {
        let id: UserId = self.time.env().id();
        sqlx::query("insert into duet.account values ($1, $2, $2, now())")
            .bind(id.uuid())
            .bind(email)
            .execute(&mut self.owner().await)
            .await
            .expect("an account");
        id
    }
}

fn process(worker: &PgConnectOptions, time: &TestEnv) -> PostgresStore {
    let rpc = server_rpc(worker, time);
    PostgresStore::new(rpc.clone(), rpc, time.env())
        .sealing_with(MasterKey::new([9; 32]))
        .listening(worker.clone())
}

/// The transport of the server's own login.
fn server_rpc(worker: &PgConnectOptions, time: &TestEnv) -> Arc<WireRpc> {
    let settings = WireSettings {
        connect: worker.clone(),
        connections: 4,
        statement_timeout: Duration::from_secs(30),
        acquire_timeout: Duration::from_secs(60),
    };
    Arc::new(WireRpc::new(settings, time.env()).telling_time())
}

/// The URL of the test server, as its superuser.
fn server_url() -> String {
    std::env::var("DUET_TEST_POSTGRES_URL").expect(
        "DUET_TEST_POSTGRES_URL names no Postgres: run `cargo xtask test --only rust`, or `cargo xtask postgres` and set it",
    )
}

/// The migrated database that tests are copied from, created by the first caller. Its name contains the schema's hash.
async fn template(server: &PgConnectOptions, admin: &mut PgConnection) -> String {
    let name = format!("duet_template_{}", migrate::fingerprint(&[SHIM, CLOCK]));
    if is_template(admin, &name).await {
        return name;
    }
    run(admin, &format!("drop database if exists {name} with (force)")).await;
    run(admin, &format!("create database {name}")).await;
    let mut superuser = server.clone().database(&name).connect().await.expect("the new database");
    run(&mut superuser, SHIM).await;
    superuser.close().await.expect("the superuser's connection closes");
    let mut owner = server
        .clone()
        .database(&name)
        .username("postgres")
        .connect()
        .await
        .expect("the owner's connection");
    migrate::apply(&mut owner).await.expect("the migrations apply");
    run(&mut owner, CLOCK).await;
    owner.close().await.expect("the owner's connection closes");
    run(admin, &format!("alter database {name} is_template true")).await;
    name
}

/// A copy of the template with what the Supabase stand-in needs.
async fn served_template(server: &str, admin: &mut PgConnection, template: &str) -> String {
    let name = format!("{template}_{}", migrate::fingerprint(&SERVER));
    if is_template(admin, &name).await {
        return name;
    }
    run(admin, &format!("drop database if exists {name} with (force)")).await;
    run(admin, &format!("create database {name} template {template}")).await;
    let mut url: reqwest::Url = server.parse().expect("DUET_TEST_POSTGRES_URL is a URL");
    url.set_path(&name);
    tokio::task::spawn_blocking(move || project::prepare(url.as_str()))
        .await
        .expect("the database is made ready");
    run(admin, &format!("alter database {name} is_template true")).await;
    name
}

async fn is_template(admin: &mut PgConnection, name: &str) -> bool {
    sqlx::query_scalar("select exists (select from pg_database where datname = $1 and datistemplate)")
        .bind(name)
        .fetch_one(admin)
        .await
        .expect("the list of databases")
}

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .expect("the statement runs");
}
