//! Where the key of the data file comes from: a pointer in the settings, the operating system's keyring, or a key file.
//!
//! | setting `data.key` | the key is |
//! |---|---|
//! | `env:NAME` | 64 hex digits in an environment variable |
//! | `file:/path` | 64 hex digits in a file that only its owner can read |
//! | `keyring` | kept by the operating system's keyring |
//! | `passphrase:env:NAME`, `passphrase:file:/path` | random, and wrapped by a passphrase (argon2id) in a file beside the data file |
//! | unset | in the keyring where there is one, else in a key file beside the configuration |
//!
//! A key is made only together with its data file: for an existing file, a missing key is an error.

use std::{
    env, fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use duet_core::Env;
use zeroize::{Zeroize, Zeroizing};

use duet_sqlite::{files, key::FileKey};

use crate::{key_wrap, os_keyring};

/// A key and where it was found, as a sentence for people.
pub struct Located {
    /// The key.
    pub key: FileKey,
    /// Where it is, and how to keep it elsewhere.
    pub notice: String,
}

/// Why there is no key. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The setting is not understood.
    #[error("`data.key` is `{0}`; allowed are env:NAME, file:/path, keyring, passphrase:env:NAME and passphrase:file:/path.")]
    Setting(String),
    /// The variable is not set.
    #[error("The environment variable {0}, to which `data.key` points, is not set. Set it to the key of the data file.")]
    Variable(String),
    /// A file cannot be read.
    #[error("The key file {path} cannot be read: {reason}. Restore it, or point `data.key` to where the key is.")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file cannot be written.
    #[error("The key file {path} cannot be written: {reason}. Check the permissions of its folder and the disk's space.")]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Others can read the file.
    #[error("Other users of this machine can read the key file {0}. Take that right away: chmod 600 {0}")]
    Exposed(PathBuf),
    /// The source does not hold a key.
    #[error(
        "{0} does not hold a key: 64 hex digits are expected. Put the right key there; `openssl rand -hex 32` makes a new one."
    )]
    NoKey(String),
    /// The source does not hold a key, and the data file needs the original one.
    #[error(
        "{0} does not hold a key any more: 64 hex digits are expected. Put back the key from the copy that you keep: no other one opens \
         the data file."
    )]
    Damaged(String),
    /// The data file exists, but its key is nowhere.
    #[error(
        "There is no key for the data file {0}: neither the keyring nor {1} holds one. Restore the key, or set `data.key` to where it is."
    )]
    Missing(PathBuf, PathBuf),
    /// The keyring does not work.
    #[error("The operating system's keyring cannot be used: {0}. Unlock it, or set `data.key` to another place.")]
    Keyring(String),
    /// The passphrase is wrong.
    #[error("The passphrase does not open {0}. Check it; if it is right, the file is damaged: put back the copy that you keep.")]
    Passphrase(PathBuf),
    /// The passphrase is too weak to protect anything.
    #[error("The passphrase is empty or shorter than 8 characters. Choose a longer one.")]
    Weak,
}

/// Finds the key of the data file at `data`, or makes one if the file does not exist yet.
pub fn locate(setting: Option<&str>, data: &Path, config_folder: Option<&Path>, env: &Env) -> Result<Located, KeyError> {
    let fresh = !data.exists();
    located(setting, data, config_folder, fresh, env).map_err(|error| match error {
        KeyError::NoKey(place) if !fresh => KeyError::Damaged(place),
        error => error,
    })
}

fn located(
    setting: Option<&str>,
    data: &Path,
    config_folder: Option<&Path>,
    fresh: bool,
    env: &Env,
) -> Result<Located, KeyError> {
    match setting {
        None => unset(data, config_folder, fresh, env),
        Some("keyring") => {
            let key = match keyring_key(data)? {
                Some(key) => key,
                None if fresh => keyring_store(data, make(env))?,
                None => return Err(KeyError::Keyring("it holds no key for this data file".into())),
            };
            Ok(in_keyring(key))
        }
        Some(setting) => match setting.split_once(':') {
            Some(("env", name)) => Ok(Located {
                key: parse(&variable(name)?).ok_or_else(|| KeyError::NoKey(format!("The environment variable {name}")))?,
                notice: format!("from the environment variable {name}"),
            }),
            Some(("file", path)) => key_file(Path::new(path), fresh, env),
            Some(("passphrase", pointer)) => passphrase(pointer, data, fresh, env),
            _ => Err(KeyError::Setting(setting.to_owned())),
        },
    }
}

