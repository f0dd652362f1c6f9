//! Databases to attack: migrated, with the world in them.

use std::str::FromStr;

use anyhow::{Context, Result};
use duet_supabase::testing::TestDatabase;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, postgres::PgConnectOptions};

use crate::{
    attempt::{NOW, Stage},
    words::{self, Place},
};

/// The world.
const WORLD: &str = include_str!("../world.sql");

/// Roles belong to the cluster: of several tests that start at the same time, one creates them.
const PLATFORM_ROLES: &str = "select pg_advisory_lock(7262847);
    do $$
    declare
        role_name text;
    begin
        foreach role_name in array array['dashboard_user', 'pgbouncer', 'supabase_storage_admin', 'supabase_realtime_admin',
                                         'supabase_read_only_user'] loop
            if not exists (select from pg_roles where rolname = role_name) then
                execute format('create role %I nologin noinherit', role_name);
            end if;
        end loop;
    end;
    $$;
    select pg_advisory_unlock(7262847);";

/// A database with the world in it.
pub struct Arena {
    server: PgConnectOptions,
    name: String,
}

impl Arena {
    /// Creates one.
    pub async fn fresh() -> Result<Self> {
        let database = TestDatabase::fresh().await;
        let mut owner = database.owner().await;
        let name: String = sqlx::query_scalar("select current_database()::text")
            .fetch_one(&mut owner)
            .await?;
        owner.close().await?;
        // This also drops the relay that empties the outbox.
        drop(database);
        let url = std::env::var("DUET_TEST_POSTGRES_URL").context("DUET_TEST_POSTGRES_URL is not set.")?;
        let arena = Self {
            server: PgConnectOptions::from_str(&url)?,
            name,
        };
        // Roles that a real project has besides those that Duet knows.
        let mut admin = arena.server.connect().await?;
        sqlx::raw_sql(PLATFORM_ROLES).execute(&mut admin).await?;
        admin.close().await?;
        let world = format!("begin; {} commit; analyze", world()?);
        arena.stage().await?.run(&world).await?;
        Ok(arena)
    }

    /// A copy of it, for changes that must not persist. The original must have no connections meanwhile.
    pub async fn copy(&self) -> Result<Self> {
        let mut admin = self.server.connect().await?;
        let name: String = sqlx::query_scalar("select 'duet_copy_' || replace(gen_random_uuid()::text, '-', '')")
            .fetch_one(&mut admin)
            .await?;
        sqlx::raw_sql(AssertSqlSafe(format!(
            "create database {name} template {} owner postgres",
            self.name
        )))
        .execute(&mut admin)
        .await?;
        // As in the original: a copy loses the privileges on the database itself.
        sqlx::raw_sql(AssertSqlSafe(format!("revoke temporary on database {name} from public")))
            .execute(&mut admin)
            .await?;
        admin.close().await?;
        Ok(Self {
            server: self.server.clone(),
            name,
        })
    }

    /// A connection to it as the server's superuser, who assumes the actors' roles.
    pub async fn stage(&self) -> Result<Stage> {
        let options = self.server.clone().database(&self.name);
        Ok(Stage::new(options.connect().await?, options.connect().await?))
    }

    /// The connection options of the server's own login.
    pub fn worker(&self) -> PgConnectOptions {
        self.server.clone().database(&self.name).username("duet_worker")
    }

    /// Drops the database.
    pub async fn remove(self) -> Result<()> {
        let mut admin = self.server.connect().await?;
        sqlx::raw_sql(AssertSqlSafe(format!("drop database {} with (force)", self.name)))
            .execute(&mut admin)
            .await?;
        admin.close().await?;
        Ok(())
    }
}

/// The statements that create the world of `world.sql`.
pub fn world() -> Result<String> {
    let mut text = format!("select set_config('duet.now', '{NOW}', true);\n");
    for part in WORLD.split("-- @ ").skip(1) {
        let (heading, sql) = part.split_once('\n').context("A part of world.sql has a heading.")?;
        let kind = heading.split(':').next().unwrap_or_default();
        let places: Vec<Place> = match kind {
            "once" => vec![Place::NOWHERE],
            "account" => words::PEOPLE.iter().map(|person| Place::new("-", person)).collect(),
            "workspace" => words::WORKSPACES
                .iter()
                .map(|workspace| Place::new(workspace, Place::new(workspace, "").maker()))
                .collect(),
            "person" => Place::ALL.to_vec(),
            _ => anyhow::bail!("A part of world.sql is for each `{kind}`?"),
        };
        for place in places {
            text.push_str(&place.fill(sql));
        }
    }
    // What belonged to the former member stays; only the membership is deleted.
    text.push_str(&Place::FORMER.fill("delete from duet.member where workspace_id = {ws} and user_id = {me};\n"));
    Ok(text)
}
