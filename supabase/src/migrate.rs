//! The schema, as files that sqlx-cli and the Supabase CLI can apply as well.

use std::collections::BTreeSet;

use serde::Deserialize;
use sqlx::{
    PgConnection,
    migrate::{MigrateError, Migrator},
};

/// The schema of this runner's ledger, which the Data API does not expose.
const LEDGER: &str = "duet_migrations";

fn migrator() -> Migrator {
    let mut migrator: Migrator = sqlx::migrate!("../migrations");
    migrator.create_schema(LEDGER);
    migrator.dangerous_set_table_name(format!("{LEDGER}.applied"));
    migrator
}

/// Applies what is missing, as the database's owner over a direct connection; leaves the rest unchanged.
pub async fn apply(connection: &mut PgConnection) -> Result<(), MigrateError> {
    migrator().run(connection).await
}

/// The contents of a database's ledgers, as returned by `driver.schema_version()`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Applied {
    /// Versions in Duet's own ledger.
    pub own: BTreeSet<String>,
    /// Versions in the ledgers of other runners, which may include migrations that are not Duet's.
    pub shared: BTreeSet<String>,
}

/// How a database's schema relates to this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaVersion {
    /// Both have this version.
    Equal(String),
    /// The database lacks these migrations.
    Older(Vec<String>),
    /// The database has migrations that this program does not know.
    Newer(Vec<String>),
}

impl Applied {
    /// Compares them with this program's migrations.
    pub fn compare(&self) -> SchemaVersion {
        self.against(&versions())
    }

    /// Whether another runner applies this database's migrations and has to keep doing so.
    pub fn elsewhere(&self) -> bool {
        self.own.is_empty()
            && migrator()
                .iter()
                .any(|migration| self.shared.contains(&migration.version.to_string()))
    }

    fn against(&self, known: &BTreeSet<String>) -> SchemaVersion {
        let newer: Vec<String> = self.own.difference(known).cloned().collect();
        if !newer.is_empty() {
            return SchemaVersion::Newer(newer);
        }
        let older: Vec<String> = known
            .iter()
            .filter(|version| !self.own.contains(*version) && !self.shared.contains(*version))
            .cloned()
            .collect();
        match known.last() {
            Some(last) if older.is_empty() => SchemaVersion::Equal(last.clone()),
            _ => SchemaVersion::Older(older),
        }
    }
}

/// The names of the functions that the migrations create in a schema.
pub fn functions(schema: &str) -> BTreeSet<String> {
    let made = format!("function {schema}.");
    let mut names = BTreeSet::new();
    for migration in migrator().iter() {
        for line in migration.sql.as_str().lines().filter(|line| line.starts_with("create ")) {
            if let Some((_, rest)) = line.split_once(&made)
                && let Some((name, _)) = rest.split_once('(')
            {
                names.insert(name.to_owned());
            }
        }
    }
    names
}

/// The versions of the migrations.
pub fn versions() -> BTreeSet<String> {
    migrator().iter().map(|migration| migration.version.to_string()).collect()
}

/// The migrations as statements, for creating the schema within the caller's transaction.
#[cfg(feature = "testing")]
pub fn statements() -> Vec<String> {
    migrator().iter().map(|migration| migration.sql.as_str().to_owned()).collect()
}

/// A name for this state of the schema and of `more`, for databases created from it.
#[cfg(feature = "testing")]
pub fn fingerprint(more: &[&str]) -> String {
    let migrator = migrator();
    let parts: Vec<&[u8]> = migrator
        .iter()
        .map(|migration| &*migration.checksum)
        .chain(more.iter().map(|text| text.as_bytes()))
        .collect();
    hex::encode(&duet_core::crypto::request_hash(&parts)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(versions: &[&str]) -> BTreeSet<String> {
        versions.iter().map(|version| (*version).to_owned()).collect()
    }

    #[test]
    fn a_schema_is_equal_older_or_newer() {
        let known = set(&["1", "2"]);
        let compare = |own: &[&str], shared: &[&str]| {
            Applied {
                own: set(own),
                shared: set(shared),
            }
            .against(&known)
        };
        assert_eq!(compare(&["1", "2"], &[]), SchemaVersion::Equal("2".into()));
        assert_eq!(compare(&[], &["1", "2", "9"]), SchemaVersion::Equal("2".into()));
        assert_eq!(compare(&["1"], &[]), SchemaVersion::Older(vec!["2".into()]));
        assert_eq!(compare(&["1", "2", "3"], &[]), SchemaVersion::Newer(vec!["3".into()]));
    }

    #[test]
    fn functions_are_found_in_the_migrations() {
        assert!(functions("driver").contains("claim_run"));
        assert!(functions("public").len() > 10);
    }
}
