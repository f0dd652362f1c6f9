//! The tombstones beside the data file: what must stay redacted even if an older copy of the file is put back.
//!
//! One JSON object per line, ids only, followed by a sum over the line and the previous line's sum, under a key derived from the
//! file's: a line that was changed, added or removed is noticed. The first line counts the others and repeats the last one's sum,
//! under a sum of its own: it is overwritten in place after each append, so that a truncated end is noticed too.

use std::{
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use duet_core::{
    StoreError,
    domain::{Blanked, Tombstone},
};
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::{connect::Connector, error::DbResult, files};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// What was redacted.
    Redacted(Tombstone),
    /// What was removed by the decision of somebody who was told of a redaction.
    Blanked(Blanked),
}

impl Entry {
    /// The redaction, if it is one.
    pub fn redacted(&self) -> Option<&Tombstone> {
        match self {
            Self::Redacted(tombstone) => Some(tombstone),
            Self::Blanked(_) => None,
        }
    }

    /// The blanking, if it is one.
    pub fn blanked(&self) -> Option<&Blanked> {
        match self {
            Self::Redacted(_) => None,
            Self::Blanked(blanked) => Some(blanked),
        }
    }
}

/// The file that keeps them.
pub fn sidecar(database: &Path) -> PathBuf {
    files::beside(database, ".tombstones")
}

/// The purpose of the sums.
const LABEL: &str = "tombstones";

/// What the sidecar holds, and how much of it is whole.
struct Content {
    entries: Vec<Entry>,
    /// The sum of the last line.
    last: String,
    /// Bytes of whole lines, the first included.
    whole: usize,
}

/// The first line.
fn head(key: &hmac::Key, count: usize, last: &str) -> String {
    let text = format!("duet-tombstones {count:020} {last:0>64}");
    let check = sum(key, "head", &text);
    format!("{text}\t{check}\n")
}

fn sum(key: &hmac::Key, before: &str, json: &str) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(before.as_bytes());
    context.update(json.as_bytes());
    hex::encode(context.sign())
}

/// The lines up to the end, or the number of the first that was changed or is missing. A whole line that a crash kept from being
/// counted is taken; a last line that a crash cut off is skipped: its redaction is in the data file, and is written again.
fn parse(text: &[u8], key: &hmac::Key) -> Result<Content, usize> {
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    let first = lines.next().and_then(|line| std::str::from_utf8(line).ok()).ok_or(1_usize)?;
    let counted: usize = first.split(' ').nth(1).and_then(|count| count.parse().ok()).ok_or(1_usize)?;
    let mut content = Content {
        entries: Vec::new(),
        last: String::new(),
        whole: first.len(),
    };
    let mut counts = first == head(key, 0, "");
    for (line, number) in lines.zip(2_usize..) {
        if !line.ends_with(b"\n") {
            break;
        }
        let found = std::str::from_utf8(line).ok().and_then(|line| {
            let (json, check) = line.trim_end_matches('\n').rsplit_once('\t')?;
            let expected = sum(key, &content.last, json);
            let entry = serde_json::from_str(json).ok()?;
            (check == expected).then_some((entry, expected))
        });
        let (entry, check) = found.ok_or(number)?;
        content.entries.push(entry);
        content.last = check;
        content.whole += line.len();
        if content.entries.len() == counted {
            counts = first == head(key, counted, &content.last);
        }
    }
    match counts {
        true => Ok(content),
        // Either there are fewer than it says, or it does not say so.
        false if content.entries.len() < counted && is_head(first, key) => Err(content.entries.len() + 2),
        false => Err(1),
    }
}

/// Whether this is a valid first line, whatever it counts.
fn is_head(line: &str, key: &hmac::Key) -> bool {
    let text = line.rsplit_once('\t').map_or("", |(text, _)| text);
    format!("{text}\t{}\n", sum(key, "head", text)) == line
}

fn load(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Each append continues where the last one ended: two at once would overwrite each other. The file's lock keeps other processes
/// out.
static APPENDING: Mutex<()> = Mutex::new(());

/// Appends tombstones, durably.
pub fn append(connector: &Connector, entries: &[Entry]) -> std::io::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let _alone = APPENDING.lock().unwrap_or_else(PoisonError::into_inner);
    let (path, key) = (sidecar(connector.path()), connector.sums(LABEL));
    let found = load(&path)?;
    let empty = head(&key, 0, "");
    let content = parse(found.as_deref().unwrap_or(empty.as_bytes()), &key)
        .map_err(|line| std::io::Error::other(format!("line {line} was changed or is missing")))?;
    let mut lines = String::new();
    let (count, mut last) = (content.entries.len() + entries.len(), content.last);
    for entry in entries {
        let json = serde_json::to_string(entry)?;
        last = sum(&key, &last, &json);
        lines.push_str(&format!("{json}\t{last}\n"));
    }
    let head = head(&key, count, &last);
    if found.is_none() {
        // Written whole from the start: an empty or half-written one counts as damaged.
        let draft = files::beside(&path, ".new");
        let mut file = files::private().write(true).create(true).truncate(true).open(&draft)?;
        file.write_all(head.as_bytes())?;
        file.write_all(lines.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, &path)?;
        return files::sync_folder(&path);
    }
    let mut file = files::private().write(true).open(&path)?;
    file.set_len(content.whole as u64)?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(lines.as_bytes())?;
    file.sync_all()?;
    file.rewind()?;
    file.write_all(head.as_bytes())?;
    file.sync_all()
}

