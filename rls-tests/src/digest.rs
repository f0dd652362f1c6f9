//! Digests of tables, to notice changes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::{attempt::Stage, matrix::Table};

/// A digest for each table.
pub struct Digest {
    query: String,
}

impl Digest {
    /// Covers all rows of these tables.
    pub fn of(tables: &[Table], there: &[String]) -> Self {
        let parts: Vec<String> = tables
            .iter()
            .filter(|table| there.contains(&table.name))
            .map(|table| {
                format!(
                    "select '{0} ' || coalesce(sum(hashtextextended(t::text, 1)), 0) || ' ' || count(*) from {0} t",
                    table.name
                )
            })
            .collect();
        Self {
            query: parts.join(" union all "),
        }
    }

    /// Takes the current digest.
    pub async fn take(&self, stage: &mut Stage) -> Result<BTreeMap<String, String>> {
        let rows = stage.rows(&self.query).await?;
        Ok(rows
            .iter()
            .filter_map(|row| row.split_once(' '))
            .map(|(table, content)| (table.to_owned(), content.to_owned()))
            .collect())
    }
}

/// The tables that differ.
pub fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> BTreeSet<String> {
    before
        .iter()
        .filter(|(table, content)| after.get(*table) != Some(content))
        .map(|(table, _)| table.clone())
        .collect()
}
