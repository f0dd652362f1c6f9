//! A tool call: the policy decision, the record that it started, the call, the record of its outcome.

use super::{
    job::{DriveError, Job},
    journal::Journal,
    turn::Turn,
};
use crate::{
    domain::{Locality, NewEvent, RunEvent, ToolCall, ToolOutput, ToolStatus},
    policy::{Decision, ToolCategory},
    tools::{Entry, ToolContext, ToolError, Verdict},
};

/// What the model, and the person, are told of a call that may have acted.
const UNKNOWN: &str = "Duet went down while this was running; it is not known whether it happened.";

pub(super) async fn run(job: &Job<'_>, journal: &Journal, turn: &Turn, call: ToolCall) -> Result<(), DriveError> {
    let Some(speaker) = job.speaker(turn).await? else {
        finish(journal, ToolStatus::Failed, told("The agent was switched off.")).await;
        return Ok(());
    };
    let Some(entry) = job.parts.tools.get(&call.name) else {
        finish(
            journal,
            ToolStatus::Failed,
            told(format!("There is no tool `{}`.", call.name)),
        )
        .await;
        return Ok(());
    };
    let offered = speaker.agent.tools.contains(&call.name);
    let decision = job.parts.policy.decide(&speaker.caller, &call.name, entry.category, offered);
    if let Some(reason) = refusal(turn, entry, decision) {
        refuse(journal, reason).await;
        return Ok(());
    }
    journal
        .note(RunEvent::ToolStarted {
            effect: journal.id,
            class: entry.class,
        })
        .await;
    let context = context(job, journal, turn, &speaker.caller, speaker.locality());
    let (status, output) = match entry.call(&context, call.arguments).await {
        Ok(output) => (ToolStatus::Succeeded, output),
        Err(ToolError::Tell(reason)) => (ToolStatus::Failed, told(reason)),
        // Nothing was written; the run continues from here under another claim.
        Err(ToolError::Store(error)) => return Err(DriveError::Store(error)),
    };
    finish(journal, status, output).await;
    Ok(())
}

/// Finds out about a call whose outcome was lost. Where the tool cannot tell, a person has to look.
pub(super) async fn verify(job: &Job<'_>, journal: &Journal, turn: &Turn, call: ToolCall) -> Result<(), DriveError> {
    let verdict = match (job.speaker(turn).await?, job.parts.tools.get(&call.name)) {
        (Some(speaker), Some(entry)) => {
            let context = context(job, journal, turn, &speaker.caller, speaker.locality());
            entry.verify(&context, call.arguments).await
        }
        _ => Verdict::CannotTell,
    };
    match verdict {
        Verdict::Happened(output) => finish(journal, ToolStatus::Succeeded, output).await,
        Verdict::DidNot => journal.note(RunEvent::ToolNotDone { effect: journal.id }).await,
        Verdict::CannotTell => finish(journal, ToolStatus::Unknown, told(UNKNOWN)).await,
    }
    Ok(())
}

/// Ends a call that was not made.
pub(super) async fn refuse(journal: &Journal, reason: impl Into<String>) {
    finish(journal, ToolStatus::Refused, told(reason)).await;
}

/// Why the call may not be made, as the model is told.
fn refusal(turn: &Turn, entry: &Entry, decision: Decision) -> Option<String> {
    match decision {
        // The call's arguments may repeat text that the model has read.
        Decision::Allow if entry.category == ToolCategory::External && !turn.labels().allows(Locality::Remote) => {
            return Some("Refused: this turn has read text that may not leave the person's own machines.".to_owned());
        }
        Decision::Allow => {}
        Decision::Ask(reason) => {
            return Some(format!(
                "Not done: this needs a person's approval ({reason}), and approvals cannot be given in a chat turn."
            ));
        }
        Decision::Deny(reason) => return Some(format!("Refused: {reason}.")),
    }
    let most = turn.work.limits.max_memories as usize;
    let full = entry.category == ToolCategory::MemoryWrite && turn.work.remembered() >= most;
    full.then(|| format!("Refused: this turn has written its {most} memories. Answer with what is known."))
}

fn context<'a>(
    job: &'a Job<'_>,
    journal: &Journal,
    turn: &'a Turn,
    caller: &'a crate::Caller,
    locality: Locality,
) -> ToolContext<'a> {
    ToolContext {
        caller,
        env: &job.parts.env,
        stores: job.stores(),
        memories: job.memories,
        run: job.run.id,
        key: journal.id.to_string(),
        conversation: job.run.conversation_id,
        message: job.run.message_id,
        locality,
        recalled: turn.context.as_ref().map_or(&[], |context| &context.recalled),
        labels: turn.labels(),
    }
}

async fn finish(journal: &Journal, status: ToolStatus, output: ToolOutput) {
    let mentions = output.memories.clone();
    let event = RunEvent::ToolFinished {
        effect: journal.id,
        status,
        output,
    };
    journal.record(vec![NewEvent { event, mentions }]).await;
}

fn told(text: impl Into<String>) -> ToolOutput {
    ToolOutput {
        text: text.into(),
        ..ToolOutput::default()
    }
}
