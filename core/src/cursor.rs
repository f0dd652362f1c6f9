//! Cursors: where the next page of a list starts.

use crate::{domain::Page, error::StoreError, ids::Id};
use uuid::Uuid;

fn unknown() -> StoreError {
    StoreError::invalid("That cursor is not one that a page gave. Start again from the first page.")
}

/// A place in a list that is ordered by a number.
pub fn number(cursor: Option<&str>) -> Result<Option<i64>, StoreError> {
    cursor.map(|cursor| cursor.parse().map_err(|_| unknown())).transpose()
}

/// A place in a list that is ordered by a time, then by id.
pub fn moment(cursor: Option<&str>) -> Result<Option<(i64, [u8; 16])>, StoreError> {
    let parse = |cursor: &str| {
        let (millis, id) = cursor.split_once('.')?;
        Some((millis.parse().ok()?, Uuid::try_parse(id).ok()?.into_bytes()))
    };
    cursor.map(|cursor| parse(cursor).ok_or_else(unknown)).transpose()
}

/// The cursor after an item of such a list.
pub fn after(millis: i64, id: impl Id) -> String {
    format!("{millis}.{}", id.uuid().simple())
}

/// A page out of up to `size + 1` items: the one too many says that there is another page.
pub fn page<T>(mut items: Vec<T>, size: usize, cursor: impl Fn(&T) -> String) -> Page<T> {
    let more = items.len() > size;
    items.truncate(size);
    Page {
        next_cursor: items.last().filter(|_| more).map(cursor),
        items,
    }
}

/// How many rows to ask for, so that [`page`] knows whether there are more.
pub fn limit(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX).saturating_add(1)
}
