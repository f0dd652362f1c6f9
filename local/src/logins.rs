//! Sign-ins at other servers, as `duet login` keeps them: one file that only its owner can read, in a folder that only its owner can
//! open, with the secrets in the operating system's keyring where there is one.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    net::IpAddr,
    path::{Path, PathBuf},
};

use duet_core::Timestamp;
use duet_sqlite::files;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::os_keyring;

/// What proves a sign-in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Secret {
    /// A sign-in of Duet's own.
    Device {
        /// Its secret.
        token: String,
    },
    /// A sign-in at Supabase Auth.
    Issued {
        /// What requests carry.
        access_token: String,
        /// What the next one is obtained with; works once.
        refresh_token: String,
        /// When the access token expires.
        until: Timestamp,
    },
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// A sign-in, without what proves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// Whose.
    pub email: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself, if that is known.
    pub until: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    login: Login,
    /// Absent where the keyring has it.
    secret: Option<Secret>,
}

#[derive(Default, Serialize, Deserialize)]
struct Content {
    /// The server that commands reach when they name none.
    default: Option<String>,
    logins: BTreeMap<String, Entry>,
}

/// Why a sign-in cannot be kept or found. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum LoginsError {
    /// The file or its folder.
    #[error("The sign-ins in {0} cannot be read or written: {1}. Check its permissions and the disk's space.")]
    File(PathBuf, String),
    /// Others can read the file.
    #[error("Other users of this machine can read {0}. Take that right away: chmod 600 {0}")]
    Exposed(PathBuf),
    /// The keyring has it, and cannot be asked now.
    #[error(
        "The operating system's keyring holds this sign-in and cannot be used: {0}. Unlock it, or sign in again with `duet login`."
    )]
    Keyring(String),
}

/// The address of a server as sign-ins are kept by: scheme, host and port. Without TLS only this machine will do, since anybody on
/// the way could read the sign-in.
pub fn origin(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is not the address of a server. Write it like https://duet.example.org.");
    let url = Url::parse(text).map_err(|_| wrong())?;
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    let host = url.host_str().filter(|_| bare).ok_or_else(wrong)?;
    let here = || {
        let address: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
        host == "localhost" || address.is_some_and(|address| address.is_loopback())
    };
    match url.scheme() {
        "https" => {}
        "http" if here() => {}
        "http" => {
            return Err(format!(
                "`{text}` is not encrypted: anybody on the way could take over the sign-in. Use its address with https."
            ));
        }
        _ => return Err(wrong()),
    }
    Ok(url.origin().ascii_serialization())
}

/// The sign-ins of this person on this machine. While it exists, no other command changes them.
pub struct Logins {
    folder: PathBuf,
    content: Content,
    _lock: fs::File,
}

fn account(url: &str) -> String {
    format!("sign-in at {url}")
}

