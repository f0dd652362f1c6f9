//! Embedders behind HTTP: OpenAI-compatible `/embeddings` and Ollama's `/api/embed`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use duet_core::{
    domain::{Embedding, EmbeddingModel, Locality, ModelFailure},
    ports::{EmbedError, EmbedPurpose, Embedder, ModelError},
};
use futures::StreamExt;
use reqwest::{Client, Response};
use serde::Deserialize;
use serde_json::json;

use super::{EmbedderConfig, EmbedderKind};
use crate::{
    http,
    provider::{Endpoint, Refusal},
    secret::{SecretError, SecretPointer, SecretResolver},
};

/// Texts in one request unless configured.
const BATCH: usize = 64;
/// Largest answer, in bytes: 2,048 vectors of 4,096 dimensions in decimal.
const MAX_ANSWER: usize = 192 * 1024 * 1024;

/// An embedder at a provider.
pub(super) struct Remote {
    endpoint: Endpoint,
    ollama: bool,
    name: String,
    model: EmbeddingModel,
    /// Whether the provider is told how long vectors should be (OpenAI's third generation can shorten them).
    send_dimensions: bool,
    locality: Locality,
    document_prefix: String,
    query_prefix: String,
    batch: usize,
}

impl Remote {
    pub fn new(config: &EmbedderConfig, http: Client, secrets: Arc<dyn SecretResolver>) -> Result<Self, String> {
        let ollama = config.kind == EmbedderKind::Ollama;
        let kind = if ollama { "ollama" } else { "openai" };
        let name = config.model.clone().filter(|name| !name.trim().is_empty());
        let name = name.ok_or_else(|| format!("`kind = \"{kind}\"` needs `model`, the embedding model's name"))?;
        let dimensions = config.dimensions.filter(|dimensions| (1..=16_384).contains(dimensions));
        let dimensions = dimensions.ok_or(
            "`dimensions` is needed: the length of the model's vectors, 1 to 16384 (768 for `nomic-embed-text`, for example)",
        )?;
        let usual = if ollama {
            "http://127.0.0.1:11434"
        } else {
            "https://api.openai.com/v1"
        };
        let base = http::base_url(config.base_url.as_deref().unwrap_or(usual))?;
        if config.api_key == Some(SecretPointer::Literal) {
            return Err(format!("`api_key`: {}", SecretError::Literal));
        }
        let own = base.host_str() == Some("api.openai.com");
        let key = config
            .api_key
            .clone()
            .or_else(|| own.then(|| SecretPointer::Env("OPENAI_API_KEY".into())));
        let batch = config.batch.unwrap_or(BATCH);
        if !(1..=2_048).contains(&batch) {
            return Err("`batch` is between 1 and 2048".into());
        }
        let timeout = Duration::from_secs(config.timeout_seconds.unwrap_or(60));
        if timeout.is_zero() {
            return Err("`timeout_seconds` is at least 1".into());
        }
        let hosted = ollama && (name.ends_with("-cloud") || name.ends_with(":cloud"));
        let local = !hosted && config.local.unwrap_or_else(|| http::is_local(&base));
        Ok(Self {
            send_dimensions: own && name.starts_with("text-embedding-3"),
            model: EmbeddingModel {
                id: format!("{kind}/{name}"),
                dimensions,
            },
            endpoint: Endpoint {
                name: kind.into(),
                section: "embedder".into(),
                base,
                http,
                secrets,
                key,
                first_byte: timeout,
                idle: timeout,
            },
            ollama,
            name,
            locality: if local { Locality::Local } else { Locality::Remote },
            document_prefix: config.document_prefix.clone(),
            query_prefix: config.query_prefix.clone(),
            batch,
        })
    }

