//! Requests: what a run asks of a person, and what that person decides.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Arguments, Canonical, EffectId, Labels, Question, Role, word_enum};
use crate::{
    clock::Timestamp,
    error::StoreError,
    ids::{AgentId, ConversationId, RequestId, RunId, UserId, WorkspaceId},
    refusal::Refusal,
};

word_enum! {
    /// What a request is about.
    RequestKind {
        /// A call that policy lets happen only after a person's yes.
        Approval = "approval",
        /// A question of the agent.
        Question = "question",
        /// A call that may have happened: its outcome was lost.
        Review = "review",
    }
}

word_enum! {
    /// Where a request stands.
    RequestState {
        /// Waits for a person.
        Open = "open",
        /// A person said yes. The call is made as it was approved, once.
        Approved = "approved",
        /// A person said no.
        Rejected = "rejected",
        /// A person answered.
        Answered = "answered",
        /// A person does not want to decide; the run goes on without an answer.
        Dismissed = "dismissed",
        /// Nobody decided in time.
        Expired = "expired",
        /// It cannot be decided any more: the run has ended, or the policy changed.
        Voided = "voided",
    }
}

word_enum! {
    /// Who decides a request.
    Decider {
        /// The person whose run asks.
        Asker = "asker",
        /// An owner of the workspace.
        Owner = "owner",
    }
}

/// What a run asks of a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// The run that asks.
    pub run_id: RunId,
    /// The person whose run it is.
    pub user_id: UserId,
    /// Where that run answers; absent for an owner who decides for somebody else: the conversation is that person's.
    pub conversation_id: Option<ConversationId>,
    /// The call that it is about.
    pub effect: EffectId,
    /// The agent that wants it.
    pub agent_id: AgentId,
    /// What it is about.
    pub kind: RequestKind,
    /// The tool.
    pub tool: String,
    /// The arguments, or what is asked; absent once redacted.
    #[schema(value_type = Option<Object>)]
    pub arguments: Option<Value>,
    /// Why a person has to decide: one sentence.
    pub why: String,
    /// Who decides.
    pub decider: Decider,
    /// The version of the policy that asks; 0 where no policy is involved.
    pub policy_version: u32,
    /// The labels of the run when it asked. An approval does not hold once they have become stricter.
    pub labels: Labels,
    /// Where it stands.
    pub state: RequestState,
    /// What was decided, with what was said or changed; absent while it is open, and once redacted.
    pub decision: Option<Decision>,
    /// Who decided; absent when nobody did.
    pub decided_by: Option<UserId>,
    /// When it was decided.
    pub decided_at: Option<Timestamp>,
    /// When the approved call was made.
    pub used_at: Option<Timestamp>,
    /// Until when it can be decided, and an approved call be made.
    pub expires_at: Timestamp,
    /// When it was asked.
    pub created_at: Timestamp,
}

impl Request {
    /// How long a request waits for its decision.
    pub const LASTS: Duration = Duration::from_secs(7 * 24 * 3600);
    /// The most requests of one run that may still come to something; reviews do not count against it.
    pub const MOST_OPEN: usize = 16;
    /// The same, of all runs of a person in a workspace.
    pub const MOST_OPEN_OF_PERSON: usize = 200;

    /// Whether this person's decision is still to be recorded; not if it was taken already and this is the same. An error says why
    /// they cannot take it.
    pub fn takes(&self, decision: &Decision, by: UserId, role: Role, now: Timestamp) -> Result<bool, StoreError> {
        if self.decider == Decider::Owner && role != Role::Owner {
            return Err(Refusal::NotDecider.of("decide this"));
        }
        if self.state != RequestState::Open {
            let same = self.decided_by == Some(by) && self.decision.as_ref() == Some(decision);
            return match same {
                true => Ok(false),
                false => Err(Refusal::RequestDecided { state: self.state }.into()),
            };
        }
        decision.check(self.kind, self.arguments.as_ref())?;
        if self.expires_at <= now || self.arguments.is_none() {
            return Err(Refusal::RequestOver.into());
        }
        Ok(true)
    }
}

/// What a run is about to ask.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRequest {
    /// Its id.
    pub id: RequestId,
    /// The call that it is about.
    pub effect: EffectId,
    /// What it is about.
    pub kind: RequestKind,
    /// The tool.
    pub tool: String,
    /// The arguments.
    pub arguments: Arguments,
    /// Why a person has to decide.
    pub why: String,
    /// Who decides.
    pub decider: Decider,
    /// The version of the policy that asks.
    pub policy_version: u32,
    /// Until when.
    pub expires_at: Timestamp,
}

/// A call that an approval is used for.
#[derive(Clone, Debug, PartialEq)]
pub struct UsedApproval {
    /// The request.
    pub request: RequestId,
    /// What the call is made with: exactly what was approved.
    pub arguments: Canonical,
}

word_enum! {
    /// Why a request cannot be decided any more.
    VoidReason {
        /// Its run has ended.
        RunEnded = "run_ended",
        /// Somebody stops its run.
        RunStopped = "run_stopped",
        /// The policy has a new version.
        PolicyChanged = "policy_changed",
        /// The person whose run asks has another role.
        RoleChanged = "role_changed",
        /// The data file was put back to an earlier state.
        FileRestored = "file_restored",
    }
}

