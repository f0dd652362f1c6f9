//! A tool call: the policy decision, the record that it started, the call, the record of its outcome.

use super::{
    agent_loop::Call,
    claimed::{Claimed, DriveError},
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

pub(super) async fn run(claimed: &Claimed<'_>, journal: &Journal, turn: &Turn, call: ToolCall) -> Result<(), DriveError> {
    let known = turn.work.call(journal.id);
    let refused = match (claimed.speaker(turn).await?, claimed.parts.tools.get(&call.name)) {
        (None, _) => Err((ToolStatus::Failed, "The agent was switched off.".to_owned())),
        (_, None) => Err((ToolStatus::Failed, format!("There is no tool `{}`.", call.name))),
        (_, Some(entry)) if known.is_some_and(|known| known.class() != entry.class) => Err((
            ToolStatus::Failed,
            "This tool has changed since it was asked for. Call it again.".to_owned(),
        )),
        (Some(speaker), Some(entry)) => {
            let offered = speaker.agent.tools.contains(&call.name);
            let decision = claimed
                .parts
                .policy
                .decide(&speaker.caller, &call.name, entry.category, offered);
            match refusal(turn, entry, decision) {
                Some(reason) => Err((ToolStatus::Refused, reason)),
                None => Ok((speaker, entry)),
            }
        }
    };
    let (speaker, entry) = match refused {
        Ok(allowed) => allowed,
        // It may not be repeated any more, but it may have acted.
        Err(_) if known.is_some_and(Call::is_lost) => return verify(claimed, journal, turn, call).await,
        Err((status, reason)) => {
            finish(journal, status, told(reason)).await;
            return Ok(());
        }
    };
    journal.note(RunEvent::ToolStarted { effect: journal.id }).await;
    let context = context(claimed, journal, turn, &speaker.caller, speaker.locality());
    let (status, output) = match entry.call(&context, call.arguments).await {
        Ok(output) => (ToolStatus::Succeeded, output),
        Err(ToolError::Tell(reason)) => (ToolStatus::Failed, told(reason)),
        // The run continues from here under another claim.
        Err(ToolError::Store(error)) => return Err(DriveError::Store(error)),
    };
    finish(journal, status, output).await;
    Ok(())
}

/// Finds out about a call whose outcome was lost. Where the tool cannot tell, a person has to look.
pub(super) async fn verify(claimed: &Claimed<'_>, journal: &Journal, turn: &Turn, call: ToolCall) -> Result<(), DriveError> {
    let verdict = match (claimed.speaker(turn).await?, claimed.parts.tools.get(&call.name)) {
        (Some(speaker), Some(entry)) => {
            let context = context(claimed, journal, turn, &speaker.caller, speaker.locality());
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
    claimed: &'a Claimed<'_>,
    journal: &Journal,
    turn: &'a Turn,
    caller: &'a crate::Caller,
    locality: Locality,
) -> ToolContext<'a> {
    ToolContext {
        caller,
        env: &claimed.parts.env,
        stores: claimed.stores(),
        memories: claimed.memories,
        run: claimed.run.id,
        key: journal.id.to_string(),
        conversation: claimed.run.conversation_id,
        message: claimed.run.message_id,
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
