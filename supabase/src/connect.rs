//! Where a database is, and the error when it cannot be reached: one sentence that says what to do and never contains the password.

use std::{str::FromStr, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};

/// Timeout for establishing a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// A database, by its URL.
#[derive(Clone)]
pub struct Database {
    /// How error messages name the URL, such as `env:DUET_DATABASE_URL`.
    name: String,
    pub(crate) options: PgConnectOptions,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The value is not a Postgres URL.
    #[error(
        "{0} holds no URL of a Postgres: write `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with `%` codes for special characters."
    )]
    NoUrl(String),
    /// The database rejects this login.
    #[error("The database at {0} refuses the login: check the user and the password, and that the user may connect.")]
    Refused(String),
    /// Anything else.
    #[error(
        "The database at {name} cannot be reached: {reason}. Check that it runs, and the URL's host, port, database and `sslmode`."
    )]
    Unreachable {
        /// Host, port and database.
        name: String,
        /// The reason.
        reason: String,
    },
}

impl Database {
    /// Parses the URL; `pointer` says where it comes from. Does not connect yet.
    pub fn from_url(pointer: &str, url: &SecretString) -> Result<Self, ConnectError> {
        let url = url.expose_secret();
        let options = PgConnectOptions::from_str(url)
            .ok()
            .filter(|_| url.starts_with("postgres://") || url.starts_with("postgresql://"))
            .ok_or_else(|| ConnectError::NoUrl(pointer.to_owned()))?;
        let name = format!(
            "{}:{}/{}",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or("postgres")
        );
        // Statements are not logged: they could contain people's text. PgBouncer refuses a session that sets `extra_float_digits`,
        // unless told to ignore it; Postgres' own default writes floats just as precisely.
        Ok(Self {
            name,
            options: options
                .disable_statement_logging()
                .extra_float_digits(None)
                .application_name("duet"),
        })
    }

    /// Host, port and database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The options for the transport and the relay.
    pub fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// One connection, for set-up and checks.
    pub(crate) async fn connect(&self) -> Result<PgConnection, ConnectError> {
        match tokio::time::timeout(PATIENCE, self.options.clone().statement_cache_capacity(0).connect()).await {
            Ok(connected) => connected.map_err(|error| self.explain(&error)),
            Err(_) => Err(self.unreachable("it does not answer within 10 seconds")),
        }
    }

    pub(crate) fn explain(&self, error: &sqlx::Error) -> ConnectError {
        let code = error.as_database_error().and_then(|error| error.code());
        match (error, code.as_deref()) {
            (_, Some("28P01" | "28000")) => ConnectError::Refused(self.name.clone()),
            (_, Some("3D000")) => self.unreachable("there is no such database on it"),
            (_, Some("53300")) => self.unreachable("all its connections are taken"),
            (_, Some("57P03")) => self.unreachable("it is starting or stopping"),
            (sqlx::Error::Io(error), _) => self.unreachable(&error.kind().to_string()),
            (sqlx::Error::Tls(_), _) => self.unreachable("no encrypted connection comes about"),
            (_, Some(code)) => self.unreachable(&format!("it answers with error {code}")),
            (error, None) => self.unreachable(crate::error::kind(error)),
        }
    }

    fn unreachable(&self, reason: &str) -> ConnectError {
        ConnectError::Unreachable {
            name: self.name.clone(),
            reason: reason.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sentence_holds_the_password() {
        let url = SecretString::from("postgres://duet_worker:canary@db.example:6543/app");
        let database = Database::from_url("env:X", &url).expect("a URL");
        assert_eq!(database.name(), "db.example:6543/app");
        assert!(!format!("{database:?}").contains("canary"));
        for text in ["canary", "mysql://a:canary@b/c", "postgres://a:canary@b:port/c"] {
            let error = Database::from_url("env:X", &SecretString::from(text)).expect_err(text);
            assert!(
                error.to_string().contains("env:X") && !error.to_string().contains("canary"),
                "{error}"
            );
        }
    }
}
