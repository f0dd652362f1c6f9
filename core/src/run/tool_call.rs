//! A tool call: the policy decision, the record that it started, the call, the record of its outcome.

use super::{drive::Drive, driver::DriveError};
use crate::{
    domain::{Locality, NewEvent, RunEvent, ToolCall, ToolOutput, ToolStatus},
    policy::{Decision, ToolCategory},
    tools::{ToolContext, ToolError},
};

impl Drive<'_> {
    pub(super) async fn run_tool(&mut self, step: u32, call: ToolCall) -> Result<(), DriveError> {
        let driver = self.driver;
        let Some(speaker) = self.speaker().await? else {
            return self
                .finish_tool(step, call.id, ToolStatus::Failed, told("The agent was switched off.".into()))
                .await;
        };
        let Some(entry) = driver.parts.tools.get(&call.name) else {
            return self
                .finish_tool(
                    step,
                    call.id,
                    ToolStatus::Failed,
                    told(format!("There is no tool `{}`.", call.name)),
                )
                .await;
        };
        let offered = speaker.agent.tools.contains(&call.name);
        let refusal = match driver
            .parts
            .policy
            .decide(&speaker.caller, &call.name, entry.category, offered)
        {
            // The call's arguments may repeat text that the model has read.
            Decision::Allow if entry.category == ToolCategory::External && !self.state.labels().allows(Locality::Remote) => {
                Some("Refused: this turn has read text that may not leave the person's own machines.".to_owned())
            }
            Decision::Allow => None,
            Decision::Ask(reason) => Some(format!(
                "Not done: this needs a person's approval ({reason}), and approvals cannot be given in a chat turn."
            )),
            Decision::Deny(reason) => Some(format!("Refused: {reason}.")),
        };
        let most = self.state.limits.max_memories as usize;
        let full = entry.category == ToolCategory::MemoryWrite && self.state.remembered() >= most;
        let refusal = refusal
            .or_else(|| full.then(|| format!("Refused: this turn has written its {most} memories. Answer with what is known.")));
        if let Some(reason) = refusal {
            return self.finish_tool(step, call.id, ToolStatus::Refused, told(reason)).await;
        }
        self.append(vec![
            RunEvent::ToolStarted {
                step,
                call_id: call.id.clone(),
                class: entry.class,
            }
            .into(),
        ])
        .await?;
        if self.state.is_finishing() {
            return Ok(());
        }
        let recalled = self
            .state
            .context
            .as_ref()
            .map(|context| context.recalled.clone())
            .unwrap_or_default();
        let context = ToolContext {
            caller: &speaker.caller,
            env: &driver.parts.env,
            stores: self.stores(),
            memories: &driver.memories,
            run: self.run.id,
            key: format!("{step}/{}", call.id),
            conversation: self.run.conversation_id,
            message: self.run.message_id,
            locality: speaker.locality(),
            recalled: &recalled,
            labels: self.state.labels(),
        };
        let (status, output) = match entry.call(&context, call.arguments).await {
            Ok(output) => (ToolStatus::Succeeded, output),
            Err(ToolError::Tell(reason)) => (ToolStatus::Failed, told(reason)),
            // Nothing was written; the run continues from here under another claim.
            Err(ToolError::Store(error)) => return Err(DriveError::Store(error)),
        };
        self.finish_tool(step, call.id, status, output).await
    }

    pub(super) async fn finish_tool(
        &mut self,
        step: u32,
        call_id: String,
        status: ToolStatus,
        output: ToolOutput,
    ) -> Result<(), DriveError> {
        let mentions = output.memories.clone();
        self.append(vec![NewEvent {
            event: RunEvent::ToolFinished {
                step,
                call_id,
                status,
                output,
            },
            mentions,
        }])
        .await
    }
}

pub(super) fn told(text: String) -> ToolOutput {
    ToolOutput {
        text,
        ..ToolOutput::default()
    }
}
