//! Lists, a page at a time, by cursors.

use serde::{Deserialize, Serialize};

/// How much of a list to return, from where.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// The opaque cursor that the previous page gave; `None` for the first page.
    pub cursor: Option<String>,
    /// At most this many items; adapters cap it at [`PageRequest::MAX`].
    pub limit: u32,
}

impl PageRequest {
    /// The largest page.
    pub const MAX: u32 = 200;

    /// A page of messages ends when their texts and traces exceed this many bytes together; it always has at least one message.
    pub const MAX_BYTES: usize = 1024 * 1024;

    /// The first page.
    pub fn first(limit: u32) -> Self {
        Self { cursor: None, limit }
    }

    /// The limit, clamped to 1…[`PageRequest::MAX`].
    pub fn size(&self) -> usize {
        self.limit.clamp(1, Self::MAX) as usize
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ListPage<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Where the next page starts; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
