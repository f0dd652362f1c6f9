use async_trait::async_trait;

use crate::{
    caller::Caller,
    domain::{Conversation, ConversationEdit, LabelEdit, ListPage, Message, MessageHit, PageRequest},
    error::StoreResult,
    ids::{AgentId, ConversationId, IdPrefix, MessageId},
};

/// Conversations and messages. A person sees only their own; an agent sees those of the person it acts for.
#[async_trait]
pub trait ConversationStore: Send + Sync {
    /// Creates a conversation with this id, or returns the existing one. Without an agent: the workspace's active companion, else
    /// its active executor.
    async fn create(
        &self,
        caller: &Caller,
        id: ConversationId,
        agent: Option<AgentId>,
        title: Option<&str>,
    ) -> StoreResult<Conversation>;

    /// One conversation.
    async fn conversation(&self, caller: &Caller, id: ConversationId) -> StoreResult<Option<Conversation>>;

    /// The caller's conversations, latest message first; either the archived ones or the others.
    async fn list(&self, caller: &Caller, archived: bool, page: PageRequest) -> StoreResult<ListPage<Conversation>>;

    /// Renames, archives or unarchives (a person only).
    async fn edit(&self, caller: &Caller, id: ConversationId, edit: ConversationEdit) -> StoreResult<Conversation>;

    /// Deletes a conversation for good (a person only): its messages, their search entries, its title and the payloads of its runs.
    /// The ids and hashes of its runs stay, as a record that they took place, and so do memories that came from it. `Conflict`
    /// while a reply is being written. Afterwards the conversation is absent, and its id stays taken. On record as
    /// `conversation.delete`.
    async fn delete(&self, caller: &Caller, id: ConversationId) -> StoreResult<()>;

    /// Ids of the caller's conversations with this prefix, smallest first, at most [`IdPrefix::MOST`].
    async fn ids(&self, caller: &Caller, prefix: IdPrefix) -> StoreResult<Vec<ConversationId>>;

    /// The messages of the branch that is shown, **newest first**. A page also ends when its messages exceed
    /// [`PageRequest::MAX_BYTES`]; its cursor continues there.
    async fn messages(&self, caller: &Caller, id: ConversationId, page: PageRequest) -> StoreResult<ListPage<Message>>;

    /// The same messages in the same pages, **oldest first**: for reading a conversation from its beginning.
    async fn transcript(&self, caller: &Caller, id: ConversationId, page: PageRequest) -> StoreResult<ListPage<Message>>;

    /// This message and those before it on its branch, shown or not, **newest first**, at most `most` (up to 200). None if it is
    /// invisible or unknown.
    async fn path(&self, caller: &Caller, message: MessageId, most: u32) -> StoreResult<Vec<Message>>;

    /// Shows the branch of this message, up to the newest that has followed it (a person only). One that is shown already stays as it
    /// is; otherwise `Conflict` while a reply is being written.
    async fn show(&self, caller: &Caller, id: ConversationId, message: MessageId) -> StoreResult<Conversation>;

    /// These messages, in the order asked for; invisible or unknown ones are left out.
    async fn messages_by_id(&self, caller: &Caller, ids: &[MessageId]) -> StoreResult<Vec<Message>>;

    /// Clears labels of a message (a person only); no label becomes stricter. Turns that begin afterwards read the message with its
    /// new labels; those of earlier runs, and of what was made from it before, stay. `Conflict` while a run answers or writes it,
    /// and once it is redacted. On record as `message.clear_label`, with the labels that were cleared.
    async fn clear_labels(&self, caller: &Caller, id: MessageId, edit: LabelEdit) -> StoreResult<Message>;

    /// Full-text search over the caller's messages, newest first, on all branches. Any text is a valid query.
    async fn search(&self, caller: &Caller, query: &str, page: PageRequest) -> StoreResult<ListPage<MessageHit>>;
}
