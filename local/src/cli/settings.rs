//! The settings of a command: file, environment, flags.

use std::path::PathBuf;

use duet_api::config::{Config, Sources};
use duet_sqlite::files;

use super::{
    Global,
    exit::{Failure, Outcome},
    paths,
};

/// The settings of this invocation.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The whole configuration.
    pub config: Config,
    /// The data file.
    pub data: PathBuf,
    /// The folder for files kept beside the configuration.
    pub config_folder: Option<PathBuf>,
}

/// Reads the settings: file, environment, flags.
pub fn read(global: &Global, flags: &[(&str, String)]) -> Outcome<Settings> {
    // A file that is named must exist; the default one need not.
    let file = global
        .config
        .clone()
        .or_else(|| paths::default_config().filter(|path| path.exists()));
    let mut sources = Sources::from_process(file);
    sources.flags = flags.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    if let Some(data) = &global.data {
        let text = data
            .to_str()
            .ok_or_else(|| Failure::usage("The name of the data file is not valid UTF-8. Choose another one."))?;
        sources.flags.push(("data.path".into(), text.to_owned()));
    }
    let config = sources.load().map_err(|error| Failure::usage(error.to_string()))?;
    let data = config.data.path.clone().or_else(paths::default_data).ok_or_else(|| {
        Failure::usage("There is no home folder to keep the data file in. Name a file with --data, or set HOME.")
    })?;
    // A path that cannot be resolved is refused, with its reason, when the file is opened.
    let data = files::resolve(&data).unwrap_or(data);
    let config_folder = paths::config_folder(global.config.as_deref()).or_else(|| data.parent().map(Into::into));
    Ok(Settings {
        config,
        data,
        config_folder,
    })
}
