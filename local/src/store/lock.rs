//! One process at a time has the data file: a lock beside it, which tells who, and one on the file itself, which holds under
//! whatever other name or mount the file is reached.

use std::{
    fs::{File, TryLockError},
    io::{Read, Seek, Write},
    path::Path,
};

use super::open::OpenError;
use crate::files;

/// Holds the data file for this process until it is dropped. It has to outlive every connection: closing any descriptor of a file
/// takes away the locks that SQLite has on it.
#[derive(Debug)]
pub struct FileLock {
    _beside: File,
    itself: Option<File>,
}

impl FileLock {
    /// Takes the lock beside `path`, or says who has it.
    pub fn take(path: &Path) -> Result<Self, OpenError> {
        let beside = files::beside(path, ".lock");
        let failed = |error: std::io::Error| OpenError::from_io(path, &error);
        let mut file = files::private()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&beside)
            .map_err(failed)?;
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
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Self {
            _beside: file,
            itself: None,
        })
    }

    /// Takes the lock on the file itself, which is there by now, and refuses a file that has a second name: SQLite keeps the log
    /// beside the name that it was given, so that each name would have its own.
    pub fn hold(&mut self, path: &Path) -> Result<(), OpenError> {
        let failed = |error: std::io::Error| OpenError::from_io(path, &error);
        let file = File::options().read(true).write(true).open(path).map_err(failed)?;
        if !itself::lock(&file).map_err(failed)? {
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

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
mod itself {
    use std::{
        fs::File,
        io,
        os::{fd::AsRawFd, unix::fs::MetadataExt},
    };

    /// A byte far behind those that SQLite locks, and behind any end of the file.
    const PLACE: libc::off_t = libc::off_t::MAX - 1;

    /// Locks the file for this descriptor; whether nobody else has. Of the kinds of locks, this one goes by the file and not by its
    /// name, does not clash with SQLite's own, and stays when another descriptor of the file is closed.
    #[allow(unsafe_code)]
    pub fn lock(file: &File) -> io::Result<bool> {
        // SAFETY: the structure consists of integers, for which zero is a value.
        let mut wanted: libc::flock = unsafe { std::mem::zeroed() };
        #[allow(clippy::cast_possible_truncation, reason = "the constants of this call are small")]
        {
            wanted.l_type = libc::F_WRLCK as libc::c_short;
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
            // Some file systems have no such locks: the one beside the file has to do there.
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

    /// There is no lock here that SQLite's own would not clash with.
    pub fn lock(_: &File) -> io::Result<bool> {
        Ok(true)
    }

    /// One, as far as can be told.
    pub fn names(file: &File) -> io::Result<u64> {
        file.metadata().map(|_| 1)
    }
}
