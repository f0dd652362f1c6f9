//! Reads the settings from their sources and says where a mistake is.

use std::path::{Path, PathBuf};

use config::{File, FileFormat, Map, Value, ValueKind, builder::DefaultState};

use super::Config;

/// Short environment names besides `DUET_<SECTION>__<KEY>`.
pub const ALIASES: &[(&str, &str)] = &[
    ("DUET_BIND", "server.bind"),
    ("DUET_PUBLIC_URL", "server.public_url"),
    ("DUET_DATA", "data.path"),
    ("DUET_KEY", "data.key"),
    ("DUET_VECTOR_CACHE_MB", "data.vector_cache_mb"),
    ("DUET_BACKEND", "database.backend"),
    ("DUET_SUPABASE_URL", "supabase.url"),
    ("DUET_SUPABASE_PUBLISHABLE_KEY", "supabase.publishable_key"),
    ("DUET_LOG", "log.level"),
    ("DUET_LOG_FORMAT", "log.format"),
];

/// Why the settings could not be loaded: a sentence that names the place and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// Where settings come from, in rising order of precedence.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A TOML file; it must exist if it is named.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not begin with `DUET_` are ignored.
    pub env: Vec<(String, String)>,
    /// Flags as `(key, value)`, such as `("server.bind", "127.0.0.1:0")`.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// A file, if any, and this process's environment.
    pub fn from_process(file: Option<PathBuf>) -> Self {
        Self {
            file,
            env: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .filter(|(name, _)| name.starts_with("DUET_"))
                .collect(),
            flags: Vec::new(),
        }
    }

    /// Reads and checks the settings.
    pub fn load(self) -> Result<Config, ConfigError> {
        let file = match &self.file {
            Some(path) => Some((path.as_path(), read(path)?)),
            None => None,
        };
        let env: Vec<Override> = self.env.iter().filter_map(|(name, value)| variable(name, value)).collect();
        let flags: Vec<Override> = self
            .flags
            .iter()
            .map(|(key, value)| Override {
                key: key.clone(),
                value: value.clone(),
                place: format!("The flag {}", flag(key)),
            })
            .collect();
        let overrides: Vec<Override> = env.into_iter().chain(flags).collect();
        let text = file.as_ref().map(|(_, text)| text.as_str());
        match parse(text, &overrides) {
            Ok(config) => Ok(config),
            Err(message) => Err(ConfigError(format!("{}: {message}.", culprit(file, &overrides)))),
        }
    }
}

/// One value from the environment or a flag.
struct Override {
    key: String,
    value: String,
    place: String,
}

/// The flag of a setting: `--public-url` of `server.public_url`.
fn flag(key: &str) -> String {
    let name = key.rsplit_once('.').map_or(key, |(_, name)| name);
    format!("--{}", name.replace('_', "-"))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| {
        let path = path.display();
        ConfigError(match error.kind() {
            std::io::ErrorKind::NotFound => format!(
                "There is no configuration file {path}. Name one that exists with --config, or leave it out to use the defaults."
            ),
            _ => format!(
                "The configuration file {path} cannot be read: {error}. Check its permissions, or name another one with --config."
            ),
        })
    })
}

/// `DUET_SERVER__BIND` and the aliases. Other `DUET_*` names without a double underscore belong to other programs.
fn variable(name: &str, value: &str) -> Option<Override> {
    let key = match ALIASES.iter().find(|(alias, _)| *alias == name) {
        Some((_, key)) => (*key).to_owned(),
        None => {
            let rest = name.strip_prefix("DUET_")?;
            if !rest.contains("__") {
                return None;
            }
            rest.to_ascii_lowercase().replace("__", ".")
        }
    };
    Some(Override {
        key,
        value: value.to_owned(),
        place: format!("The environment variable {name}"),
    })
}

/// Whether a setting is a list: in the environment and in flags, lists are separated by commas.
fn is_list(key: &str) -> bool {
    key == "server.allowed_origins"
}

fn parse(file: Option<&str>, overrides: &[Override]) -> Result<Config, String> {
    let mut builder = config::ConfigBuilder::<DefaultState>::default();
    if let Some(text) = file {
        builder = builder.add_source(File::from_str(text, FileFormat::Toml));
    }
    for entry in overrides {
        let value = if is_list(&entry.key) {
            let items = entry.value.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::new(None, ValueKind::Array(items.map(Value::from).collect()))
        } else {
            Value::from(entry.value.clone())
        };
        builder = builder
            .set_override(&entry.key, value)
            .map_err(|error| format!("`{}` is no setting: {error}", entry.key))?;
    }
    let settings = builder.build().map_err(|error| one_line(&error.to_string()))?;
    // The library turns an empty source into a unit value; settings are a table.
    let settings = settings.cache.into_table().unwrap_or_else(|_| Map::new());
    let settings = Value::new(None, ValueKind::Table(settings));
    let config: Config = settings
        .try_deserialize()
        .map_err(|error| with_allowed(one_line(&error.to_string())))?;
    config.check()?;
    Ok(config)
}

