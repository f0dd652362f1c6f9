//! A database as an operator gets it: with the platform's part, without Duet's.

use std::str::FromStr;

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};

use super::{SHIM, run, server_url};

/// The roles, as the first migration creates them.
const ROLES: &str = "do $$ begin
        if not exists (select from pg_roles where rolname = 'duet_agent') then
            create role duet_agent nologin noinherit nobypassrls;
        end if;
        if not exists (select from pg_roles where rolname = 'duet_worker') then
            create role duet_worker login noinherit nobypassrls;
        end if;
    end $$;
    grant authenticated, duet_agent to duet_worker with inherit false, set true";

/// A database without a schema. It stays on its server until that stops.
pub struct EmptyDatabase {
    server: PgConnectOptions,
    name: String,
}

impl EmptyDatabase {
    /// Creates one on the test server.
    ///
    /// # Panics
    /// Without a server, with a sentence that says how to get one.
    pub async fn fresh() -> Self {
        Self::on(&server_url()).await
    }

    /// Creates one on this server, given by its superuser's URL.
    ///
    /// # Panics
    /// If the server does not answer.
    pub async fn on(server: &str) -> Self {
        let server = PgConnectOptions::from_str(server).expect("a Postgres URL");
        let mut admin = server.connect().await.expect("the test server answers");
        let name: String = sqlx::query_scalar("select 'duet_empty_' || replace(gen_random_uuid()::text, '-', '')")
            .fetch_one(&mut admin)
            .await
            .expect("a name");
        run(&mut admin, &format!("create database {name}")).await;
        // The shim and the migrations create roles, which all databases of a server share: here they already exist, as beside another
        // Duet.
        run(&mut admin, "select pg_advisory_lock(7262847)").await;
        let database = Self { server, name };
        database.sql("supabase_admin", SHIM).await;
        database.sql("postgres", ROLES).await;
        run(&mut admin, "select pg_advisory_unlock(7262847)").await;
        admin.close().await.expect("closed");
        database
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL for a login without a password.
    pub fn url(&self, user: &str) -> String {
        self.url_at(user, &format!("{}:{}", self.server.get_host(), self.server.get_port()))
    }

    /// The same through a pooler at `HOST:PORT`, or with `USER:PASSWORD` as the login.
    pub fn url_at(&self, user: &str, address: &str) -> String {
        format!("postgres://{user}@{address}/{}", self.name)
    }

    /// The server's `HOST:PORT`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.server.get_host(), self.server.get_port())
    }

    async fn connect(&self, user: &str) -> PgConnection {
        let options = self.server.clone().database(&self.name).username(user);
        options.connect().await.expect("the database answers")
    }

    /// Runs statements as this login.
    ///
    /// # Panics
    /// If they fail.
    pub async fn sql(&self, user: &str, statements: &str) {
        let mut connection = self.connect(user).await;
        run(&mut connection, statements).await;
        connection.close().await.expect("closed");
    }

    /// A query's single value as text, bypassing row level security.
    ///
    /// # Panics
    /// If the query fails.
    pub async fn value(&self, query: &str) -> String {
        let mut connection = self.connect("supabase_admin").await;
        let text = AssertSqlSafe(format!("select ({query})::text"));
        sqlx::query_scalar(text).fetch_one(&mut connection).await.expect("an answer")
    }
}
