//! Where files are (XDG base directories).

use std::{
    env,
    path::{Path, PathBuf},
};

/// The configuration file when none is named: `$XDG_CONFIG_HOME/duet/duet.toml`.
pub fn default_config() -> Option<PathBuf> {
    Some(base("XDG_CONFIG_HOME", ".config")?.join("duet").join("duet.toml"))
}

/// The data file when none is named: `$XDG_DATA_HOME/duet/duet.db`.
pub fn default_data() -> Option<PathBuf> {
    Some(base("XDG_DATA_HOME", ".local/share")?.join("duet").join("duet.db"))
}

/// The folder of the configuration file, for files kept beside it.
pub fn config_folder(config: Option<&Path>) -> Option<PathBuf> {
    match config {
        Some(path) => path.parent().map(Path::to_owned),
        None => default_config()?.parent().map(Path::to_owned),
    }
}

/// An XDG base directory. As the specification says, relative values are ignored.
fn base(variable: &str, fallback: &str) -> Option<PathBuf> {
    let set = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    set.or_else(|| {
        let home = env::var_os("HOME").or_else(|| env::var_os("USERPROFILE"))?;
        Some(PathBuf::from(home).join(fallback)).filter(|path| path.is_absolute())
    })
}