fn unset(data: &Path, config_folder: Option<&Path>, fresh: bool, env: &Env) -> Result<Located, KeyError> {
    let folder = config_folder.or_else(|| data.parent()).unwrap_or(Path::new("."));
    let path = folder.join("duet.key");
    // The key file first: it was made when there was no keyring, and one may have appeared since.
    if path.exists() {
        return key_file(&path, fresh, env).map(|located| described(located, &path));
    }
    match keyring_key(data) {
        Ok(Some(key)) => return Ok(in_keyring(key)),
        Ok(None) if fresh => {
            if let Ok(key) = keyring_store(data, make(env)) {
                return Ok(in_keyring(key));
            }
        }
        _ => {}
    }
    if !fresh {
        return Err(KeyError::Missing(data.to_owned(), path));
    }
    key_file(&path, fresh, env).map(|located| described(located, &path))
}

fn described(located: Located, path: &Path) -> Located {
    Located {
        notice: format!(
            "in the file {} (keep a copy in a safe place; whoever has it and the data file can read everything. \
             `data.key = \"passphrase:…\"` protects a new data file by a passphrase instead)",
            path.display()
        ),
        ..located
    }
}

fn in_keyring(key: FileKey) -> Located {
    Located {
        key,
        notice: "in the operating system's keyring, as `duet`".into(),
    }
}

fn make(env: &Env) -> FileKey {
    FileKey::new(env.bytes())
}

fn variable(name: &str) -> Result<Zeroizing<String>, KeyError> {
    env::var(name)
        .map(Zeroizing::new)
        .map_err(|_| KeyError::Variable(name.to_owned()))
}

/// Parses a key in text form, ignoring surrounding white space.
fn parse(text: &str) -> Option<FileKey> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.trim(), &mut bytes).ok()?;
    let key = FileKey::new(bytes);
    bytes.zeroize();
    Some(key)
}

fn key_file(path: &Path, fresh: bool, env: &Env) -> Result<Located, KeyError> {
    if fresh && !path.exists() {
        let key = make(env);
        write(path, key.hex().as_bytes())?;
        return Ok(Located {
            key,
            notice: format!("in the file {} (new; keep a copy in a safe place)", path.display()),
        });
    }
    let text = read(path)?;
    Ok(Located {
        key: parse(&text).ok_or_else(|| KeyError::NoKey(format!("The key file {}", path.display())))?,
        notice: format!("in the file {}", path.display()),
    })
}

fn passphrase(pointer: &str, data: &Path, fresh: bool, env: &Env) -> Result<Located, KeyError> {
    let phrase = match pointer.split_once(':') {
        Some(("env", name)) => variable(name)?,
        Some(("file", path)) => read(Path::new(path))?,
        _ => return Err(KeyError::Setting(format!("passphrase:{pointer}"))),
    };
    let phrase = phrase.trim_end_matches(['\n', '\r']);
    let wrapped = files::beside(data, ".key");
    let notice = format!(
        "wrapped by your passphrase in {} (keep that file with the data file)",
        wrapped.display()
    );
    if fresh && !wrapped.exists() {
        if phrase.chars().count() < 8 {
            return Err(KeyError::Weak);
        }
        let key = make(env);
        write(&wrapped, key_wrap::wrap(&key, phrase, env).as_bytes())?;
        return Ok(Located { key, notice });
    }
    let text = read(&wrapped)?;
    let key = key_wrap::unwrap(&text, phrase).ok_or_else(|| KeyError::Passphrase(wrapped.clone()))?;
    Ok(Located { key, notice })
}

