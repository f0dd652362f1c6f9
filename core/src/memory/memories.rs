use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::future::{Either, select};

use super::bar;
use crate::{
    caller::Caller,
    clock::Env,
    domain::{
        Bar, Embedding, EmbeddingModel, EmbeddingProgress, Labels, Locality, Memory, MemoryDomain, NewMemory, RecallAnswer,
        RecallMode, RecallQuery,
    },
    error::StoreResult,
    ids::{MemoryId, WorkspaceId},
    ports::{EmbedError, EmbedPurpose, Embedder, MemoryStore, SystemStore, Unembedded},
    recall::embedding_text,
};

/// How long a question waits for its vector before full text answers alone.
const QUESTION_PATIENCE: Duration = Duration::from_secs(5);

/// How long a memory waits for its vector before it is stored without one and left to the backlog.
const MEMORY_PATIENCE: Duration = Duration::from_secs(5);

/// The share of a question's words at which words alone recall a memory unasked. Measured on the sets in `bench/data` (2026-11):
/// 0.05 keeps all evidence that was found before; 0.1 and more lose some of the second facts for questions about two.
const UNASKED_WORDS: f64 = 0.05;

/// Texts embedded in one call of the backlog.
const BATCH: usize = 64;

/// Stores and recalls memories, embedding what needs a vector. Cheap to clone.
#[derive(Clone)]
pub struct Memories {
    env: Env,
    memories: Arc<dyn MemoryStore>,
    system: Arc<dyn SystemStore>,
    embedder: Option<Arc<dyn Embedder>>,
    /// The least cosine at which the embedder's vectors mean something; measured with the first question.
    cosine: Arc<OnceLock<f32>>,
}

/// A question to memory with its labels: a model's question may repeat text that it has read.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The question in words.
    pub text: &'a str,
    /// The labels of the words.
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
    /// Texts that the embedder refused or answered wrongly; they stay in full text and are retried later.
    pub failed: u64,
    /// Why, for the first of them.
    pub problem: Option<String>,
}

/// The outcome of one batch of the backlog.
#[derive(Default)]
struct Batch {
    vectors: Vec<(WorkspaceId, MemoryId, Embedding)>,
    /// Memories whose text a working embedder refused.
    refused: Vec<(WorkspaceId, MemoryId)>,
    /// Whether the embedder does not work at all.
    away: bool,
}

