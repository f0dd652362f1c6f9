//! A connection on which an actor tries something.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use anyhow::{Context, Result, bail};
use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use crate::Actor;

/// The result of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran; the first column of its rows as text.
    Rows(Vec<String>),
    /// The database refused it.
    Refused {
        /// The SQLSTATE.
        code: String,
        /// The database's message.
        message: String,
    },
}

impl Outcome {
    /// Whether a grant was missing. A row refused by a policy has the same code and another message.
    pub fn denied(&self) -> bool {
        matches!(self, Self::Refused { code, message } if code == "42501" && message.starts_with("permission denied"))
    }

    /// The same with every id replaced by one placeholder, so that answers about different ids can be compared.
    #[must_use]
    pub fn without_ids(&self) -> Self {
        match self {
            Self::Rows(rows) => Self::Rows(rows.iter().map(|row| mask(row)).collect()),
            Self::Refused { code, message } => Self::Refused {
                code: code.clone(),
                message: mask(message),
            },
        }
    }
}

/// What happens to a statement's effects within its act.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Effects {
    /// They stay until the act is rolled back.
    Stay,
    /// They are rolled back at once.
    TakenBack,
}

/// Who owns the connection that assumes the actors' roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The superuser of the tests' own server. Each act is a transaction.
    Superuser,
    /// The owner of somebody else's database, within one transaction that is rolled back at its end. Each act is a savepoint in it.
    Owner,
}

/// A connection that acts as the actors; nothing done on it is committed.
pub struct Stage {
    connection: PgConnection,
    host: Host,
    witness: Option<PgConnection>,
}

/// The time of every act, and of the world.
pub const NOW: &str = "2026-11-21 12:00:00+00";

impl Stage {
    /// Uses a connection of the server's superuser, and a second one that sees from outside what an act locks.
    pub fn new(connection: PgConnection, witness: PgConnection) -> Self {
        Self {
            connection,
            host: Host::Superuser,
            witness: Some(witness),
        }
    }

    /// Uses a connection of a database's owner, in a transaction that begins here and is never committed.
    pub async fn visiting(connection: PgConnection) -> Result<Self> {
        let mut stage = Self {
            connection,
            host: Host::Owner,
            witness: None,
        };
        stage.run("begin").await?;
        Ok(stage)
    }

    /// Runs statements as the host (or as the actor of the current act).
    pub async fn run(&mut self, sql: &str) -> Result<()> {
        self.rows(sql).await.map(|_| ())
    }

    /// The first column of the last statement that returns rows.
    pub async fn rows(&mut self, sql: &str) -> Result<Vec<String>> {
        let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .fetch_all(&mut self.connection)
            .await
            .with_context(|| format!("This failed: {}", shortened(sql)))?;
        rows.iter().map(text).collect()
    }

    /// Rows of one statement, with all their columns.
    pub async fn table(&mut self, sql: &str) -> Result<Vec<PgRow>> {
        sqlx::query(AssertSqlSafe(sql.to_owned()))
            .persistent(false)
            .fetch_all(&mut self.connection)
            .await
            .with_context(|| format!("This failed: {}", shortened(sql)))
    }

    /// Whose connection this is.
    pub fn host(&self) -> Host {
        self.host
    }

    /// The first column of a query's rows as seen by the superuser's second connection, in a transaction of its own; `None` without
    /// such a connection, because then no other transaction can see the world.
    pub async fn witness(&mut self, sql: &str) -> Result<Option<Vec<String>>> {
        let Some(witness) = &mut self.witness else {
            return Ok(None);
        };
        let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .fetch_all(witness)
            .await
            .with_context(|| format!("The witness fails: {}", shortened(sql)))?;
        rows.iter().map(text).collect::<Result<_>>().map(Some)
    }

