//! How memories are found: the same steps, constants and tie-breaks on every backend.
//!
//! A backend reads postings, documents and vectors ([`RecallSource`]); everything that decides the ranking is here and
//! does no I/O. Full text is scored by BM25 over postings and counters of what the caller may see, never by a database's
//! own ranking, whose statistics span workspaces and differ between engines.

mod bm25;
mod context;
mod embedding_text;
mod fusion;
mod rank;
mod source;
mod stop_words;
mod tokenize;

pub use bm25::{Bm25, Totals};
pub use embedding_text::embedding_text;
pub use fusion::{calibrate, vector_weight};
pub use rank::{NEAREST_POOL, NEIGHBOUR_REACH, Ranked, TEXT_POOL, WIDENED, nearest_count, rank};
pub use source::{Conversation, Conversations, Document, Posting, RecallSource, TermPostings};
pub use tokenize::{MAX_QUERY_TERMS, index_terms, query_terms, terms};
