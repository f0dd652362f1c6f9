//! Memory as the rest of Duet uses it: texts in, texts out, vectors made on the way.

mod memories;
pub mod quality;

pub use memories::{BacklogReport, Memories, Question};