/// All of them.
pub fn read(connector: &Connector) -> DbResult<Vec<Entry>> {
    let path = sidecar(connector.path());
    let text = load(&path).map_err(|error| {
        StoreError::unavailable(format!(
            "The list of redactions beside the data file cannot be read ({error}). Check the permissions of `{}`.",
            path.display()
        ))
    })?;
    let Some(text) = text else { return Ok(Vec::new()) };
    let content = parse(&text, &connector.sums(LABEL)).map_err(|line| {
        StoreError::unavailable(format!(
            "The list of redactions `{}` was changed, cut off or is damaged (line {line}). Put back a copy of it. Without one, move it \
             away: Duet writes it again from the data file, and only what an older data file has forgotten would come back.",
            path.display()
        ))
    })?;
    Ok(content.entries)
}

#[cfg(test)]
mod tests {
    use duet_core::contract::TestEnv;
    use proptest::prelude::*;

    use super::*;
    use crate::key::FileKey;

    fn tombstones(count: usize) -> Vec<Entry> {
        let env = TestEnv::new(1).env();
        let one = |number| match number % 2 {
            0 => Entry::Redacted(Tombstone {
                id: env.id(),
                workspace_id: env.id(),
                memory_id: env.id(),
                messages: vec![env.id()],
                runs: Vec::new(),
                redacted_by: env.id(),
                redacted_at: env.now(),
                notices: Vec::new(),
            }),
            _ => Entry::Blanked(Blanked {
                notice_id: env.id(),
                workspace_id: env.id(),
                user_id: env.id(),
                runs: vec![env.id()],
                blanked_at: env.now(),
            }),
        };
        (0..count).map(one).collect()
    }

    proptest! {
        /// A flipped bit is noticed, wherever it is.
        #[test]
        fn a_flipped_bit_is_seen(seed in any::<proptest::sample::Index>(), bit in 0_u8..8) {
            let folder = tempfile::tempdir().unwrap();
            let connector = Connector::new(folder.path().join("duet.db"), FileKey::new([1; 32]));
            let all = tombstones(3);
            append(&connector, &all[..2]).unwrap();
            append(&connector, &all[2..]).unwrap();
            let path = sidecar(connector.path());
            let mut bytes = std::fs::read(&path).unwrap();
            let place = seed.index(bytes.len());
            bytes[place] ^= 1 << bit;
            std::fs::write(&path, &bytes).unwrap();
            let said = format!("{:?}", read(&connector).map(|found| found.len()));
            prop_assert!(said.contains("line"), "{}", said);
        }

        /// A cut-off end is noticed, wherever the cut is.
        #[test]
        fn an_end_that_is_cut_off_is_seen(seed in any::<proptest::sample::Index>()) {
            let folder = tempfile::tempdir().unwrap();
            let connector = Connector::new(folder.path().join("duet.db"), FileKey::new([1; 32]));
            append(&connector, &tombstones(3)).unwrap();
            let path = sidecar(connector.path());
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..seed.index(bytes.len())]).unwrap();
            prop_assert!(read(&connector).is_err());
            prop_assert!(append(&connector, &tombstones(1)).is_err());
        }

        /// Wherever a crash cuts off a line that is not counted yet, the whole lines stay and the next append follows them.
        #[test]
        fn a_line_that_is_cut_off_is_written_again(seed in any::<proptest::sample::Index>()) {
            let folder = tempfile::tempdir().unwrap();
            let connector = Connector::new(folder.path().join("duet.db"), FileKey::new([1; 32]));
            let all = tombstones(3);
            append(&connector, &all[..1]).unwrap();
            let path = sidecar(connector.path());
            let before = std::fs::read(&path).unwrap();
            append(&connector, &all[1..2]).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let cut = before.len() + seed.index(bytes.len() - before.len() + 1);
            std::fs::write(&path, [&before, &bytes[before.len()..cut]].concat()).unwrap();
            let kept = read(&connector).unwrap().len();
            append(&connector, &all[2..]).unwrap();
            let found = read(&connector).unwrap();
            prop_assert_eq!(found.len(), kept + 1);
            prop_assert_eq!(&found[0], &all[0]);
            prop_assert_eq!(found.last().unwrap(), &all[2]);
        }

        /// Removed or swapped lines are noticed.
        #[test]
        fn a_line_that_is_taken_out_is_seen(gone in 0_usize..2) {
            let folder = tempfile::tempdir().unwrap();
            let connector = Connector::new(folder.path().join("duet.db"), FileKey::new([1; 32]));
            append(&connector, &tombstones(3)).unwrap();
            let path = sidecar(connector.path());
            let text = std::fs::read_to_string(&path).unwrap();
            let mut lines: Vec<&str> = text.lines().collect();
            lines.remove(gone);
            std::fs::write(&path, format!("{}\n", lines.join("\n"))).unwrap();
            prop_assert!(read(&connector).is_err());
        }
    }
}
