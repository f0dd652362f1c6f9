//! Memory items (M1–M10).

use serde::{Deserialize, Serialize};

use super::{Labels, Locality, Role, word_enum};
use crate::{
    caller::Caller,
    clock::Timestamp,
    ids::{AgentId, ConversationId, MemoryId, MessageId, RunId, UserId, WorkspaceId},
    refusal::Refusal,
};

word_enum! {
    /// What kind of memory it is. The soul has its own port.
    MemoryDomain {
        /// Interactions and events.
        Episodic = "episodic",
        /// Facts and preferences.
        Semantic = "semantic",
        /// Short-lived context of a task; expires.
        Working = "working",
    }
}

word_enum! {
    /// Who in the workspace sees it.
    Visibility {
        /// Every member.
        Shared = "shared",
        /// Only the person whose memory it is, not even the workspace's owner.
        Private = "private",
    }
}

word_enum! {
    /// Whether a memory counts as known.
    ReviewState {
        /// Recalled.
        Accepted = "accepted",
        /// Waits for a person's review; never recalled until accepted.
        Proposed = "proposed",
        /// Rejected by a person; kept so that it is not proposed again; never recalled.
        Rejected = "rejected",
    }
}

word_enum! {
    /// Whether its text comes from a trusted source.
    Taint {
        /// From a person.
        Trusted = "trusted",
        /// From a tool, a fetched document or an import; or derived from such text.
        Untrusted = "untrusted",
    }
}

word_enum! {
    /// Which models may read it.
    Egress {
        /// Any model.
        Any = "any",
        /// Only models that compute locally.
        LocalOnly = "local_only",
    }
}

#[expect(
    clippy::derivable_impls,
    reason = "the enum is declared by a macro, which other enums without a default share"
)]
impl Default for Taint {
    fn default() -> Self {
        Self::Trusted
    }
}

#[expect(
    clippy::derivable_impls,
    reason = "the enum is declared by a macro, which other enums without a default share"
)]
impl Default for Egress {
    fn default() -> Self {
        Self::Any
    }
}

impl Egress {
    /// Whether a model with this locality may read text under this rule.
    pub fn allows(self, locality: Locality) -> bool {
        matches!((self, locality), (Self::Any, _) | (Self::LocalOnly, Locality::Local))
    }
}

/// What a memory came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Provenance {
    /// The conversation it was said in.
    pub conversation_id: Option<ConversationId>,
    /// The message it was said in.
    pub message_id: Option<MessageId>,
    /// The run that wrote it.
    pub run_id: Option<RunId>,
    /// The agent that wrote it; absent when a person did.
    pub agent_id: Option<AgentId>,
    /// The person who wrote it or on whose behalf it was written.
    pub user_id: Option<UserId>,
}

/// An episodic memory's place among others: recall scores it together with its neighbours and its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Position {
    /// The conversation (or imported thread).
    pub conversation_id: ConversationId,
    /// Its place there; neighbours differ by 1.
    pub ordinal: i64,
}

/// A memory item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Memory {
    /// Its id.
    pub id: MemoryId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// Its kind.
    pub domain: MemoryDomain,
    /// What is remembered; empty once redacted.
    pub text: String,
    /// Who said it, where that is known (episodic).
    pub speaker: Option<String>,
    /// Whose memory it is.
    pub user_id: UserId,
    /// Who sees it.
    pub visibility: Visibility,
    /// Whether it is field-encrypted.
    pub sensitive: bool,
    /// Which models may read it.
    pub egress: Egress,
    /// Where its text came from.
    pub taint: Taint,
    /// Whether it counts as known.
    pub review: ReviewState,
    /// What it came from.
    pub provenance: Provenance,
    /// Its place in a conversation (episodic).
    pub position: Option<Position>,
    /// When it happened or was said.
    pub occurred_at: Timestamp,
    /// When it began to hold.
    pub valid_from: Timestamp,
    /// When it stopped holding; `None` while it holds.
    pub valid_to: Option<Timestamp>,
    /// The memory that replaced it.
    pub superseded_by: Option<MemoryId>,
    /// It no longer exists from this time on (working memory).
    pub expires_at: Option<Timestamp>,
    /// When it was redacted.
    pub redacted_at: Option<Timestamp>,
    /// When it was stored.
    pub created_at: Timestamp,
}

impl Memory {
    /// The labels of its text as this person's runs read it.
    pub fn labels(&self, reader: UserId) -> Labels {
        Labels {
            integrity: self.taint,
            egress: self.egress,
            sensitive: self.sensitive,
            others: self.user_id != reader,
        }
    }

