//! Calls over connections of the powerless login `duet_worker`, in Postgres' own protocol.
//!
//! A call is one transaction, written completely before any answer is read: a message that begins it and assumes the role and claims
//! of the identity, the call with its bound arguments, and the commit. So it costs one round trip and cannot be abandoned half-way:
//! nothing of an identity outlives the transaction, and no transaction outlives its call. There is no other way to a connection.
//! Statements are unnamed, so that a pooler in transaction mode works. Why this is not sqlx:
//! `docs/adr/0009-a-call-is-one-round-trip.md`.

mod failure;
mod pool;
mod tls;

use std::time::Duration;

use async_trait::async_trait;
use duet_core::{Env, StoreResult};
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use tokio_postgres::types::{ToSql, Type};

use self::{
    failure::Failure,
    pool::{Connection, Pool},
};
use super::{Call, Identity, Rpc};

/// How to reach the database as `duet_worker`.
#[derive(Clone, Debug)]
pub struct WireSettings {
    /// Address and login.
    pub connect: PgConnectOptions,
    /// Maximum number of connections.
    pub connections: u32,
    /// Timeout of one call.
    pub statement_timeout: Duration,
    /// Longest wait for a free connection.
    pub acquire_timeout: Duration,
}

/// The transport for everybody without a token of a Supabase project: agents, the server itself, API keys, and on a plain Postgres
/// every person.
pub struct WireRpc {
    pool: Pool,
    env: Env,
    statement_timeout: Duration,
    #[cfg(feature = "testing")]
    tell_time: bool,
}

/// How often a call is tried when the database says "again", when it was never sent, or when the connection breaks and the call may
/// be repeated.
const TRIES: u32 = 4;

/// The database ends a call after its `statement_timeout`. A connection that stays silent is dropped this much later.
const GRACE: Duration = Duration::from_secs(5);

/// A value as an SQL literal, whatever `standard_conforming_strings` is. Only names, ids, numbers and words of this crate's own types
/// are written this way; text from people and models is always bound.
fn literal(value: &str) -> String {
    format!("E'{}'", value.replace('\\', r"\\").replace('\'', "''"))
}

impl WireRpc {
    /// A pool that connects on first use.
    pub fn new(settings: WireSettings, env: Env) -> Self {
        Self {
            statement_timeout: settings.statement_timeout,
            pool: Pool::new(settings),
            env,
            #[cfg(feature = "testing")]
            tell_time: false,
        }
    }

    /// Sends this transport's clock to the database with each call; only test databases read it.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn telling_time(self) -> Self {
        Self { tell_time: true, ..self }
    }

    /// Closes the connections, at shutdown: free ones at once, the others when their call has ended.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn once(&self, identity: &Identity, call: &Call) -> Result<Value, Failure> {
        let connection = self.pool.connection(self.env.now()).await?;
        let transaction = Transaction {
            opening: self.opening(identity),
            text: text(identity, call),
            call: call.clone(),
        };
        let patience = self.statement_timeout + GRACE;
        // In its own task: an abandoned call continues to its end, and nobody gets its connection before.
        match tokio::spawn(transaction.carry(connection, patience)).await {
            Ok(answer) => answer,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Failure::Stopping),
        }
    }

    /// Begins as nobody and assumes the identity, with settings of this transaction only.
    fn opening(&self, identity: &Identity) -> String {
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
                settings.push(("duet.locality", agent.locality.to_string()));
                settings.push(("role", "duet_agent".into()));
            }
            Identity::Driver => {}
        }
        // The role comes last: settings before it are made as `duet_worker`. Selected columns are evaluated in order.
        let columns: Vec<String> = settings
            .iter()
            .map(|(name, value)| format!("set_config({}, {}, true)", literal(name), literal(value)))
            .collect();
        format!("begin; select {}", columns.join(", "))
    }
}

/// The call itself. Function and argument names are constants of this crate; values are bound.
fn text(identity: &Identity, call: &Call) -> String {
    let schema = match identity {
        Identity::Person { .. } | Identity::Agent(_) => "public",
        Identity::Driver => "driver",
    };
    let names: Vec<String> = (1..)
        .zip(&call.arguments)
        .map(|(place, (name, _))| format!("{name} => ${place}"))
        .collect();
    format!("select {schema}.{}({})", call.function, names.join(", "))
}

/// What is sent for one call.
struct Transaction {
    opening: String,
    text: String,
    call: Call,
}

impl Transaction {
    /// Sends it and waits for all answers. A silent connection is closed: its state is unknown.
    async fn carry(self, connection: Connection, patience: Duration) -> Result<Value, Failure> {
        match tokio::time::timeout(patience, self.send(&connection)).await {
            Ok(answer) => answer,
            Err(_) => {
                connection.end();
                Err(Failure::Silent)
            }
        }
    }

    async fn send(&self, connection: &Connection) -> Result<Value, Failure> {
        let bound: Vec<(&(dyn ToSql + Sync), Type)> = self
            .call
            .arguments
            .iter()
            .map(|(_, argument)| (argument as &(dyn ToSql + Sync), argument.sql_type()))
            .collect();
        // Each is written when first polled, and they are polled in this order.
        let (began, answered, ended) = futures::join!(
            connection.batch_execute(&self.opening),
            connection.query_typed_one(&self.text, &bound),
            connection.batch_execute("commit"),
        );
        // After a failure the database refuses the rest of the transaction, and rolls it back at `commit`: the first failure counts.
        began?;
        let row = answered?;
        ended?;
        row.try_get(0).map_err(|_| Failure::Answer)
    }
}

#[async_trait]
impl Rpc for WireRpc {
    async fn call(&self, identity: &Identity, call: &Call) -> StoreResult<Value> {
        let mut tried = 1;
        loop {
            let failure = match self.once(identity, call).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let again = failure.had_no_effect() || (call.repeatable && failure.is_of_the_connection());
            if !again || tried == TRIES {
                return Err(failure.store_error(call));
            }
            self.env.sleep(Duration::from_millis(25 << (2 * tried))).await;
            tried += 1;
        }
    }
}

impl std::fmt::Debug for WireRpc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WireRpc").finish_non_exhaustive()
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
