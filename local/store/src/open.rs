//! Opening the file: who may, with which key, and one clear sentence for each way it can fail.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use duet_core::Env;
use rusqlite::{Connection, ErrorCode, config::DbConfig};

use super::{
    connect::{self, Access, Connector, PAGE_SIZE},
    error::DbError,
    lock::FileLock,
    mark::{self, Alone, Loss, Mark, Standing},
    memory, schema,
};
use crate::{files, key::FileKey};

/// What [`super::LocalStore::open`] needs.
pub struct OpenOptions {
    /// The data file; created if it does not exist.
    pub path: PathBuf,
    /// Its key.
    pub key: FileKey,
    /// Time and randomness.
    pub env: Env,
    /// Memory that the cache of vector codes may take.
    pub vector_cache_bytes: usize,
}

/// Why the data file was not opened. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("Another Duet is using {path}{}. Stop it, or talk to it through its address.", .pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The file.
        path: PathBuf,
        /// Who.
        pid: Option<u32>,
    },
    /// The library in this binary does not encrypt.
    #[error(
        "This build of Duet does not encrypt its data file (SQLCipher is not active), so it does not open one. Install an official build."
    )]
    NoCipher,
    /// The binary lacks a part that the schema needs.
    #[error("This build of Duet lacks {0}, which its data file needs. Install an official build.")]
    MissingPart(&'static str),
    /// The key does not fit, or the file is something else.
    #[error(
        "{0} does not open with this key. Either the key is not the one it was made with, or it is not a Duet data file. Check the key setting."
    )]
    WrongKey(PathBuf),
    /// An ordinary, unencrypted SQLite file.
    #[error("{0} is an unencrypted SQLite file, not a Duet data file. Choose another path.")]
    PlainFile(PathBuf),
    /// A file of the right kind that is not Duet's.
    #[error("{0} is encrypted with this key, but it was not made by Duet. Choose another path.")]
    NotDuet(PathBuf),
    /// Too short, or not whole pages.
    #[error(
        "{0} is not a whole Duet data file: it was cut off, or it is another kind of file. Restore a backup, or choose another path."
    )]
    Truncated(PathBuf),
    /// The file is gone but its log is not.
    #[error(
        "{path} is not there, but its log {log} is: it holds the newest changes of a file that was moved or deleted. Put the file back \
         beside its log; or, to begin with an empty file, move the log away."
    )]
    LogWithoutFile {
        /// The file.
        path: PathBuf,
        /// The log.
        log: PathBuf,
    },
    /// The file is gone but something that belongs to it is not.
    #[error(
        "{path} is not there, but {beside}, which belongs to it, is. Put the file back; or, to begin with an empty file, move everything \
         away that is called `{name}.…`.", name = .path.file_name().unwrap_or_default().display()
    )]
    Gone {
        /// The file.
        path: PathBuf,
        /// What is still there.
        beside: PathBuf,
    },
    /// The log does not belong to the file.
    #[error(
        "The log {log} belongs to another (newer) state of {path}, or to another file, and would destroy this one. Nothing was changed. \
         Put the file back that the log belongs to; or, to go on with this one, move the log away, and `{name}-shm` with it.",
        name = .path.file_name().unwrap_or_default().display()
    )]
    OtherLog {
        /// The file.
        path: PathBuf,
        /// The log.
        log: PathBuf,
    },
    /// The file is no longer where it was when it was opened.
    #[error("{0} was moved away or replaced while Duet was using it. Put it back, or stop Duet.")]
    Moved(PathBuf),
    /// The pages that say where everything is are lost.
    #[error(
        "{0} has lost its table of contents: the pages that say where everything is fail their check, and nothing behind them can be \
         found. Restore the newest backup."
    )]
    Unlisted(PathBuf),
    /// Acknowledged changes are missing.
    #[error(
        "{path} is not as Duet left it: {loss}. Its log (`-wal`) is damaged or gone, or an older copy stands in its place. Put back the \
         file and the log that belong together; or, to go on without what is missing, run `duet doctor --accept-loss`."
    )]
    Lost {
        /// The file.
        path: PathBuf,
        /// What is missing.
        loss: Loss,
    },
    /// The file has a second name.
    #[error(
        "{path} has {names} names (hard links), and each would get a log of its own, which destroys the file. Remove the other names, or \
         copy the file and use the copy."
    )]
    Linked {
        /// The file.
        path: PathBuf,
        /// How many.
        names: u64,
    },
    /// A dangling link.
    #[error("{0} is a link to a file that is not there. Put that file back (is its disk mounted?), or remove the link.")]
    Dangling(PathBuf),
    /// A page fails its check.
    #[error(
        "{0} is damaged: a page fails its check. Restore the newest backup, or copy what can be read with `duet doctor --salvage NEW_FILE`."
    )]
    Damaged(PathBuf),
    /// Written by a later version.
    #[error("{path} has schema version {found}, but this Duet knows versions up to {known}. Install a newer Duet.")]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: usize,
    },
    /// No permission to write.
    #[error("{path} cannot be written ({reason}). Check the permissions of the file and its folder.")]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
    /// The file exists but can only be read.
    #[error(
        "{path} is on a read-only medium, or you may not write to it and its folder ({reason}): nothing can be written. Commands that only \
         read, such as `duet memory list`, still work. Copy the file, with all `{name}*` beside it, to a folder of yours, and name the copy \
         with --data.", name = .path.file_name().unwrap_or_default().display()
    )]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
    /// The file can only be read, and what is beside it has to be put into it first.
    #[error(
        "{path} cannot be read where it may not be written: {beside} holds {what}, which are not in the file yet. Copy the two, with all \
         that belongs to the file, to a folder of yours, and name the copy with --data."
    )]
    Behind {
        /// The file.
        path: PathBuf,
        /// What is beside it.
        beside: PathBuf,
        /// What that holds.
        what: &'static str,
    },
    /// The file can only be read, and has an earlier version's schema.
    #[error(
        "{path} was last written by an earlier Duet, and cannot be brought up to this one where it may not be written. Copy it, with what \
         lies beside it, to a folder of yours, and name the copy with --data."
    )]
    OlderSchema {
        /// The file.
        path: PathBuf,
    },
    /// No space.
    #[error("There is no space left for {0}. Free some disk space and start again.")]
    DiskFull(PathBuf),
    /// The disk fails; SQLite does not always tell a full one from a broken one.
    #[error(
        "{0} cannot be read or written: the disk is full, or reports an error. Free some disk space, check the disk, and start again."
    )]
    Disk(PathBuf),
    /// Anything else.
    #[error("{path} could not be opened: {}. Run `duet doctor`.", .reason.trim_end_matches('.'))]
    Other {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

impl OpenError {
    /// What an SQLite error means while opening.
    pub(crate) fn from_sqlite(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let other = |reason: String| Self::Other {
            path: path.clone(),
            reason,
        };
        let rusqlite::Error::SqliteFailure(failure, message) = &error else {
            return other(error.to_string());
        };
        let blocked = |path: PathBuf, reason: String| match files::blocked_beside(&path, &["-wal", "-shm", "-journal"]) {
            Some((path, reason)) => Self::NotWritable { path, reason },
            None => Self::NotWritable { path, reason },
        };
        match failure.code {
            ErrorCode::NotADatabase => Self::WrongKey(path),
            // The second is what SQLCipher reports for a bad page among those that say where everything is.
            ErrorCode::DatabaseCorrupt | ErrorCode::OutOfMemory => Self::Damaged(path),
            ErrorCode::DiskFull => Self::DiskFull(path),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::InUse { path, pid: None },
            ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
                blocked(path, message.clone().unwrap_or_else(|| failure.to_string()))
            }
            ErrorCode::SystemIoFailure => Self::Disk(path),
            _ => other(message.clone().unwrap_or_else(|| failure.to_string())),
        }
    }

    /// What an error of a job means while opening.
    pub(crate) fn from_db(path: &Path, error: DbError) -> Self {
        match error {
            DbError::Sqlite(error) => Self::from_sqlite(path, error),
            DbError::Store(error) => Self::Other {
                path: path.to_owned(),
                reason: error.to_string(),
            },
        }
    }

    /// What a file system error means while opening.
    pub(crate) fn from_io(path: &Path, error: &std::io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            std::io::ErrorKind::PermissionDenied
            | std::io::ErrorKind::ReadOnlyFilesystem
            | std::io::ErrorKind::NotADirectory
            | std::io::ErrorKind::AlreadyExists => Self::NotWritable {
                path,
                reason: error.to_string(),
            },
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::FileTooLarge => {
                Self::DiskFull(path)
            }
            _ => Self::Other {
                path,
                reason: error.to_string(),
            },
        }
    }
}

