//! A database that is not the tests' own, such as a real project's: the schema, the world and the attacks run in one transaction of
//! its owner, and leave it unchanged.

use anyhow::{Context, Result, ensure};
use duet_supabase::{migrate, testing};
use sqlx::{ConnectOptions, postgres::PgConnectOptions};

use crate::{arena, attempt::Stage};

/// Whether the database has any account.
const LIVED_IN: &str = "select exists (select from duet.account)::text";

/// Sets the stage on a database where Duet is not installed, or has no account yet. Dropping the stage undoes everything done on it.
pub async fn stage(owner: &PgConnectOptions) -> Result<Stage> {
    let connection = owner.connect().await.with_context(|| {
        let (host, port) = (owner.get_host(), owner.get_port());
        format!("Cannot connect to {host}:{port} as the database's owner.")
    })?;
    let mut stage = Stage::visiting(connection).await?;
    // A project ends its owner's statements after a while. Nothing here may wait long for others, because they wait for it in turn.
    stage
        .run("set local statement_timeout = 0; set local lock_timeout = '10s'")
        .await?;
    if stage.rows("select (to_regnamespace('duet') is null)::text").await? == ["true"] {
        for migration in migrate::statements() {
            stage.run(&migration).await?;
        }
    } else {
        ensure!(
            stage.rows(LIVED_IN).await? == ["false"],
            "Somebody has an account in this database. Attacks hold its tables for minutes: name a project of the tests' own."
        );
    }
    stage.run(testing::CLOCK).await?;
    // So that the owner may assume these roles; an owner who created them may always grant them.
    stage.run("grant duet_worker, duet_agent to current_user").await?;
    stage.run(&arena::world()?).await?;
    Ok(stage)
}
