//! Reading for a recall: postings, documents, and the nearest vectors in two stages.
//!
//! Float rows are the truth. Codes of one byte per dimension bound every cosine from both sides; a scan over them leaves a few
//! vectors that could be among the nearest, and those are read and compared exactly ([`block`]). Codes come from a process-wide
//! cache with a byte budget ([`cache`]); if they are not there and the model is wide, the bit index answers while they are loaded
//! in the background ([`bits`]).

mod bits;
mod block;
mod cache;
mod load;
mod quantize;
mod simd;
mod source;
mod vectors;

pub use bits::{maintain, remove as remove_bits};
pub use cache::VectorCache;
pub use load::Load;
pub use quantize::Code;
pub use source::{Question, Source};
pub use vectors::{bytes_of, vector_of};

/// Models up to this many dimensions have no bit index: so few bits lose too much, and their codes are read quickly.
pub(super) const EXACT_DIMENSIONS: usize = 512;
