//! Rules for the catalogue: each a query in `rules/` whose rows are findings.

use anyhow::Result;

use crate::{attempt::Stage, suite::Report};

macro_rules! rules {
    ($($name:literal),+ $(,)?) => { [$(($name, include_str!(concat!("../../rules/", $name, ".sql")))),+] };
}

/// All rules, exactly those of the folder (a test compares).
pub const RULES: &[(&str, &str)] = &rules![
    "01_row_level_security",
    "02_nobody_is_everybody",
    "03_definer",
    "04_search_path",
    "05_views",
    "06_grants",
    "07_keys",
    "08_foreign_keys",
    "09_foreign_keys_indexed",
    "10_workspace_stays",
    "11_policies_once",
    "12_policies_for_roles",
    "13_roles",
    "14_owned_by_the_owner",
    "15_append_only",
    "16_temporary",
    "17_nothing_elsewhere",
    "18_triggers",
    "19_unique",
];

/// Finds violated rules.
pub async fn rules(stage: &mut Stage, report: &mut Report) -> Result<()> {
    for (name, sql) in RULES {
        report.tried += 1;
        for row in stage.rows(sql).await? {
            report.find(&format!("rule {name}"), row);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_and_the_list_are_the_same() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/rules");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        files.sort();
        assert_eq!(files, RULES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
