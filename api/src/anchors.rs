//! Anchors of the audit logs: where each log ends, appended to a file of the operator's choice, outside the database whose owner
//! could truncate the logs. `audit verify --anchors` checks whether the logs still match them.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use duet_core::{
    StoreError, StoreResult, Timestamp,
    domain::{Anchor, AuditEntry, AuditHead, PageRequest},
    ids::WorkspaceId,
    ports::SystemStore,
};
use tokio::sync::watch;
use tracing::error;

use crate::state::AppState;

/// Heads read at a time.
const HEADS: usize = 500;
/// Entries of a log that are read together; consecutive anchors are often this close.
const WINDOW: u32 = 50;
/// More than any anchor takes: a longer line is not an anchor, and is not kept in memory.
const LINE: usize = 4 << 10;

/// Records at intervals, and once more at the end, which heads have moved. Does nothing if the settings name no file.
pub async fn keep(state: AppState, mut stop: watch::Receiver<bool>) {
    let pause = Duration::from_secs(state.config().audit.anchor_seconds);
    let Some(path) = &state.config().audit.anchors else { return };
    let mut anchors = Anchors::at(path);
    loop {
        let last = *stop.borrow();
        anchors.once(&state).await;
        if last {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = stop.changed() => if changed.is_err() { return },
        }
    }
}

/// Records the heads that have moved since the last time, if the settings name a file.
pub async fn once(state: &AppState) {
    if let Some(path) = &state.config().audit.anchors {
        Anchors::at(path).once(state).await;
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

/// A file of anchors to which heads are appended, with the last ones of each workspace. It is only ever appended to, so it may be
/// an append-only file.
struct Anchors {
    path: PathBuf,
    /// The file's last anchor of each workspace, up to `read`.
    last: HashMap<WorkspaceId, (u64, String)>,
    read: u64,
}

impl Anchors {
    fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            last: HashMap::new(),
            read: 0,
        }
    }

    async fn once(&mut self, state: &AppState) {
        let write = async {
            let heads = heads(&*state.stores().system).await.map_err(|error| error.to_string())?;
            self.append(&heads, state.env().now()).map_err(|error| error.to_string())
        };
        if let Err(error) = write.await {
            error!(%error, path = %self.path.display(), "the audit logs could not be anchored; the next time is tried again");
        }
    }

    /// Appends the heads that the file does not have yet.
    fn append(&mut self, heads: &[AuditHead], at: Timestamp) -> io::Result<()> {
        let mut options = File::options();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&self.path)?;
        let cut_off = self.catch_up(&file)?;
        let mut lines = Vec::new();
        if cut_off {
            // A line cut off by a crash must not run into the next one.
            lines.push(b'\n');
        }
        for head in heads {
            let known = self.last.get(&head.workspace_id);
            if known.is_some_and(|(seq, hash)| *seq == head.seq && *hash == head.hash) {
                continue;
            }
            let anchor = Anchor {
                at,
                workspace_id: head.workspace_id,
                seq: head.seq,
                hash: head.hash.clone(),
            };
            serde_json::to_writer(&mut lines, &anchor)?;
            lines.push(b'\n');
        }
        if lines.len() <= usize::from(cut_off) {
            return Ok(());
        }
        file.write_all(&lines)?;
        file.sync_data()
    }

    /// Reads what was added to the file since the last time; returns whether its last line is incomplete. A file that has become
    /// shorter is a different one.
    fn catch_up(&mut self, file: &File) -> io::Result<bool> {
        if file.metadata()?.len() < self.read {
            self.last.clear();
            self.read = 0;
        }
        let mut lines = Lines::starting(file, self.read)?;
        while let Some(line) = lines.read()? {
            if let Some(anchor) = line {
                self.last.insert(anchor.workspace_id, (anchor.seq, anchor.hash));
            }
            if lines.cut_off {
                return Ok(true);
            }
            self.read = lines.at;
        }
        Ok(false)
    }
}

/// The lines of a file of anchors, one at a time: the file is never in memory as a whole.
pub struct Lines<R> {
    file: BufReader<R>,
    line: Vec<u8>,
    at: u64,
    cut_off: bool,
}

impl Lines<File> {
    /// Of the file at `path`.
    pub fn open(path: &Path) -> StoreResult<Self> {
        let opened = File::open(path).and_then(|file| Self::starting(file, 0));
        opened.map_err(|error| unreadable(path, &error))
    }
}

