//! Conversations and their messages.

use async_trait::async_trait;
use duet_core::{
    Caller, StoreResult, Timestamp, cursor,
    domain::{
        Conversation, ConversationEdit, LabelEdit, Labels, ListPage, Message, MessageHit, MessageRole, PageRequest, check_title,
    },
    ids::{AgentId, ConversationId, Id, IdPrefix, MessageId},
    ports::ConversationStore,
    search,
};
use serde::Deserialize;

use super::contract::{self, Contract};
use crate::rpc::Call;

/// The conversations in the database.
pub struct Conversations(pub(super) Contract);

/// A page of messages, cut by the database.
#[derive(Deserialize)]
struct Messages {
    items: Vec<Message>,
    more: bool,
}

/// A search hit, with the searchable part of its text.
#[derive(Deserialize)]
struct Found {
    conversation_id: ConversationId,
    title: String,
    message_id: MessageId,
    role: MessageRole,
    text: String,
    aside: bool,
    labels: Labels,
    created_at: Timestamp,
}

impl Conversations {
    /// A page from the given function, whose argument `from` is where the previous page ended.
    async fn page_of_messages(
        &self,
        function: &'static str,
        from: &'static str,
        caller: &Caller,
        id: ConversationId,
        request: &PageRequest,
    ) -> StoreResult<ListPage<Message>> {
        let call = Call::repeatable(function)
            .of("the conversation")
            .id("p_workspace", caller.workspace)
            .id("p_conversation", id)
            .arg(from, cursor::number(request.cursor.as_deref())?)
            .arg("p_limit", contract::limit(request));
        let Messages { items, more } = self.0.as_caller(caller, call).await?;
        Ok(ListPage {
            next_cursor: items
                .last()
                .filter(|_| more)
                .map(|message: &Message| message.ordinal.to_string()),
            items,
        })
    }
}

#[async_trait]
impl ConversationStore for Conversations {
    async fn create(
        &self,
        caller: &Caller,
        id: ConversationId,
        agent: Option<AgentId>,
        title: Option<&str>,
    ) -> StoreResult<Conversation> {
        const ACTION: &str = "start a conversation";
        caller.require_person(ACTION)?;
        let call = Call::repeatable("conversation_create")
            .of(if agent.is_some() { "the agent" } else { "the workspace" })
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_id", id)
            .arg("p_agent", agent.map(|agent| agent.uuid()))
            .arg("p_title", title.map(check_title).transpose()?);
        self.0.as_caller(caller, call).await
    }

    async fn conversation(&self, caller: &Caller, id: ConversationId) -> StoreResult<Option<Conversation>> {
        let call = Call::repeatable("conversation_read")
            .id("p_workspace", caller.workspace)
            .id("p_id", id);
        self.0.as_caller(caller, call).await
    }

    async fn list(&self, caller: &Caller, archived: bool, request: PageRequest) -> StoreResult<ListPage<Conversation>> {
        let (before, before_id) = contract::moment(&request)?;
        let call = Call::repeatable("conversation_list")
            .id("p_workspace", caller.workspace)
            .arg("p_archived", archived)
            .arg("p_before", before)
            .arg("p_before_id", before_id)
            .arg("p_limit", contract::limit(&request));
        let found: Vec<Conversation> = self.0.as_caller(caller, call).await?;
        Ok(cursor::page(found, request.size(), |conversation| {
            cursor::after(conversation.updated_at.millis(), conversation.id)
        }))
    }

    async fn edit(&self, caller: &Caller, id: ConversationId, edit: ConversationEdit) -> StoreResult<Conversation> {
        const ACTION: &str = "change a conversation";
        caller.require_person(ACTION)?;
        let call = Call::repeatable("conversation_edit")
            .of("the conversation")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_id", id)
            .arg("p_title", edit.title.as_deref().map(check_title).transpose()?)
            .arg("p_archived", edit.archived);
        self.0.as_caller(caller, call).await
    }

    async fn delete(&self, caller: &Caller, id: ConversationId) -> StoreResult<()> {
        const ACTION: &str = "delete a conversation";
        caller.require_person(ACTION)?;
        let call = Call::new("conversation_delete")
            .of("the conversation")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_id", id);
        self.0.as_caller(caller, call).await
    }

    async fn ids(&self, caller: &Caller, prefix: IdPrefix) -> StoreResult<Vec<ConversationId>> {
        let (low, high) = prefix.range();
        let call = Call::repeatable("conversation_ids")
            .id("p_workspace", caller.workspace)
            .arg("p_low", low)
            .arg("p_high", high);
        self.0.as_caller(caller, call).await
    }

    async fn messages(&self, caller: &Caller, id: ConversationId, request: PageRequest) -> StoreResult<ListPage<Message>> {
        self.page_of_messages("message_list", "p_before", caller, id, &request).await
    }

    async fn transcript(&self, caller: &Caller, id: ConversationId, request: PageRequest) -> StoreResult<ListPage<Message>> {
        self.page_of_messages("message_transcript", "p_after", caller, id, &request)
            .await
    }

    async fn path(&self, caller: &Caller, message: MessageId, most: u32) -> StoreResult<Vec<Message>> {
        let call = Call::repeatable("message_path")
            .id("p_workspace", caller.workspace)
            .id("p_message", message)
            .arg("p_limit", i32::try_from(most).unwrap_or(i32::MAX));
        self.0.as_caller(caller, call).await
    }

    async fn show(&self, caller: &Caller, id: ConversationId, message: MessageId) -> StoreResult<Conversation> {
        const ACTION: &str = "show another branch";
        caller.require_person(ACTION)?;
        let call = Call::repeatable("conversation_show")
            .of("the conversation")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_id", id)
            .id("p_message", message);
        self.0.as_caller(caller, call).await
    }

    async fn messages_by_id(&self, caller: &Caller, ids: &[MessageId]) -> StoreResult<Vec<Message>> {
        let call = Call::repeatable("message_by_id")
            .id("p_workspace", caller.workspace)
            .arg("p_ids", ids.iter().map(|id| id.uuid()).collect::<Vec<_>>());
        self.0.as_caller(caller, call).await
    }

    async fn clear_labels(&self, caller: &Caller, id: MessageId, edit: LabelEdit) -> StoreResult<Message> {
        const ACTION: &str = "clear this message's labels";
        caller.require_person(ACTION)?;
        edit.check()?;
        let call = Call::repeatable("message_clear_labels")
            .of("the message")
            .to(ACTION)
            .id("p_workspace", caller.workspace)
            .id("p_id", id)
            .arg("p_labels", i32::from(edit.bits()));
        self.0.as_caller(caller, call).await
    }

    async fn search(&self, caller: &Caller, query: &str, request: PageRequest) -> StoreResult<ListPage<MessageHit>> {
        let (before, before_id) = contract::moment(&request)?;
        let words = search::words(query);
        let call = Call::repeatable("message_search")
            .id("p_workspace", caller.workspace)
            .arg("p_query", words.join(" "))
            .arg("p_before", before)
            .arg("p_before_id", before_id)
            .arg("p_limit", contract::limit(&request));
        let found: Vec<Found> = self.0.as_caller(caller, call).await?;
        let hits = found.into_iter().map(|found| MessageHit {
            conversation_id: found.conversation_id,
            title: found.title,
            message_id: found.message_id,
            role: found.role,
            snippet: search::snippet(&found.text, &words),
            aside: found.aside,
            labels: found.labels,
            created_at: found.created_at,
        });
        Ok(cursor::page(hits.collect(), request.size(), |hit| {
            cursor::after(hit.created_at.millis(), hit.message_id)
        }))
    }
}
