use async_trait::async_trait;

use crate::{
    caller::Caller,
    domain::{Conversation, ConversationEdit, Message, MessageHit, Page, PageRequest},
    error::StoreResult,
    ids::{AgentId, ConversationId, MessageId},
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
    async fn list(&self, caller: &Caller, archived: bool, page: PageRequest) -> StoreResult<Page<Conversation>>;

    /// Renames, archives or brings back (a person only).
    async fn edit(&self, caller: &Caller, id: ConversationId, edit: ConversationEdit) -> StoreResult<Conversation>;

    /// Messages, **newest first**; replies that gave way to a retry are left out.
    async fn messages(&self, caller: &Caller, id: ConversationId, page: PageRequest) -> StoreResult<Page<Message>>;

    /// These messages, in the order asked for; invisible or unknown ones are left out.
    async fn messages_by_id(&self, caller: &Caller, ids: &[MessageId]) -> StoreResult<Vec<Message>>;

    /// Full-text search over the caller's messages, newest first. Any text is a valid query.
    async fn search(&self, caller: &Caller, query: &str, page: PageRequest) -> StoreResult<Page<MessageHit>>;
}
