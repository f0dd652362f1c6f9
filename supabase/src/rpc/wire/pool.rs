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

/// Timeout for establishing a connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// Maximum lifetime of a connection, so that what the database caches for it does not grow for ever.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// A connection unused for this long is closed.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// How often unused connections are looked for.
const ROUNDS: Duration = Duration::from_secs(60);
/// After this long without use, in wall-clock time, a connection is tested before it is used. A broken connection is noticed at once,
/// except in a process that the platform froze meanwhile.
const QUIET_MILLIS: i64 = 10_000;
/// A peer that acknowledges neither data nor keepalives for this long is gone.
const GONE: Duration = Duration::from_secs(30);

/// A connection in use; dropping it returns it to the pool.
pub struct Connection(Object<Connector>);

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0.client
    }
}

impl Connection {
    /// Whether it still works; tests it if it was unused for long.
    async fn lives(&self, now: Timestamp) -> bool {
        let used = self.0.used.swap(now.millis(), Ordering::Relaxed);
        if now.millis().saturating_sub(used) <= QUIET_MILLIS {
            return true;
        }
        let answered = tokio::time::timeout(PATIENCE, self.0.client.check_connection()).await;
        matches!(answered, Ok(Ok(())))
    }

    /// Closes it now, whatever is still pending.
    pub fn end(self) {
        Object::take(self.0).driver.abort();
    }
}

/// Connections, created on demand.
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
            // The one used last is used next, so that surplus ones from busy times become idle and close.
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

    /// A connection that is alive as far as is known.
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

    /// Closes all connections; waits a while for those in use to finish their call.
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

/// What the pool creates its connections with.
struct Connector {
    options: PgConnectOptions,
}

/// A connection and the task that reads and writes it. The task ends with the client, after everything sent has been answered.
struct Link {
    client: Client,
    driver: AbortHandle,
    /// When it was last used, in wall-clock milliseconds.
    used: AtomicI64,
}

impl managed::Manager for Connector {
    type Type = Link;
    type Error = CannotConnect;

    async fn create(&self) -> Result<Link, CannotConnect> {
        // Certificates are read each time, so that renewed ones take effect without a restart.
        let (client, connection) = config(&self.options).connect(tls::connector(&self.options)?).await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                // The message can contain people's text.
                let code = error.code().map(|state| state.code().to_owned());
                tracing::debug!(code, "a connection to the database ended");
            }
        });
        Ok(Link {
            client,
            driver: driver.abort_handle(),
            // A new connection has just shown that it is alive.
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

/// The same address and login, in the form of this protocol's library.
fn config(options: &PgConnectOptions) -> Config {
    let mut config = Config::new();
    match options.get_socket() {
        Some(directory) => config.host_path(directory),
        // URLs put IPv6 addresses in brackets.
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
    // The options reveal their password only as part of a URL.
    if let Some(password) = options.to_url_lossy().password() {
        config.password(Cow::from(percent_decode_str(password)));
    }
    config
}
