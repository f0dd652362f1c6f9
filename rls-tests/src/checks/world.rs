//! The suite knows every table, and the world has rows in each.

use anyhow::Result;

use crate::{
    attempt::Stage,
    catalogue,
    matrix::Table,
    suite::Report,
    words::{self, Place},
};

/// Finds tables that nobody attacks.
pub async fn world(stage: &mut Stage, tables: &[Table], report: &mut Report) -> Result<()> {
    let check = "world";
    let there = catalogue::tables(stage).await?;
    for unknown in there.iter().filter(|name| tables.iter().all(|table| table.name != **name)) {
        report.find(
            check,
            format!("{unknown} is not in matrix.txt: declare who may do what with it."),
        );
    }
    for table in tables {
        if !there.contains(&table.name) {
            report.find(check, format!("{} is in matrix.txt and not in the database.", table.name));
            continue;
        }
        for (whose, condition) in wanted(table) {
            let found = stage
                .rows(&format!(
                    "select exists (select from {} t where {condition})::text",
                    table.name
                ))
                .await?;
            report.tried += 1;
            if found != ["true"] {
                report.find(check, format!("{} has no row of {whose}: add one to world.sql.", table.name));
            }
        }
    }
    Ok(())
}

/// The rows that a table needs so that an attack on it means something.
fn wanted(table: &Table) -> Vec<(String, String)> {
    match (&table.workspace, &table.person) {
        (None, None) => vec![("any kind".into(), "true".into())],
        (None, Some(person)) => words::PEOPLE
            .iter()
            .map(|name| ((*name).to_owned(), format!("{person} = {}", words::person_id(name))))
            .collect(),
        (Some(workspace), None) => words::WORKSPACES
            .iter()
            .map(|name| {
                (
                    format!("workspace {name}"),
                    format!("{workspace} = {}", words::workspace_id(name)),
                )
            })
            .collect(),
        (Some(workspace), Some(person)) => Place::ALL
            .iter()
            .filter(|place| table.name != "duet.member" || **place != Place::FORMER)
            .map(|place| {
                let whose = format!("{} in workspace {}", place.person, place.workspace);
                (whose, place.fill(&format!("{workspace} = {{ws}} and {person} = {{me}}")))
            })
            .collect(),
    }
}
