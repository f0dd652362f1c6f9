//! The Inbox: one list of all that waits for a person.

use std::collections::HashMap;

use crate::{
    caller::Caller,
    domain::{InboxItem, InboxKind, ListPage, PageRequest},
    error::StoreResult,
    ids::{Id, MemoryId, RequestId},
    ports::Stores,
};

/// A page of the Inbox, newest first. What was decided between reading the list and reading its entries is left out.
pub async fn page(
    stores: &Stores,
    caller: &Caller,
    kind: Option<InboxKind>,
    request: PageRequest,
) -> StoreResult<ListPage<InboxItem>> {
    let entries = stores.requests.inbox(caller, kind, request).await?;
    let ids = |memories: bool| {
        let wanted = entries
            .items
            .iter()
            .filter(move |entry| (entry.kind == InboxKind::Memory) == memories);
        wanted.map(|entry| entry.id)
    };
    let requests: Vec<RequestId> = ids(false).map(RequestId::from_uuid).collect();
    let memories: Vec<MemoryId> = ids(true).map(MemoryId::from_uuid).collect();
    let (requests, memories) = futures::try_join!(
        stores.requests.requests(caller, &requests),
        stores.memories.memories(caller, &memories)
    )?;
    let requests = requests
        .into_iter()
        .map(|request| (request.id.uuid(), InboxItem::Request { request }));
    let memories = memories
        .into_iter()
        .map(|memory| (memory.id.uuid(), InboxItem::Memory { memory }));
    let mut found: HashMap<_, _> = requests.chain(memories).collect();
    Ok(ListPage {
        items: entries.items.iter().filter_map(|entry| found.remove(&entry.id)).collect(),
        next_cursor: entries.next_cursor,
    })
}