    /// Whether the caller may replace it directly: its author may, and so may an owner. From anybody else, or from an agent whose
    /// person is not the author, a replacement is a proposal that the author or an owner decides on.
    pub fn may_be_replaced_by(&self, caller: &Caller) -> bool {
        self.user_id == caller.user || (caller.role == Role::Owner && caller.agent.is_none())
    }
}

/// A memory to be stored. The store fills in workspace, owner, agent and run from the caller. Where [`review_on_write`] says so, it
/// forces an agent's memory to `review = proposed`.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMemory {
    /// Its id. Storing the same id again returns the stored memory and changes nothing (idempotency of a replayed effect).
    pub id: MemoryId,
    /// Its kind.
    pub domain: MemoryDomain,
    /// What is remembered, 1 to [`NewMemory::MAX_TEXT`] bytes.
    pub text: String,
    /// Who said it.
    pub speaker: Option<String>,
    /// Who sees it.
    pub visibility: Visibility,
    /// Whether it is field-encrypted.
    pub sensitive: bool,
    /// Which models may read it. A sensitive memory is stored as `local_only`, whatever this says: its owner may open it
    /// afterwards, by an edit that is on record.
    pub egress: Egress,
    /// Where its text came from.
    pub taint: Taint,
    /// What it came from.
    pub provenance: Provenance,
    /// Its place in a conversation.
    pub position: Option<Position>,
    /// When it happened or was said.
    pub occurred_at: Timestamp,
    /// When it expires (required for working memory, refused for others).
    pub expires_at: Option<Timestamp>,
    /// The memory that this one replaces, which keeps its text and gets an end of validity.
    pub supersedes: Option<MemoryId>,
}

impl NewMemory {
    /// Longest text, in bytes.
    pub const MAX_TEXT: usize = 16 * 1024;
    /// Longest name of a speaker, in bytes.
    pub const MAX_SPEAKER: usize = 1024;
    /// Largest ordinal in a conversation, in either direction from 0.
    pub const MAX_ORDINAL: u64 = 999_999_999_999_999_999;

    /// Which models may read it once it is stored.
    pub fn stored_egress(&self) -> Egress {
        if self.sensitive { Egress::LocalOnly } else { self.egress }
    }

    /// Checks the text of a memory; the message says what to fix.
    pub fn check_text(text: &str) -> Result<(), Refusal> {
        if text.trim().is_empty() {
            return Err(Refusal::MemoryEmpty);
        }
        match text.len() {
            has if has > Self::MAX_TEXT => Err(Refusal::MemoryLength {
                most: Self::MAX_TEXT,
                has,
            }),
            _ => Ok(()),
        }
    }

    /// Checks the memory on its own; the message says what to fix.
    pub fn check(&self) -> Result<(), Refusal> {
        Self::check_text(&self.text)?;
        if self.speaker.as_ref().is_some_and(|speaker| speaker.len() > Self::MAX_SPEAKER) {
            return Err(Refusal::SpeakerLength { most: Self::MAX_SPEAKER });
        }
        if self
            .position
            .is_some_and(|position| position.ordinal.unsigned_abs() > Self::MAX_ORDINAL)
        {
            return Err(Refusal::Ordinal { most: Self::MAX_ORDINAL });
        }
        let kept = Timestamp::EARLIEST..=Timestamp::LATEST;
        if !kept.contains(&self.occurred_at) || self.expires_at.is_some_and(|at| !kept.contains(&at)) {
            return Err(Refusal::MemoryTime);
        }
        match (self.domain, self.expires_at) {
            (MemoryDomain::Working, None) => Err(Refusal::NoExpiry),
            (MemoryDomain::Episodic | MemoryDomain::Semantic, Some(_)) => Err(Refusal::OnlyWorkingExpires),
            _ => Ok(()),
        }
    }

    /// Checks that it would not already have expired when stored; the message says what to fix.
    pub fn check_expiry(&self, now: Timestamp) -> Result<(), Refusal> {
        match self.expires_at {
            Some(at) if at <= now => Err(Refusal::ExpiryOver),
            _ => Ok(()),
        }
    }
}

/// The review state of a new memory. What an agent writes from untrusted text waits for a person, except working memory that
/// replaces nothing: nobody mistakes that for knowledge, and it expires.
pub fn review_on_write(by_agent: bool, taint: Taint, domain: MemoryDomain, supersedes: bool) -> ReviewState {
    let is_knowledge = domain != MemoryDomain::Working || supersedes;
    match (by_agent, taint) {
        (true, Taint::Untrusted) if is_knowledge => ReviewState::Proposed,
        _ => ReviewState::Accepted,
    }
}

/// A person's edit of a memory's attributes. A new text is a new memory that supersedes this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryEdit {
    /// Accept or reject.
    pub review: Option<ReviewState>,
    /// Share it or make it private.
    pub visibility: Option<Visibility>,
    /// Which models may read it.
    pub egress: Option<Egress>,
}