    async fn request(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ModelError> {
        let mut body = json!({"model": self.name, "input": texts});
        let path = if self.ollama {
            // A text that is too long is cut rather than refused: a vector of its beginning is better than none.
            body["truncate"] = json!(true);
            "/api/embed"
        } else {
            body["encoding_format"] = json!("float");
            if self.send_dimensions {
                body["dimensions"] = json!(self.model.dimensions);
            }
            "/embeddings"
        };
        let call = self.endpoint.http.post(self.endpoint.url(path)).json(&body);
        let response = self.endpoint.send(self.endpoint.bearer(call)?).await?;
        if !response.status().is_success() {
            return Err(self.endpoint.refused(&Refusal::read(response).await, &self.name));
        }
        let body = self.read(response).await?;
        let malformed = || {
            self.endpoint
                .malformed("answered with something that is no list of embeddings")
        };
        if self.ollama {
            let answer: OllamaAnswer = serde_json::from_slice(&body).map_err(|_| malformed())?;
            return Ok(answer.embeddings);
        }
        let answer: OpenAiAnswer = serde_json::from_slice(&body).map_err(|_| malformed())?;
        let mut data = answer.data;
        // Servers may answer in any order; without indices, they answer in the order asked.
        if data.iter().all(|item| item.index.is_some()) {
            data.sort_by_key(|item| item.index);
        }
        Ok(data.into_iter().map(|item| item.embedding).collect())
    }

    async fn read(&self, response: Response) -> Result<Vec<u8>, ModelError> {
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        loop {
            match tokio::time::timeout(self.endpoint.idle, chunks.next()).await {
                Err(_) => return Err(self.endpoint.silent(self.endpoint.idle, "timeout_seconds")),
                Ok(None) => return Ok(body),
                Ok(Some(Err(_))) => return Err(self.endpoint.cut()),
                Ok(Some(Ok(chunk))) if body.len() + chunk.len() > MAX_ANSWER => {
                    return Err(self.endpoint.malformed("sent more than embeddings can take"));
                }
                Ok(Some(Ok(chunk))) => body.extend_from_slice(&chunk),
            }
        }
    }
}

#[derive(Deserialize)]
struct OllamaAnswer {
    embeddings: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct OpenAiAnswer {
    data: Vec<OpenAiItem>,
}

#[derive(Deserialize)]
struct OpenAiItem {
    index: Option<u32>,
    embedding: Vec<f32>,
}

/// Classifies an error by what the caller can do: try again, or fix the configuration.
fn embed_error(error: ModelError) -> EmbedError {
    match error.failure {
        ModelFailure::Unreachable | ModelFailure::TimedOut | ModelFailure::Busy => EmbedError::Unavailable(error.in_full()),
        ModelFailure::Malformed
        | ModelFailure::Limited
        | ModelFailure::Unauthorized
        | ModelFailure::UnknownModel
        | ModelFailure::Rejected => EmbedError::Misconfigured(error.in_full()),
    }
}

#[async_trait]
impl Embedder for Remote {
    fn model(&self) -> EmbeddingModel {
        self.model.clone()
    }

    fn locality(&self) -> Locality {
        self.locality
    }

    async fn embed(&self, purpose: EmbedPurpose, texts: &[String]) -> Result<Vec<Embedding>, EmbedError> {
        let prefix = match purpose {
            EmbedPurpose::Document => &self.document_prefix,
            EmbedPurpose::Query => &self.query_prefix,
        };
        let mut embeddings = Vec::with_capacity(texts.len());
        for batch in texts.chunks(self.batch) {
            // Servers refuse empty texts, so a space is sent instead.
            let batch: Vec<String> = batch
                .iter()
                .map(|text| {
                    if text.trim().is_empty() {
                        format!("{prefix} ")
                    } else {
                        format!("{prefix}{text}")
                    }
                })
                .collect();
            let vectors = self.request(&batch).await.map_err(embed_error)?;
            if vectors.len() != batch.len() {
                return Err(EmbedError::Misconfigured(format!(
                    "`{}` gave {} vectors for {} texts; check that `embedder.base_url` and `kind` fit the server",
                    self.model.id,
                    vectors.len(),
                    batch.len()
                )));
            }
            for vector in vectors {
                let embedding = Embedding::new(self.model.clone(), vector).map_err(|reason| {
                    EmbedError::Misconfigured(format!("{reason}; set `embedder.dimensions` to what the model gives"))
                })?;
                embeddings.push(embedding);
            }
        }
        Ok(embeddings)
    }
}
