//! `ask_user`: a question to the person. The run waits for the answer, however long that takes.

use async_trait::async_trait;

use super::{Tool, ToolContext, ToolError};
use crate::{
    domain::{EffectClass, Question, ToolOutput},
    policy::ToolCategory,
};

/// The tool. It is never called: its question becomes a request, and the answer its result.
pub struct AskUserTool;

#[async_trait]
impl Tool for AskUserTool {
    type Input = Question;
    const NAME: &'static str = "ask_user";
    const DESCRIPTION: &'static str = "Ask the person something that you need to know before you can go on, and wait for the answer. \
         Use it only when a wrong guess would cost the person something; otherwise just ask in your reply.";
    const CATEGORY: ToolCategory = ToolCategory::Question;
    const CLASS: EffectClass = EffectClass::Repeatable;

    async fn call(&self, _context: &ToolContext<'_>, _input: Question) -> Result<ToolOutput, ToolError> {
        Err(ToolError::Tell(
            "A question is answered by the person, not by this tool.".into(),
        ))
    }

    fn check(input: &Question) -> Result<(), String> {
        input.check()
    }

    fn question(input: &Question) -> Option<Question> {
        Some(input.clone())
    }
}
