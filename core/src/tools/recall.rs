//! `recall`: looks something up in memory.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Tool, ToolContext, ToolError};
use crate::{
    domain::{EffectClass, Labels, RecallMode, ToolOutput},
    memory::Question,
    policy::ToolCategory,
};

/// Looks something up in memory.
pub struct RecallTool;

/// Arguments of `recall`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecallInput {
    /// What to look for, in plain words.
    query: String,
    /// How many memories at most (1 to 20; 8 if left out).
    #[serde(default)]
    limit: Option<u8>,
}

#[async_trait]
impl Tool for RecallTool {
    type Input = RecallInput;
    const NAME: &'static str = "recall";
    const DESCRIPTION: &'static str = "Looks something up in what you remember about the people here: facts, preferences, events. Returns the best matches with their ids and dates.";
    const CATEGORY: ToolCategory = ToolCategory::MemoryRead;
    const CLASS: EffectClass = EffectClass::Repeatable;

    async fn call(&self, context: &ToolContext<'_>, input: RecallInput) -> Result<ToolOutput, ToolError> {
        if input.query.trim().is_empty() {
            return Err(ToolError::Tell("`query` is empty: say what to look for.".into()));
        }
        let limit = usize::from(input.limit.unwrap_or(8).clamp(1, 20));
        let answer = context
            .memories
            .recall(
                context.caller,
                Question {
                    text: &input.query,
                    labels: context.labels,
                },
                RecallMode::Hybrid,
                limit,
                None,
                context.locality,
            )
            .await?;
        let text = match answer.items.len() {
            0 => "Nothing in memory matches.".to_owned(),
            1 => "One memory matches:".to_owned(),
            count => format!("{count} memories match, best first:"),
        };
        Ok(ToolOutput {
            text,
            memories: answer.items.iter().map(|item| item.memory.id).collect(),
            labels: Labels::of_all(answer.items.iter().map(|item| item.memory.labels(context.caller.user))),
            ..ToolOutput::default()
        })
    }
}