/// Opens the writing connection to the file at the connector's path, creating or migrating the file as needed. `lock` is the one
/// beside the file.
pub(super) fn open(connector: &Connector, lock: &mut FileLock, env: &Env) -> Result<(Connection, Mark), OpenError> {
    let path = connector.path();
    if is_missing(path)? {
        create(connector)?;
    }
    let (mut conn, standing) = examine(connector, lock, env)?;
    if let Some(loss) = standing.loss {
        return Err(OpenError::Lost {
            path: path.to_owned(),
            loss,
        });
    }
    // From here on the log may go into the file.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map_err(|error| OpenError::from_sqlite(path, error))?;
    let had_log = standing.had_log();
    let mut mark = standing.mark(connector, env);
    if had_log {
        // Puts in what an interrupted process left, maybe in the middle of a page. If there is no space, a later checkpoint does
        // it.
        mark.write_through();
        match connect::empty_log(&conn) {
            Ok(true) => {}
            Ok(false) => tracing::debug!("the log goes into the data file later: it is in use"),
            Err(error) => tracing::warn!(%error, "the log goes into the data file later"),
        }
    }
    schema::migrate(path, &mut conn)?;
    Ok((conn, mark))
}

/// Opens an existing file without changing it or its log, and compares it with its mark.
pub(super) fn examine(connector: &Connector, lock: &mut FileLock, env: &Env) -> Result<(Connection, Standing), OpenError> {
    let path = connector.path();
    let failed = |error: std::io::Error| OpenError::from_io(path, &error);
    let found = std::fs::metadata(path).map_err(failed)?;
    if !found.is_file() {
        return Err(OpenError::Truncated(path.to_owned()));
    }
    connector.watch(lock.hold(path)?);
    // SQLite would read without them, and refuse the first write with an error about the file.
    if let Some((path, reason)) = files::blocked_beside(path, &["-wal", "-shm"]) {
        return Err(OpenError::NotWritable { path, reason });
    }
    let log = files::beside(path, "-wal");
    // An empty log does not count: SQLite makes one when it opens the file.
    let had_log = files::has_content(&log).map_err(failed)?;
    inspect(path, found.len(), had_log)?;
    let alone = if had_log { Alone::of(connector) } else { None };
    let other_log = || OpenError::OtherLog {
        path: path.to_owned(),
        log,
    };
    match (look(connector, had_log, env), alone) {
        (Ok((_, standing)), Some(alone)) if standing.is_foreign_to(&alone) => Err(other_log()),
        // The file can be read without its log but not with it: the log was not written for it.
        (Err(OpenError::WrongKey(_) | OpenError::Damaged(_)), Some(_)) => Err(other_log()),
        (looked, _) => looked,
    }
}

