//! A tool call: the policy's ruling, where it asks the request to a person, the record that the call started, the call, the record of
//! its outcome.

use super::{
    call::{Approval, Call},
    claimed::{Claimed, DriveError, InForce, Speaker},
    journal::Journal,
    turn::Turn,
};
use crate::{
    domain::{
        Arguments, Canonical, Decider, EffectClass, EffectId, Locality, NewEvent, NewRequest, Request, RequestKind, RunEvent,
        Taint, ToolCall, ToolOutput, ToolStatus, UsedApproval,
    },
    policy::{Ruling, ToolCategory},
    refusal::Refusal,
    tools::{Entry, ToolContext, ToolError, Verdict},
};

/// What the model, and the person, are told of a call that may have acted.
const UNKNOWN: &str = "Duet went down while this was running; it is not known whether it happened.";

/// What is to be done about a call, by policy and by what is known of the call.
enum Ready<'a> {
    /// It is made.
    Make(&'a Speaker, &'a Entry),
    /// A person is asked first.
    Ask(About),
    /// It may have acted, and may not be repeated.
    Verify,
    /// It is not made, and the model is told why.
    Refuse(ToolStatus, String),
}

/// What is known of the call.
#[derive(Clone, Copy)]
struct Known {
    class: Option<EffectClass>,
    /// Whether it may have acted without anybody knowing.
    lost: bool,
    approval: Option<Approval>,
}

/// What a person is asked about a call, and who.
#[derive(Clone)]
struct About {
    kind: RequestKind,
    decider: Decider,
    policy_version: u32,
    why: String,
}

/// How often a call is looked at again, because the policy has changed in between, or because it turned out not to have acted.
const ATTEMPTS: usize = 3;

pub(super) async fn run(claimed: &Claimed<'_>, journal: &Journal, turn: &Turn, call: ToolCall) -> Result<(), DriveError> {
    let call_so_far = turn.work.call(journal.id);
    let mut known = Known {
        class: call_so_far.map(Call::class),
        lost: call_so_far.is_some_and(Call::is_lost),
        approval: call_so_far.and_then(Call::approval),
    };
    for _ in 0..ATTEMPTS {
        let (speaker, policy) = futures::try_join!(claimed.speaker(turn), claimed.policy())?;
        let entry = claimed.parts.tools.get(&call.name).map(AsRef::as_ref);
        let refused = match ready(turn, known, speaker.as_ref(), entry, &policy, &call) {
            Ready::Make(speaker, entry) => return make(claimed, journal, turn, (speaker, entry), known.approval, call).await,
            Ready::Verify => match verify(claimed, journal, turn, call.clone()).await? {
                Looked::DueAgain => {
                    (known.lost, known.approval) = (false, None);
                    None
                }
                Looked::Closed => return Ok(()),
            },
            Ready::Refuse(status, reason) => Some((status, reason)),
            Ready::Ask(about) => match ask(claimed, journal, &call, about, Vec::new()).await {
                Ok(()) => return Ok(()),
                Err(Refusal::ApprovalStale) => None,
                Err(refusal) => Some((ToolStatus::Failed, refusal.to_string())),
            },
        };
        if let Some((status, reason)) = refused {
            finish(journal, status, output(reason)).await;
            return Ok(());
        }
    }
    finish(
        journal,
        ToolStatus::Failed,
        output("The policy keeps changing. Call again later."),
    )
    .await;
    Ok(())
}

/// What is to be done about a call now.
fn ready<'a>(
    turn: &Turn,
    known: Known,
    speaker: Option<&'a Speaker>,
    entry: Option<&'a Entry>,
    policy: &InForce,
    call: &ToolCall,
) -> Ready<'a> {
    let unless_lost = |otherwise: Ready<'a>| if known.lost { Ready::Verify } else { otherwise };
    let failed = |reason: String| unless_lost(Ready::Refuse(ToolStatus::Failed, reason));
    let (speaker, entry) = match (speaker, entry) {
        (None, _) => return failed("The agent was switched off.".into()),
        (_, None) => return failed(format!("There is no tool `{}`.", call.name)),
        (_, Some(entry)) if known.class.is_some_and(|class| class != entry.class) => {
            return failed("This tool has changed since it was asked for. Call it again.".into());
        }
        (Some(speaker), Some(entry)) => (speaker, entry),
    };
    let offered = speaker.agent.tools.contains(&call.name);
    let ruling = policy.rules.decide(&speaker.caller, &call.name, entry.category, offered);
    if let Some(reason) = refusal(turn, entry, &ruling) {
        return unless_lost(Ready::Refuse(ToolStatus::Refused, reason));
    }
    // A yes to what cannot be done would be lost.
    if let Err(reason) = entry.check(&call.arguments) {
        return failed(reason);
    }
    // Whether the person may be asked is not asked of the person.
    if let Some(question) = entry.question(&call.arguments) {
        return Ready::Ask(About {
            kind: RequestKind::Question,
            decider: Decider::Asker,
            policy_version: 0,
            why: question.question,
        });
    }
    // What untrusted text would have remembered becomes a proposal, which waits for a person by itself.
    let proposes = entry.category == ToolCategory::MemoryWrite && turn.labels().integrity == Taint::Untrusted;
    let approved = known.approval.is_some();
    match ruling {
        Ruling::Ask { decider, why } if !proposes && !approved => unless_lost(Ready::Ask(About {
            kind: RequestKind::Approval,
            decider,
            policy_version: policy.version,
            why,
        })),
        Ruling::Ask { .. } | Ruling::Allow | Ruling::Deny(_) => Ready::Make(speaker, entry),
    }
}

