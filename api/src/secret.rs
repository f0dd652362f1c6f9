//! Secrets are named, never written down: the configuration holds `env:NAME` or `file:/path`, and a
//! [`SecretResolver`] fetches the value when it is needed.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest secret read from a file, in bytes.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Where a secret is: `env:NAME` or `file:/absolute/path`.
///
/// A configuration that contains the secret itself still parses, so that no parser's error message can quote it; using such a
/// pointer fails with a sentence that says what to write instead.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretPointer {
    /// An environment variable.
    Env(String),
    /// A file whose trimmed content is the secret.
    File(PathBuf),
    /// Anything else. Its content is discarded at once: it may be a secret.
    Literal,
}

impl FromStr for SecretPointer {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once(':') {
            Some(("env", name)) if is_variable_name(name) => Self::Env(name.to_owned()),
            Some(("file", path)) if path.starts_with('/') => Self::File(PathBuf::from(path)),
            _ => Self::Literal,
        })
    }
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl fmt::Display for SecretPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Literal => f.write_str("(not a pointer)"),
        }
    }
}

impl fmt::Debug for SecretPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for SecretPointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Ok(pointer) = String::deserialize(deserializer)?.parse();
        Ok(pointer)
    }
}

impl Serialize for SecretPointer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a secret is not available. The sentence says what to do and never contains a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The configuration contains something that is not a pointer, probably the secret itself.
    #[error(
        "a secret is not written into the configuration: put it into an environment variable or a file and write `env:NAME` or `file:/path` instead"
    )]
    Literal,
    /// There is nothing there.
    #[error("{pointer} is not set or empty: {hint}")]
    Missing {
        /// The pointer, as written.
        pointer: String,
        /// What to do.
        hint: &'static str,
    },
    /// It cannot be read, or is not text.
    #[error("{pointer} cannot be used: {reason}")]
    Unreadable {
        /// The pointer, as written.
        pointer: String,
        /// Why, without its content.
        reason: String,
    },
}

/// Fetches secrets. Password vaults and key services plug in here.
pub trait SecretResolver: Send + Sync {
    /// The current value of the secret that the pointer names.
    fn resolve(&self, pointer: &SecretPointer) -> Result<SecretString, SecretError>;
}

/// Reads environment variables and files.
#[derive(Clone, Copy, Debug, Default)]
pub struct EnvAndFiles;

impl EnvAndFiles {
    /// This resolver, ready to be shared.
    pub fn shared() -> Arc<dyn SecretResolver> {
        Arc::new(Self)
    }
}

impl SecretResolver for EnvAndFiles {
    fn resolve(&self, pointer: &SecretPointer) -> Result<SecretString, SecretError> {
        let unreadable = |reason: String| SecretError::Unreadable {
            pointer: pointer.to_string(),
            reason,
        };
        let (value, hint) = match pointer {
            SecretPointer::Literal => return Err(SecretError::Literal),
            SecretPointer::Env(name) => {
                let value = match std::env::var(name) {
                    Ok(value) => value,
                    Err(std::env::VarError::NotPresent) => String::new(),
                    Err(std::env::VarError::NotUnicode(_)) => return Err(unreadable("it is not UTF-8 text".into())),
                };
                (value, "set the variable before Duet starts")
            }
            SecretPointer::File(path) => {
                let size = std::fs::metadata(path)
                    .map_err(|error| unreadable(error.kind().to_string()))?
                    .len();
                if size > MAX_SECRET_BYTES {
                    return Err(unreadable(format!("the file is larger than {MAX_SECRET_BYTES} bytes")));
                }
                let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.kind().to_string()))?;
                (text, "write the secret into the file")
            }
        };
        match value.trim() {
            "" => Err(SecretError::Missing {
                pointer: pointer.to_string(),
                hint,
            }),
            secret => Ok(SecretString::from(secret)),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn pointer(text: &str) -> SecretPointer {
        let Ok(pointer) = text.parse();
        pointer
    }

    #[test]
    fn pointers_round_trip_and_literals_are_forgotten() {
        for text in ["env:ANTHROPIC_API_KEY", "file:/etc/duet/key"] {
            assert_eq!(pointer(text).to_string(), text);
        }
        for text in ["sk-ant-canary", "env:", "env:A B", "env:1X", "file:relative", "", "vault:x"] {
            assert_eq!(pointer(text), SecretPointer::Literal, "{text}");
        }
        let shown = format!("{:?} {}", pointer("sk-ant-canary"), pointer("sk-ant-canary"));
        assert!(!shown.contains("canary"));
        let sentence = EnvAndFiles.resolve(&SecretPointer::Literal).unwrap_err().to_string();
        assert!(sentence.contains("env:NAME"), "{sentence}");
    }

    #[test]
    fn files_are_read_and_trimmed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let at = SecretPointer::File(path.clone());
        assert!(matches!(EnvAndFiles.resolve(&at), Err(SecretError::Unreadable { .. })));
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(EnvAndFiles.resolve(&at), Err(SecretError::Missing { .. })));
        std::fs::write(&path, "k-1\n").unwrap();
        assert_eq!(EnvAndFiles.resolve(&at).unwrap().expose_secret(), "k-1");
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(EnvAndFiles.resolve(&at), Err(SecretError::Unreadable { .. })));
        std::fs::write(&path, "x".repeat(70_000)).unwrap();
        assert!(matches!(EnvAndFiles.resolve(&at), Err(SecretError::Unreadable { .. })));
    }

    #[test]
    fn the_environment_is_read_when_asked() {
        assert!(EnvAndFiles.resolve(&pointer("env:PATH")).is_ok());
        let error = EnvAndFiles.resolve(&pointer("env:DUET_TEST_SURELY_UNSET")).unwrap_err();
        assert!(error.to_string().contains("env:DUET_TEST_SURELY_UNSET"));
    }
}
