//! Only one process at a time has the data file: a lock beside it names the holder, and a lock on the file itself holds under any
//! other name or mount of the file.

use std::{
    fs::{File, TryLockError},
    io::{ErrorKind, Read, Seek, Write},
    path::Path,
};

use super::open::OpenError;
use crate::files;

/// Which file it is, under any name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity(#[cfg(unix)] u64, #[cfg(unix)] u64);

impl Identity {
    /// The identity of the file that the path leads to now.
    pub fn at(path: &Path) -> std::io::Result<Self> {
        Ok(Self::of(&std::fs::metadata(path)?))
    }

    #[cfg(unix)]
    fn of(found: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self(found.dev(), found.ino())
    }

    #[cfg(not(unix))]
    fn of(_: &std::fs::Metadata) -> Self {
        Self()
    }
}

/// Holds the data file for this process until dropped. It has to outlive every connection: closing any descriptor of a file drops
/// SQLite's locks on it.
#[derive(Debug)]
pub struct FileLock {
    _beside: Option<File>,
    itself: Option<File>,
}

impl FileLock {
    /// Takes the lock beside `path`, or says who has it.
    pub fn take(path: &Path) -> Result<Self, OpenError> {
        let beside = files::beside(path, ".lock");
        let failed = |error: std::io::Error| OpenError::from_io(&beside, &error);
        let mut file = files::private()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&beside)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(path, file)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Self {
            _beside: Some(file),
            itself: None,
        })
    }

    /// Keeps writers out of a file that this process can only read; other readers are let in. Creates nothing.
    pub fn share(path: &Path) -> Result<Self, OpenError> {
        let failed = |error: std::io::Error| OpenError::from_io(path, &error);
        let beside = match File::open(files::beside(path, ".lock")) {
            Ok(file) => match file.try_lock_shared() {
                Ok(()) => Some(file),
                Err(TryLockError::WouldBlock) => return Err(in_use(path, file)),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            },
            // The lock on the file itself has to suffice.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => None,
            Err(error) => return Err(failed(error)),
        };
        let file = File::open(path).map_err(failed)?;
        let mut lock = Self {
            _beside: beside,
            itself: None,
        };
        lock.keep(path, file, itself::Lock::Shared)?;
        Ok(lock)
    }

    /// Takes the lock on the file itself, which exists by now, and refuses a file that has a second name: SQLite keeps the log
    /// beside the name it was given, so each name would have its own. Returns the file's identity.
    pub fn hold(&mut self, path: &Path) -> Result<Identity, OpenError> {
        let failed = |error: std::io::Error| OpenError::from_io(path, &error);
        let file = File::options().read(true).write(true).open(path).map_err(failed)?;
        let identity = Identity::of(&file.metadata().map_err(failed)?);
        self.keep(path, file, itself::Lock::Exclusive)?;
        Ok(identity)
    }

    fn keep(&mut self, path: &Path, file: File, kind: itself::Lock) -> Result<(), OpenError> {
        let failed = |error: std::io::Error| OpenError::from_io(path, &error);
        if !itself::lock(&file, kind).map_err(failed)? {
            return Err(OpenError::InUse {
                path: path.to_owned(),
                pid: None,
            });
        }
        let names = itself::names(&file).map_err(failed)?;
        if names > 1 {
            return Err(OpenError::Linked {
                path: path.to_owned(),
                names,
            });
        }
        self.itself = Some(file);
        Ok(())
    }
}

/// Who has the lock, as far as its file says.
fn in_use(path: &Path, mut lock: File) -> OpenError {
    let mut text = String::new();
    // What cannot be read is left out of the message.
    let _ = lock.read_to_string(&mut text);
    OpenError::InUse {
        path: path.to_owned(),
        pid: text.trim().parse().ok(),
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
mod itself {
    use std::{
        fs::File,
        io,
        os::{fd::AsRawFd, unix::fs::MetadataExt},
    };

    /// A byte far beyond those that SQLite locks, and beyond the end of any file.
    const PLACE: libc::off_t = libc::off_t::MAX - 1;

    /// Whom a lock keeps out.
    #[derive(Clone, Copy)]
    pub enum Lock {
        /// Writers.
        Shared,
        /// Everybody.
        Exclusive,
    }

    /// Locks the file for this descriptor; returns whether that succeeded. Unlike other kinds of lock, this one belongs to the
    /// file and not its name, does not clash with SQLite's own, and survives the closing of another descriptor.
    #[allow(unsafe_code)]
    pub fn lock(file: &File, kind: Lock) -> io::Result<bool> {
        let kind = match kind {
            Lock::Shared => libc::F_RDLCK,
            Lock::Exclusive => libc::F_WRLCK,
        };
        // SAFETY: the structure consists of integers, for which zero is a value.
        let mut wanted: libc::flock = unsafe { std::mem::zeroed() };
        #[allow(clippy::cast_possible_truncation, reason = "the constants of this call are small")]
        {
            wanted.l_type = kind as libc::c_short;
            wanted.l_whence = libc::SEEK_SET as libc::c_short;
        }
        wanted.l_start = PLACE;
        wanted.l_len = 1;
        // SAFETY: the descriptor is open as long as `file`, and the call reads the structure that it is given and keeps nothing.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const wanted) } == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EACCES) => Ok(false),
            // Some file systems have no such locks: the one beside the file has to suffice there.
            Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOLCK) => {
                tracing::warn!(%error, "this file system cannot lock the data file itself; a second mount of it would not be noticed");
                Ok(true)
            }
            _ => Err(error),
        }
    }

    /// How many names the file has.
    pub fn names(file: &File) -> io::Result<u64> {
        Ok(file.metadata()?.nlink())
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
mod itself {
    use std::{fs::File, io};

    /// Whom a lock keeps out.
    #[derive(Clone, Copy)]
    pub enum Lock {
        /// Writers.
        Shared,
        /// Everybody.
        Exclusive,
    }

    /// This platform has no lock that would not clash with SQLite's own.
    pub fn lock(_: &File, _: Lock) -> io::Result<bool> {
        Ok(true)
    }

    /// One, as far as can be told.
    pub fn names(file: &File) -> io::Result<u64> {
        file.metadata().map(|_| 1)
    }
}
