//! `duet audit`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use duet_api::anchors::{self, Checked, Lines};
use duet_core::domain::{Anchor, AuditEntry, ListPage, PageRequest};
use serde_json::{Value, json};

use super::{
    Global,
    connect::{self, Connection, Purpose},
    exit::{Failure, Outcome},
    input, inside,
    output::{Output, brief, local_time},
};

/// `duet audit …`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List what was done, newest first
    List {
        /// At most this many
        #[arg(long, short = 'n', default_value = "50", value_parser = input::count, value_name = "COUNT")]
        limit: usize,
    },
    /// Recompute the hash chains of the audit log and of every run; fails if one is broken
    Verify {
        /// Also check the log against the anchors that `[audit] anchors` has written to this file
        #[arg(long, value_name = "FILE")]
        anchors: Option<PathBuf>,
    },
}

pub async fn run(global: &Global, output: Output, command: AuditCommand) -> Outcome {
    let connection = connect::connect(global, output, Purpose::Read).await?;
    let outcome = match command {
        AuditCommand::List { limit } => list(&connection, output, limit).await,
        AuditCommand::Verify { anchors } => verify(&connection, output, anchors.as_deref()).await,
    };
    connection.close().await;
    outcome
}

async fn list(connection: &Connection, output: Output, limit: usize) -> Outcome {
    let entries: Vec<AuditEntry> = connection.pages("/audit", "", limit).await?;
    if output.json {
        return output.value(&entries);
    }
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            let by = if entry.agent_id.is_some() { "agent" } else { "person" };
            [
                entry.seq.to_string(),
                local_time(entry.at),
                by.to_owned(),
                entry.action.clone(),
                brief(&entry.target, 60),
                entry.outcome.to_string(),
            ]
        })
        .collect();
    output.table(
        ["SEQ", "AT", "BY", "ACTION", "TARGET", "OUTCOME"],
        &rows,
        "The audit log is empty.",
    )
}

async fn verify(connection: &Connection, output: Output, file: Option<&Path>) -> Outcome {
    let mut check: Value = connection.client.get(&connection.path("/audit/verify")).await?;
    let anchors = match file {
        Some(file) if check["intact"] == true => Some(anchored(connection, file).await?),
        _ => None,
    };
    if let Some(anchored) = &anchors {
        check["anchors"] = json!({"held": anchored.held, "unreadable": anchored.unreadable, "broken": anchored.broken});
        check["intact"] = anchored.broken.is_none().into();
    }
    if output.json {
        output.value(&check)?;
    }
    if check["intact"] == true {
        if !output.json {
            output.line(&format!("intact: {} rows", check["rows"]))?;
        }
        if let Some(anchored) = &anchors {
            anchored.tell(output)?;
        }
        return Ok(());
    }
    if let Some(broken) = anchors.and_then(|anchored| anchored.broken) {
        return Err(Failure::failed(format!(
            "The audit log does not bear out what was anchored at {}: entry {} is not there, or is another one. The log was cut or \
             written anew. Compare it with a backup.",
            broken.at, broken.seq
        )));
    }
    let broken = &check["broken"];
    Err(Failure::failed(format!(
        "The chain `{}` is broken at row {}: something outside Duet changed the data file. Compare it with a backup.",
        broken["chain"].as_str().unwrap_or_default(),
        broken["seq"]
    )))
}

/// The result of checking this workspace's anchors.
struct Anchored {
    held: usize,
    unreadable: usize,
    broken: Option<Anchor>,
}

impl Anchored {
    fn tell(&self, output: Output) -> Outcome {
        if self.unreadable > 0 {
            output.say(&format!(
                "{} lines of the file are no anchors: cut off, or changed.",
                self.unreadable
            ));
        }
        if output.json {
            return Ok(());
        }
        output.line(&format!("anchors: {} hold", self.held))
    }
}

async fn anchored(connection: &Connection, file: &Path) -> Outcome<Anchored> {
    let mut lines = inside::stored(Lines::open(file))?;
    let (mut checked, mut unreadable) = (Checked::default(), 0);
    loop {
        let line = lines.read().map_err(|error| anchors::unreadable(file, &error));
        match inside::stored(line)? {
            None => break,
            Some(None) => unreadable += 1,
            Some(Some(anchor)) if anchor.workspace_id.to_string() == connection.workspace() => {
                checked.check(anchor, |page| entries(connection, page)).await?;
            }
            Some(Some(_)) => {}
        }
    }
    if checked.anchors == 0 {
        return Err(Failure::not_found(format!(
            "There is no anchor of this workspace in {}. Check the path, and `audit.anchors` in the configuration.",
            file.display()
        )));
    }
    Ok(Anchored {
        held: checked.anchors,
        unreadable,
        broken: checked.broken,
    })
}

async fn entries(connection: &Connection, page: PageRequest) -> Outcome<Vec<AuditEntry>> {
    let from = page.cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
    let path = connection.path(&format!("/audit?limit={}{from}", page.limit));
    Ok(connection.client.get::<ListPage<AuditEntry>>(&path).await?.items)
}
