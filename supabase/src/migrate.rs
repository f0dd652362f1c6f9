//! The schema, as files that sqlx-cli and the Supabase CLI apply as well.

use sqlx::{
    PgConnection,
    migrate::{MigrateError, Migrator},
};

/// Where this runner keeps its ledger: in a schema of its own, which the Data API does not expose.
const LEDGER: &str = "duet_migrations";

/// Applies what is missing, as the database's owner over a direct connection; what is there stays as it is.
pub async fn apply(connection: &mut PgConnection) -> Result<(), MigrateError> {
    let mut migrator: Migrator = sqlx::migrate!("../migrations");
    migrator.create_schema(LEDGER);
    migrator.dangerous_set_table_name(format!("{LEDGER}.applied"));
    migrator.run(connection).await
}

/// A name for this state of the schema and of `more`, for databases that are made from it.
#[cfg(feature = "testing")]
pub fn fingerprint(more: &[&str]) -> String {
    let migrator: Migrator = sqlx::migrate!("../migrations");
    let parts: Vec<&[u8]> = migrator
        .iter()
        .map(|migration| &*migration.checksum)
        .chain(more.iter().map(|text| text.as_bytes()))
        .collect();
    hex::encode(&duet_core::crypto::request_hash(&parts)[..8])
}