impl VoidReason {
    /// As the agent is told.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::RunEnded => "The run has ended.",
            Self::RunStopped => "The run is being stopped.",
            Self::PolicyChanged => "The policy has changed since. Call again if it is still wanted.",
            Self::RoleChanged => "The person's role has changed since. Call again if it is still wanted.",
            Self::FileRestored => "The data file was put back to an earlier state.",
        }
    }
}

/// What is decided about a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "decision", rename_all = "snake_case", deny_unknown_fields)]
pub enum Decision {
    /// The call may be made, once: as it was asked for, or with these arguments.
    Approve {
        /// Other arguments than were asked for. Policy decides about them again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Object>)]
        arguments: Option<Value>,
    },
    /// The call is not made.
    Reject {
        /// What the agent is told about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The answers to a question by field, or one word to the agent (`answer`) instead of a yes or a no.
    Respond {
        /// By the name of the field.
        #[schema(value_type = Object)]
        answers: BTreeMap<String, Value>,
    },
    /// The person does not decide; the run goes on without.
    Dismiss,
    /// The call whose outcome was lost took place.
    Happened,
    /// It did not: it is due again.
    DidNot,
    /// Nobody decided in time. Nobody can decide this; time does.
    Expired,
    /// There is nothing to decide any more. Nobody can decide this; it follows from something else.
    Voided {
        /// What happened.
        because: VoidReason,
    },
}

impl Decision {
    /// Longest reason or answer, in bytes.
    pub const MAX_TEXT: usize = 4 * 1024;

    /// The name of the answer where a request has no form.
    pub const ANSWER: &'static str = "answer";

    /// Where it leaves the request.
    pub fn state(&self) -> RequestState {
        match self {
            Self::Approve { .. } => RequestState::Approved,
            Self::Reject { .. } => RequestState::Rejected,
            Self::Respond { .. } | Self::Happened | Self::DidNot => RequestState::Answered,
            Self::Dismiss => RequestState::Dismissed,
            Self::Expired => RequestState::Expired,
            Self::Voided { .. } => RequestState::Voided,
        }
    }

    /// The word for it, as clients send it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Approve { .. } => "approve",
            Self::Reject { .. } => "reject",
            Self::Respond { .. } => "respond",
            Self::Dismiss => "dismiss",
            Self::Happened => "happened",
            Self::DidNot => "did_not",
            Self::Expired => "expired",
            Self::Voided { .. } => "voided",
        }
    }

    /// Whether a person can decide a request of this kind so.
    pub fn fits(&self, kind: RequestKind) -> bool {
        match (self, kind) {
            (Self::Dismiss, _) => true,
            (Self::Approve { .. } | Self::Reject { .. }, kind) => kind == RequestKind::Approval,
            (Self::Respond { .. }, kind) => kind != RequestKind::Review,
            (Self::Happened | Self::DidNot, kind) => kind == RequestKind::Review,
            (Self::Expired | Self::Voided { .. }, _) => false,
        }
    }

    /// Checks a person's decision about this request: what was asked, and in which form.
    pub fn check(&self, kind: RequestKind, asked: Option<&Value>) -> Result<(), Refusal> {
        if !self.fits(kind) {
            return Err(Refusal::DecisionUnfit {
                kind,
                decision: self.word().into(),
            });
        }
        match self {
            Self::Approve { arguments: Some(edited) } if !edited.is_object() => Err(Refusal::ArgumentsForm),
            Self::Approve { arguments: Some(edited) } => Canonical::of(edited).map(|_| ()),
            Self::Reject { reason: Some(reason) } if reason.len() > Self::MAX_TEXT => Err(Refusal::AnswerLength {
                most: Self::MAX_TEXT,
                has: reason.len(),
            }),
            Self::Respond { answers } => {
                let question = asked.filter(|_| kind == RequestKind::Question);
                let question = question.and_then(|asked| Question::deserialize(asked).ok());
                question.unwrap_or_default().check_answers(answers)
            }
            Self::Approve { .. }
            | Self::Reject { .. }
            | Self::Dismiss
            | Self::Happened
            | Self::DidNot
            | Self::Expired
            | Self::Voided { .. } => Ok(()),
        }
    }
}

/// Which requests to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestFilter {
    /// Only those of this conversation.
    pub conversation: Option<ConversationId>,
    /// Only those that wait for a decision.
    pub open: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_decision_fits_what_was_asked() {
        let words = |kind| {
            let all = [
                Decision::Approve { arguments: None },
                Decision::Reject { reason: None },
                Decision::Respond {
                    answers: [(Decision::ANSWER.to_owned(), json!("later"))].into(),
                },
                Decision::Dismiss,
                Decision::Happened,
                Decision::DidNot,
                Decision::Expired,
                Decision::Voided {
                    because: VoidReason::RunEnded,
                },
            ];
            all.into_iter()
                .filter(|d| d.check(kind, None).is_ok())
                .map(|d| d.word())
                .collect::<Vec<_>>()
        };
        assert_eq!(words(RequestKind::Approval), ["approve", "reject", "respond", "dismiss"]);
        assert_eq!(words(RequestKind::Question), ["respond", "dismiss"]);
        assert_eq!(words(RequestKind::Review), ["dismiss", "happened", "did_not"]);
    }
}
