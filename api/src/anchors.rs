//! Anchors of the audit logs: where each of them ends, appended to a file of the operator's choice, outside the database whose owner
//! could cut the logs. `audit verify --anchors` asks whether the logs still bear them out.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    time::Duration,
};

use duet_core::{
    StoreError, StoreResult, Timestamp,
    caller::Caller,
    domain::{Anchor, AuditEntry, AuditHead, PageRequest},
    ids::WorkspaceId,
    ports::{AuditLog, SystemStore},
};
use tokio::sync::watch;
use tracing::error;

use crate::state::AppState;

/// Heads read at a time.
const HEADS: usize = 500;
/// Entries read at a time.
const PAGE: u32 = 200;
/// So much of the file's end says which heads were written down last.
const TAIL: u64 = 64 << 10;

/// Writes down, now and then and once more at the end, which heads have moved. Does nothing where the settings name no file.
pub async fn keep(state: AppState, mut stop: watch::Receiver<bool>) {
    let pause = Duration::from_secs(state.config().audit.anchor_seconds);
    if state.config().audit.anchors.is_none() {
        return;
    }
    loop {
        let last = *stop.borrow();
        once(&state).await;
        if last {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = stop.changed() => if changed.is_err() { return },
        }
    }
}

/// Writes down the heads that have moved since the last time, where the settings name a file.
pub async fn once(state: &AppState) {
    let Some(path) = &state.config().audit.anchors else { return };
    let write = async {
        let heads = heads(&*state.stores().system).await.map_err(|error| error.to_string())?;
        append(path, &heads, state.env().now()).map_err(|error| error.to_string())
    };
    if let Err(error) = write.await {
        error!(%error, path = %path.display(), "the audit logs could not be anchored; the next time is tried again");
    }
}

/// Where all audit logs end.
pub async fn heads(system: &dyn SystemStore) -> StoreResult<Vec<AuditHead>> {
    let mut heads: Vec<AuditHead> = Vec::new();
    loop {
        let more = system.audit_heads(heads.last().map(|head| head.workspace_id), HEADS).await?;
        if more.is_empty() {
            return Ok(heads);
        }
        heads.extend(more);
    }
}

/// All entries of the caller's workspace.
pub async fn entries(audit: &dyn AuditLog, caller: &Caller) -> StoreResult<Vec<AuditEntry>> {
    let mut entries = Vec::new();
    let mut request = PageRequest::first(PAGE);
    loop {
        let page = audit.entries(caller, request).await?;
        entries.extend(page.items);
        match page.next_cursor {
            None => return Ok(entries),
            cursor => request = PageRequest { cursor, limit: PAGE },
        }
    }
}

/// Appends heads that the file's end does not have yet. The file is only ever appended to, so that it may be one of that kind.
fn append(path: &Path, heads: &[AuditHead], at: Timestamp) -> io::Result<()> {
    let mut options = File::options();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let known: HashMap<WorkspaceId, u64> = parse(&tail)
        .anchors
        .into_iter()
        .map(|anchor| (anchor.workspace_id, anchor.seq))
        .collect();
    let mut lines = Vec::new();
    if tail.last().is_some_and(|last| *last != b'\n') {
        // What a crash cut off must not run into the next line.
        lines.push(b'\n');
    }
    for head in heads.iter().filter(|head| known.get(&head.workspace_id) != Some(&head.seq)) {
        let anchor = Anchor {
            at,
            workspace_id: head.workspace_id,
            seq: head.seq,
            hash: head.hash.clone(),
        };
        serde_json::to_writer(&mut lines, &anchor)?;
        lines.push(b'\n');
    }
    if lines.is_empty() {
        return Ok(());
    }
    file.write_all(&lines)?;
    file.sync_data()
}

/// What a file of anchors holds.
#[derive(Debug)]
pub struct Kept {
    /// The anchors, oldest first.
    pub anchors: Vec<Anchor>,
    /// Lines that are none: cut off by a crash, or changed.
    pub unreadable: usize,
}

impl Kept {
    /// Those of one workspace.
    pub fn of(&self, workspace: WorkspaceId) -> Vec<Anchor> {
        let own = |anchor: &&Anchor| anchor.workspace_id == workspace;
        self.anchors.iter().filter(own).cloned().collect()
    }
}

/// Reads a file of anchors.
pub fn read(path: &Path) -> Result<Kept, StoreError> {
    let text = std::fs::read(path).map_err(|error| {
        StoreError::unavailable(format!(
            "The anchors {} cannot be read: {error}. Check the path.",
            path.display()
        ))
    })?;
    Ok(parse(&text))
}

fn parse(text: &[u8]) -> Kept {
    let mut kept = Kept {
        anchors: Vec::new(),
        unreadable: 0,
    };
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(anchor) => kept.anchors.push(anchor),
            Err(_) => kept.unreadable += 1,
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use duet_core::ids::{Id, UserId};

    use super::*;

    fn head(workspace: u128, seq: u64) -> AuditHead {
        AuditHead {
            workspace_id: WorkspaceId::from_uuid(uuid::Uuid::from_u128(workspace)),
            owner: UserId::from_uuid(uuid::Uuid::nil()),
            seq,
            hash: format!("{seq:064}"),
        }
    }

    #[test]
    fn heads_are_appended_when_they_move_and_a_line_that_was_cut_off_stays_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchors");
        let at = Timestamp::from_millis(1);
        append(&path, &[head(1, 3), head(2, 1)], at).unwrap();
        append(&path, &[head(1, 3), head(2, 2)], at).unwrap();
        let seqs = |kept: &Kept| kept.anchors.iter().map(|anchor| anchor.seq).collect::<Vec<_>>();
        assert_eq!(seqs(&read(&path).unwrap()), [3, 1, 2]);
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 20]).unwrap();
        append(&path, &[head(1, 3), head(2, 2)], at).unwrap();
        let kept = read(&path).unwrap();
        assert_eq!((seqs(&kept), kept.unreadable), (vec![3, 1, 2], 1));
        assert!(
            std::fs::read(&path).unwrap().starts_with(&text[..text.len() - 20]),
            "only appended to"
        );
    }
}