impl Logins {
    /// The sign-ins kept beside the configuration in this folder; waits for commands that are changing them.
    pub fn open(config_folder: &Path) -> Result<Self, LoginsError> {
        let folder = config_folder.join("logins");
        let failed = |error: io::Error| LoginsError::File(folder.clone(), error.to_string());
        files::private_folder(&folder).map_err(failed)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        }
        let lock = files::private()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("lock"))
            .map_err(failed)?;
        lock.lock().map_err(failed)?;
        let content = Self::read(&folder)?;
        Ok(Self {
            folder,
            content,
            _lock: lock,
        })
    }

    /// Whether anything was ever kept there, without making the folder.
    pub fn any(config_folder: &Path) -> bool {
        config_folder.join("logins").join("logins.json").exists()
    }

    fn read(folder: &Path) -> Result<Content, LoginsError> {
        let path = folder.join("logins.json");
        let failed = |reason: String| LoginsError::File(path.clone(), reason);
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::default()),
            Err(error) => return Err(failed(error.to_string())),
        };
        if files::readable_by_others(&file).map_err(|error| failed(error.to_string()))? {
            return Err(LoginsError::Exposed(path));
        }
        let text = Zeroizing::new(io::read_to_string(file).map_err(|error| failed(error.to_string()))?);
        serde_json::from_str(&text).map_err(|_| failed("it does not hold sign-ins; remove it and sign in again".into()))
    }

    /// Replaces the file, whole or not at all.
    fn write(&self) -> Result<(), LoginsError> {
        let path = self.folder.join("logins.json");
        let attempt = || -> io::Result<()> {
            let draft = files::beside(&path, ".new");
            files::remove(&draft)?;
            let mut file = files::private().write(true).create_new(true).open(&draft)?;
            let text = Zeroizing::new(serde_json::to_string_pretty(&self.content)?);
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            files::sync_folder(&path)
        };
        attempt().map_err(|error| LoginsError::File(path.clone(), error.to_string()))
    }

    /// All sign-ins, by server.
    pub fn list(&self) -> impl Iterator<Item = (&str, &Login)> {
        self.content.logins.iter().map(|(url, entry)| (url.as_str(), &entry.login))
    }

    /// The server that commands reach when they name none.
    pub fn default(&self) -> Option<&str> {
        self.content.default.as_deref()
    }

    /// Sets it, or takes it back.
    pub fn set_default(&mut self, url: Option<&str>) -> Result<(), LoginsError> {
        self.content.default = url.map(str::to_owned);
        self.write()
    }

    /// The sign-in at this server.
    pub fn get(&self, url: &str) -> Result<Option<(Login, Secret)>, LoginsError> {
        let Some(entry) = self.content.logins.get(url) else {
            return Ok(None);
        };
        let secret = match &entry.secret {
            Some(secret) => Some(secret.clone()),
            None => os_keyring::get(&account(url))
                .map_err(LoginsError::Keyring)?
                .and_then(|text| serde_json::from_str(&text).ok()),
        };
        Ok(secret.map(|secret| (entry.login.clone(), secret)))
    }

    /// Keeps a sign-in at this server in place of an earlier one; says where, for people.
    pub fn put(&mut self, url: &str, login: Login, secret: &Secret) -> Result<String, LoginsError> {
        let text = serde_json::to_string(secret).map(Zeroizing::new);
        let kept = text.is_ok_and(|text| os_keyring::put(&account(url), text).is_ok());
        let entry = Entry {
            login,
            secret: (!kept).then(|| secret.clone()),
        };
        self.content.logins.insert(url.to_owned(), entry);
        self.write()?;
        Ok(match kept {
            true => "in the operating system's keyring".into(),
            false => format!("in {}", self.folder.join("logins.json").display()),
        })
    }

    /// Forgets the sign-in at this server.
    pub fn remove(&mut self, url: &str) -> Result<(), LoginsError> {
        if let Some(entry) = self.content.logins.remove(url)
            && entry.secret.is_none()
        {
            os_keyring::remove(&account(url)).map_err(LoginsError::Keyring)?;
        }
        if self.default() == Some(url) {
            self.content.default = None;
        }
        self.write()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_encrypted_or_here() {
        for (text, kept) in [
            ("https://duet.example", "https://duet.example"),
            ("HTTPS://Duet.Example:443/", "https://duet.example"),
            ("https://duet.example:8443", "https://duet.example:8443"),
            ("http://127.0.0.1:7717/", "http://127.0.0.1:7717"),
            ("http://localhost:7717", "http://localhost:7717"),
            ("http://[::1]:7717", "http://[::1]:7717"),
        ] {
            assert_eq!(origin(text).as_deref(), Ok(kept), "{text}");
        }
        for text in [
            "",
            "duet.example",
            "ftp://duet.example",
            "file:///etc/passwd",
            "http://duet.example",
            "http://127.0.0.1.example",
            "http://localhost.example",
            "http://192.168.1.4:7717",
            "https://ada:secret@duet.example",
            "https://duet.example/path",
            "https://duet.example/?a=b",
            "https://duet.example/#a",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    fn login(email: &str) -> Login {
        Login {
            email: email.into(),
            since: Timestamp::from_millis(1),
            until: None,
        }
    }

    #[test]
    fn kept_for_their_owner_alone_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!Logins::any(folder.path()));
        let (one, other) = ("https://one.example", "https://other.example");
        let secret = Secret::Device {
            token: "device_s3cret".into(),
        };
        let mut logins = Logins::open(folder.path()).unwrap();
        logins.put(one, login("ada@example.org"), &secret).unwrap();
        logins.put(other, login("eve@example.org"), &secret).unwrap();
        logins.set_default(Some(one)).unwrap();
        drop(logins);
        let mut logins = Logins::open(folder.path()).unwrap();
        assert_eq!(logins.get(one).unwrap(), Some((login("ada@example.org"), secret.clone())));
        assert_eq!(logins.get("https://third.example").unwrap(), None);
        assert_eq!(logins.default(), Some(one));
        assert_eq!(logins.list().map(|(url, _)| url).collect::<Vec<_>>(), [one, other]);
        assert!(!format!("{secret:?}").contains("s3cret"));
        logins.remove(one).unwrap();
        assert_eq!((logins.get(one).unwrap(), logins.default()), (None, None));
        drop(logins);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let kept = folder.path().join("logins");
            let file = kept.join("logins.json");
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&kept), mode(&file)), (0o700, 0o600));
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(Logins::open(folder.path()), Err(LoginsError::Exposed(_))));
        }
    }
}