impl Memories {
    /// Memory over these ports; without an embedder, recall uses full text alone.
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
            cosine: Arc::default(),
        }
    }

    /// The embedder's model, where there is an embedder.
    pub fn model(&self) -> Option<EmbeddingModel> {
        self.embedder.as_ref().map(|embedder| embedder.model())
    }

    /// The store itself, for operations that need no vector: listing, editing, redacting.
    pub fn store(&self) -> &dyn MemoryStore {
        &*self.memories
    }

    /// Stores a memory with its vector, or without one when the embedder does not answer (the backlog catches up later) or is
    /// remote and may not read this text. `Invalid` if the memory would already have expired.
    pub async fn remember(&self, caller: &Caller, memory: NewMemory) -> StoreResult<Memory> {
        memory.check()?;
        memory.check_expiry(self.env.now())?;
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

    /// The memories that answer a question best. Without a vector for the question, full text answers alone and the answer says so
    /// in `mode`.
    pub async fn recall(
        &self,
        caller: &Caller,
        question: impl Into<Question<'_>>,
        mode: RecallMode,
        limit: usize,
        domains: Option<Vec<MemoryDomain>>,
        locality: Locality,
    ) -> StoreResult<RecallAnswer> {
        self.recall_above(0.0, caller, question.into(), mode, limit, domains, locality)
            .await
    }

    /// Recalls memories unasked for something that was said: only those about it, so possibly none.
    pub async fn recall_unasked(
        &self,
        caller: &Caller,
        question: impl Into<Question<'_>>,
        limit: usize,
        locality: Locality,
    ) -> StoreResult<RecallAnswer> {
        let mode = RecallMode::Hybrid;
        self.recall_above(UNASKED_WORDS, caller, question.into(), mode, limit, None, locality)
            .await
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a question")]
    async fn recall_above(
        &self,
        words: f64,
        caller: &Caller,
        Question { text, labels }: Question<'_>,
        mode: RecallMode,
        limit: usize,
        domains: Option<Vec<MemoryDomain>>,
        locality: Locality,
    ) -> StoreResult<RecallAnswer> {
        let (embedding, cosine) = match (&self.embedder, mode) {
            (_, RecallMode::Fts) | (None, _) => (None, None),
            (Some(embedder), _) if !may_read(&**embedder, labels) => (None, None),
            (Some(embedder), RecallMode::Vector | RecallMode::Hybrid) => {
                futures::join!(
                    self.embed_one(&**embedder, EmbedPurpose::Query, text.to_owned(), QUESTION_PATIENCE),
                    self.bar(&**embedder)
                )
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
            bar: Bar {
                words,
                // Without a measured bar words decide alone: no cosine is this high.
                cosine: cosine.unwrap_or(f32::INFINITY),
            },
            now: self.env.now(),
        };
        self.memories.recall(caller, query).await
    }

    /// The embedder's bar, measured on first use.
    async fn bar(&self, embedder: &dyn Embedder) -> Option<f32> {
        if let Some(cosine) = self.cosine.get() {
            return Some(*cosine);
        }
        let questions = bar::QUESTIONS.map(str::to_owned);
        let facts = bar::FACTS.map(str::to_owned);
        let measured = futures::future::try_join(
            self.embed_within(embedder, EmbedPurpose::Query, &questions, QUESTION_PATIENCE),
            self.embed_within(embedder, EmbedPurpose::Document, &facts, QUESTION_PATIENCE),
        );
        match measured.await {
            Ok((questions, facts)) => Some(*self.cosine.get_or_init(|| bar::cosine(&questions, &facts))),
            Err(error) => {
                tracing::warn!(model = embedder.model().id, %error, "its vectors cannot be judged yet; words decide alone");
                None
            }
        }
    }

    /// The progress of the current embedder; `None` without an embedder.
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

    /// Embeds memories that have no vector of the current model: those written while the embedder was unavailable, and all of them
    /// after a change of model. A text that the embedder refuses is postponed and does not hold up the others. Returns when nothing
    /// is left or the embedder does not work; call it again later.
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
            let Batch { vectors, refused, away } = self.embed_batch(&**embedder, &batch, &mut report).await;
            report.embedded += vectors.len() as u64;
            self.system.put_embeddings(vectors).await?;
            if !refused.is_empty() {
                self.system.put_off_embeddings(&model, refused).await?;
            }
            progress(self.system.embedding_progress(&model, locality).await?);
            if away {
                return Ok(report);
            }
        }
    }

    /// Embeds a batch; if that fails, one text at a time, so that a text that the embedder refuses (too long, say) does not hold up
    /// the others.
    async fn embed_batch(&self, embedder: &dyn Embedder, batch: &[Unembedded], report: &mut BacklogReport) -> Batch {
        let mut done = Batch::default();
        let texts: Vec<String> = batch.iter().map(|memory| memory.text.clone()).collect();
        match self.embed_all(embedder, &texts).await {
            Ok(embeddings) => {
                let vectors = batch.iter().zip(embeddings);
                done.vectors
                    .extend(vectors.map(|(memory, vector)| (memory.workspace, memory.memory, vector)));
                return done;
            }
            Err(error) if !self.works(embedder).await => {
                report.failed += batch.len() as u64;
                report.problem.get_or_insert_with(|| error.to_string());
                done.away = true;
                return done;
            }
            Err(_) => {}
        }
        for memory in batch {
            match self.embed_all(embedder, std::slice::from_ref(&memory.text)).await {
                Ok(embeddings) => {
                    let vectors = embeddings.into_iter();
                    done.vectors
                        .extend(vectors.map(|vector| (memory.workspace, memory.memory, vector)));
                }
                Err(error) => {
                    report.failed += 1;
                    report.problem.get_or_insert_with(|| error.to_string());
                    if matches!(error, EmbedError::Unavailable(_)) && !self.works(embedder).await {
                        done.away = true;
                        return done;
                    }
                    done.refused.push((memory.workspace, memory.memory));
                }
            }
        }
        done
    }

    /// Tells a broken embedder from a bad text: a working embedder accepts a plain word.
    async fn works(&self, embedder: &dyn Embedder) -> bool {
        self.embed_all(embedder, &["hello".to_owned()]).await.is_ok()
    }

    async fn embed_one(
        &self,
        embedder: &dyn Embedder,
        purpose: EmbedPurpose,
        text: String,
        patience: Duration,
    ) -> Option<Embedding> {
        match self.embed_within(embedder, purpose, &[text], patience).await {
            Ok(mut embeddings) => embeddings.pop(),
            Err(error) => {
                tracing::warn!(model = embedder.model().id, %error, "no vector; full text goes on alone");
                None
            }
        }
    }

    /// One vector per text, or why there is none in time.
    async fn embed_within(
        &self,
        embedder: &dyn Embedder,
        purpose: EmbedPurpose,
        texts: &[String],
        patience: Duration,
    ) -> Result<Vec<Embedding>, EmbedError> {
        let embedding = embedder.embed(purpose, texts);
        match select(embedding, Box::pin(self.env.sleep(patience))).await {
            Either::Left((answer, _)) => answer.and_then(|embeddings| whole(embedder, embeddings, texts.len())),
            Either::Right(_) => Err(EmbedError::Unavailable(format!("no answer within {} s", patience.as_secs()))),
        }
    }

    async fn embed_all(&self, embedder: &dyn Embedder, texts: &[String]) -> Result<Vec<Embedding>, EmbedError> {
        let embeddings = embedder.embed(EmbedPurpose::Document, texts).await?;
        whole(embedder, embeddings, texts.len())
    }
}

/// Whether an embedder may read a text: local-only texts never leave this machine, and sensitive ones never leave it for embedding,
/// even if their owner lets remote models read them.
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

/// The embedder's answer, if it has one vector of its own model per text.
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