/// Adds what the key accepts if the message names the key: the library only says what was wrong.
fn with_allowed(message: String) -> String {
    let named = message.split_once("for key `").and_then(|(_, rest)| rest.split_once('`'));
    let setting = named.and_then(|(key, _)| Config::reference().into_iter().find(|setting| setting.key == key));
    match setting {
        Some(setting) => format!("{message}; allowed is {}", setting.kind),
        None => message,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .trim_end_matches('.')
        .to_owned()
}

/// Which source is to blame: the last one without which the rest would be valid.
fn culprit(file: Option<(&Path, String)>, overrides: &[Override]) -> String {
    let text = file.as_ref().map(|(_, text)| text.as_str());
    for count in 0..=overrides.len() {
        if parse(text, &overrides[..count]).is_err() {
            return match count.checked_sub(1) {
                Some(index) => overrides[index].place.clone(),
                None => match file {
                    Some((path, _)) => format!("The configuration file {}", path.display()),
                    None => "The settings".to_owned(),
                },
            };
        }
    }
    "The settings".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: Option<&str>, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = file.map(|text| {
            let path = folder.path().join("duet.toml");
            std::fs::write(&path, text).unwrap();
            path
        });
        let own = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        Sources {
            file: path,
            env: own(env),
            flags: own(flags),
        }
        .load()
        .map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_given_is_the_default() {
        assert_eq!(load(None, &[], &[]), Ok(Config::default()));
        assert_eq!(load(Some(""), &[], &[]), Ok(Config::default()));
    }

    #[test]
    fn each_source_overrides_the_one_before() {
        let file = "[server]\nbind = \"127.0.0.1:1\"\n[log]\nlevel = \"warn\"\n[turn]\nmax_steps = 3\n";
        let config = load(
            Some(file),
            &[
                ("DUET_SERVER__BIND", "127.0.0.1:2"),
                ("DUET_LOG", "debug"),
                ("DUET_LOG__FORMAT", "json"),
            ],
            &[("server.bind", "127.0.0.1:3")],
        )
        .unwrap();
        assert_eq!(config.server.bind.port(), 3);
        assert_eq!(config.log.level, "debug");
        assert_eq!(config.log.format, crate::config::LogFormat::Json);
        assert_eq!(config.turn.max_steps, 3);
    }

    #[test]
    fn lists_numbers_and_truths_from_the_environment() {
        let config = load(
            None,
            &[
                ("DUET_SERVER__ALLOWED_ORIGINS", "https://a.example, https://b.example:8443"),
                ("DUET_VECTOR_CACHE_MB", "64"),
                ("DUET_SERVER__BEHIND_PROXY", "true"),
                ("DUET_SOMETHING", "else"),
            ],
            &[],
        )
        .unwrap();
        assert_eq!(config.server.allowed_origins, ["https://a.example", "https://b.example:8443"]);
        assert_eq!(config.data.vector_cache_bytes(), 64 << 20);
        assert!(config.server.behind_proxy);
    }

    #[test]
    fn a_mistake_is_named_with_its_place_key_and_what_is_allowed() {
        let message = load(Some("[server]\nbnd = \"x\"\n"), &[], &[]).unwrap_err();
        assert!(
            message.contains("duet.toml") && message.contains("bnd") && message.contains("`bind`"),
            "{message}"
        );

        let message = load(Some("[turn]\nmax_steps = 0\n"), &[], &[]).unwrap_err();
        assert!(
            message.contains("duet.toml") && message.contains("`turn.max_steps` is 0; allowed is 1 to 64"),
            "{message}"
        );

        let message = load(Some("[turn]\nmax_steps = \"many\"\n"), &[], &[]).unwrap_err();
        assert!(
            message.contains("duet.toml") && message.contains("max_steps") && message.contains("many"),
            "{message}"
        );

        let message = load(Some("[turn\n"), &[], &[]).unwrap_err();
        assert!(message.contains("duet.toml"), "{message}");

        let message = load(None, &[("DUET_LOG__FORMAT", "xml")], &[]).unwrap_err();
        assert!(
            message.contains("DUET_LOG__FORMAT") && message.contains("human") && message.contains("json"),
            "{message}"
        );

        let message = load(None, &[("DUET_SERVER__BINT", "1")], &[]).unwrap_err();
        assert!(message.contains("DUET_SERVER__BINT") && message.contains("bind"), "{message}");

        let message = load(None, &[], &[("server.public_url", "ftp://x")]).unwrap_err();
        assert_eq!(
            message,
            "The flag --public-url: `server.public_url` is `ftp://x`; write it like https://duet.example.org or \
             http://192.168.0.7:7717, without a path."
        );

        let missing = Sources {
            file: Some("/nowhere/duet.toml".into()),
            ..Sources::default()
        };
        assert!(missing.load().unwrap_err().to_string().contains("/nowhere/duet.toml"));
    }
}