fn look(connector: &Connector, had_log: bool, env: &Env) -> Result<(Connection, Standing), OpenError> {
    let path = connector.path();
    let conn = connector.connect_keeping_log(Access::Write)?;
    schema::check_parts(&conn)?;
    schema::check_owner(path, &conn)?;
    schema::check_version(path, &conn)?;
    let standing = Standing::of(connector, &conn, had_log, env)?;
    Ok((conn, standing))
}

/// Refuses a file that this process cannot write, before anything is created beside it.
pub(super) fn require_writable(path: &Path) -> Result<(), OpenError> {
    if !path.try_exists().map_err(|error| OpenError::from_io(path, &error))? {
        return Ok(());
    }
    match files::unwritable(path) {
        Some(reason) => Err(OpenError::ReadOnly {
            path: path.to_owned(),
            reason,
        }),
        None => Ok(()),
    }
}

/// Checks a file that can only be read, and refuses one that still needs its log, its redactions or a schema step, none of which
/// can be put into it. The connector comes from [`Connector::immutable`].
pub(super) fn examine_to_read(connector: &Connector, env: &Env) -> Result<(), OpenError> {
    let path = connector.path();
    let failed = |error: std::io::Error| OpenError::from_io(path, &error);
    let found = std::fs::metadata(path).map_err(failed)?;
    if !found.is_file() {
        return Err(OpenError::Truncated(path.to_owned()));
    }
    let behind = |beside: PathBuf, what| OpenError::Behind {
        path: path.to_owned(),
        beside,
        what,
    };
    for suffix in ["-wal", "-journal"] {
        let log = files::beside(path, suffix);
        if files::has_content(&log).map_err(failed)? {
            return Err(behind(log, "the newest changes"));
        }
    }
    inspect(path, found.len(), false)?;
    let conn = connector.connect(Access::Read)?;
    schema::check_parts(&conn)?;
    schema::check_owner(path, &conn)?;
    schema::check_version(path, &conn)?;
    schema::check_current(path, &conn)?;
    if let Some(loss) = Standing::of(connector, &conn, false, env)?.loss {
        return Err(OpenError::Lost {
            path: path.to_owned(),
            loss,
        });
    }
    match memory::is_reconciled(&conn, connector) {
        Ok(true) => Ok(()),
        Ok(false) => Err(behind(memory::tombstones_beside(path), "redactions")),
        Err(error) => Err(OpenError::from_db(path, error)),
    }
}

