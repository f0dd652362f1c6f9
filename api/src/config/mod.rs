//! Settings: one typed struct. TOML file, then `DUET_*` environment, then flags, each overriding the one before.

mod database;
mod load;
mod origin;
mod reference;
mod supabase;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use duet_core::domain::{LeasePolicy, TurnLimits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    database::{Backend, DatabaseConfig},
    load::{ALIASES, ConfigError, Sources},
    origin::{is_secure, parse_origin},
    reference::Setting,
    supabase::SupabaseConfig,
};
use crate::{embedders::EmbedderConfig, models::ModelsConfig};

/// All settings of a Duet process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where and how the server listens.
    pub server: ServerConfig,
    /// The data file.
    pub data: DataConfig,
    /// The Postgres of `duet-api`.
    pub database: DatabaseConfig,
    /// The Supabase project of `duet-api`.
    pub supabase: SupabaseConfig,
    /// Sign-in.
    pub auth: AuthConfig,
    /// Model providers.
    pub models: ModelsConfig,
    /// What turns texts into vectors.
    pub embedder: EmbedderConfig,
    /// Bounds of requests.
    pub limits: LimitsConfig,
    /// Bounds of one turn of a conversation.
    pub turn: TurnConfig,
    /// How many messages are answered at once, and when a lost worker's run is taken over.
    pub worker: WorkerConfig,
    /// Logs.
    pub log: LogConfig,
    /// What is kept of the audit log outside the stored data.
    pub audit: AuditConfig,
}

/// Where and how the server listens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address and port. Loopback by default; port 0 takes a free one.
    #[schemars(with = "String")]
    pub bind: SocketAddr,
    /// The URL at which browsers reach Duet, if it differs from the bound address (a reverse proxy, a host name). With `https` the session cookie becomes `__Host-…` and `Secure`, and pages without TLS are refused.
    pub public_url: Option<String>,
    /// Further origins (`https://host:port`) from which a browser may write.
    pub allowed_origins: Vec<String>,
    /// Whether a reverse proxy in front sets `X-Forwarded-For`: its last entry then counts as the client's address.
    pub behind_proxy: bool,
    /// How long running requests and replies may take to finish when the server stops, in seconds.
    pub shutdown_grace_seconds: u64,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 7717)),
            public_url: None,
            allowed_origins: Vec::new(),
            behind_proxy: false,
            shutdown_grace_seconds: 10,
        }
    }
}

/// The data file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// The encrypted data file; unset: `duet.db` in the user's data folder (XDG).
    #[schemars(with = "Option<String>")]
    pub path: Option<PathBuf>,
    /// Where to find the file's key: `env:NAME`, `file:/path`, `keyring`, or `passphrase:env:NAME` / `passphrase:file:/path`. Unset: the keyring, else a key file beside the configuration.
    pub key: Option<String>,
    /// Memory for vector codes, in MiB. 0 turns the cache off; recall then reads from the file.
    pub vector_cache_mb: Option<u64>,
}

impl DataConfig {
    /// The budget of the vector cache in bytes.
    pub fn vector_cache_bytes(&self) -> usize {
        usize::try_from(self.vector_cache_mb.unwrap_or(256).saturating_mul(1024 * 1024)).unwrap_or(usize::MAX)
    }
}

/// Sign-in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// How long a sign-in lasts, in days (1 to 365).
    pub session_days: u32,
    /// How long an access token lasts, in seconds (60 to 900).
    pub access_token_seconds: u32,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            session_days: 30,
            access_token_seconds: 900,
        }
    }
}

/// Bounds of requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Largest body of a request, in bytes.
    pub max_body_bytes: usize,
    /// Sign-in attempts per address (for IPv6, per /64) and email in a minute.
    pub sign_in_per_minute: u32,
    /// Sign-in attempts per address (for IPv6, per /64) in a minute.
    pub sign_in_per_address_per_minute: u32,
    /// Sign-in attempts per email in an hour, from everywhere together. Each browser and network from which the person has signed in before has a separate allowance of the same size.
    pub sign_in_per_account_per_hour: u32,
    /// Attempts with a setup token per address in a minute.
    pub setup_per_minute: u32,
    /// Attempts with an invitation per address in a minute.
    pub invitations_per_minute: u32,
    /// Devices that begin to be signed in by a code, per address (for IPv6, per /64) in a minute.
    pub devices_per_minute: u32,
    /// Questions of such devices whether they are signed in, per address (for IPv6, per /64) in a minute. Each asks every 5 seconds.
    pub device_questions_per_minute: u32,
    /// Codes of devices that one person can try in a minute.
    pub device_codes_per_minute: u32,
    /// Open event streams per person.
    pub streams_per_person: u32,
    /// Most connections at once. A quarter of the file descriptors that the system allows always stays free for other uses.
    pub connections: u32,
    /// Most connections at once from one address (for IPv6, one /64). The one that has waited longest for a request makes room for the next. Not counted behind a proxy.
    pub connections_per_address: u32,
    /// How long the head of a request may take to arrive, in seconds.
    pub head_seconds: u64,
    /// How long a connection may wait for its next request, in seconds.
    pub idle_seconds: u64,
    /// A client that takes next to nothing of an answer for this many seconds is disconnected.
    pub slow_reader_seconds: u64,
    /// How long a request may take, in seconds; does not apply to streams.
    pub request_seconds: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 1024 * 1024,
            sign_in_per_minute: 10,
            sign_in_per_address_per_minute: 30,
            sign_in_per_account_per_hour: 30,
            setup_per_minute: 5,
            invitations_per_minute: 20,
            devices_per_minute: 10,
            device_questions_per_minute: 240,
            device_codes_per_minute: 20,
            streams_per_person: 64,
            connections: 4096,
            connections_per_address: 256,
            head_seconds: 10,
            idle_seconds: 75,
            slow_reader_seconds: 30,
            request_seconds: 60,
        }
    }
}

