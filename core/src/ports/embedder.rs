use async_trait::async_trait;

use crate::domain::{Embedding, EmbeddingModel, Locality};

/// Whether a text is to be found or is the question: some models distinguish the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbedPurpose {
    /// A memory to be found later.
    Document,
    /// A question.
    Query,
}

/// Why there is no vector.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// Try again later; meanwhile recall uses full text alone.
    #[error("the embedder cannot be reached: {0}")]
    Unavailable(String),
    /// It refused, or answered with something that is not an embedding; a person has to look at the configuration.
    #[error("the embedder does not work as configured: {0}")]
    Misconfigured(String),
}

/// Turns texts into vectors.
#[async_trait]
pub trait Embedder: Send + Sync {
    /// Its id and dimensions.
    fn model(&self) -> EmbeddingModel;

    /// Where it computes: `local_only` texts are never given to a remote one.
    fn locality(&self) -> Locality;

    /// One unit vector per text, in order.
    async fn embed(&self, purpose: EmbedPurpose, texts: &[String]) -> Result<Vec<Embedding>, EmbedError>;
}
