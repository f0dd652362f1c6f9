//! `duet audit`.

use clap::Subcommand;
use duet_core::domain::AuditEntry;
use serde_json::Value;

use super::{
    Global,
    connect::{self, Connection},
    exit::{Failure, Outcome},
    output::{Output, brief, local_time},
};

/// `duet audit …`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List what was done, newest first
    List {
        /// At most so many
        #[arg(long, short = 'n', default_value_t = 50, value_name = "COUNT")]
        limit: usize,
    },
    /// Recompute the hash chains of the audit log and of every run; fails where one is broken
    Verify,
}

pub async fn run(global: &Global, output: Output, command: AuditCommand) -> Outcome {
    let connection = connect::connect(global, output).await?;
    let outcome = match command {
        AuditCommand::List { limit } => list(&connection, output, limit).await,
        AuditCommand::Verify => verify(&connection, output).await,
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

async fn verify(connection: &Connection, output: Output) -> Outcome {
    let check: Value = connection.client.get(&connection.path("/audit/verify")).await?;
    if output.json {
        output.value(&check)?;
    }
    if check["intact"] == true {
        if !output.json {
            output.line(&format!("intact: {} rows", check["rows"]))?;
        }
        return Ok(());
    }
    let broken = &check["broken"];
    Err(Failure::failed(format!(
        "The chain `{}` is broken at row {}: something outside Duet changed the data file. Compare it with a backup.",
        broken["chain"].as_str().unwrap_or_default(),
        broken["seq"]
    )))
}
