//! The mark beside the file: how many commits were acknowledged, recorded outside the log that may lose them.
//!
//! SQLite accepts whatever is left of a log: a damaged or missing one ends early, and the commits after that vanish in silence.
//! So the writer counts its commits in the file, and repeats the count here before it answers. A file whose count is below its
//! mark has lost something. The mark is not flushed each time: after a power cut it may lag behind, but it is never ahead.
//!
//! Without its mark, as after a copy of the data file alone, the file still knows whether it was closed in an orderly way. If it
//! was not, it needs a log. So does a file in use whose count is above its mark: the mark is flushed before the log is emptied.
//!
//! SQLite applies a log to whatever file is beside it. So each commit also records the least that the file has counted without
//! the log (`base`): the file that the log belongs to has counted no less.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use duet_core::{
    Env, Timestamp,
    ids::{UserId, WorkspaceId},
};
use ring::hmac;
use rusqlite::{Connection, config::DbConfig};

use super::{
    audit::{self, Who},
    authorizer,
    connect::{self, Connector},
    open::OpenError,
    requests,
    rows::{count_at, id, int},
};
use crate::files;

/// Size of each of a mark's two slots. They are written in turn, so that a torn write leaves the other; a disk writes this much
/// at once.
const PLACE: usize = 512;

/// The file that keeps the mark.
pub fn path(database: &Path) -> PathBuf {
    files::beside(database, ".mark")
}

/// What is repeated in the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The file it is for.
    pub file: [u8; 16],
    /// Commits so far.
    pub commits: u64,
    /// Entries of all audit logs so far.
    pub entries: u64,
    /// When.
    pub at: Timestamp,
}

impl Record {
    /// What the open file says of itself now; whether it is closed, and the least it has counted without its log.
    fn of(conn: &Connection, at: Timestamp) -> rusqlite::Result<(Self, bool, u64)> {
        let entries = entries(conn)?;
        conn.query_row("SELECT file, commits, closed, base FROM file_state WHERE id = 1", [], |row| {
            let record = Self {
                file: row.get(0)?,
                commits: count_at(row, 1)?,
                entries,
                at,
            };
            Ok((record, row.get(2)?, count_at(row, 3)?))
        })
    }

    fn line(&self, key: &hmac::Key) -> String {
        let text = format!(
            "duet-mark {} {:020} {:020} {:020} ",
            hex::encode(self.file),
            self.commits,
            self.entries,
            self.at.millis()
        );
        let sum = hex::encode(hmac::sign(key, text.as_bytes()));
        format!("{text}{sum}\n")
    }

    fn parse(place: &[u8], key: &hmac::Key) -> Option<Self> {
        let line = place.split(|byte| *byte == b'\n').next()?;
        let (text, sum) = line.split_at_checked(line.len().checked_sub(64)?)?;
        hmac::verify(key, text, &hex::decode(sum).ok()?).ok()?;
        let mut words = std::str::from_utf8(text).ok()?.split_ascii_whitespace().skip(1);
        let mut file = [0; 16];
        hex::decode_to_slice(words.next()?, &mut file).ok()?;
        Some(Self {
            file,
            commits: words.next()?.parse().ok()?,
            entries: words.next()?.parse().ok()?,
            at: Timestamp::from_millis(words.next()?.parse().ok()?),
        })
    }
}

fn entries(conn: &Connection) -> rusqlite::Result<u64> {
    conn.query_row("SELECT coalesce(sum(seq), 0) FROM audit_head", [], |row| count_at(row, 0))
}

/// The acknowledged changes that an opened file lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// At least this many commits; unknown without a mark.
    pub commits: Option<u64>,
    /// At least this many entries of the audit logs.
    pub entries: u64,
    /// When the last of the commits was made.
    pub last: Option<Timestamp>,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(commits) = self.commits else {
            return f.write_str("it was in use when it was last written, and the log with the newest changes is gone");
        };
        write!(f, "{commits} of the changes that Duet has stored are not in it")?;
        if let Some(last) = self.last {
            write!(f, ", the last of them from {last}")?;
        }
        match self.entries {
            0 => Ok(()),
            entries => write!(f, "; the audit log lacks {entries} entries"),
        }
    }
}

/// The file's identity and count without its log.
pub struct Alone {
    file: [u8; 16],
    commits: u64,
}

impl Alone {
    /// What the file says without its log; `None` if that cannot be read, as while the log was being put into it.
    pub fn of(connector: &Connector) -> Option<Self> {
        let conn = connector.without_log().ok()?;
        // Reads what the comparison reads with the log too: if this fails, a bad page of the file is to blame, not the log.
        entries(&conn).ok()?;
        let asked = conn.query_row("SELECT file, commits FROM file_state WHERE id = 1", [], |row| {
            Ok(Self {
                file: row.get(0)?,
                commits: count_at(row, 1)?,
            })
        });
        asked.ok()
    }
}

