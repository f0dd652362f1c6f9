use std::{sync::Arc, time::Duration};

use futures::future::{Either, select};

use crate::{
    caller::Caller,
    clock::Env,
    domain::{
        Embedding, EmbeddingModel, EmbeddingProgress, Labels, Locality, Memory, MemoryDomain, NewMemory, RecallAnswer,
        RecallMode, RecallQuery,
    },
    error::{StoreError, StoreResult},
    ports::{EmbedError, EmbedPurpose, Embedder, MemoryStore, SystemStore},
    recall::embedding_text,
};

/// A question waits at most so long for its vector, then full text answers alone (S7).
const QUESTION_PATIENCE: Duration = Duration::from_secs(5);

/// A memory waits at most so long for its vector, then it is stored without and the backlog embeds it.
const MEMORY_PATIENCE: Duration = Duration::from_secs(5);

/// Texts embedded in one call of the backlog.
const BATCH: usize = 64;

/// Stores and recalls memories, embedding what needs a vector. Cheap to clone.
#[derive(Clone)]
pub struct Memories {
    env: Env,
    memories: Arc<dyn MemoryStore>,
    system: Arc<dyn SystemStore>,
    embedder: Option<Arc<dyn Embedder>>,
}

/// What is asked of memory, with what bounds it: a model's question may repeat what it has read.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// In words.
    pub text: &'a str,
    /// What bounds the words.
    pub labels: Labels,
}

impl<'a> From<&'a str> for Question<'a> {
    /// A person's own words.
    fn from(text: &'a str) -> Self {
        Self {
            text,
            labels: Labels::default(),
        }
    }
}

/// What a pass over the backlog did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BacklogReport {
    /// Vectors stored.
    pub embedded: u64,
    /// Texts that the embedder refused or answered wrongly; they stay in full text and are tried again on the next pass.
    pub failed: u64,
    /// Why, for the first of them.
    pub problem: Option<String>,
}

impl Memories {
    /// Over these ports; without an embedder everything goes by full text.
    pub fn new(
        env: Env,
        memories: Arc<dyn MemoryStore>,
        system: Arc<dyn SystemStore>,
        embedder: Option<Arc<dyn Embedder>>,
    ) -> Self {
        Self {
            env,
            memories,
            system,
            embedder,
        }
    }

    /// The embedder's model, where there is an embedder.
    pub fn model(&self) -> Option<EmbeddingModel> {
        self.embedder.as_ref().map(|embedder| embedder.model())
    }

    /// The store itself, for what needs no vector: listing, editing, redacting.
    pub fn store(&self) -> &dyn MemoryStore {
        &*self.memories
    }

    /// Stores a memory with its vector. Without one when the embedder does not answer, or computes remotely and may not read
    /// this text; the backlog makes up for the former.
    pub async fn remember(&self, caller: &Caller, memory: NewMemory) -> StoreResult<Memory> {
        memory.check().map_err(StoreError::invalid)?;
        let embedding = match &self.embedder {
            Some(embedder) if may_read(&**embedder, labels_of(&memory)) => {
                let text = embedding_text(memory.domain, memory.speaker.as_deref(), memory.occurred_at, &memory.text);
                self.embed_one(&**embedder, EmbedPurpose::Document, text, MEMORY_PATIENCE)
                    .await
            }
            _ => None,
        };
        self.memories.remember(caller, memory, embedding).await
    }

    /// The memories that answer a question best. Where there is no vector for the question, full text answers alone and the
    /// answer says so in `mode`.
    pub async fn recall(
        &self,
        caller: &Caller,
        question: impl Into<Question<'_>>,
        mode: RecallMode,
        limit: usize,
        domains: Option<Vec<MemoryDomain>>,
        locality: Locality,
    ) -> StoreResult<RecallAnswer> {
        let Question { text, labels } = question.into();
        let embedding = match (&self.embedder, mode) {
            (_, RecallMode::Fts) | (None, _) => None,
            (Some(embedder), _) if !may_read(&**embedder, labels) => None,
            (Some(embedder), RecallMode::Vector | RecallMode::Hybrid) => {
                self.embed_one(&**embedder, EmbedPurpose::Query, text.to_owned(), QUESTION_PATIENCE)
                    .await
            }
        };
        let mode = if embedding.is_some() { mode } else { RecallMode::Fts };
        let query = RecallQuery {
            text: text.to_owned(),
            embedding,
            mode,
            limit,
            domains,
            locality,
            now: self.env.now(),
        };
        self.memories.recall(caller, query).await
    }

    /// How far the vectors of the current embedder have come; `None` without an embedder.
    pub async fn progress(&self) -> StoreResult<Option<EmbeddingProgress>> {
        match &self.embedder {
            Some(embedder) => self
                .system
                .embedding_progress(&embedder.model(), embedder.locality())
                .await
                .map(Some),
            None => Ok(None),
        }
    }