/// Which memories to list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryFilter {
    /// Only this domain.
    pub domain: Option<MemoryDomain>,
    /// Only this review state; `None` means accepted.
    pub review: Option<ReviewState>,
    /// Also those that no longer hold, and redacted ones (as tombstones).
    pub history: bool,
    /// Only the memory that this one replaced: at most one, found without reading the history. It no longer holds, so `history`
    /// must be set too.
    pub superseded_by: Option<MemoryId>,
}

/// A vector with the name of the model that made it. Vectors of different models are never compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// The embedder's id, such as `ollama/nomic-embed-text` or `builtin/lexical-v1`.
    pub model: EmbeddingModel,
    /// The components; unit length (adapters may rely on it; [`Embedding::new`] ensures it).
    pub vector: Vec<f32>,
}

/// An embedder's id and the length of its vectors.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EmbeddingModel {
    /// Such as `ollama/nomic-embed-text`.
    pub id: String,
    /// Length of its vectors.
    pub dimensions: u32,
}

impl Embedding {
    /// Brings a raw vector to unit length. Refuses the wrong length, zero vectors, and components that are not finite.
    pub fn new(model: EmbeddingModel, mut vector: Vec<f32>) -> Result<Self, String> {
        if vector.len() != model.dimensions as usize {
            return Err(format!(
                "the embedder `{}` gave {} dimensions instead of {}",
                model.id,
                vector.len(),
                model.dimensions
            ));
        }
        let norm = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        if !norm.is_finite() || norm < 1e-12 {
            return Err(format!("the embedder `{}` gave a vector without a direction", model.id));
        }
        for x in &mut vector {
            #[expect(clippy::cast_possible_truncation, reason = "vectors are single precision")]
            {
                *x = (f64::from(*x) / norm) as f32;
            }
        }
        Ok(Self { model, vector })
    }

    /// Longest vector that stores keep.
    pub const MAX_DIMENSIONS: usize = 8192;

    /// Checks that the vector fits its model and a store; the message says what to fix.
    pub fn check(&self) -> Result<(), Refusal> {
        let length = self.vector.len();
        if length == 0 || length != self.model.dimensions as usize || length > Self::MAX_DIMENSIONS {
            return Err(Refusal::VectorDimensions {
                model: self.model.id.clone(),
                dimensions: self.model.dimensions,
                most: Self::MAX_DIMENSIONS,
                has: length,
            });
        }
        Ok(())
    }
}

word_enum! {
    /// Which signals a recall uses.
    RecallMode {
        /// Full text alone.
        Fts = "fts",
        /// Vectors alone.
        Vector = "vector",
        /// Both, fused.
        Hybrid = "hybrid",
    }
}

/// What a memory needs to count as an answer; being among the best available is not enough. Recall by words or by both signals
/// leaves out memories that reach neither minimum; recall by vectors alone returns the nearest, however far away they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// The least full-text score of a memory with its surroundings, as a share (0 to 1) of the ceiling for the question's words.
    pub words: f64,
    /// The least cosine; reaching either minimum is enough.
    pub cosine: f32,
}

impl Bar {
    /// No bar: everything with a score counts.
    pub const NONE: Self = Self {
        words: 0.0,
        cosine: -1.0,
    };
}

/// A question to memory.
#[derive(Clone, Debug)]
pub struct RecallQuery {
    /// What is asked, in words.
    pub text: String,
    /// The question's vector; without it a hybrid recall uses full text alone and says so.
    pub embedding: Option<Embedding>,
    /// Which signals to use.
    pub mode: RecallMode,
    /// How many to return, 1 to 100.
    pub limit: usize,
    /// Only these domains, within the caller's scopes; `None` means all in scope.
    pub domains: Option<Vec<MemoryDomain>>,
    /// Only memories that a model with this locality may read.
    pub locality: Locality,
    /// The bar that an answer must clear.
    pub bar: Bar,
    /// The time of asking, for recency and validity.
    pub now: Timestamp,
}

/// One recalled memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Recalled {
    /// The memory.
    pub memory: Memory,
    /// The fused score; comparable within one answer only.
    pub score: f32,
    /// Cosine similarity, where a vector took part.
    pub vector_score: Option<f32>,
    /// Full-text score, where words matched.
    pub text_score: Option<f32>,
}

/// The answer to a recall.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RecallAnswer {
    /// Best first.
    pub items: Vec<Recalled>,
    /// The signals that were actually used: `fts` when a hybrid recall had no vector.
    pub mode: RecallMode,
}

/// How many memories have a vector of the current embedding model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EmbeddingProgress {
    /// Memories that have a vector of the model.
    pub embedded: u64,
    /// Memories that should have one.
    pub total: u64,
}
