use crate::{
    clock::Timestamp,
    domain::Position,
    ids::{ConversationId, MemoryId},
};

use super::Totals;

/// An occurrence of a term, as the full-text index keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The backend's handle for the memory.
    pub memory: i64,
    /// How often the term occurs in it.
    pub frequency: u32,
    /// How many terms it has.
    pub length: u32,
}

/// Where a term occurs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TermPostings {
    /// How many memories contain it.
    pub documents: u64,
    /// Its occurrences. A backend that finds the best matches itself leaves out memories that are not among the question's
    /// [`super::TEXT_POOL`] best by their own score (ties: smaller handle first).
    pub postings: Vec<Posting>,
}

/// What ranking needs to know of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document {
    /// The backend's handle for the memory.
    pub memory: i64,
    /// Its id; breaks ties.
    pub id: MemoryId,
    /// Its place in a conversation.
    pub position: Option<Position>,
    /// When it happened or was said.
    pub occurred_at: Timestamp,
}

/// How long a conversation is, counted over the memories that the caller may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// Number of terms in all of its memories.
    pub length: u64,
}

/// The conversations that have a memory in the full-text index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversations {
    /// How many there are, and their total length.
    pub totals: Totals,
    /// The requested ones.
    pub asked: Vec<Conversation>,
}

/// What a backend reads for one recall. Every method sees exactly the memories that the question may reach: the caller's
/// workspace, visibility, scopes, domains, validity, review and egress are applied here, before anything is counted or cut.
pub trait RecallSource {
    /// What reading can fail with.
    type Error;

    /// How many memories are in the full-text index, and how many terms they have together.
    fn totals(&mut self) -> Result<Totals, Self::Error>;

    /// The postings of one of the question's terms.
    fn postings(&mut self, term: &str) -> Result<TermPostings, Self::Error>;

    /// These memories; those that may not be recalled now (expired) are left out.
    fn documents(&mut self, memories: &[i64]) -> Result<Vec<Document>, Self::Error>;

    /// The memories at these places, if any.
    fn at(&mut self, places: &[Position]) -> Result<Vec<Document>, Self::Error>;

    /// The counters of all conversations, and of each of these.
    fn conversations(&mut self, asked: &[ConversationId]) -> Result<Conversations, Self::Error>;

    /// The `count` memories whose vectors are nearest to the question's, nearest first (ties: smaller id first), with cosines.
    fn nearest(&mut self, count: usize) -> Result<Vec<(Document, f32)>, Self::Error>;

    /// The exact cosines of these memories; `None` for one without a vector.
    fn cosines(&mut self, memories: &[i64]) -> Result<Vec<Option<f32>>, Self::Error>;
}
