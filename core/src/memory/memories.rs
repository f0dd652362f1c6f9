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

/// A question waits at most so long for its vector, then full text answers alone.
const QUESTION_PATIENCE: Duration = Duration::from_secs(5);

/// A memory waits at most so long for its vector, then it is stored without and the backlog embeds it.
const MEMORY_PATIENCE: Duration = Duration::from_secs(5);

/// The share of a question's words from which they alone bring a memory to mind. Measured on the sets in `bench/data` (2026-11): 0.05
/// keeps all evidence that was found before, 0.1 and more lose some of the second facts of a question about two.
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
    /// From which cosine on the embedder's vectors mean something; measured with the first question.
    cosine: Arc<OnceLock<f32>>,
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
    /// Texts that the embedder refused or answered wrongly; they stay in full text and are tried again later.
    pub failed: u64,
    /// Why, for the first of them.
    pub problem: Option<String>,
}

/// What came of a batch of the backlog.
#[derive(Default)]
struct Batch {
    vectors: Vec<(WorkspaceId, MemoryId, Embedding)>,
    /// What the embedder could not take though it works.
    refused: Vec<(WorkspaceId, MemoryId)>,
    /// Whether the embedder does not work at all.
    away: bool,
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
            cosine: Arc::default(),
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
    /// this text; the backlog makes up for the former. `Invalid` where the memory would have expired already.
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
        self.recall_above(0.0, caller, question.into(), mode, limit, domains, locality)
            .await
    }

    /// What comes to mind at something said without being asked for it: only what is about it, which may be nothing.
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
                // Without a measure words alone decide: no cosine is as high.
                cosine: cosine.unwrap_or(f32::INFINITY),
            },
            now: self.env.now(),
        };
        self.memories.recall(caller, query).await
    }

    /// The embedder's bar, measured when there is none yet.
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
    /// the model was changed. A text that the embedder refuses is put off and keeps nothing else from its vector. Returns when
    /// nothing is left, or when the embedder does not work; call it again later.
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

    /// Embeds a batch; where that fails, one text after the other, so that one that the embedder cannot take (too long, say) does
    /// not keep the others from theirs.
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

    /// Whether it is the text's fault: an embedder that works takes a plain word.
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

    /// One vector a text, or why there is none by then.
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

/// Whether a text may be given to an embedder: local-only ones never leave this machine, and sensitive ones not for this, whatever
/// their owner says of models.
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
