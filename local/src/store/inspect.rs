//! What the file says of itself, for `duet doctor`, and whose it is.

use duet_core::{StoreResult, ids::UserId};
use rusqlite::{Connection, OptionalExtension};

use super::{
    LocalStore,
    connect::{self, Access},
    open::OpenError,
    rows::id,
    schema,
};

/// The parts that the file is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// SQLCipher's version; never empty: without it no file is opened.
    pub cipher_version: String,
    /// sqlite-vec's version.
    pub vector_version: String,
    /// Size of the data in bytes.
    pub bytes: u64,
}

impl LocalStore {
    /// Versions and size, by a connection of its own.
    pub fn inspect(&self) -> Result<Inspection, OpenError> {
        let conn = self.connector.connect(Access::Read)?;
        schema::check_parts(&conn)?;
        inspection(&conn).map_err(|error| OpenError::from_sqlite(self.connector.path(), error))
    }

    /// Versions without any file: whether this build could make one.
    pub fn check_parts() -> Result<Inspection, OpenError> {
        let conn = connect::without_file()?;
        schema::check_parts(&conn)?;
        inspection(&conn).map_err(|error| OpenError::from_sqlite(std::path::Path::new("SQLCipher"), error))
    }

    /// The first owner of the installation: whoever holds the file's key acts as this person.
    pub async fn owner(&self) -> StoreResult<Option<UserId>> {
        self.db
            .read(|conn| {
                let mut statement =
                    conn.prepare_cached("SELECT user_id FROM member WHERE role = 'owner' ORDER BY joined_at, user_id LIMIT 1")?;
                Ok(statement.query_row([], |row| id(row, "user_id")).optional()?)
            })
            .await
    }
}

fn inspection(conn: &Connection) -> rusqlite::Result<Inspection> {
    let text = |query: &str| conn.query_row(query, [], |row| row.get::<_, String>(0));
    let count = |query: &str| conn.query_row(query, [], |row| row.get::<_, i64>(0));
    let bytes = count("PRAGMA page_count")?.saturating_mul(count("PRAGMA page_size")?);
    Ok(Inspection {
        cipher_version: text("PRAGMA cipher_version")?,
        vector_version: text("SELECT vec_version()")?,
        bytes: u64::try_from(bytes).unwrap_or(0),
    })
}
