//! `remember`: the only way in which a turn writes memory.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

use super::{Tool, ToolContext, ToolError, Verdict};
use crate::{
    domain::{EffectClass, Memory, MemoryDomain, NewMemory, Provenance, RecallMode, ReviewState, Taint, ToolOutput, Visibility},
    ids::{MemoryId, derived},
    policy::ToolCategory,
};

/// Keeps something in memory.
pub struct RememberTool;

/// What kind of thing is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RememberKind {
    /// Something that is so.
    Fact,
    /// Something the person likes, dislikes or wants.
    Preference,
    /// Something that happened.
    Event,
}

/// Arguments of `remember`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RememberInput {
    /// One statement that stands by itself, in the third person or with names: "Ana's dog is called Rex."
    pub text: String,
    /// What kind of thing it is.
    pub kind: RememberKind,
    /// Whether everyone in the workspace may know it; only the person if left out.
    #[serde(default)]
    pub shared: bool,
    /// The id of a memory that this one replaces because it no longer holds.
    #[serde(default)]
    pub supersedes: Option<MemoryId>,
}

#[async_trait]
impl Tool for RememberTool {
    type Input = RememberInput;
    const NAME: &'static str = "remember";
    const DESCRIPTION: &'static str = "Keeps one statement about the people here for later conversations. Use it for what will matter again, \
        one call a statement. Do not store what you have just recalled. When something has changed, name the memory that no longer holds in `supersedes`.";
    const CATEGORY: ToolCategory = ToolCategory::MemoryWrite;
    // The memory's id is derived from the call, so a repeated call finds it stored.
    const CLASS: EffectClass = EffectClass::Idempotent;

    fn check(input: &RememberInput) -> Result<(), String> {
        NewMemory::check_text(&input.text).map_err(|refusal| refusal.to_string())
    }

    async fn call(&self, context: &ToolContext<'_>, input: RememberInput) -> Result<ToolOutput, ToolError> {
        let id: MemoryId = derived(context.run, &context.key);
        if let Some(known) = self.known(context, &input, id).await? {
            return Ok(ToolOutput {
                text: "This is in memory already:".into(),
                memories: vec![known.id],
                labels: known.labels(context.caller.user),
                ..ToolOutput::default()
            });
        }
        let now = context.env.now();
        let labels = context.labels;
        // Another member's words or untrusted text cannot get a memory shared on this person's behalf: that takes their own
        // consent.
        let kept_private = input.shared && (labels.others || labels.integrity == Taint::Untrusted);
        let memory = NewMemory {
            id,
            domain: match input.kind {
                RememberKind::Fact | RememberKind::Preference => MemoryDomain::Semantic,
                RememberKind::Event => MemoryDomain::Episodic,
            },
            text: input.text,
            speaker: None,
            visibility: if input.shared && !kept_private {
                Visibility::Shared
            } else {
                Visibility::Private
            },
            sensitive: labels.sensitive,
            egress: labels.egress,
            taint: labels.integrity,
            provenance: Provenance {
                conversation_id: Some(context.conversation),
                message_id: Some(context.message),
                run_id: Some(context.run),
                agent_id: context.caller.agent.as_ref().map(|acting| acting.agent),
                user_id: Some(context.caller.user),
            },
            position: None,
            occurred_at: now,
            expires_at: None,
            supersedes: input.supersedes,
        };
        let stored = context.memories.remember(context.caller, memory).await?;
        let text = match stored.review {
            ReviewState::Accepted => "Remembered.",
            ReviewState::Proposed | ReviewState::Rejected => {
                "Noted as a proposal: parts of this turn came from outside, so a person reviews it before it counts as known."
            }
        };
        let whose = if kept_private {
            " It is kept for the person alone, who can share it: parts of this turn are not their own."
        } else {
            ""
        };
        Ok(ToolOutput {
            text: format!("{text}{whose}"),
            memories: vec![stored.id],
            remembered: vec![stored.id],
            ..ToolOutput::default()
        })
    }

    async fn verify(&self, context: &ToolContext<'_>, _: RememberInput) -> Verdict {
        let id: MemoryId = derived(context.run, &context.key);
        match context.stores.memories.memories(context.caller, &[id]).await {
            Ok(found) if found.is_empty() => Verdict::DidNot,
            Ok(_) => Verdict::Happened(ToolOutput {
                text: "Remembered.".into(),
                memories: vec![id],
                remembered: vec![id],
                ..ToolOutput::default()
            }),
            Err(_) => Verdict::CannotTell,
        }
    }
}

impl RememberTool {
    /// The accepted memory that already says the same: recalled text is never stored again as new.
    async fn known(&self, context: &ToolContext<'_>, input: &RememberInput, own: MemoryId) -> Result<Option<Memory>, ToolError> {
        let near = context
            .memories
            .recall(
                context.caller,
                input.text.as_str(),
                RecallMode::Fts,
                5,
                None,
                context.locality,
            )
            .await?;
        let said = context.stores.memories.memories(context.caller, context.recalled).await?;
        let mut candidates = said.into_iter().chain(near.items.into_iter().map(|item| item.memory));
        let same = candidates
            .find(|memory| memory.id != own && Some(memory.id) != input.supersedes && same_statement(&memory.text, &input.text));
        Ok(same)
    }
}

/// Whether two statements are the same apart from case, spacing and punctuation.
fn same_statement(a: &str, b: &str) -> bool {
    fn words(text: &str) -> impl Iterator<Item = String> {
        text.unicode_words().map(str::to_lowercase)
    }
    words(a).eq(words(b))
}

#[cfg(test)]
mod tests {
    use super::same_statement;

    #[test]
    fn case_spacing_and_punctuation_do_not_make_another_statement() {
        assert!(same_statement("Ana's dog is called Rex.", "ana's dog  is called REX"));
        assert!(!same_statement("Ana's dog is called Rex.", "Ana's dog was called Rex."));
    }
}