    /// Tries a statement as an actor on the second connection, in a transaction of its own, while the host's act is in progress. The
    /// act is committed as soon as the second connection waits for it, or has its answer without waiting; then the second is
    /// committed.
    ///
    /// # Errors
    /// Fails without a second connection.
    pub async fn at_once(&mut self, actor: Actor, sql: &str) -> Result<Outcome> {
        let other = self.witness.as_mut().context("There is no other connection.")?;
        let begin = format!(
            "begin; set local duet.now = '{NOW}'; select pg_backend_pid()::text; {}",
            actor.statements(Host::Superuser)
        );
        let began = sqlx::raw_sql(AssertSqlSafe(begin)).fetch_all(&mut *other).await?;
        let waits = format!(
            "select (cardinality(pg_blocking_pids({})) > 0)::text",
            began.first().map(text).context("It has a number.")??
        );
        let answer = {
            let mut tried = pin!(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&mut *other));
            let early = loop {
                if let Poll::Ready(answer) = poll_fn(|context| Poll::Ready(tried.as_mut().poll(context))).await {
                    break Some(answer);
                }
                let seen = sqlx::raw_sql(AssertSqlSafe(waits.clone()))
                    .fetch_one(&mut self.connection)
                    .await?;
                if text(&seen)? == "true" {
                    break None;
                }
            };
            sqlx::raw_sql("commit").execute(&mut self.connection).await?;
            match early {
                Some(answer) => answer,
                None => tried.await,
            }
        };
        let (outcome, end) = match answer {
            Ok(rows) => (Outcome::Rows(rows.iter().map(text).collect::<Result<_>>()?), "commit"),
            Err(failure) => (refused(&failure, sql)?, "rollback"),
        };
        sqlx::raw_sql(end).execute(other).await?;
        Ok(outcome)
    }

    /// Begins an actor's act, still as the host: at the world's time, and after what happened to the actor meanwhile.
    pub async fn begin(&mut self, actor: Actor) -> Result<()> {
        let begin = match self.host {
            Host::Superuser => "begin",
            Host::Owner => "savepoint act",
        };
        self.run(&format!("{begin}; set local duet.now = '{NOW}'; {}", actor.meanwhile()))
            .await
    }

    /// Assumes the actor's role in an act that the host began.
    pub async fn take_on(&mut self, actor: Actor) -> Result<()> {
        self.run(&actor.statements(self.host)).await
    }

    /// Begins an act as an actor.
    pub async fn begin_as(&mut self, actor: Actor) -> Result<()> {
        self.begin(actor).await?;
        self.take_on(actor).await
    }

    /// Assumes an actor's role again in an act that has stepped back.
    pub async fn become_actor(&mut self, actor: Actor) -> Result<()> {
        self.run(&actor.statements(self.host)).await
    }

    /// Returns to the host, in the same act.
    pub async fn step_back(&mut self) -> Result<()> {
        self.run(match self.host {
            Host::Superuser => "set local session authorization default; set local role none",
            Host::Owner => "set local role none",
        })
        .await
    }

    /// Rolls the act back.
    pub async fn rollback(&mut self) -> Result<()> {
        self.run(match self.host {
            Host::Superuser => "rollback",
            Host::Owner => "rollback to savepoint act; release savepoint act",
        })
        .await
    }

    /// Tries a statement within the act, which survives its failure.
    pub async fn attempt(&mut self, sql: &str, effects: Effects) -> Result<Outcome> {
        let after = match effects {
            Effects::Stay => "",
            Effects::TakenBack => "rollback to savepoint attempt; ",
        };
        let text_of = format!("savepoint attempt; {sql}; {after}release savepoint attempt");
        let failure = match sqlx::raw_sql(AssertSqlSafe(text_of)).fetch_all(&mut self.connection).await {
            Ok(rows) => return Ok(Outcome::Rows(rows.iter().map(text).collect::<Result<_>>()?)),
            Err(failure) => failure,
        };
        let outcome = refused(&failure, sql)?;
        self.run("rollback to savepoint attempt; release savepoint attempt").await?;
        Ok(outcome)
    }
}

fn refused(failure: &sqlx::Error, sql: &str) -> Result<Outcome> {
    let Some(refusal) = failure.as_database_error() else {
        bail!("The connection broke on {}: {failure}", shortened(sql));
    };
    Ok(Outcome::Refused {
        code: refusal.code().unwrap_or_default().into_owned(),
        message: refusal.message().to_owned(),
    })
}

fn text(row: &PgRow) -> Result<String> {
    let value: Option<String> = row.try_get_unchecked(0).context("A column is not text.")?;
    Ok(value.unwrap_or_else(|| "null".to_owned()))
}

/// The beginning of a statement, for messages.
pub fn shortened(sql: &str) -> String {
    let mut text: String = sql.chars().take(400).collect();
    if text.len() < sql.len() {
        text.push('…');
    }
    text
}

/// Replaces every UUID, and every long hexadecimal number, by one placeholder.
fn mask(text: &str) -> String {
    let is_id = |c: char| c.is_ascii_hexdigit() || c == '-';
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_id) {
        masked.push_str(&rest[..start]);
        let end = rest[start..].find(|c| !is_id(c)).map_or(rest.len(), |length| start + length);
        masked.push_str(if end - start >= 32 { "#" } else { &rest[start..end] });
        rest = &rest[end..];
    }
    masked + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_masked_and_nothing_else() {
        let id = "0191d3a2-0000-7000-8000-0123456789ab";
        assert_eq!(mask(&format!("agent:{id}, dead-beef {id}")), "agent:#, dead-beef #");
    }
}
