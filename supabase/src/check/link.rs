//! What is between this process and the database: nothing, a pooler that keeps sessions, or one that does not.

use std::time::Duration;

use sqlx::{
    Connection, PgConnection,
    postgres::{PgListener, PgPoolOptions},
};

use super::Finding;
use crate::connect::{ConnectError, Database};

/// How long a notification may take.
const PATIENCE: Duration = Duration::from_secs(5);
const CHANNEL: &str = "duet_check";
/// A setting that a session remembers, if there is one.
const MARK: &str = "duet.probe";

/// Whether a connection is one session of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// A transaction sees what the previous one left in the session: a direct connection, or a pooler in session mode.
    Session,
    /// Each transaction may run in another session.
    Transaction,
}

/// Finds out with two transactions. A pooler reuses the free session that was used last, so another connection occupies that one in
/// between.
pub async fn pooling(database: &Database) -> Result<Pooling, ConnectError> {
    let mut asking = database.connect().await?;
    let mut between = database.connect().await?;
    let probed = probe(&mut asking, &mut between).await;
    let closed = (asking.close().await, between.close().await);
    if let (Err(error), _) | (_, Err(error)) = closed {
        tracing::debug!(
            kind = crate::error::kind(&error),
            "a probe's connection did not close in order"
        );
    }
    probed.map_err(|error| database.explain(&error))
}

async fn probe(asking: &mut PgConnection, between: &mut PgConnection) -> Result<Pooling, sqlx::Error> {
    let before = mark(asking, Some("left here")).await?;
    let mut holding = between.begin().await?;
    let seen_elsewhere = mark(&mut holding, None).await?;
    let after = mark(asking, None).await?;
    if seen_elsewhere.1 == "left here" {
        // Leaves nothing behind in a session that others will use.
        mark(&mut holding, Some("")).await?;
    }
    holding.commit().await?;
    let kept = after.1 == "left here" && after.0 == before.0 && seen_elsewhere.1 != "left here";
    if after.1 == "left here" {
        mark(asking, Some("")).await?;
    }
    Ok(if kept { Pooling::Session } else { Pooling::Transaction })
}

/// Reads the mark, after setting it, and the answering backend's pid.
async fn mark(connection: &mut PgConnection, set: Option<&str>) -> Result<(i32, String), sqlx::Error> {
    let query = match set {
        Some(value) => sqlx::query_as("select pg_backend_pid(), set_config($1, $2, false)")
            .bind(MARK)
            .bind(value.to_owned()),
        None => sqlx::query_as("select pg_backend_pid(), coalesce(current_setting($1, true), '')").bind(MARK),
    };
    // In a transaction, or a savepoint of an open one: see `alone!`.
    let mut transaction = connection.begin().await?;
    let marked = query.persistent(false).fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(marked)
}

/// Describes the route of the ordinary URL. Duet works with either.
pub async fn describe(database: &Database) -> Finding {
    const NAME: &str = "url";
    match pooling(database).await {
        Ok(Pooling::Session) => Finding::ok(NAME, "direct, or a pooler in session mode"),
        Ok(Pooling::Transaction) => Finding::ok(NAME, "a pooler in transaction mode; Duet works with it"),
        Err(error) => Finding::problem(NAME, error.to_string(), "Allow at least two connections to this login."),
    }
}

/// Checks what live hints need from the direct URL.
pub async fn direct(database: &Database, direct: &Database) -> Vec<Finding> {
    const NAME: &str = "direct url";
    const FIX: &str = "Set `database.direct_url` to the database's own address, not its pooler's (on Supabase: port 5432). Until then hints \
                       take up to a second.";
    let link = match pooling(direct).await {
        Ok(Pooling::Session) => Finding::ok(NAME, "keeps its session"),
        Ok(Pooling::Transaction) => {
            return vec![Finding::problem(
                NAME,
                "leads through a pooler in transaction mode, which drops LISTEN",
                FIX,
            )];
        }
        Err(error) => return vec![Finding::problem(NAME, error.to_string(), FIX)],
    };
    let heard = match tokio::time::timeout(PATIENCE, hear(database, direct)).await {
        Ok(Ok(true)) => Finding::ok("live hints", "a notification arrived"),
        Ok(Ok(false)) | Err(_) => Finding::problem(
            "live hints",
            "a notification did not arrive on the direct URL within 5 seconds",
            FIX,
        ),
        Ok(Err(error)) => Finding::problem("live hints", direct.explain(&error).to_string(), FIX),
    };
    vec![link, heard]
}

/// Listens on the direct URL for a notification sent on the ordinary one: both have to reach the same database.
async fn hear(database: &Database, direct: &Database) -> Result<bool, sqlx::Error> {
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(direct.options());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    let sender = PgPoolOptions::new()
        .max_connections(1)
        .connect_lazy_with(database.options().statement_cache_capacity(0));
    // Unique to this check, so that a concurrent check is not mistaken for it.
    let mut transaction = sender.begin().await?;
    let word: String = sqlx::query_scalar("select gen_random_uuid()::text")
        .persistent(false)
        .fetch_one(&mut *transaction)
        .await?;
    sqlx::query("select pg_notify($1, $2)")
        .bind(CHANNEL)
        .bind(&word)
        .persistent(false)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    while let Some(notification) = listener.try_recv().await? {
        if notification.payload() == word {
            return Ok(true);
        }
    }
    Ok(false)
}