/// How the file compares with its mark.
pub struct Standing {
    now: Record,
    closed: bool,
    base: u64,
    had_log: bool,
    mark: Option<Record>,
    /// What is missing.
    pub loss: Option<Loss>,
}

impl Standing {
    /// Compares the open file with its mark; `had_log` says whether there was a log before it was opened.
    pub fn of(connector: &Connector, conn: &Connection, had_log: bool, env: &Env) -> Result<Self, OpenError> {
        let path = connector.path();
        let (now, closed, base) = Record::of(conn, env.now()).map_err(|error| OpenError::from_sqlite(path, error))?;
        let beside = self::path(path);
        let found = read(&beside, &connector.sums(LABEL)).map_err(|error| OpenError::from_io(&beside, &error))?;
        // The mark may be from another file of this name; then it says nothing about this one.
        let mark = found.filter(|mark| mark.file == now.file);
        let loss = match &mark {
            Some(mark) if mark.commits > now.commits => Some(Loss {
                commits: Some(mark.commits - now.commits),
                entries: mark.entries.saturating_sub(now.entries),
                last: Some(mark.at),
            }),
            // Nor does it have the log that it needs if it is ahead of its mark.
            mark if !closed && !had_log && mark.as_ref().is_none_or(|mark| mark.commits < now.commits) => Some(Loss {
                commits: None,
                entries: 0,
                last: None,
            }),
            _ => None,
        };
        Ok(Self {
            now,
            closed,
            base: if had_log { base } else { now.commits },
            had_log,
            mark,
            loss,
        })
    }

    /// Whether the log belongs to another file; `alone` is what this file says without it.
    pub fn is_foreign_to(&self, alone: &Alone) -> bool {
        alone.file != self.now.file || alone.commits < self.base
    }

    /// Whether there was a log when the file was opened.
    pub fn had_log(&self) -> bool {
        self.had_log
    }

    /// Continues from here: the writer's mark.
    pub fn mark(self, connector: &Connector, env: &Env) -> Mark {
        let commits = self.mark.map_or(0, |mark| mark.commits).max(self.now.commits);
        let path = self::path(connector.path());
        let file = files::private()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .inspect_err(|error| tracing::warn!(%error, "the mark beside the data file cannot be written: a log that gets lost would not be noticed"));
        Mark {
            file: file.ok(),
            log: files::beside(connector.path(), "-wal"),
            key: connector.sums(LABEL),
            env: env.clone(),
            last: Record { commits, ..self.now },
            base: self.base,
            closed: self.closed,
            told: !self.closed,
        }
    }

    /// Continues without what is missing: the file counts on from its mark, and every workspace's audit log says what happened.
    pub fn accept(self, connector: &Connector, mut conn: Connection, env: &Env) -> Result<Option<Loss>, OpenError> {
        let failed = |error| OpenError::from_sqlite(connector.path(), error);
        let Some(loss) = self.loss.clone() else {
            return Ok(None);
        };
        let mut mark = self.mark(connector, env);
        let transaction = conn.transaction().map_err(failed)?;
        mark.look();
        let details = serde_json::json!({"commits": loss.commits, "entries": loss.entries, "last": loss.last});
        for (workspace, owner) in owners(&transaction).map_err(failed)? {
            let entry = audit::done("file.loss_accepted", "file".to_owned(), details.clone());
            audit::record(&transaction, env, Who::person(workspace, owner), entry)
                .map_err(|error| OpenError::from_db(connector.path(), error))?;
        }
        requests::void_unused(&transaction, env.now()).map_err(|error| OpenError::from_db(connector.path(), error))?;
        let record = mark.count(&transaction).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        mark.set(record, &conn);
        mark.close(&conn).map_err(failed)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
            .map_err(failed)?;
        Ok(Some(loss))
    }
}

/// Every workspace with one of its owners.
pub(super) fn owners(conn: &Connection) -> rusqlite::Result<Vec<(WorkspaceId, UserId)>> {
    conn.prepare("SELECT workspace_id, min(user_id) AS user_id FROM member WHERE role = 'owner' GROUP BY workspace_id")?
        .query_map([], |row| Ok((id(row, "workspace_id")?, id(row, "user_id")?)))?
        .collect()
}

/// The purpose of the mark's checksums.
const LABEL: &str = "mark of the data file";

/// The newer of the two slots that hold a record under this key.
fn read(path: &Path, key: &hmac::Key) -> io::Result<Option<Record>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = bytes.chunks(PLACE).filter_map(|place| Record::parse(place, key));
    Ok(found.max_by_key(|record| record.commits))
}

