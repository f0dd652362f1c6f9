//! How typed values are stored in columns: ids as 16 bytes, times as milliseconds, words as text, structures as JSON.

use std::str::FromStr;

use duet_core::{
    Timestamp,
    domain::{Labels, ListPage},
    ids::Id,
};
use rusqlite::{
    Error, Row, Rows,
    types::{FromSqlError, Type},
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

/// An id as stored.
pub fn blob(id: impl Id) -> [u8; 16] {
    id.uuid().into_bytes()
}

/// An optional id as stored.
pub fn opt_blob<T: Id>(id: Option<T>) -> Option<[u8; 16]> {
    id.map(blob)
}

/// An id from a column.
pub fn id<T: Id>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    row.get::<_, [u8; 16]>(column)
        .map(|bytes| T::from_uuid(Uuid::from_bytes(bytes)))
}

/// An optional id from a column.
pub fn opt_id<T: Id>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>> {
    row.get::<_, Option<[u8; 16]>>(column)
        .map(|bytes| bytes.map(|bytes| T::from_uuid(Uuid::from_bytes(bytes))))
}

/// A time from a column.
pub fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

/// An optional time from a column.
pub fn opt_time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column)
        .map(|millis| millis.map(Timestamp::from_millis))
}

/// A word (an enum of the domain) from a column.
pub fn word<T: FromStr>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| conversion(row, column))
}

/// Labels from a column.
pub fn labels(row: &Row<'_>, column: &str) -> rusqlite::Result<Labels> {
    row.get(column).map(Labels::from_bits)
}

/// An optional word from a column.
pub fn opt_word<T: FromStr>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(|_| conversion(row, column))).transpose()
}

/// A structure from a JSON column.
pub fn json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|_| conversion(row, column))
}

/// An optional structure from a JSON column.
pub fn opt_json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|_| conversion(row, column)))
        .transpose()
}

/// A structure for a JSON column.
pub fn to_json<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(value)
}

/// A count from an integer column.
pub fn count(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|value| u64::try_from(value).unwrap_or(0))
}

/// A count from the column at that position.
pub fn count_at(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|value| u64::try_from(value).unwrap_or(0))
}

/// A count for an integer column.
pub fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Rows of a list that cannot be read. They do not hide the others: they are skipped, and their number is reported.
pub struct Unreadable {
    what: &'static str,
    count: u64,
}

impl Unreadable {
    /// Counts none yet; `what` says what the rows are.
    pub fn of(what: &'static str) -> Self {
        Self { what, count: 0 }
    }

    /// The value of a row, or `None` if the row does not hold what it should. Other errors are not the row's.
    pub fn pass<T>(&mut self, read: rusqlite::Result<T>) -> rusqlite::Result<Option<T>> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(
                Error::FromSqlConversionFailure(..)
                | Error::InvalidColumnType(..)
                | Error::IntegralValueOutOfRange(..)
                | Error::Utf8Error(..),
            ) => {
                self.count += 1;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Unreadable {
    fn drop(&mut self) {
        if self.count > 0 {
            tracing::warn!(
                what = self.what,
                count = self.count,
                "rows cannot be read; they are passed over. `duet doctor --deep` looks at the whole file"
            );
        }
    }
}

/// A page of a list from up to `size + 1` rows, without those that cannot be read: the extra row says that there is another page,
/// which begins after the last row of this one.
pub fn page<T>(
    what: &'static str,
    mut rows: Rows<'_>,
    size: usize,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    place: impl Fn(&Row<'_>) -> rusqlite::Result<String>,
) -> rusqlite::Result<ListPage<T>> {
    let mut unreadable = Unreadable::of(what);
    let (mut items, mut last, mut seen) = (Vec::new(), None, 0);
    while let Some(row) = rows.next()? {
        if seen == size {
            return Ok(ListPage {
                items,
                next_cursor: last,
            });
        }
        seen += 1;
        last = Some(place(row)?);
        items.extend(unreadable.pass(read(row))?);
    }
    Ok(ListPage {
        items,
        next_cursor: None,
    })
}

/// The parser's own message is left out: it can quote stored text.
fn conversion(row: &Row<'_>, column: &str) -> Error {
    let index = row.as_ref().column_index(column).unwrap_or_default();
    Error::FromSqlConversionFailure(index, Type::Text, Box::new(FromSqlError::InvalidType))
}
