//! Opening the file: who may, with which key, and one clear sentence for each way in which it can fail.

use std::{
    fs::{File, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use duet_core::Env;
use rusqlite::{Connection, ErrorCode};

use super::{
    connect::{Access, Connector, PAGE_SIZE},
    schema,
};
use crate::{files, key::FileKey};

/// What [`super::LocalStore::open`] needs.
pub struct OpenOptions {
    /// The data file; made when it is not there.
    pub path: PathBuf,
    /// Its key.
    pub key: FileKey,
    /// Time and randomness.
    pub env: Env,
    /// Memory that the cache of vector codes may take.
    pub vector_cache_bytes: usize,
}

/// Why the data file was not opened. Each says what to do.
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
    /// A page fails its check.
    #[error("{0} is damaged: a page fails its check. Restore the newest backup.")]
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
        /// The system's word for it.
        reason: String,
    },
    /// No space.
    #[error("There is no space left for {0}. Free some disk space and start again.")]
    DiskFull(PathBuf),
    /// The disk does not do what it should; SQLite does not always tell a full one from a broken one.
    #[error(
        "{0} cannot be read or written: the disk is full, or reports an error. Free some disk space, check the disk, and start again."
    )]
    Disk(PathBuf),
    /// Anything else.
    #[error("{path} could not be opened: {reason}. Run `duet doctor`.")]
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
        match failure.code {
            ErrorCode::NotADatabase => Self::WrongKey(path),
            ErrorCode::DatabaseCorrupt => Self::Damaged(path),
            ErrorCode::DiskFull => Self::DiskFull(path),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::InUse { path, pid: None },
            ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => Self::NotWritable {
                path,
                reason: message.clone().unwrap_or_else(|| failure.to_string()),
            },
            ErrorCode::SystemIoFailure => Self::Disk(path),
            _ => other(message.clone().unwrap_or_else(|| failure.to_string())),
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

/// Holds the data file for this process until it is dropped.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock beside `path`, or says who has it.
    pub fn take(path: &Path) -> Result<Self, OpenError> {
        let beside = files::beside(path, ".lock");
        let mut file = files::private()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&beside)
            .map_err(|error| OpenError::from_io(path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // What cannot be read is left out of the message.
                let _ = file.read_to_string(&mut text);
                return Err(OpenError::InUse {
                    path: path.to_owned(),
                    pid: text.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(OpenError::from_io(path, &error)),
        }
        let write = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        write.map_err(|error| OpenError::from_io(path, &error))?;
        Ok(Self { _file: file })
    }
}

/// Opens the writing connection of the file at the connector's path, making or migrating it where needed. The caller holds
/// the lock.
pub(super) fn open(connector: &Connector) -> Result<Connection, OpenError> {
    let path = connector.path();
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(OpenError::Truncated(path.to_owned())),
        Ok(found) => {
            inspect(path, found.len())?;
            let mut conn = connector.connect(Access::Write)?;
            schema::check_parts(&conn)?;
            schema::check_owner(path, &conn)?;
            schema::migrate(path, &mut conn)?;
            Ok(conn)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            create(connector)?;
            connector.connect(Access::Write)
        }
        Err(error) => Err(OpenError::from_io(path, &error)),
    }
}

/// Looks at the bytes for what SQLCipher would only call a wrong key.
fn inspect(path: &Path, length: u64) -> Result<(), OpenError> {
    let failed = |error: std::io::Error| OpenError::from_io(path, &error);
    let mut head = [0; 16];
    let mut file = File::open(path).map_err(failed)?;
    let found = file.read(&mut head).map_err(failed)?;
    if &head[..found] == b"SQLite format 3\0" {
        return Err(OpenError::PlainFile(path.to_owned()));
    }
    if length == 0 || !length.is_multiple_of(u64::from(PAGE_SIZE)) {
        return Err(OpenError::Truncated(path.to_owned()));
    }
    Ok(())
}

/// Makes the file under another name and gives it its own once it is whole: a crash in between leaves no half file behind.
fn create(connector: &Connector) -> Result<(), OpenError> {
    let path = connector.path();
    let failed = |error: std::io::Error| OpenError::from_io(path, &error);
    // What an earlier file of this name left would be taken for ours.
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
            // The first error is the one to tell.
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
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .map_err(failed)?;
    conn.close().map_err(|(_, error)| failed(error))
}
