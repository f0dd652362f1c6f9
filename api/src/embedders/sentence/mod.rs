//! A sentence-transformer from a folder, computed in this process: BERT and its small relatives (MiniLM, BGE, E5) with
//! mean or first-token pooling, as the `sentence-transformers` library saves them. Nothing is downloaded.

mod bert;
mod weights;
mod wordpiece;

use std::{fs, path::Path, sync::Arc};

use async_trait::async_trait;
use duet_core::{
    domain::{Embedding, EmbeddingModel, Locality},
    ports::{EmbedError, EmbedPurpose, Embedder},
};
use serde::Deserialize;

use self::{
    bert::{Bert, Shape},
    weights::Weights,
    wordpiece::WordPiece,
};
use super::EmbedderConfig;

/// An embedder whose weights are in a folder.
pub struct SentenceTransformer {
    model: EmbeddingModel,
    document_prefix: String,
    query_prefix: String,
    inner: Arc<Inner>,
}

struct Inner {
    tokenizer: WordPiece,
    bert: Bert,
    first_token: bool,
    max_tokens: usize,
}

#[derive(Default, Deserialize)]
struct Pooling {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
}

#[derive(Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Default, Deserialize)]
struct Limits {
    max_seq_length: Option<usize>,
}

impl SentenceTransformer {
    /// Reads `config.json`, `tokenizer.json` and `model.safetensors`, and if present `modules.json`, `1_Pooling/config.json` and
    /// `sentence_bert_config.json`. The error says which file to fix.
    pub fn load(folder: &Path, config: &EmbedderConfig) -> Result<Self, String> {
        let shape: Shape = read(folder, "config.json")?.ok_or_else(|| missing(folder, "config.json"))?;
        let at = folder.display();
        if shape.model_type != "bert" {
            return Err(format!(
                "the model in {at} is a `{}`; only BERT models (MiniLM, BGE, E5 …) can be computed here",
                shape.model_type
            ));
        }
        let modules: Vec<Module> = read(folder, "modules.json")?.unwrap_or_default();
        let known = ["Transformer", "Pooling", "Normalize"];
        if let Some(other) = modules
            .iter()
            .find(|module| !known.iter().any(|name| module.kind.ends_with(name)))
        {
            return Err(format!(
                "the model in {at} has a part `{}` that cannot be computed here",
                other.kind
            ));
        }
        let pooling: Pooling = read(folder, "1_Pooling/config.json")?.unwrap_or_default();
        let limits: Limits = read(folder, "sentence_bert_config.json")?.unwrap_or_default();
        let max_tokens = limits
            .max_seq_length
            .unwrap_or(shape.max_position_embeddings)
            .min(shape.max_position_embeddings);
        if max_tokens < 3 {
            return Err(format!("the model in {at} takes no text"));
        }

        let tokenizer = WordPiece::read(&bytes(folder, "tokenizer.json")?)
            .map_err(|reason| format!("`tokenizer.json` in {at} cannot be used: {reason}"))?;
        let weights = bytes(folder, "model.safetensors")?;
        // Vectors of two models must never be compared, even if their folders have the same name.
        let digest = hex::encode(&ring::digest::digest(&ring::digest::SHA256, &weights).as_ref()[..4]);
        let bert = Weights::read(&weights)
            .and_then(|weights| Bert::read(&weights, &shape))
            .map_err(|reason| format!("`model.safetensors` in {at} does not hold the weights of this model: {reason}"))?;
        if tokenizer.largest() as usize >= bert.vocabulary() {
            return Err(format!(
                "`tokenizer.json` and `model.safetensors` in {at} do not belong together"
            ));
        }
        let name = folder
            .file_name()
            .map_or_else(|| "model".into(), |name| name.to_string_lossy());
        Ok(Self {
            model: EmbeddingModel {
                id: format!("folder/{name}-{digest}"),
                dimensions: u32::try_from(shape.hidden_size).map_err(|_| "the model is too wide")?,
            },
            document_prefix: config.document_prefix.clone(),
            query_prefix: config.query_prefix.clone(),
            inner: Arc::new(Inner {
                tokenizer,
                bert,
                first_token: pooling.pooling_mode_cls_token && !pooling.pooling_mode_mean_tokens,
                max_tokens,
            }),
        })
    }
}

fn bytes(folder: &Path, file: &str) -> Result<Vec<u8>, String> {
    fs::read(folder.join(file)).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => missing(folder, file),
        kind => format!("`{file}` in {} cannot be read ({kind})", folder.display()),
    })
}

fn read<T: for<'de> Deserialize<'de>>(folder: &Path, file: &str) -> Result<Option<T>, String> {
    let path = folder.join(file);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| format!("{} is not as expected ({error})", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{} cannot be read ({})", path.display(), error.kind())),
    }
}

fn missing(folder: &Path, file: &str) -> String {
    format!(
        "there is no `{file}` in {}; `path` names the folder of a sentence-transformer",
        folder.display()
    )
}

impl Inner {
    fn vector(&self, text: &str) -> Vec<f32> {
        self.bert
            .vector(&self.tokenizer.tokens(text, self.max_tokens), self.first_token)
    }
}

#[async_trait]
impl Embedder for SentenceTransformer {
    fn model(&self) -> EmbeddingModel {
        self.model.clone()
    }

    fn locality(&self) -> Locality {
        Locality::Local
    }

    async fn embed(&self, purpose: EmbedPurpose, texts: &[String]) -> Result<Vec<Embedding>, EmbedError> {
        let prefix = match purpose {
            EmbedPurpose::Document => &self.document_prefix,
            EmbedPurpose::Query => &self.query_prefix,
        };
        let texts: Vec<String> = texts.iter().map(|text| format!("{prefix}{text}")).collect();
        let (inner, model) = (self.inner.clone(), self.model.clone());
        // Milliseconds of arithmetic per text: not on the threads that serve requests.
        let computed = tokio::task::spawn_blocking(move || -> Result<Vec<Embedding>, String> {
            texts
                .iter()
                .map(|text| Embedding::new(model.clone(), inner.vector(text)))
                .collect()
        });
        match computed.await {
            Ok(embeddings) => embeddings.map_err(EmbedError::Misconfigured),
            Err(_) => Err(EmbedError::Unavailable("the computation was interrupted".into())),
        }
    }
}
