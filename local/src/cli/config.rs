//! `duet config`.

use clap::Subcommand;

use super::{
    Global,
    exit::{Failure, Outcome},
    output::Output,
    paths, settings,
};

/// `duet config …`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the settings in use, from file, environment and flags, as TOML (or JSON)
    Show,
    /// Print where the configuration file and the data file are
    Path,
}

pub fn run(global: &Global, output: Output, command: ConfigCommand) -> Outcome {
    match command {
        ConfigCommand::Show => {
            let settings = settings::read(global, &[])?;
            if output.json {
                return output.value(&settings.config);
            }
            let text = toml::to_string(&settings.config)
                .map_err(|error| Failure::failed(format!("The settings cannot be written as TOML: {error}.")))?;
            output.raw(&text)
        }
        ConfigCommand::Path => {
            let data = settings::read(global, &[])?.data;
            let config = global.config.clone().or_else(paths::default_config).unwrap_or_default();
            if output.json {
                return output.value(&serde_json::json!({"config": config, "data": data}));
            }
            output.line(&format!("config  {}\ndata    {}", config.display(), data.display()))
        }
    }
}