impl<R: Read + Seek> Lines<R> {
    fn starting(mut file: R, at: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(at))?;
        Ok(Self {
            file: BufReader::new(file),
            line: Vec::new(),
            at,
            cut_off: false,
        })
    }

    /// The next anchor; `Some(None)` for a line that is not one: cut off by a crash, or changed.
    pub fn read(&mut self) -> io::Result<Option<Option<Anchor>>> {
        loop {
            self.line.clear();
            let mut length = 0;
            loop {
                let piece = self.file.fill_buf()?;
                let end = piece.iter().position(|byte| *byte == b'\n');
                let taken = end.map_or(piece.len(), |end| end + 1);
                let room = LINE.saturating_sub(self.line.len()).min(taken);
                self.line.extend_from_slice(&piece[..room]);
                let ended = end.is_some() || piece.is_empty();
                self.file.consume(taken);
                length += taken as u64;
                self.cut_off = end.is_none();
                if ended {
                    break;
                }
            }
            if length == 0 {
                return Ok(None);
            }
            self.at += length;
            let whole = length <= LINE as u64;
            match self.line.strip_suffix(b"\n").unwrap_or(&self.line) {
                [] => {}
                line if whole => return Ok(Some(serde_json::from_slice(line).ok())),
                _ => return Ok(Some(None)),
            }
        }
    }
}

/// The error for a file of anchors that cannot be read.
pub fn unreadable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::unavailable(format!(
        "The anchors {} cannot be read: {error}. Check the path.",
        path.display()
    ))
}

/// The result of checking the anchors of one workspace. Holds only a stretch of the log, however many anchors there are.
#[derive(Debug, Default)]
pub struct Checked {
    /// How many there are.
    pub anchors: usize,
    /// The first that the log does not match: the entry is missing, or has another hash.
    pub broken: Option<Anchor>,
    from: u64,
    to: u64,
    hashes: HashMap<u64, String>,
}

impl Checked {
    /// Checks one more anchor; `read` gives a page of the workspace's audit log.
    pub async fn check<E, F>(&mut self, anchor: Anchor, read: impl FnOnce(PageRequest) -> F) -> Result<(), E>
    where
        F: Future<Output = Result<Vec<AuditEntry>, E>>,
    {
        self.anchors += 1;
        if self.broken.is_some() {
            return Ok(());
        }
        if !(self.from..self.to).contains(&anchor.seq) {
            // No log has entries beyond that.
            let to = anchor.seq.saturating_add(WINDOW.into()).min(i64::MAX.unsigned_abs());
            let page = PageRequest {
                cursor: Some(to.to_string()),
                limit: WINDOW,
            };
            let entries = read(page).await?;
            (self.from, self.to) = (anchor.seq, to);
            self.hashes = entries.into_iter().map(|entry| (entry.seq, entry.chain_hash)).collect();
        }
        if self.hashes.get(&anchor.seq) != Some(&anchor.hash) {
            self.broken = Some(anchor);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use duet_core::ids::{Id, UserId};

    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1);

    fn head(workspace: u128, seq: u64) -> AuditHead {
        AuditHead {
            workspace_id: WorkspaceId::from_uuid(uuid::Uuid::from_u128(workspace)),
            owner: UserId::from_uuid(uuid::Uuid::nil()),
            seq,
            hash: format!("{seq:064}"),
        }
    }

    /// The anchors of a file, and how many of its lines are not anchors.
    fn read(path: &Path) -> (Vec<Anchor>, usize) {
        let (mut anchors, mut unreadable) = (Vec::new(), 0);
        let mut lines = Lines::open(path).unwrap();
        while let Some(line) = lines.read().unwrap() {
            match line {
                Some(anchor) => anchors.push(anchor),
                None => unreadable += 1,
            }
        }
        (anchors, unreadable)
    }

    #[test]
    fn a_thousand_heads_that_stay_are_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchors");
        let mut heads: Vec<AuditHead> = (0..1_000).map(|workspace| head(workspace, 7)).collect();
        let mut anchors = Anchors::at(&path);
        anchors.append(&heads, AT).unwrap();
        anchors.append(&heads, AT).unwrap();
        let lines = || std::fs::read_to_string(&path).unwrap().lines().count();
        assert_eq!(lines(), 1_000);
        // The next process does not repeat them either.
        Anchors::at(&path).append(&heads, AT).unwrap();
        assert_eq!(lines(), 1_000);
        heads[3] = head(3, 8);
        anchors.append(&heads, AT).unwrap();
        Anchors::at(&path).append(&heads, AT).unwrap();
        assert_eq!(lines(), 1_001);
        // A file that was moved away is started anew.
        std::fs::remove_file(&path).unwrap();
        anchors.append(&heads, AT).unwrap();
        assert_eq!(lines(), 1_000);
    }