/// Whether there is no file yet. If its log, its mark or its redactions are still there, the file is not missing but lost: a new
/// file would take the name that they belong to.
pub(super) fn is_missing(path: &Path) -> Result<bool, OpenError> {
    let failed = |error: std::io::Error| OpenError::from_io(path, &error);
    if path.try_exists().map_err(failed)? {
        return Ok(false);
    }
    for suffix in ["-wal", "-journal"] {
        let log = files::beside(path, suffix);
        if files::has_content(&log).map_err(failed)? {
            return Err(OpenError::LogWithoutFile {
                path: path.to_owned(),
                log,
            });
        }
    }
    for beside in [mark::path(path), memory::tombstones_beside(path)] {
        if files::has_content(&beside).map_err(failed)? {
            return Err(OpenError::Gone {
                path: path.to_owned(),
                beside,
            });
        }
    }
    Ok(true)
}

/// The file's one path, whatever links lead to it.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, OpenError> {
    files::resolve(path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound && path.is_symlink() {
            OpenError::Dangling(path.to_owned())
        } else {
            OpenError::from_io(path, &error)
        }
    })
}

/// Checks the bytes for what SQLCipher would report only as a wrong key. A full disk leaves an incomplete last page when it stops
/// a log going into the file: the log still has the page.
fn inspect(path: &Path, length: u64, has_log: bool) -> Result<(), OpenError> {
    let failed = |error: std::io::Error| OpenError::from_io(path, &error);
    let mut head = [0; 16];
    let mut file = File::open(path).map_err(failed)?;
    let found = file.read(&mut head).map_err(failed)?;
    if &head[..found] == b"SQLite format 3\0" {
        return Err(OpenError::PlainFile(path.to_owned()));
    }
    if length < u64::from(PAGE_SIZE) || !(is_in_pages(length) || has_log) {
        return Err(OpenError::Truncated(path.to_owned()));
    }
    Ok(())
}

fn is_in_pages(length: u64) -> bool {
    length.is_multiple_of(u64::from(PAGE_SIZE))
}

/// Creates the file under another name and renames it once it is whole: a crash in between leaves no half file behind.
pub(super) fn create(connector: &Connector) -> Result<(), OpenError> {
    let path = connector.path();
    let failed = |error: std::io::Error| OpenError::from_io(path, &error);
    // Leftovers of an earlier file of this name would be taken for ours; there is nothing in them.
    for suffix in ["-wal", "-shm", "-journal"] {
        files::remove(&files::beside(path, suffix)).map_err(failed)?;
    }
    let draft = files::beside(path, ".new");
    for suffix in ["", "-wal", "-shm", "-journal"] {
        files::remove(&files::beside(&draft, suffix)).map_err(failed)?;
    }
    files::private().write(true).create_new(true).open(&draft).map_err(failed)?;
    let made = fill(&Connector::new(draft.clone(), connector.key().clone()), path);
    if made.is_err() {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            // The first error is the one to report.
            let _ = files::remove(&files::beside(&draft, suffix));
        }
    }
    made?;
    std::fs::rename(&draft, path).map_err(failed)?;
    files::sync_folder(path).map_err(failed)
}

fn fill(draft: &Connector, path: &Path) -> Result<(), OpenError> {
    let failed = |error| OpenError::from_sqlite(path, error);
    let mut conn = draft.connect(Access::Write)?;
    schema::check_parts(&conn)?;
    conn.pragma_update(None, "application_id", schema::APPLICATION_ID)
        .map_err(failed)?;
    schema::migrate(path, &mut conn)?;
    if !connect::empty_log(&conn).map_err(failed)? {
        return Err(OpenError::InUse {
            path: path.to_owned(),
            pid: None,
        });
    }
    conn.close().map_err(|(_, error)| failed(error))
}
