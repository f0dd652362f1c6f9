//! `search_conversations`: full text over the person's own conversations.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Tool, ToolContext, ToolError};
use crate::{
    domain::{EffectClass, Labels, PageRequest, ToolOutput},
    policy::ToolCategory,
};

/// Searches the person's conversations.
pub struct SearchConversationsTool;

/// Arguments of `search_conversations`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchConversationsInput {
    /// Words to look for.
    query: String,
}

/// Hits that the model is shown.
const HITS: u32 = 8;

#[async_trait]
impl Tool for SearchConversationsTool {
    type Input = SearchConversationsInput;
    const NAME: &'static str = "search_conversations";
    const DESCRIPTION: &'static str =
        "Searches the person's earlier conversations for words and returns the passages with their dates, newest first.";
    const CATEGORY: ToolCategory = ToolCategory::ConversationRead;
    const CLASS: EffectClass = EffectClass::Repeatable;

    async fn call(&self, context: &ToolContext<'_>, input: SearchConversationsInput) -> Result<ToolOutput, ToolError> {
        if input.query.trim().is_empty() {
            return Err(ToolError::Tell("`query` is empty: say what to look for.".into()));
        }
        let page = context
            .stores
            .conversations
            .search(context.caller, &input.query, PageRequest::first(HITS))
            .await?;
        let hits: Vec<_> = page
            .items
            .into_iter()
            .filter(|hit| hit.message_id != context.message && hit.labels.allows(context.locality))
            .collect();
        let text = match hits.len() {
            0 => "No message matches.".to_owned(),
            1 => "One message matches:".to_owned(),
            count => format!("{count} messages match, newest first:"),
        };
        Ok(ToolOutput {
            text,
            messages: hits.iter().map(|hit| hit.message_id).collect(),
            labels: Labels::of_all(hits.iter().map(|hit| hit.labels)),
            ..ToolOutput::default()
        })
    }
}
