//! The runtime file: how commands find the server that holds the data file, and prove to it that they run as its owner. It is in
//! the XDG runtime folder if there is one, else beside the data file; only its owner can read it.

use std::{
    env,
    ffi::OsString,
    fs, io,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// What a running server tells the commands.
#[derive(Clone, Serialize, Deserialize)]
pub struct Runtime {
    /// Where it listens: `http://127.0.0.1:7717`.
    pub url: String,
    /// Its process.
    pub pid: u32,
    /// Secret of an owner's sign-in, made for the commands of this machine; absent until there is an owner.
    pub session: Option<String>,
    /// The token that makes the first person the owner; absent once there is one.
    pub setup_token: Option<String>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("url", &self.url)
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

/// A runtime file that this process wrote; removed when dropped.
#[derive(Debug)]
pub struct RuntimeFile {
    path: PathBuf,
}

impl RuntimeFile {
    /// Writes the runtime file for the server of the data file at `data`.
    pub fn create(data: &Path, runtime: &Runtime) -> io::Result<Self> {
        let file = Self { path: preferred(data) };
        if let Some(folder) = file.path.parent() {
            fs::create_dir_all(folder)?;
        }
        file.update(runtime)?;
        Ok(file)
    }

    /// Replaces its content, whole or not at all.
    pub fn update(&self, runtime: &Runtime) -> io::Result<()> {
        let draft = beside(&self.path, ".new");
        let _ = fs::remove_file(&draft);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&draft)?;
        serde_json::to_writer(&mut file, runtime)?;
        file.flush()?;
        fs::rename(&draft, &self.path)
    }
}

impl Drop for RuntimeFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The server of this data file, if one is running: the runtime file exists, and some process holds the server's lock.
pub fn find(data: &Path) -> Option<Runtime> {
    let holder = holder(data)?;
    left_behind(data).filter(|runtime| holder.is_none_or(|pid| pid == runtime.pid))
}

/// Whether a process holds the data file now, and which one, if that can be read.
pub fn holder(data: &Path) -> Option<Option<u32>> {
    let mut file = fs::File::open(beside(data, ".lock")).ok()?;
    match file.try_lock_shared() {
        Err(fs::TryLockError::WouldBlock) => {
            let mut text = String::new();
            let read = file.read_to_string(&mut text);
            Some(read.ok().and_then(|_| text.trim().parse().ok()))
        }
        _ => None,
    }
}

fn beside(data: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = data.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The runtime file of this data file, whether or not its server is still running.
pub fn left_behind(data: &Path) -> Option<Runtime> {
    let read = |path: PathBuf| serde_json::from_slice(&fs::read(path).ok()?).ok();
    candidates(data).into_iter().find_map(read)
}

fn preferred(data: &Path) -> PathBuf {
    candidates(data).swap_remove(0)
}

/// Where the file may be, preferred place first: the server and a command may have been started with different environments.
fn candidates(data: &Path) -> Vec<PathBuf> {
    let runtime_folder = env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|folder| folder.is_dir());
    let absolute = fs::canonicalize(data)
        .or_else(|_| std::path::absolute(data))
        .unwrap_or_else(|_| data.to_owned());
    let digest = ring::digest::digest(&ring::digest::SHA256, absolute.as_os_str().as_encoded_bytes());
    let in_folder = runtime_folder.map(|folder| {
        folder
            .join("duet")
            .join(format!("{}.json", hex::encode(&digest.as_ref()[..8])))
    });
    in_folder.into_iter().chain([beside(data, ".server.json")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_only_while_the_lock_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("duet.db");
        fs::write(&data, "").unwrap();
        let runtime = Runtime {
            url: "http://127.0.0.1:1".into(),
            pid: std::process::id(),
            session: Some("secret".into()),
            setup_token: None,
        };
        let lock = fs::File::create(beside(&data, ".lock")).unwrap();
        lock.lock().unwrap();
        writeln!(&lock, "{}", std::process::id()).unwrap();
        assert!(find(&data).is_none());
        let file = RuntimeFile::create(&data, &runtime).unwrap();
        assert_eq!(find(&data).unwrap().url, runtime.url);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let other = Runtime {
            pid: 1,
            ..runtime.clone()
        };
        file.update(&other).unwrap();
        assert!(find(&data).is_none(), "the lock is held by another process than the file's");
        drop(lock);
        assert!(find(&data).is_none(), "a stale file is not a server");
        assert!(left_behind(&data).is_some());
        drop(file);
        assert!(left_behind(&data).is_none());
        assert!(!format!("{runtime:?}").contains("secret"));
    }
}