/// Why the call may not be made, as the model is told.
fn refusal(turn: &Turn, entry: &Entry, ruling: &Ruling) -> Option<String> {
    if let Ruling::Deny(reason) = ruling {
        return Some(format!("Refused: {}.", reason.trim_end_matches('.')));
    }
    // The call's arguments may repeat text that the model has read.
    if entry.category == ToolCategory::External && !turn.labels().allows(Locality::Remote) {
        return Some("Refused: this turn has read text that may not leave the person's own machines.".to_owned());
    }
    let most = turn.work.limits.max_memories as usize;
    let full = entry.category == ToolCategory::MemoryWrite && turn.work.remembered() >= most;
    full.then(|| format!("Refused: this turn has written its {most} memories. Answer with what is known."))
}

async fn make(
    claimed: &Claimed<'_>,
    journal: &Journal,
    turn: &Turn,
    (speaker, entry): (&Speaker, &Entry),
    approval: Option<Approval>,
    call: ToolCall,
) -> Result<(), DriveError> {
    if let Err(refusal) = start(journal, approval, &call).await {
        finish(journal, ToolStatus::Refused, output(refusal.to_string())).await;
        return Ok(());
    }
    let context = context(claimed, journal, turn, &speaker.caller, speaker.locality());
    let (status, output) = match entry.call(&context, call.arguments).await {
        Ok(output) => (ToolStatus::Succeeded, output),
        Err(ToolError::Tell(reason)) => (ToolStatus::Failed, output(reason)),
        // The run continues from here under another claim.
        Err(ToolError::Store(error)) => return Err(DriveError::Store(error)),
    };
    finish(journal, status, output).await;
    Ok(())
}

/// Puts on record that the call begins. An approval is used up with that, if it still holds for just this call.
async fn start(journal: &Journal, approval: Option<Approval>, call: &ToolCall) -> Result<(), Refusal> {
    let started = RunEvent::ToolStarted { effect: journal.id };
    match approval.filter(|approval| !approval.used) {
        None => {
            journal.note(started).await;
            Ok(())
        }
        Some(approval) => {
            let used = UsedApproval {
                request: approval.request,
                arguments: Canonical::of(&call.arguments)?,
            };
            journal.note_approved(started, used).await
        }
    }
}

/// Asks a person about a call, with what follows from that at once.
async fn ask(
    claimed: &Claimed<'_>,
    journal: &Journal,
    call: &ToolCall,
    about: About,
    then: Vec<NewEvent>,
) -> Result<(), Refusal> {
    let env = &claimed.parts.env;
    let request = NewRequest {
        id: env.id(),
        effect: journal.id,
        kind: about.kind,
        tool: call.name.clone(),
        arguments: Arguments::salted(env, Canonical::of(&call.arguments)?),
        why: about.why,
        decider: about.decider,
        policy_version: about.policy_version,
        expires_at: env.now().plus(Request::LASTS),
    };
    journal.ask(request, then).await
}

/// What looking for a lost call has come to.
pub(super) enum Looked {
    /// It did not act, and is due again.
    DueAgain,
    /// It has its result, or a person is asked.
    Closed,
}

/// Finds out about a call whose outcome was lost. Where the tool cannot tell, a person has to look.
pub(super) async fn verify(claimed: &Claimed<'_>, journal: &Journal, turn: &Turn, call: ToolCall) -> Result<Looked, DriveError> {
    let verdict = match (claimed.speaker(turn).await?, claimed.parts.tools.get(&call.name)) {
        (Some(speaker), Some(entry)) => {
            let context = context(claimed, journal, turn, &speaker.caller, speaker.locality());
            entry.verify(&context, call.arguments.clone()).await
        }
        _ => Verdict::CannotTell,
    };
    match verdict {
        Verdict::Happened(output) => finish(journal, ToolStatus::Succeeded, output).await,
        Verdict::DidNot => {
            journal.note(RunEvent::ToolNotDone { effect: journal.id }).await;
            return Ok(Looked::DueAgain);
        }
        Verdict::CannotTell => {
            let about = About {
                kind: RequestKind::Review,
                decider: Decider::Asker,
                policy_version: 0,
                why: format!("{UNKNOWN} Did it?"),
            };
            let unknown = finished(journal.id, ToolStatus::Unknown, output(UNKNOWN));
            // A run that ends does not wait for the answer.
            let then = turn.work.is_ending().then(|| unknown.clone()).into_iter().collect();
            if ask(claimed, journal, &call, about, then).await.is_err() {
                journal.record(vec![unknown]).await;
            }
        }
    }
    Ok(Looked::Closed)
}

/// Ends a call that was not made.
pub(super) async fn refuse(journal: &Journal, reason: impl Into<String>) {
    finish(journal, ToolStatus::Refused, output(reason)).await;
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
    journal.record(vec![finished(journal.id, status, output)]).await;
}

fn finished(effect: EffectId, status: ToolStatus, output: ToolOutput) -> NewEvent {
    let mentions = output.memories.clone();
    let event = RunEvent::ToolFinished { effect, status, output };
    NewEvent { event, mentions }
}

fn output(text: impl Into<String>) -> ToolOutput {
    ToolOutput {
        text: text.into(),
        ..ToolOutput::default()
    }
}