    #[test]
    fn heads_are_appended_when_they_move_and_a_line_that_was_cut_off_stays_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchors");
        let mut anchors = Anchors::at(&path);
        anchors.append(&[head(1, 3), head(2, 1)], AT).unwrap();
        anchors.append(&[head(1, 3), head(2, 2)], AT).unwrap();
        let seqs = |anchors: &[Anchor]| anchors.iter().map(|anchor| anchor.seq).collect::<Vec<_>>();
        assert_eq!(seqs(&read(&path).0), [3, 1, 2]);
        let text = std::fs::read(&path).unwrap();
        let cut = &text[..text.len() - 20];
        std::fs::write(&path, cut).unwrap();
        for mut anchors in [anchors, Anchors::at(&path)] {
            anchors.append(&[head(1, 3), head(2, 2)], AT).unwrap();
            let (found, unreadable) = read(&path);
            assert_eq!((seqs(&found), unreadable), (vec![3, 1, 2], 1));
            assert!(std::fs::read(&path).unwrap().starts_with(cut), "only appended to");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_not_held() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchors");
        Anchors::at(&path).append(&[head(1, 3)], AT).unwrap();
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(&vec![b' '; 1 << 20]).unwrap();
        file.write_all(b"{}\n\n").unwrap();
        Anchors::at(&path).append(&[head(1, 4)], AT).unwrap();
        let mut lines = Lines::open(&path).unwrap();
        let mut found = Vec::new();
        while let Some(line) = lines.read().unwrap() {
            assert!(lines.line.capacity() <= 2 * LINE, "{}", lines.line.capacity());
            found.push(line.map(|anchor| anchor.seq));
        }
        assert_eq!(found, [Some(3), None, Some(4)]);
    }

    /// A page, as the stores give it, of a log with this many entries.
    fn page_of(entries: u64, page: &PageRequest) -> Vec<AuditEntry> {
        let before: u64 = page.cursor.as_ref().unwrap().parse().unwrap();
        let newest_first = (1..=entries).rev().filter(|seq| *seq < before);
        let entry = |seq| AuditEntry {
            id: Id::from_uuid(uuid::Uuid::nil()),
            workspace_id: head(1, seq).workspace_id,
            seq,
            actor: head(1, seq).owner,
            agent_id: None,
            action: "a".into(),
            target: "t".into(),
            outcome: duet_core::domain::AuditOutcome::Done,
            details: serde_json::Value::Null,
            at: AT,
            chain_hash: head(1, seq).hash,
        };
        newest_first.take(page.limit as usize).map(entry).collect()
    }

    #[tokio::test]
    async fn anchors_are_checked_by_stretches_of_the_log() {
        let anchor = |seq, hash: &str| Anchor {
            at: AT,
            workspace_id: head(1, seq).workspace_id,
            seq,
            hash: hash.to_owned(),
        };
        let good = |seq| anchor(seq, &head(1, seq).hash);
        let cases = [
            ((1..=1_000).map(good).collect(), None),
            (vec![good(900), good(3), good(3), good(1_000)], None),
            (vec![good(1), good(1_001), good(2_000)], Some(1_001)),
            (vec![good(1), anchor(2, "x"), good(3)], Some(2)),
            (vec![good(u64::MAX)], Some(u64::MAX)),
            (vec![good(0)], Some(0)),
        ];
        for (anchors, broken) in cases {
            let (mut checked, mut read, count) = (Checked::default(), 0, anchors.len());
            for one in anchors {
                let page = |page: PageRequest| {
                    read += 1;
                    async move { Ok::<_, StoreError>(page_of(1_000, &page)) }
                };
                checked.check(one, page).await.unwrap();
                assert!(checked.hashes.len() <= WINDOW as usize);
            }
            assert_eq!(checked.anchors, count);
            assert_eq!(checked.broken.map(|anchor| anchor.seq), broken);
            assert!(read <= 1_000 / WINDOW + 3, "{read} pages");
        }
    }
}