    /// Embeds what has no vector of the current model yet: memories written while the embedder was away, and all of them after
    /// the model was changed (M3). Returns when nothing is left, or when a whole batch fails; call it again later.
    pub async fn embed_backlog(&self, progress: &(dyn Fn(EmbeddingProgress) + Send + Sync)) -> StoreResult<BacklogReport> {
        let mut report = BacklogReport::default();
        let Some(embedder) = &self.embedder else {
            return Ok(report);
        };
        let (model, locality) = (embedder.model(), embedder.locality());
        loop {
            let batch = self.system.unembedded(&model, locality, BATCH).await?;
            if batch.is_empty() {
                return Ok(report);
            }
            let mut vectors = Vec::with_capacity(batch.len());
            // A text that the embedder cannot take (too long, say) must not keep the others of its batch from theirs.
            let texts: Vec<String> = batch.iter().map(|memory| memory.text.clone()).collect();
            match self.embed_all(&**embedder, &texts).await {
                Ok(embeddings) => vectors.extend(
                    batch
                        .iter()
                        .zip(embeddings)
                        .map(|(memory, e)| (memory.workspace, memory.memory, e)),
                ),
                Err(EmbedError::Unavailable(problem)) => {
                    report.failed += batch.len() as u64;
                    report.problem.get_or_insert(problem);
                    return Ok(report);
                }
                Err(EmbedError::Misconfigured(_)) => {
                    for memory in &batch {
                        match self.embed_all(&**embedder, std::slice::from_ref(&memory.text)).await {
                            Ok(embeddings) => {
                                vectors.extend(embeddings.into_iter().map(|e| (memory.workspace, memory.memory, e)))
                            }
                            Err(error) => {
                                report.failed += 1;
                                report.problem.get_or_insert_with(|| error.to_string());
                            }
                        }
                    }
                }
            }
            // The same texts would come back first in every following batch.
            let stuck = vectors.len() < batch.len();
            report.embedded += vectors.len() as u64;
            self.system.put_embeddings(vectors).await?;
            progress(self.system.embedding_progress(&model, locality).await?);
            if stuck {
                return Ok(report);
            }
        }
    }

    async fn embed_one(
        &self,
        embedder: &dyn Embedder,
        purpose: EmbedPurpose,
        text: String,
        patience: Duration,
    ) -> Option<Embedding> {
        let texts = [text];
        let embedding = embedder.embed(purpose, &texts);
        let answer = match select(embedding, Box::pin(self.env.sleep(patience))).await {
            Either::Left((answer, _)) => answer.and_then(|embeddings| whole(embedder, embeddings, 1)),
            Either::Right(_) => Err(EmbedError::Unavailable(format!("no answer within {} s", patience.as_secs()))),
        };
        match answer {
            Ok(mut embeddings) => embeddings.pop(),
            Err(error) => {
                tracing::warn!(model = embedder.model().id, %error, "no vector; full text goes on alone");
                None
            }
        }
    }

    async fn embed_all(&self, embedder: &dyn Embedder, texts: &[String]) -> Result<Vec<Embedding>, EmbedError> {
        let embeddings = embedder.embed(EmbedPurpose::Document, texts).await?;
        whole(embedder, embeddings, texts.len())
    }
}

/// Whether a text may be given to an embedder: local-only ones never leave this machine, and sensitive ones not for this, whatever
/// their owner says of models (M9, M10).
fn may_read(embedder: &dyn Embedder, labels: Labels) -> bool {
    embedder.locality() == Locality::Local || (!labels.sensitive && labels.allows(Locality::Remote))
}

fn labels_of(memory: &NewMemory) -> Labels {
    Labels {
        integrity: memory.taint,
        egress: memory.stored_egress(),
        sensitive: memory.sensitive,
        others: false,
    }
}

/// An embedder's answer, if it has one vector of its own model for each text.
fn whole(embedder: &dyn Embedder, embeddings: Vec<Embedding>, texts: usize) -> Result<Vec<Embedding>, EmbedError> {
    let model = embedder.model();
    if embeddings.len() != texts {
        return Err(EmbedError::Misconfigured(format!(
            "it gave {} vectors for {texts} texts",
            embeddings.len()
        )));
    }
    match embeddings.iter().find(|embedding| embedding.model != model) {
        Some(other) => Err(EmbedError::Misconfigured(format!(
            "it gave vectors of `{}` ({} dimensions) instead of `{}` ({})",
            other.model.id, other.model.dimensions, model.id, model.dimensions
        ))),
        None => Ok(embeddings),
    }
}
