//! `duet-api audit`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use duet_core::{
    StoreError, StoreResult,
    caller::Caller,
    domain::{Anchor, AuditHead, Role},
    ports::{ChainCheck, Stores},
};
use serde_json::json;

use super::{
    Global,
    deployment::{Deployment, Hints},
    settings,
};
use crate::{
    anchors::{self, Kept},
    command::{
        exit::{Exit, Failure, Outcome},
        output::Output,
    },
};

/// `duet-api audit …`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Recompute the hash chains of every workspace's audit log and runs; fails where one is broken
    Verify {
        /// Also check the logs against the anchors that `[audit] anchors` has had written to this file
        #[arg(long, value_name = "FILE")]
        anchors: Option<PathBuf>,
    },
}

pub async fn run(global: &Global, output: Output, command: AuditCommand) -> Outcome {
    let AuditCommand::Verify { anchors } = command;
    let deployment = Deployment::open(settings(global, Vec::new())?, Hints::Polling).await?;
    let verified = verify(deployment.state.stores(), anchors.as_deref()).await;
    deployment.close().await;
    let found = verified.map_err(|error| Failure::unavailable(error.to_string()))?;
    let broken = found.iter().filter(|one| one.broken.is_some()).count();
    if output.json {
        let workspaces: Vec<_> = found
            .iter()
            .map(|one| json!({"workspace_id": one.workspace, "rows": one.rows, "anchors": one.anchors, "broken": one.broken}))
            .collect();
        output.value(&json!({"intact": broken == 0, "workspaces": workspaces}))?;
    } else {
        for one in &found {
            output.line(&match &one.broken {
                None => format!("{} intact: {} rows, {} anchors", one.workspace, one.rows, one.anchors),
                Some(broken) => format!("{} BROKEN: {broken}", one.workspace),
            })?;
        }
    }
    match broken {
        0 => Ok(()),
        _ => Err(Failure::Silent(Exit::Failed)),
    }
}

/// What was found of one workspace.
struct Found {
    workspace: String,
    rows: u64,
    anchors: usize,
    broken: Option<String>,
}

async fn verify(stores: &Stores, file: Option<&Path>) -> StoreResult<Vec<Found>> {
    let kept = file.map(anchors::read).transpose()?;
    let heads = anchors::heads(&*stores.system).await?;
    let mut found = Vec::new();
    for head in &heads {
        found.push(workspace(stores, head, kept.as_ref()).await?);
    }
    let Some(kept) = kept else { return Ok(found) };
    // Anchors whose workspace has no log at all any more.
    let mut gone: Vec<_> = kept.anchors.iter().map(|anchor| anchor.workspace_id).collect();
    gone.sort();
    gone.dedup();
    gone.retain(|workspace| heads.iter().all(|head| head.workspace_id != *workspace));
    found.extend(gone.into_iter().map(|workspace| Found {
        workspace: workspace.to_string(),
        rows: 0,
        anchors: kept.of(workspace).len(),
        broken: Some("it is anchored, and has no audit log".into()),
    }));
    Ok(found)
}

async fn workspace(stores: &Stores, head: &AuditHead, kept: Option<&Kept>) -> Result<Found, StoreError> {
    let caller = Caller::person(head.owner, head.workspace_id, Role::Owner);
    let mut found = Found {
        workspace: head.workspace_id.to_string(),
        rows: 0,
        anchors: 0,
        broken: None,
    };
    match stores.audit.verify(&caller).await? {
        ChainCheck::Intact(rows) => found.rows = rows,
        ChainCheck::Broken { chain, seq } => {
            found.broken = Some(format!("the chain `{chain}` does not hold at row {seq}"));
            return Ok(found);
        }
    }
    let Some(kept) = kept else { return Ok(found) };
    let own = kept.of(head.workspace_id);
    let entries = anchors::entries(&*stores.audit, &caller).await?;
    found.anchors = own.len();
    found.broken = Anchor::first_broken(&own, &entries).map(|anchor| {
        format!(
            "the audit log does not bear out what was anchored at {}: entry {} is not there, or is another one",
            anchor.at, anchor.seq
        )
    });
    Ok(found)
}
