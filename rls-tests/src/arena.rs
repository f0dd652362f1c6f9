//! Databases to attack: migrated, with the world in them.

use std::str::FromStr;

use anyhow::{Context, Result};
use duet_supabase::testing::TestDatabase;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, postgres::PgConnectOptions};

use crate::{
    attempt::Stage,
    words::{self, Place},
};

/// The world.
const WORLD: &str = include_str!("../world.sql");

/// A database with the world in it.
pub struct Arena {
    server: PgConnectOptions,
    name: String,
}

impl Arena {
    /// Makes one.
    pub async fn fresh() -> Result<Self> {
        let database = TestDatabase::fresh().await;
        let mut owner = database.owner().await;
        let name: String = sqlx::query_scalar("select current_database()::text")
            .fetch_one(&mut owner)
            .await?;
        owner.close().await?;
        // With it goes the relay that empties the outbox.
        drop(database);
        let url = std::env::var("DUET_TEST_POSTGRES_URL").context("DUET_TEST_POSTGRES_URL is not set.")?;
        let arena = Self {
            server: PgConnectOptions::from_str(&url)?,
            name,
        };
        let world = format!("begin; {} commit; analyze", world()?);
        arena.stage().await?.run(&world).await?;
        Ok(arena)
    }

    /// A copy of it, for changes that must not stay. Nobody may be connected to the original meanwhile.
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
        // As in the original: a copy does not have its rights on the database itself.
        sqlx::raw_sql(AssertSqlSafe(format!("revoke temporary on database {name} from public")))
            .execute(&mut admin)
            .await?;
        admin.close().await?;
        Ok(Self {
            server: self.server.clone(),
            name,
        })
    }

    /// A connection to it as the server's superuser, who takes on the actors.
    pub async fn stage(&self) -> Result<Stage> {
        let connection = self.server.clone().database(&self.name).connect().await?;
        Ok(Stage::new(connection))
    }

    /// How the server's own login reaches it.
    pub fn worker(&self) -> PgConnectOptions {
        self.server.clone().database(&self.name).username("duet_worker")
    }

    /// Removes it from the server.
    pub async fn remove(self) -> Result<()> {
        let mut admin = self.server.connect().await?;
        sqlx::raw_sql(AssertSqlSafe(format!("drop database {} with (force)", self.name)))
            .execute(&mut admin)
            .await?;
        admin.close().await?;
        Ok(())
    }
}

/// The statements that make the world of `world.sql`.
pub fn world() -> Result<String> {
    let mut text = String::new();
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
    // What belonged to the former member stays, without them.
    text.push_str(&Place::FORMER.fill("delete from duet.member where workspace_id = {ws} and user_id = {me};\n"));
    Ok(text)
}