/// The text of a file that only its owner can read.
fn read(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let unreadable = |error: std::io::Error| KeyError::Unreadable {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let mut file = fs::File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(KeyError::Unreadable {
            path: path.to_owned(),
            reason: "it is a folder".to_owned(),
        });
    }
    if files::readable_by_others(&file).map_err(unreadable)? {
        return Err(KeyError::Exposed(path.to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

/// Writes a new file that only its owner can read, whole or not at all; never replaces an existing one.
fn write(path: &Path, content: &[u8]) -> Result<(), KeyError> {
    let attempt = || {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            files::private_folder(folder)?;
        }
        let draft = files::beside(path, ".new");
        files::remove(&draft)?;
        let mut file = files::private().write(true).create_new(true).open(&draft)?;
        file.write_all(content)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        // Unlike a rename, a hard link never replaces a key that someone else has just made.
        let linked = fs::hard_link(&draft, path);
        files::remove(&draft)?;
        linked?;
        files::sync_folder(path)
    };
    attempt().map_err(|error: std::io::Error| KeyError::Unwritable {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// The keyring's name for the key of this data file.
fn account(data: &Path) -> String {
    let absolute = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    absolute.display().to_string()
}

fn keyring_key(data: &Path) -> Result<Option<FileKey>, KeyError> {
    match os_keyring::get(&account(data)).map_err(KeyError::Keyring)? {
        None => Ok(None),
        Some(text) => parse(&text)
            .map(Some)
            .ok_or_else(|| KeyError::NoKey("The keyring's entry `duet`".into())),
    }
}

fn keyring_store(data: &Path, key: FileKey) -> Result<FileKey, KeyError> {
    os_keyring::put(&account(data), key.hex()).map_err(KeyError::Keyring)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Env {
        duet_api::machine::system()
    }

    #[test]
    fn a_key_file_is_made_once_private_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("duet.db");
        let key = folder.path().join("config/duet.key");
        let setting = format!("file:{}", key.display());
        let first = locate(Some(&setting), &data, None, &env()).unwrap();
        fs::write(&data, "x").unwrap();
        let again = locate(Some(&setting), &data, None, &env()).unwrap();
        assert_eq!(first.key.bytes(), again.key.bytes());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(
                locate(Some(&setting), &data, None, &env()),
                Err(KeyError::Exposed(_))
            ));
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::write(&key, "abc").unwrap();
        match locate(Some(&setting), &data, None, &env()) {
            Err(error @ KeyError::Damaged(_)) => {
                let said = error.to_string();
                assert!(said.contains("Put back the key") && !said.contains("openssl"), "{said}");
            }
            _ => panic!("a key that cannot be one"),
        }
        fs::remove_file(&key).unwrap();
        // The data file exists: a new key could never open it.
        assert!(matches!(
            locate(Some(&setting), &data, None, &env()),
            Err(KeyError::Unreadable { .. })
        ));
        assert!(!key.exists());
    }

    #[test]
    fn a_passphrase_wraps_a_random_key() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("duet.db");
        let phrase = folder.path().join("phrase");
        let setting = format!("passphrase:file:{}", phrase.display());
        let say = |text: &str| {
            files::remove(&phrase).unwrap();
            files::private()
                .write(true)
                .create_new(true)
                .open(&phrase)
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
        };
        say("short");
        assert!(matches!(locate(Some(&setting), &data, None, &env()), Err(KeyError::Weak)));
        say("correct horse battery\n");
        let made = locate(Some(&setting), &data, None, &env()).unwrap();
        fs::write(&data, "x").unwrap();
        assert_eq!(
            locate(Some(&setting), &data, None, &env()).unwrap().key.bytes(),
            made.key.bytes()
        );
        say("wrong horse battery");
        assert!(matches!(
            locate(Some(&setting), &data, None, &env()),
            Err(KeyError::Passphrase(_))
        ));
        let wrapped = fs::read_to_string(folder.path().join("duet.db.key")).unwrap();
        assert!(!wrapped.contains(made.key.hex().as_str()));
    }

    #[test]
    fn mistakes_are_named() {
        let data = Path::new("/nonexistent/duet.db");
        for (setting, expected) in [
            ("env:DUET_TEST_NO_SUCH_VARIABLE", "DUET_TEST_NO_SUCH_VARIABLE"),
            ("hex:00", "passphrase:file:/path"),
            ("passphrase:abc", "passphrase:abc"),
        ] {
            let message = locate(Some(setting), data, None, &env()).map(|_| ()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