/// Bounds of one turn of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TurnConfig {
    /// Model calls in one turn; the last one is made without tools so that the model must answer.
    pub max_steps: u32,
    /// Identical tool calls before the next one is refused.
    pub max_identical_calls: u32,
    /// Tokens of all model calls in a turn together.
    pub max_tokens: u64,
    /// Attempts at one model call.
    pub max_attempts: u32,
    /// Output tokens of one model call.
    pub max_output_tokens: u32,
    /// Bytes of a reply's text; anything beyond is cut off, and the reply ends there.
    pub max_reply_bytes: u32,
    /// Bytes of the tool calls that one model call asks for, names and arguments together.
    pub max_argument_bytes: u32,
    /// Tool calls that one model call may ask for.
    pub max_calls_per_reply: u32,
    /// Tool calls in a turn.
    pub max_calls: u32,
    /// Memories that a turn may write.
    pub max_memories: u32,
    /// Seconds of work on a turn; time spent waiting for a worker does not count.
    pub max_seconds: u32,
}

impl Default for TurnConfig {
    fn default() -> Self {
        let limits = TurnLimits::default();
        Self {
            max_steps: limits.max_steps,
            max_identical_calls: limits.max_identical_calls,
            max_tokens: limits.max_tokens,
            max_attempts: limits.max_attempts,
            max_output_tokens: limits.max_output_tokens,
            max_reply_bytes: limits.max_reply_bytes,
            max_argument_bytes: limits.max_argument_bytes,
            max_calls_per_reply: limits.max_calls_per_reply,
            max_calls: limits.max_calls,
            max_memories: limits.max_memories,
            max_seconds: limits.max_seconds,
        }
    }
}

impl From<&TurnConfig> for TurnLimits {
    fn from(config: &TurnConfig) -> Self {
        Self {
            max_steps: config.max_steps,
            max_identical_calls: config.max_identical_calls,
            max_tokens: config.max_tokens,
            max_attempts: config.max_attempts,
            max_output_tokens: config.max_output_tokens,
            max_reply_bytes: config.max_reply_bytes,
            max_argument_bytes: config.max_argument_bytes,
            max_calls_per_reply: config.max_calls_per_reply,
            max_calls: config.max_calls,
            max_memories: config.max_memories,
            max_seconds: config.max_seconds,
        }
    }
}

/// How many messages are answered at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerConfig {
    /// Replies written at the same time.
    pub concurrency: u32,
    /// A worker that gives no sign of life for this many seconds loses its run to another process. Has no effect on the data file, which only one process has.
    pub lease_seconds: u64,
    /// After this many workers in a row that made no progress on a run, it is parked. Workers that stop in good order do not count.
    pub max_attempts: u32,
    /// Seconds between two sweeps for what has expired.
    pub sweep_seconds: u64,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        let lease = LeasePolicy::default();
        Self {
            concurrency: 64,
            lease_seconds: lease.duration.as_secs(),
            max_attempts: lease.max_attempts,
            sweep_seconds: 60,
        }
    }
}

impl From<&WorkerConfig> for LeasePolicy {
    fn from(config: &WorkerConfig) -> Self {
        Self {
            duration: Duration::from_secs(config.lease_seconds),
            max_attempts: config.max_attempts,
        }
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// Logs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `human` or `json`. Logs go to standard error.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,duet_core=debug`.
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Human,
            level: "info".into(),
        }
    }
}

/// What is kept of the audit log outside the stored data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// A file to which the heads of the audit logs are appended, one JSON object per line; ideally one that the data's owner cannot change. `audit verify --anchors` checks the logs against it.
    pub anchors: Option<PathBuf>,
    /// Seconds between two checks for heads that have moved.
    pub anchor_seconds: u64,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            anchors: None,
            anchor_seconds: 60,
        }
    }
}

