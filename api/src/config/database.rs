use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::SecretPointer;

/// Which database holds the data of `duet-api`, and how it is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// A Postgres, over connections as the login `duet_worker`; people sign in with the built-in issuer.
    #[default]
    Postgres,
    /// The Postgres of a Supabase project: people sign in at its Auth and reach its Data API with their own tokens; runs and API
    /// keys use connections as the login `duet_worker`.
    Supabase,
}

/// The Postgres of `duet-api`; `duet` does not read it. There is no setting for the database owner: only `duet-api migrate` asks for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// What the database is: `postgres`, or `supabase`, which needs `supabase.url` and `supabase.publishable_key` as well.
    pub backend: Backend,
    /// Where to find the database's URL, `env:NAME` or `file:/path`: `postgres://duet_worker:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full`. It may point to a transaction pooler. Unset: `env:DUET_DATABASE_URL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub url: Option<SecretPointer>,
    /// Where to find the URL of a direct connection with the same login, for live hints (LISTEN). Unset: the same as `url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub direct_url: Option<SecretPointer>,
    /// Where to find the key that seals sensitive memories, `env:NAME` or `file:/path`: 64 hexadecimal digits (`openssl rand -hex 32`). It is the same for every process; if it is lost, so are the sensitive memories. Unset: sensitive memories are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub master_key: Option<SecretPointer>,
    /// Most connections (1 to 1000), plus one more for live hints.
    pub connections: u32,
    /// Longest time for one database call, in seconds (1 to 3600).
    pub statement_timeout_seconds: u64,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            backend: Backend::Postgres,
            url: None,
            direct_url: None,
            master_key: None,
            connections: 20,
            statement_timeout_seconds: 30,
        }
    }
}

impl DatabaseConfig {
    /// Longest time for one call.
    pub fn statement_timeout(&self) -> Duration {
        Duration::from_secs(self.statement_timeout_seconds)
    }
}
