//! The connections of one process.

use std::{
    borrow::Cow,
    ops::Deref,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use deadpool::{
    Runtime,
    managed::{self, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult, TimeoutType},
};
use duet_core::Timestamp;
use percent_encoding::percent_decode_str;
use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::task::AbortHandle;
use tokio_postgres::{Client, Config, config::SslMode};

use super::{
    WireSettings,
    failure::{CannotConnect, Failure},
    tls,
};

/// How long a connection may take to come about.
const PATIENCE: Duration = Duration::from_secs(10);
/// A connection is used for so long at most: what the database keeps for it does not grow for ever.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// A connection that nobody needed for so long ends.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// How often it is looked for those.
const ROUNDS: Duration = Duration::from_secs(60);
/// After so long a silence, by the clock on the wall, a connection is asked whether it still lives. One that breaks is known to be broken
/// at once, but not in a process that the platform froze meanwhile.
const QUIET_MILLIS: i64 = 10_000;
/// A peer that does not acknowledge what was sent, or that it still lives, for so long is gone.
const GONE: Duration = Duration::from_secs(30);

/// A connection in use; it goes back when it is dropped.
pub struct Connection(Object<Connector>);

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0.client
    }
}

impl Connection {
    /// Whether it still works, asked where it was silent for long.
    async fn lives(&self, now: Timestamp) -> bool {
        let used = self.0.used.swap(now.millis(), Ordering::Relaxed);
        if now.millis().saturating_sub(used) <= QUIET_MILLIS {
            return true;
        }
        let answered = tokio::time::timeout(PATIENCE, self.0.client.check_connection()).await;
        matches!(answered, Ok(Ok(())))
    }

    /// Ends it now, whatever it still has to say.
    pub fn end(self) {
        Object::take(self.0).driver.abort();
    }
}

/// Connections, made when they are needed.
pub struct Pool {
    pool: managed::Pool<Connector>,
    rounds: AbortHandle,
}

impl Pool {
    pub fn new(settings: WireSettings) -> Self {
        let connector = Connector {
            options: settings.connect,
        };
        let pool = managed::Pool::builder(connector)
            .max_size(settings.connections as usize)
            // The one used last is used next, so that those of a busy hour get idle and end.
            .queue_mode(QueueMode::Lifo)
            .wait_timeout(Some(settings.acquire_timeout))
            .create_timeout(Some(PATIENCE))
            .runtime(Runtime::Tokio1)
            .build();
        let pool = pool.expect("a runtime is given, which is all that can be missing");
        let rounds = tokio::spawn({
            let pool = pool.clone();
            async move {
                loop {
                    tokio::time::sleep(ROUNDS).await;
                    pool.retain(|_, metrics| metrics.last_used() < IDLE);
                }
            }
        });
        Self {
            pool,
            rounds: rounds.abort_handle(),
        }
    }

    /// A connection that lives as far as is known.
    pub async fn connection(&self, now: Timestamp) -> Result<Connection, Failure> {
        loop {
            let connection = self.any().await?;
            if connection.lives(now).await {
                return Ok(connection);
            }
            connection.end();
        }
    }

    async fn any(&self) -> Result<Connection, Failure> {
        match self.pool.get().await {
            Ok(connection) => Ok(Connection(connection)),
            Err(PoolError::Backend(error)) => Err(Failure::NoConnection(error)),
            Err(PoolError::Timeout(TimeoutType::Create)) => Err(Failure::NoConnection(CannotConnect::Silent)),
            Err(PoolError::Closed) => Err(Failure::Stopping),
            Err(_) => Err(Failure::NoneFree),
        }
    }

    /// Ends all connections; those in use when their call has ended, which is waited for a while.
    pub async fn close(&self) {
        self.rounds.abort();
        self.pool.close();
        let ended = async {
            while self.pool.status().size > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, ended).await.is_err() {
            tracing::warn!("the database still works on a call while this process stops");
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.rounds.abort();
    }
}

/// What the pool makes its connections with.
struct Connector {
    options: PgConnectOptions,
}

/// A connection and the task that reads and writes it. The task ends with the client, after what was sent has been answered.
struct Link {
    client: Client,
    driver: AbortHandle,
    /// When it was last used, in milliseconds of the clock on the wall.
    used: AtomicI64,
}

impl managed::Manager for Connector {
    type Type = Link;
    type Error = CannotConnect;

    async fn create(&self) -> Result<Link, CannotConnect> {
        // Certificates are read each time: renewed ones count without a restart.
        let (client, connection) = config(&self.options).connect(tls::connector(&self.options)?).await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                // Its message can hold text.
                let code = error.code().map(|state| state.code().to_owned());
                tracing::debug!(code, "a connection to the database ended");
            }
        });
        Ok(Link {
            client,
            driver: driver.abort_handle(),
            // It has just shown that it lives.
            used: AtomicI64::new(i64::MAX),
        })
    }

    async fn recycle(&self, link: &mut Link, metrics: &Metrics) -> RecycleResult<CannotConnect> {
        match link.client.is_closed() || metrics.age() > LIFETIME {
            true => Err(RecycleError::message("closed, or old")),
            false => Ok(()),
        }
    }
}

/// The same place and login, as this protocol's library wants them.
fn config(options: &PgConnectOptions) -> Config {
    let mut config = Config::new();
    match options.get_socket() {
        Some(directory) => config.host_path(directory),
        // As URLs have it, an IPv6 address stands in brackets.
        None => config.host(options.get_host().trim_start_matches('[').trim_end_matches(']')),
    };
    config
        .port(options.get_port())
        .user(options.get_username())
        .dbname(options.get_database().unwrap_or(options.get_username()))
        .application_name(options.get_application_name().unwrap_or("duet"))
        .ssl_mode(match options.get_ssl_mode() {
            PgSslMode::Disable | PgSslMode::Allow => SslMode::Disable,
            PgSslMode::Prefer => SslMode::Prefer,
            PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull => SslMode::Require,
        })
        .connect_timeout(PATIENCE)
        .keepalives_idle(GONE)
        .tcp_user_timeout(GONE);
    if let Some(settings) = options.get_options() {
        config.options(settings);
    }
    // The options tell their password only as part of a URL.
    if let Some(password) = options.to_url_lossy().password() {
        config.password(Cow::from(percent_decode_str(password)));
    }
    config
}
