//! `[embedder]` of the configuration.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::SecretPointer;

/// Which embedder turns texts into vectors. The default needs no download and no network.
///
/// When it changes, all memories get new vectors, in the background; until then recall uses full text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EmbedderConfig {
    /// What it is: `builtin`, `openai`, `ollama` or `folder`.
    pub kind: EmbedderKind,
    /// The model's name at its provider (`openai`, `ollama`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Length of its vectors (`openai`, `ollama`); needed, because vectors are checked against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<u32>,
    /// Its URL. Unset: `https://api.openai.com/v1`, or `http://127.0.0.1:11434` for Ollama.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Where to find its key, `env:NAME` or `file:/path`. Unset: `env:OPENAI_API_KEY` for OpenAI's own address, none elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub api_key: Option<SecretPointer>,
    /// Whether it may see `local_only` memories. Unset: yes for `localhost`, loopback and private address literals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<bool>,
    /// Prefix of a stored text, for models that ask for it (such as `search_document: `).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub document_prefix: String,
    /// Prefix of a question, for models that ask for it (such as `search_query: `).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub query_prefix: String,
    /// Texts in one request (`openai`, `ollama`). Unset: 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Seconds to wait for an answer. Unset: 60.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// The folder of a sentence-transformer (`folder`), with `config.json`, `tokenizer.json` and `model.safetensors`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

/// Kinds of embedder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EmbedderKind {
    /// `builtin/lexical-v1`: words and their parts, hashed. Finds shared words and spelling variants, not meaning.
    #[default]
    Builtin,
    /// OpenAI's embeddings, and servers compatible with them.
    OpenAi,
    /// Ollama.
    Ollama,
    /// A sentence-transformer from a folder, computed in this process.
    Folder,
}
