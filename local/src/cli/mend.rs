//! `duet doctor --salvage` and `--accept-loss`: what can be done with a damaged or incomplete data file.

use std::path::Path;

use super::{
    exit::{Failure, Outcome},
    inside,
    output::Output,
    settings::Settings,
};
use duet_sqlite::{Dropped, Gap, LocalStore, Salvaged};

/// Copies what can be read into a new file, and lists what cannot.
pub fn salvage(settings: &Settings, output: Output, into: &Path) -> Outcome {
    let (options, _) = inside::options(settings)?;
    let salvaged = LocalStore::salvage(&options, into).map_err(inside::OpenFailure::from)?;
    if output.json {
        output.value(&salvaged)?;
    } else {
        list(output, &salvaged)?;
    }
    if !salvaged.owned && !salvaged.is_whole() {
        return Err(Failure::failed(format!(
            "{} has what could be read of {}, but nobody can sign in to it: no owner's account or membership was left. Restore a backup to \
             go on. The rows are all there, under the same key, for somebody who reads the file with SQLCipher.",
            into.display(),
            settings.data.display()
        )));
    }
    if output.json {
        return Ok(());
    }
    output.say(&format!(
        "{} has what could be read of {}, under the same key. Look at it with `duet --data {} doctor --deep`; to go on with it, put it in \
         the place of the damaged file, and keep that one apart.",
        into.display(),
        settings.data.display(),
        into.display()
    ));
    Ok(())
}

fn list(output: Output, salvaged: &Salvaged) -> Outcome {
    let rows: u64 = salvaged.tables.iter().map(|table| table.rows).sum();
    output.line(&format!("copied      {rows} rows of {} tables", salvaged.tables.len()))?;
    for table in &salvaged.tables {
        for Gap { after, before } in &table.gaps {
            let stretch = match (after, before) {
                (None, None) => "all of it".to_owned(),
                (None, Some(before)) => format!("before {before}"),
                (Some(after), None) => format!("after {after}"),
                (Some(after), Some(before)) => format!("between {after} and {before}"),
            };
            output.line(&format!("unreadable  {} ({} rows copied): {stretch}", table.name, table.rows))?;
        }
    }
    for Dropped { table, rows } in &salvaged.dropped {
        output.line(&format!(
            "left out    {rows} rows of {table}: they refer to rows that are lost"
        ))?;
    }
    match salvaged.dangling {
        0 => Ok(()),
        rows => output.line(&format!("dangling    {rows} rows refer to rows that are lost")),
    }
}

/// Continues without the changes that the file has lost.
pub fn accept_loss(settings: &Settings, output: Output) -> Outcome {
    if !settings.data.exists() {
        LocalStore::check_place(&settings.data).map_err(inside::OpenFailure::from)?;
        return Err(Failure::not_found(format!(
            "There is no data file at {}.",
            settings.data.display()
        )));
    }
    let (options, _) = inside::options(settings)?;
    let loss = LocalStore::accept_loss(&options).map_err(inside::OpenFailure::from)?;
    if output.json {
        return output.value(&serde_json::json!({"lost": loss.as_ref().map(ToString::to_string)}));
    }
    match loss {
        Some(loss) => output.line(&format!(
            "Duet goes on with {} as it is: {loss}. The audit log says so.",
            settings.data.display()
        )),
        None => output.line(&format!("{} has lost nothing that Duet knows of.", settings.data.display())),
    }
}
