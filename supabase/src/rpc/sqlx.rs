use std::time::Duration;

use async_trait::async_trait;
use duet_core::{Env, StoreResult};
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, Connection, PgPool, Postgres, Transaction,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions},
    types::Json,
};

use super::{Call, Identity, Rpc};
use crate::error;

/// How to reach the database as `duet_worker`.
#[derive(Clone, Debug)]
pub struct SqlxSettings {
    /// Where, as whom.
    pub connect: PgConnectOptions,
    /// Connections at most.
    pub connections: u32,
    /// Longest time for one call.
    pub statement_timeout: Duration,
    /// Longest wait for a free connection.
    pub acquire_timeout: Duration,
}

/// Calls over a connection of the powerless login `duet_worker`, which takes on the role that the identity has for the length of
/// one transaction. There is no other way to a connection, and nothing of a call outlives its transaction: a connection that goes back
/// to the pool, also after a cancelled call, has no identity. Statements are unnamed, so that a pooler in transaction mode is fine.
pub struct SqlxRpc {
    pool: PgPool,
    env: Env,
    statement_timeout: Duration,
    #[cfg(feature = "testing")]
    tell_time: bool,
}

/// How often a call is tried when the database says "again", or when the connection breaks and the call may be repeated.
const TRIES: u32 = 4;

/// After so long a silence a connection is asked whether it still lives before it is used.
const QUIET: Duration = Duration::from_secs(10);

/// A value as SQL writes it, whatever `standard_conforming_strings` says. Names, ids, numbers and words of this crate's own
/// types are all that is written this way; what people and models say is always bound.
fn literal(value: &str) -> String {
    format!("E'{}'", value.replace('\\', r"\\").replace('\'', "''"))
}

impl SqlxRpc {
    /// A pool that connects when it is first needed.
    pub fn new(settings: SqlxSettings, env: Env) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(settings.connections)
            .acquire_timeout(settings.acquire_timeout)
            // A round trip for each call is too much to find out what the call itself would: only long silence is mistrusted.
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > QUIET {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(settings.connect.statement_cache_capacity(0).application_name("duet"));
        Self {
            pool,
            env,
            statement_timeout: settings.statement_timeout,
            #[cfg(feature = "testing")]
            tell_time: false,
        }
    }

    /// Tells the database the time of this transport's clock with each call; a test's database listens to it.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn telling_time(self) -> Self {
        Self { tell_time: true, ..self }
    }

    /// The pool, to be closed at shutdown.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A transaction on a connection that lives. One that broke while it lay idle shows here, before anything of the call was sent.
    /// It begins as nobody, in a message of its own: one that is given up before it has begun stays open, and may have no identity.
    async fn begin(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        for _ in 0..self.pool.size() {
            match self.pool.begin().await {
                Err(failure) if error::connection_lost(&failure) && !matches!(failure, sqlx::Error::PoolTimedOut) => {}
                outcome => return outcome,
            }
        }
        self.pool.begin().await
    }

    async fn once(&self, identity: &Identity, call: &Call) -> Result<Value, sqlx::Error> {
        let mut transaction = self.begin().await?;
        self.become_identity(&mut transaction, identity).await?;
        let schema = match identity {
            Identity::Person { .. } | Identity::Agent(_) => "public",
            Identity::Driver => "driver",
        };
        let names: Vec<String> = (1..)
            .zip(&call.arguments)
            .map(|(place, (name, _))| format!("{name} => ${place}"))
            .collect();
        let mut arguments = PgArguments::default();
        for (_, value) in &call.arguments {
            value.clone().bind(&mut arguments).map_err(sqlx::Error::Encode)?;
        }
        // Function and argument names are constants of this crate; values are bound.
        let text = AssertSqlSafe(format!("select {schema}.{}({})", call.function, names.join(", ")));
        let Json(answer): Json<Value> = sqlx::query_scalar_with(text, arguments)
            .persistent(false)
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(answer)
    }

    async fn become_identity(
        &self,
        transaction: &mut Transaction<'static, Postgres>,
        identity: &Identity,
    ) -> Result<(), sqlx::Error> {
        let mut settings: Vec<(&str, String)> = vec![("statement_timeout", self.statement_timeout.as_millis().to_string())];
        #[cfg(feature = "testing")]
        if self.tell_time {
            settings.push(("duet.now", self.env.now().to_string()));
        }
        let claims =
            |user: &duet_core::ids::UserId| json!({"sub": user, "role": "authenticated", "aud": "authenticated"}).to_string();
        match identity {
            Identity::Person { user, .. } => {
                settings.push(("request.jwt.claims", claims(user)));
                settings.push(("role", "authenticated".into()));
            }
            Identity::Agent(agent) => {
                let scopes = json!({"capabilities": agent.capabilities, "memory_scopes": agent.memory_scopes});
                settings.push(("request.jwt.claims", claims(&agent.user)));
                settings.push(("duet.workspace_id", agent.workspace.to_string()));
                settings.push(("duet.agent_id", agent.agent.to_string()));
                settings.push(("duet.run_id", agent.run.to_string()));
                settings.push(("duet.agent_scopes", scopes.to_string()));
                settings.push(("role", "duet_agent".into()));
            }
            Identity::Driver => {}
        }
        // The role comes last: what is set before it is set as `duet_worker`. Selected columns are evaluated in order.
        // One message without parameters, because with them it takes two round trips.
        let columns: Vec<String> = settings
            .iter()
            .map(|(name, value)| format!("set_config({}, {}, true)", literal(name), literal(value)))
            .collect();
        let text = AssertSqlSafe(format!("select {}", columns.join(", ")));
        sqlx::raw_sql(text).execute(&mut **transaction).await?;
        Ok(())
    }
}

#[async_trait]
impl Rpc for SqlxRpc {
    async fn call(&self, identity: &Identity, call: &Call) -> StoreResult<Value> {
        let mut tried = 1;
        loop {
            let failure = match self.once(identity, call).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            // Who waited in vain for a connection has waited long enough.
            let waited = matches!(failure, sqlx::Error::PoolTimedOut);
            let again = error::rolled_back(&failure) || (call.repeatable && !waited && error::connection_lost(&failure));
            if !again || tried == TRIES {
                return Err(error::store_error(failure, call));
            }
            self.env.sleep(Duration::from_millis(25 << (2 * tried))).await;
            tried += 1;
        }
    }
}

impl std::fmt::Debug for SqlxRpc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlxRpc").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn a_literal_ends_where_it_ends() {
        assert_eq!(literal("a"), "E'a'");
        assert_eq!(literal(r"it's \' or 1"), r"E'it''s \\'' or 1'");
        assert_eq!(literal(r"\"), r"E'\\'");
    }
}
