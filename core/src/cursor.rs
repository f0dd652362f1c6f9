//! Cursors: where the next page of a list starts.

use crate::{domain::ListPage, ids::Id, refusal::Refusal};
use uuid::Uuid;

/// Parses a cursor into a list ordered by a number.
pub fn number(cursor: Option<&str>) -> Result<Option<i64>, Refusal> {
    cursor.map(|cursor| cursor.parse().map_err(|_| Refusal::Cursor)).transpose()
}

/// Parses a cursor into a list ordered by time, then by id.
pub fn moment(cursor: Option<&str>) -> Result<Option<(i64, [u8; 16])>, Refusal> {
    let parse = |cursor: &str| {
        let (millis, id) = cursor.split_once('.')?;
        Some((millis.parse().ok()?, Uuid::try_parse(id).ok()?.into_bytes()))
    };
    cursor.map(|cursor| parse(cursor).ok_or(Refusal::Cursor)).transpose()
}

/// The cursor after an item of a list ordered by time, then by id.
pub fn after(millis: i64, id: impl Id) -> String {
    format!("{millis}.{}", id.uuid().simple())
}

/// A page out of up to `size + 1` items: the extra item shows that there is another page.
pub fn page<T>(mut items: Vec<T>, size: usize, cursor: impl Fn(&T) -> String) -> ListPage<T> {
    let more = items.len() > size;
    items.truncate(size);
    ListPage {
        next_cursor: items.last().filter(|_| more).map(cursor),
        items,
    }
}

/// A page of at most `size` items that ends earlier if they would weigh more than `most` together; the first item is always
/// included. Reads one item more than it keeps, so a lazy source is never held in full.
pub fn weighed<T, E>(
    items: impl IntoIterator<Item = Result<T, E>>,
    size: usize,
    most: usize,
    weight: impl Fn(&T) -> usize,
    cursor: impl Fn(&T) -> String,
) -> Result<ListPage<T>, E> {
    let mut kept: Vec<T> = Vec::new();
    let mut together = 0_usize;
    for item in items {
        let item = item?;
        together = together.saturating_add(weight(&item));
        if !kept.is_empty() && (kept.len() >= size || together > most) {
            return Ok(ListPage {
                next_cursor: kept.last().map(cursor),
                items: kept,
            });
        }
        kept.push(item);
    }
    Ok(ListPage {
        items: kept,
        next_cursor: None,
    })
}

/// How many rows to ask for, so that [`page`] knows whether there are more.
pub fn limit(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(weights: &[usize], size: usize) -> Vec<Vec<usize>> {
        let mut pages = Vec::new();
        let mut from = 0;
        loop {
            let rest = weights
                .iter()
                .enumerate()
                .skip(from)
                .map(|(place, weight)| Ok::<_, ()>((place, *weight)));
            let page = weighed(rest, size, 10, |(_, weight)| *weight, |(place, _)| place.to_string());
            let page = page.expect("no item fails");
            pages.push(page.items.iter().map(|(_, weight)| *weight).collect());
            match page.next_cursor {
                Some(cursor) => from = cursor.parse::<usize>().expect("a place") + 1,
                None => return pages,
            }
        }
    }

    #[test]
    fn a_page_ends_by_count_or_by_weight_and_the_next_one_begins_there() {
        assert_eq!(pages(&[], 3), [Vec::<usize>::new()]);
        assert_eq!(pages(&[1, 1, 1, 1], 3), [vec![1, 1, 1], vec![1]]);
        assert_eq!(pages(&[1, 1, 1], 3), [vec![1, 1, 1]]);
        assert_eq!(pages(&[6, 4, 1, 9], 3), [vec![6, 4], vec![1, 9]]);
        assert_eq!(pages(&[50, 50, 1], 3), [vec![50], vec![50], vec![1]], "one is always in it");
    }
}
