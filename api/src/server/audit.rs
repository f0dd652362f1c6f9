//! `duet-api audit`.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use duet_core::{
    StoreError, StoreResult,
    caller::Caller,
    domain::{AuditHead, Role},
    ids::WorkspaceId,
    ports::{ChainCheck, Stores},
};
use serde_json::json;

use super::{
    Global,
    deployment::{Deployment, Hints},
    settings,
};
use crate::{
    anchors::{self, Checked, Lines},
    command::{
        exit::{Exit, Failure, Outcome},
        output::Output,
    },
};

/// `duet-api audit …`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Recompute the hash chains of every workspace's audit log and runs; fails if one is broken
    Verify {
        /// Also check the logs against the anchors that `[audit] anchors` has written to this file
        #[arg(long, value_name = "FILE")]
        anchors: Option<PathBuf>,
    },
}

pub async fn run(global: &Global, output: Output, command: AuditCommand) -> Outcome {
    let AuditCommand::Verify { anchors } = command;
    let deployment = Deployment::open(settings(global, Vec::new())?, Hints::Polling).await?;
    let verified = verify(deployment.state.stores(), anchors.as_deref()).await;
    deployment.close().await;
    let (found, unreadable) = verified.map_err(|error| Failure::unavailable(error.to_string()))?;
    if let Some(file) = &anchors
        && found.iter().all(|one| one.anchors == 0 && one.broken.is_none())
    {
        return Err(Failure::failed(format!(
            "There is no anchor in {}. Check the path, and `audit.anchors` in the configuration.",
            file.display()
        )));
    }
    if unreadable > 0 {
        output.say(&format!(
            "{unreadable} lines of the file are no anchors: cut off, or changed."
        ));
    }
    let broken = found.iter().filter(|one| one.broken.is_some()).count();
    if output.json {
        let workspaces: Vec<_> = found
            .iter()
            .map(|one| json!({"workspace_id": one.workspace, "rows": one.rows, "anchors": one.anchors, "broken": one.broken}))
            .collect();
        output.value(&json!({"intact": broken == 0, "workspaces": workspaces, "unreadable": unreadable}))?;
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

/// The result for one workspace.
struct Found {
    workspace: String,
    rows: u64,
    anchors: usize,
    broken: Option<String>,
}

impl Found {
    fn of(workspace: WorkspaceId) -> Self {
        Self {
            workspace: workspace.to_string(),
            rows: 0,
            anchors: 0,
            broken: None,
        }
    }
}

/// The result for each workspace, and how many lines of the file are not anchors.
async fn verify(stores: &Stores, file: Option<&Path>) -> StoreResult<(Vec<Found>, usize)> {
    let lines = file.map(|path| Ok::<_, StoreError>((path, Lines::open(path)?))).transpose()?;
    let heads = anchors::heads(&*stores.system).await?;
    let mut found = Vec::new();
    for head in &heads {
        found.push(workspace(stores, head).await?);
    }
    let unreadable = match lines {
        Some((path, lines)) => anchored(stores, &heads, path, lines, &mut found).await?,
        None => 0,
    };
    Ok((found, unreadable))
}

async fn workspace(stores: &Stores, head: &AuditHead) -> Result<Found, StoreError> {
    let mut found = Found::of(head.workspace_id);
    match stores.audit.verify(&owner(head)).await? {
        ChainCheck::Intact(rows) => found.rows = rows,
        ChainCheck::Broken { chain, seq } => found.broken = Some(format!("the chain `{chain}` does not hold at row {seq}")),
    }
    Ok(found)
}

/// The caller as whom a log is read.
fn owner(head: &AuditHead) -> Caller {
    Caller::person(head.owner, head.workspace_id, Role::Owner)
}

/// Checks the anchors one by one; holds only a stretch of each workspace's log, however long the file is. Returns how many lines
/// are not anchors.
async fn anchored(
    stores: &Stores,
    heads: &[AuditHead],
    path: &Path,
    mut lines: Lines<File>,
    found: &mut Vec<Found>,
) -> StoreResult<usize> {
    let places: HashMap<WorkspaceId, usize> = heads.iter().map(|head| head.workspace_id).zip(0..).collect();
    let mut checked: Vec<Checked> = heads.iter().map(|_| Checked::default()).collect();
    // Anchors whose workspace no longer has a log.
    let mut gone: BTreeMap<WorkspaceId, usize> = BTreeMap::new();
    let mut unreadable = 0;
    while let Some(line) = lines.read().map_err(|error| anchors::unreadable(path, &error))? {
        let Some(anchor) = line else {
            unreadable += 1;
            continue;
        };
        match places.get(&anchor.workspace_id) {
            // The break in its own chain is enough to report.
            Some(place) if found[*place].broken.is_some() => {}
            Some(place) => {
                let caller = owner(&heads[*place]);
                let read = |page| async move { Ok::<_, StoreError>(stores.audit.entries(&caller, page).await?.items) };
                checked[*place].check(anchor, read).await?;
            }
            None => *gone.entry(anchor.workspace_id).or_default() += 1,
        }
    }
    for (one, checked) in found.iter_mut().zip(checked) {
        one.anchors = checked.anchors;
        if let Some(anchor) = checked.broken {
            one.broken = Some(format!(
                "the audit log does not bear out what was anchored at {}: entry {} is not there, or is another one",
                anchor.at, anchor.seq
            ));
        }
    }
    found.extend(gone.into_iter().map(|(workspace, anchors)| Found {
        anchors,
        broken: Some("it is anchored, and has no audit log".into()),
        ..Found::of(workspace)
    }));
    Ok(unreadable)
}