impl Config {
    /// Checks what types cannot express. The message names the key and what is allowed.
    fn check(&self) -> Result<(), String> {
        fn within(key: &str, value: u64, range: std::ops::RangeInclusive<u64>) -> Result<(), String> {
            if range.contains(&value) {
                return Ok(());
            }
            Err(format!("`{key}` is {value}; allowed is {} to {}", range.start(), range.end()))
        }
        if let Some(url) = &self.server.public_url {
            parse_origin(url).map_err(|reason| format!("`server.public_url` {reason}"))?;
        }
        for origin in &self.server.allowed_origins {
            let known = parse_origin(origin).map_err(|reason| format!("`server.allowed_origins` {reason}"))?;
            if known.starts_with("http://") && is_secure(self.server.public_url.as_deref()) {
                return Err(format!(
                    "`server.allowed_origins` has `{known}`; under a `server.public_url` with https only origins with https may write"
                ));
            }
        }
        within("database.connections", self.database.connections.into(), 1..=1_000)?;
        within(
            "database.statement_timeout_seconds",
            self.database.statement_timeout_seconds,
            1..=3_600,
        )?;
        within("supabase.timeout_seconds", self.supabase.timeout_seconds, 1..=120)?;
        if self.database.backend == Backend::Supabase {
            self.supabase.check()?;
        }
        within("auth.session_days", self.auth.session_days.into(), 1..=365)?;
        within("auth.access_token_seconds", self.auth.access_token_seconds.into(), 60..=900)?;
        within(
            "limits.max_body_bytes",
            self.limits.max_body_bytes as u64,
            1024..=64 * 1024 * 1024,
        )?;
        within(
            "limits.sign_in_per_minute",
            self.limits.sign_in_per_minute.into(),
            1..=100_000,
        )?;
        within(
            "limits.sign_in_per_address_per_minute",
            self.limits.sign_in_per_address_per_minute.into(),
            1..=100_000,
        )?;
        within(
            "limits.sign_in_per_account_per_hour",
            self.limits.sign_in_per_account_per_hour.into(),
            1..=1_000_000,
        )?;
        within("limits.setup_per_minute", self.limits.setup_per_minute.into(), 1..=100_000)?;
        within(
            "limits.invitations_per_minute",
            self.limits.invitations_per_minute.into(),
            1..=100_000,
        )?;
        within(
            "limits.devices_per_minute",
            self.limits.devices_per_minute.into(),
            1..=100_000,
        )?;
        within(
            "limits.device_questions_per_minute",
            self.limits.device_questions_per_minute.into(),
            1..=1_000_000,
        )?;
        within(
            "limits.device_codes_per_minute",
            self.limits.device_codes_per_minute.into(),
            1..=100_000,
        )?;
        within("limits.streams_per_person", self.limits.streams_per_person.into(), 1..=10_000)?;
        within("limits.connections", self.limits.connections.into(), 1..=1_000_000)?;
        within(
            "limits.connections_per_address",
            self.limits.connections_per_address.into(),
            1..=1_000_000,
        )?;
        within("limits.head_seconds", self.limits.head_seconds, 1..=600)?;
        within("limits.idle_seconds", self.limits.idle_seconds, 1..=3600)?;
        within("limits.slow_reader_seconds", self.limits.slow_reader_seconds, 1..=600)?;
        within("limits.request_seconds", self.limits.request_seconds, 1..=3600)?;
        within("turn.max_steps", self.turn.max_steps.into(), 1..=64)?;
        within("turn.max_identical_calls", self.turn.max_identical_calls.into(), 1..=64)?;
        within("turn.max_tokens", self.turn.max_tokens, 1_000..=100_000_000)?;
        within("turn.max_attempts", self.turn.max_attempts.into(), 1..=20)?;
        within("turn.max_output_tokens", self.turn.max_output_tokens.into(), 16..=1_000_000)?;
        within("turn.max_reply_bytes", self.turn.max_reply_bytes.into(), 1_000..=1_000_000)?;
        within(
            "turn.max_argument_bytes",
            self.turn.max_argument_bytes.into(),
            1_000..=1_000_000,
        )?;
        within("turn.max_calls_per_reply", self.turn.max_calls_per_reply.into(), 1..=256)?;
        within("turn.max_calls", self.turn.max_calls.into(), 1..=4_096)?;
        within("turn.max_memories", self.turn.max_memories.into(), 0..=1_000)?;
        within("turn.max_seconds", self.turn.max_seconds.into(), 10..=86_400)?;
        within("worker.concurrency", self.worker.concurrency.into(), 1..=1_024)?;
        within("worker.lease_seconds", self.worker.lease_seconds, 3..=3_600)?;
        within("worker.max_attempts", self.worker.max_attempts.into(), 1..=100)?;
        within("worker.sweep_seconds", self.worker.sweep_seconds, 1..=86_400)?;
        within("audit.anchor_seconds", self.audit.anchor_seconds, 1..=86_400)?;
        within("server.shutdown_grace_seconds", self.server.shutdown_grace_seconds, 0..=600)?;
        if self.log.level.parse::<tracing_subscriber::EnvFilter>().is_err() {
            return Err(format!(
                "`log.level` is `{}`; allowed are `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,duet_core=debug`",
                self.log.level
            ));
        }
        Ok(())
    }
}
