//! Embedders: from the configuration to vectors.

pub mod config;
pub mod lexical;
mod remote;
pub mod sentence;

use std::sync::Arc;

use duet_core::ports::{EmbedError, EmbedPurpose, Embedder};
use reqwest::Client;

pub use config::{EmbedderConfig, EmbedderKind};
pub use lexical::Lexical;

use crate::secret::{EnvAndFiles, SecretResolver};

/// The embedder that the configuration asks for. Errors name the setting to fix.
pub fn from_config(config: &EmbedderConfig, http: Client) -> anyhow::Result<Arc<dyn Embedder>> {
    with_secrets(config, http, EnvAndFiles::shared())
}

/// The same with another source of secrets.
pub fn with_secrets(
    config: &EmbedderConfig,
    http: Client,
    secrets: Arc<dyn SecretResolver>,
) -> anyhow::Result<Arc<dyn Embedder>> {
    let build = || -> Result<Arc<dyn Embedder>, String> {
        unused_settings(config)?;
        match config.kind {
            EmbedderKind::Builtin => Ok(Arc::new(Lexical)),
            EmbedderKind::OpenAi | EmbedderKind::Ollama => Ok(Arc::new(remote::Remote::new(config, http, secrets)?)),
            EmbedderKind::Folder => {
                let folder = config
                    .path
                    .as_deref()
                    .ok_or("`kind = \"folder\"` needs `path`, the folder of a sentence-transformer")?;
                Ok(Arc::new(sentence::SentenceTransformer::load(folder, config)?))
            }
        }
    };
    build().map_err(|reason| anyhow::anyhow!("`embedder`: {reason}."))
}

/// Settings that the kind ignores are mistakes: the user believes that they have an effect.
fn unused_settings(config: &EmbedderConfig) -> Result<(), String> {
    let remote = matches!(config.kind, EmbedderKind::OpenAi | EmbedderKind::Ollama);
    let folder = config.kind == EmbedderKind::Folder;
    let set = [
        ("model", config.model.is_some(), remote),
        ("dimensions", config.dimensions.is_some(), remote),
        ("base_url", config.base_url.is_some(), remote),
        ("api_key", config.api_key.is_some(), remote),
        ("local", config.local.is_some(), remote),
        ("batch", config.batch.is_some(), remote),
        ("timeout_seconds", config.timeout_seconds.is_some(), remote),
        ("document_prefix", !config.document_prefix.is_empty(), remote || folder),
        ("query_prefix", !config.query_prefix.is_empty(), remote || folder),
        ("path", config.path.is_some(), folder),
    ];
    match set.iter().find(|(_, given, used)| *given && !used) {
        Some((name, ..)) => Err(format!(
            "`{name}` means nothing for this `kind`; set `kind` to the one you meant, or remove it"
        )),
        None => Ok(()),
    }
}

/// Embeds one short text and reports the result, for `duet doctor`.
pub async fn check(embedder: &dyn Embedder) -> Result<String, EmbedError> {
    let model = embedder.model();
    let vectors = embedder
        .embed(
            EmbedPurpose::Query,
            &["A short text to see whether the embedder works.".to_owned()],
        )
        .await?;
    match vectors.as_slice() {
        [vector] if vector.model == model => Ok(format!(
            "The embedder `{}` works and gives {} dimensions.",
            model.id, model.dimensions
        )),
        _ => Err(EmbedError::Misconfigured(format!(
            "`{}` gave {} vectors for one text",
            model.id,
            vectors.len()
        ))),
    }
}
