//! The tombstones beside the data file: what must stay redacted, also when an older copy of the file is put back.
//!
//! One JSON object a line, ids only, followed by a sum under a key that is derived from the file's, over the line and the sum of the
//! one before: a line that was changed, added or taken out is seen.

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

use crate::{
    files,
    store::{connect::Connector, error::DbResult},
};

/// A line of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// What was redacted.
    Redacted(Tombstone),
    /// What went by the decision of somebody who was told of it.
    Blanked(Blanked),
}

impl Entry {
    /// What was redacted, if it is that.
    pub fn redacted(&self) -> Option<&Tombstone> {
        match self {
            Self::Redacted(tombstone) => Some(tombstone),
            Self::Blanked(_) => None,
        }
    }

    /// What was blanked, if it is that.
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

/// What the sums are for.
const LABEL: &str = "tombstones";

/// What the file holds, and how far it is whole.
struct Content {
    entries: Vec<Entry>,
    /// The sum of the last line.
    last: String,
    /// Bytes of whole lines.
    whole: usize,
    /// Whether the last of them lacks its line end.
    open: bool,
}

fn sum(key: &hmac::Key, before: &str, json: &str) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(before.as_bytes());
    context.update(json.as_bytes());
    hex::encode(context.sign())
}

/// The lines up to the end, or the number of the first that was changed. A last line that a crash cut off is passed over: its
/// redaction is in the data file, and is written again.
fn parse(text: &[u8], key: &hmac::Key) -> Result<Content, usize> {
    let mut content = Content {
        entries: Vec::new(),
        last: String::new(),
        whole: 0,
        open: false,
    };
    for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let ended = line.ends_with(b"\n");
        let found = std::str::from_utf8(line).ok().and_then(|line| {
            let (json, check) = line.trim_end_matches('\n').rsplit_once('\t')?;
            let expected = sum(key, &content.last, json);
            let entry = serde_json::from_str(json).ok()?;
            (check == expected).then_some((entry, expected))
        });
        match found {
            Some((entry, check)) => {
                content.entries.push(entry);
                content.last = check;
                content.whole += line.len();
                content.open = !ended;
            }
            None if ended => return Err(number + 1),
            None => break,
        }
    }
    Ok(content)
}

fn load(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Each append goes on where the last one ended: two at once would write over each other. The file's lock keeps other processes out.
static APPENDING: Mutex<()> = Mutex::new(());

/// Appends tombstones, durably.
pub fn append(connector: &Connector, entries: &[Entry]) -> std::io::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let _alone = APPENDING.lock().unwrap_or_else(PoisonError::into_inner);
    let (path, key) = (sidecar(connector.path()), connector.sums(LABEL));
    let found = load(&path)?;
    let content = parse(found.as_deref().unwrap_or_default(), &key)
        .map_err(|line| std::io::Error::other(format!("line {line} was changed")))?;
    let mut lines = String::new();
    if content.open {
        lines.push('\n');
    }
    let mut last = content.last;
    for entry in entries {
        let json = serde_json::to_string(entry)?;
        last = sum(&key, &last, &json);
        lines.push_str(&format!("{json}\t{last}\n"));
    }
    let mut file = files::private().write(true).create(true).truncate(false).open(&path)?;
    file.set_len(content.whole as u64)?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(lines.as_bytes())?;
    file.sync_all()?;
    if found.is_none() { files::sync_folder(&path) } else { Ok(()) }
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
    let content = parse(&text.unwrap_or_default(), &connector.sums(LABEL)).map_err(|line| {
        StoreError::unavailable(format!(
            "The list of redactions `{}` was changed or is damaged (line {line}). Put back a copy of it. Without one, move it away: Duet \
             writes it again from the data file, and only what an older data file has forgotten would come back.",
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
        /// A flipped bit is seen; only the last line's end may flip, which changes nothing that is read.
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
            match read(&connector) {
                Ok(found) => prop_assert!(place == bytes.len() - 1 && found.len() >= 2),
                Err(error) => {
                    let said = format!("{error:?}");
                    prop_assert!(said.contains("line"), "{}", said);
                }
            }
        }

        /// Wherever a crash cuts the last line off, what was whole stays and what is appended follows.
        #[test]
        fn a_line_that_is_cut_off_is_written_again(seed in any::<proptest::sample::Index>()) {
            let folder = tempfile::tempdir().unwrap();
            let connector = Connector::new(folder.path().join("duet.db"), FileKey::new([1; 32]));
            let all = tombstones(3);
            append(&connector, &all[..1]).unwrap();
            let path = sidecar(connector.path());
            let first = std::fs::read(&path).unwrap().len();
            append(&connector, &all[1..2]).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let cut = first + seed.index(bytes.len() - first);
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let kept = read(&connector).unwrap().len();
            append(&connector, &all[2..]).unwrap();
            let found = read(&connector).unwrap();
            prop_assert_eq!(found.len(), kept + 1);
            prop_assert_eq!(&found[0], &all[0]);
            prop_assert_eq!(found.last().unwrap(), &all[2]);
        }

        /// Lines cannot be taken out or change places.
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