/// Flushes the mark of the data file at `database`, before anyone but the writer empties the log.
pub fn flush(database: &Path) {
    let flushed = File::options()
        .write(true)
        .open(path(database))
        .and_then(|file| file.sync_data());
    if let Err(error) = flushed {
        tracing::warn!(%error, "the mark beside the data file could not be flushed");
    }
}

/// The writer's handle on the mark.
pub struct Mark {
    file: Option<File>,
    /// The log of the data file.
    log: PathBuf,
    key: hmac::Key,
    env: Env,
    last: Record,
    /// The least that the file has counted without its log.
    base: u64,
    /// Whether the file, with its log, says that it is closed.
    closed: bool,
    /// Whether the file, without its log, says that it is in use.
    told: bool,
}

impl Mark {
    /// Checks whether the log is empty, so that the file alone has everything. Called within a transaction, so that nobody
    /// empties the log meanwhile, and before that transaction writes.
    pub fn look(&mut self) {
        if files::has_content(&self.log).is_ok_and(|content| !content) {
            self.base = self.last.commits;
        }
    }

    /// Counts a commit, within that commit.
    pub fn count(&self, conn: &Connection) -> rusqlite::Result<Record> {
        self.step(conn, false)
    }

    fn step(&self, conn: &Connection, closed: bool) -> rusqlite::Result<Record> {
        let commits = self.last.commits + 1;
        // Not cached: the connection of agents must not keep these statements.
        authorizer::recording(|| {
            conn.execute(
                "UPDATE file_state SET commits = ?1, base = ?2, closed = ?3 WHERE id = 1",
                (int(commits), int(self.base), closed),
            )?;
            Ok(Record {
                commits,
                entries: entries(conn)?,
                at: self.env.now(),
                ..self.last
            })
        })
    }

    /// Repeats in the mark what has been committed. `conn` is the process's own connection.
    pub fn set(&mut self, record: Record, conn: &Connection) {
        self.last = record;
        self.closed = false;
        self.write();
        if !self.told || connect::log_is_due() {
            self.flush();
            let all = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                Ok(row.get::<_, i64>(0)? == 0 && row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
            });
            // If a reader or a full disk is in the way, the next commit tries again.
            if all.unwrap_or(false) {
                self.told = true;
                self.base = self.last.commits;
            }
        }
    }

    /// Records in the file that it was closed in an orderly way; after that the log may be removed.
    pub fn close(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        if self.closed {
            return Ok(());
        }
        conn.execute_batch("BEGIN IMMEDIATE")?;
        self.look();
        let step = self.step(conn, true).and_then(|record| {
            conn.execute_batch("COMMIT")?;
            Ok(record)
        });
        if step.is_err() && !conn.is_autocommit() {
            // The first error is the one to report.
            let _ = conn.execute_batch("ROLLBACK");
        }
        self.last = step?;
        self.closed = true;
        self.told = false;
        self.write();
        self.flush();
        Ok(())
    }

    /// Makes sure that the mark is as new as the file, before the log is emptied.
    pub fn write_through(&mut self) {
        self.write();
        self.flush();
    }

    fn flush(&self) {
        if let Some(Err(error)) = self.file.as_ref().map(File::sync_data) {
            tracing::warn!(%error, "the mark beside the data file could not be flushed");
        }
    }

    fn write(&mut self) {
        let Some(file) = &mut self.file else { return };
        let place = (self.last.commits % 2) * PLACE as u64;
        let line = self.last.line(&self.key);
        let written = file
            .seek(SeekFrom::Start(place))
            .and_then(|_| file.write_all(line.as_bytes()));
        if let Err(error) = written {
            tracing::warn!(%error, "the mark beside the data file could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &[1; 32])
    }

    proptest! {
        /// Whichever bit of either slot flips, reading gives one of the two records, or nothing.
        #[test]
        fn a_flipped_bit_never_makes_another_record(commits in 1_u64..1 << 40, bit in 0_usize..8 * (PLACE + 174)) {
            let record = |commits| Record { file: [3; 16], commits, entries: 2, at: Timestamp::from_millis(5) };
            let (older, newer) = (record(commits), record(commits + 1));
            let mut bytes = vec![0; PLACE];
            bytes[..older.line(&key()).len()].copy_from_slice(older.line(&key()).as_bytes());
            bytes.extend_from_slice(newer.line(&key()).as_bytes());
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("mark");
            std::fs::write(&path, &bytes).unwrap();
            prop_assert_eq!(read(&path, &key()).unwrap(), Some(newer));
            if bit / 8 < bytes.len() {
                bytes[bit / 8] ^= 1 << (bit % 8);
                std::fs::write(&path, &bytes).unwrap();
                let found = read(&path, &key()).unwrap().unwrap();
                prop_assert!(found == older || found == newer);
            }
        }
    }
}
