//! A tool call of a run: proposed, perhaps asked about, begun, and ended or lost.

use crate::{
    domain::{Decision, EffectClass, ProposedCall, RequestKind, ToolCall, ToolOutput, ToolStatus},
    ids::RequestId,
};

/// A tool call and its progress.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The call as the model asked for it, or as a person changed it.
    pub call: ToolCall,
    class: EffectClass,
    state: CallState,
    approval: Option<Approval>,
    /// Whether its result is part of a message that the run has stored already.
    told: bool,
}

/// A person's yes to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The request that was approved.
    pub request: RequestId,
    /// Whether the call has started. A repeat after a crash needs no new approval.
    pub used: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum CallState {
    /// To be made.
    Proposed,
    /// Waits for a person: to say whether to make it, to answer it, or to say whether it took place.
    Asked(RequestId, RequestKind),
    /// It may have acted.
    Started,
    /// It may have acted, and the worker that knew is gone.
    Lost,
    /// It has ended.
    Finished(ToolStatus, ToolOutput),
}

impl Call {
    /// A call that a model asks for.
    pub(super) fn new(proposed: &ProposedCall) -> Self {
        Self {
            call: proposed.call.clone(),
            class: proposed.class,
            state: CallState::Proposed,
            approval: None,
            told: false,
        }
    }

    /// What performing it means, as the reply put it on record.
    pub fn class(&self) -> EffectClass {
        self.class
    }

    /// Whether it is to be made, and has not begun.
    pub fn is_proposed(&self) -> bool {
        self.state == CallState::Proposed
    }

    /// Whether it may have acted without anybody knowing.
    pub fn is_lost(&self) -> bool {
        self.state == CallState::Lost
    }

    /// The request that it waits for.
    pub fn asked(&self) -> Option<RequestId> {
        match self.state {
            CallState::Asked(request, _) => Some(request),
            CallState::Proposed | CallState::Started | CallState::Lost | CallState::Finished(..) => None,
        }
    }

    /// How it ended, and its result.
    pub fn result(&self) -> Option<(ToolStatus, &ToolOutput)> {
        match &self.state {
            CallState::Finished(status, output) => Some((*status, output)),
            CallState::Proposed | CallState::Asked(..) | CallState::Started | CallState::Lost => None,
        }
    }

    /// Its approval, if any.
    pub fn approval(&self) -> Option<Approval> {
        self.approval
    }

    /// Whether its result came after the newest message that the run has stored.
    pub fn is_untold(&self) -> bool {
        self.result().is_some() && !self.told
    }

    /// A message tells its result, if it has one.
    pub(super) fn tell(&mut self) {
        self.told = self.result().is_some();
    }

    /// It begins, or is repeated after it was lost. Its approval is used up.
    pub(super) fn start(&mut self) {
        if self.is_proposed() || (self.is_lost() && self.class.may_be_repeated()) {
            self.state = CallState::Started;
            self.approval = self.approval.map(|approval| Approval { used: true, ..approval });
        }
    }

    /// The worker is gone. What changes nothing is made again; anything else may have acted.
    pub(super) fn lose(&mut self) {
        if self.state == CallState::Started {
            self.state = match self.class {
                EffectClass::Repeatable => CallState::Proposed,
                EffectClass::Idempotent | EffectClass::Reversible | EffectClass::Irreversible => CallState::Lost,
            };
        }
    }

    /// It was lost, and did not act.
    pub(super) fn not_done(&mut self) {
        if self.is_lost() {
            self.due_again();
        }
    }

    /// A person is asked: whether a lost call took place, or about one that has not begun.
    pub(super) fn ask(&mut self, request: RequestId, kind: RequestKind) {
        let due = match kind {
            RequestKind::Review => self.is_lost(),
            RequestKind::Approval | RequestKind::Question => self.is_proposed(),
        };
        if due {
            self.state = CallState::Asked(request, kind);
        }
    }

    /// A decision about the request that it waits for makes it due, or is its result, which this returns.
    pub(super) fn decide(&mut self, request: RequestId, decision: &Decision) -> Option<(ToolStatus, ToolOutput)> {
        if self.asked() != Some(request) {
            return None;
        }
        match decision {
            Decision::Approve { arguments } => {
                if let Some(edited) = arguments {
                    self.call.arguments.clone_from(edited);
                }
                self.state = CallState::Proposed;
                self.approval = Some(Approval { request, used: false });
                None
            }
            Decision::DidNot => {
                self.due_again();
                None
            }
            Decision::Reject { reason: Some(reason) } => refused(format!("Not done. The person says no: {reason}")),
            Decision::Reject { reason: None } => refused("Not done. The person says no."),
            Decision::Respond { answers } => {
                let only = answers.get(Decision::ANSWER).filter(|_| answers.len() == 1);
                let answer = match only.and_then(|answer| answer.as_str()) {
                    Some(words) => words.to_owned(),
                    None => serde_json::to_string(answers).unwrap_or_default(),
                };
                match self.state {
                    // Words instead of a yes.
                    CallState::Asked(_, RequestKind::Approval) => refused(format!("Not done. The person says: {answer}")),
                    _ => succeeded(format!("The person answers: {answer}")),
                }
            }
            Decision::Dismiss => refused("The person does not want to decide this. Continue without it."),
            Decision::Happened => succeeded("The result was lost, but a person has looked: it took place."),
            Decision::Expired => refused("Nobody decided in time. Continue without it."),
            Decision::Voided { because } => refused(format!("Not done. {}", because.sentence())),
        }
    }

    /// It has ended.
    pub(super) fn finish(&mut self, status: ToolStatus, output: ToolOutput) {
        self.state = CallState::Finished(status, output);
    }

    /// What it was approved for is over: it is asked about again.
    fn due_again(&mut self) {
        self.state = CallState::Proposed;
        self.approval = None;
    }
}

fn refused(text: impl Into<String>) -> Option<(ToolStatus, ToolOutput)> {
    Some((ToolStatus::Refused, said(text.into())))
}

fn succeeded(text: impl Into<String>) -> Option<(ToolStatus, ToolOutput)> {
    Some((ToolStatus::Succeeded, said(text.into())))
}

fn said(text: String) -> ToolOutput {
    ToolOutput {
        text,
        ..ToolOutput::default()
    }
}
