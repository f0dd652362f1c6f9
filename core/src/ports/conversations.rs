use async_trait::async_trait;

use crate::{
    caller::Caller,
    domain::{Conversation, ConversationEdit, LabelEdit, ListPage, Message, MessageHit, PageRequest},
    error::StoreResult,
    ids::{AgentId, ConversationId, IdPrefix, MessageId},
};

/// Conversations and messages. A person sees their own only; an agent sees those of the person it acts for.
#[async_trait]
pub trait ConversationStore: Send + Sync {
    /// Makes a conversation with this id, or returns the one that has it already. Without an agent: the workspace's active
    /// companion, else its active executor.
    async fn create(
        &self,
        caller: &Caller,
        id: ConversationId,
        agent: Option<AgentId>,
        title: Option<&str>,
    ) -> StoreResult<Conversation>;

    /// One conversation.
    async fn conversation(&self, caller: &Caller, id: ConversationId) -> StoreResult<Option<Conversation>>;

    /// The caller's conversations, latest message first; the archived ones only when asked for, and then only they.
    async fn list(&self, caller: &Caller, archived: bool, page: PageRequest) -> StoreResult<ListPage<Conversation>>;

    /// Renames, archives or brings back (a person only).
    async fn edit(&self, caller: &Caller, id: ConversationId, edit: ConversationEdit) -> StoreResult<Conversation>;

    /// Deletes a conversation for good (a person only): its messages, what search knows of them, its title and the payloads of its
    /// runs go; that the runs took place stays, by ids and hashes, and memories that came from it stay. `Conflict` while a reply is
    /// being written. From then on it is absent, and its id stays taken. On record as `conversation.delete`.
    async fn delete(&self, caller: &Caller, id: ConversationId) -> StoreResult<()>;

    /// Ids of the caller's conversations that begin like this, smallest first, at most [`IdPrefix::MOST`].
    async fn ids(&self, caller: &Caller, prefix: IdPrefix) -> StoreResult<Vec<ConversationId>>;

    /// Messages, **newest first**; replies that gave way to a retry are left out. A page also ends where its messages pass
    /// [`PageRequest::MAX_BYTES`]; its cursor continues there.
    async fn messages(&self, caller: &Caller, id: ConversationId, page: PageRequest) -> StoreResult<ListPage<Message>>;

    /// The same messages in the same pages, **oldest first**: for reading a conversation from its beginning.
    async fn transcript(&self, caller: &Caller, id: ConversationId, page: PageRequest) -> StoreResult<ListPage<Message>>;

    /// These messages, in the order asked for; invisible or unknown ones are left out.
    async fn messages_by_id(&self, caller: &Caller, ids: &[MessageId]) -> StoreResult<Vec<Message>>;

    /// Clears labels of a message (a person only): what is named gets better, nothing gets worse. Turns that begin afterwards read it
    /// so; the labels of runs, and of what was made of it before, stay. `Conflict` while a run answers it or writes it, and once it is
    /// redacted. On record as `message.clear_label`, with the labels that were cleared.
    async fn clear_labels(&self, caller: &Caller, id: MessageId, edit: LabelEdit) -> StoreResult<Message>;

    /// Full-text search over the caller's messages, newest first. Any text is a valid query.
    async fn search(&self, caller: &Caller, query: &str, page: PageRequest) -> StoreResult<ListPage<MessageHit>>;
}
