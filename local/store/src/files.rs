//! Files that only their owner may read.

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

/// Options that make new files readable by their owner alone.
pub fn private() -> OpenOptions {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "only Unix has modes"))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}

/// Makes a folder, and those above it, that only their owner may enter; folders that are there stay as they are.
pub fn private_folder(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path)
}

/// Whether others than the owner may read the file.
pub fn readable_by_others(file: &File) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        Ok(file.metadata()?.permissions().mode() & 0o077 != 0)
    }
    #[cfg(not(unix))]
    {
        file.metadata().map(|_| false)
    }
}

/// The one path of a file that has several, over links: a file that is not there yet gets its folder's. A link that leads nowhere
/// is an error, since making a file in its place would hide the one that it stands for.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    match std::fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if std::fs::symlink_metadata(path).is_ok() {
                return Err(error);
            }
            let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(error);
            };
            let folder = if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            };
            match std::fs::canonicalize(folder) {
                Ok(folder) => Ok(folder.join(name)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => std::path::absolute(path),
                Err(error) => Err(error),
            }
        }
        other => other,
    }
}

/// Whether there is a file of that name with anything in it.
pub fn has_content(path: &Path) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(found.len() > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The first of the files with these suffixes that this process may not read and write, and why. It is asked without opening the
/// file: closing it again would take away the locks that SQLite has on it.
pub fn blocked_beside(path: &Path, suffixes: &[&str]) -> Option<(PathBuf, String)> {
    let blocked = |path: &Path| match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Some("it is a folder".to_owned()),
        Ok(_) => usable(path).err().map(|error| error.to_string()),
        Err(_) => None,
    };
    suffixes
        .iter()
        .map(|suffix| beside(path, suffix))
        .find_map(|path| blocked(&path).map(|reason| (path, reason)))
}

#[cfg(unix)]
fn usable(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(
        path,
        rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK,
    )?)
}

#[cfg(not(unix))]
fn usable(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path)?.permissions().readonly() {
        true => Err(io::ErrorKind::PermissionDenied.into()),
        false => Ok(()),
    }
}

/// Why this process may not write to the file, or to the folder that it is in.
pub fn unwritable(path: &Path) -> Option<String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    [path, folder.unwrap_or(Path::new("."))]
        .into_iter()
        .find_map(|path| writable(path).err())
        .map(|error| error.to_string())
}

#[cfg(unix)]
fn writable(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(path, rustix::fs::Access::WRITE_OK)?)
}

/// Of a folder the mark says something else here.
#[cfg(not(unix))]
fn writable(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path)? {
        found if found.is_file() => usable(path),
        _ => Ok(()),
    }
}

/// An absolute path as a URL of SQLite's.
pub fn url(path: &Path) -> String {
    let mut url = String::from("file://");
    let bytes = path.as_os_str().as_encoded_bytes();
    if !bytes.starts_with(b"/") {
        url.push('/');
    }
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' => url.push(char::from(*byte)),
            other => url.push_str(&format!("%{other:02X}")),
        }
    }
    url
}

/// The path with something after its last name.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes a file; one that is not there is fine.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a rename in the folder of `path` durable.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
