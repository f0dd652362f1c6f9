//! Requests: what a run asks of a person, and what that person decides.

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EffectId, Labels, word_enum};
use crate::{
    clock::{Env, Timestamp},
    crypto::{Hash, arguments_hash},
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
    /// The most open requests of one run.
    pub const MOST_OPEN: usize = 16;
    /// The most open requests of one person's runs in a workspace.
    pub const MOST_OPEN_OF_PERSON: usize = 200;
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

/// Arguments in their only canonical form (RFC 8785): equal arguments have equal texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical(String);

impl Canonical {
    /// Longest form, in bytes.
    pub const MAX: usize = 64 * 1024;

    /// Deepest nesting. Readers of JSON have a limit, and arguments are stored inside other values.
    pub const MAX_DEPTH: usize = 32;

    /// The canonical form. `Err` for whole numbers beyond 2^53, which the form cannot hold exactly, for U+0000, which Postgres cannot
    /// store, and for what is too large or nested too deep.
    pub fn of(arguments: &Value) -> Result<Self, Refusal> {
        if is_deeper(arguments, Self::MAX_DEPTH) {
            return Err(Refusal::ArgumentsDepth { most: Self::MAX_DEPTH });
        }
        if has_null_character(arguments) {
            return Err(Refusal::ArgumentsText);
        }
        if !is_exact(arguments) {
            return Err(Refusal::ArgumentNumber);
        }
        let text = serde_jcs::to_string(arguments).map_err(|_| Refusal::ArgumentNumber)?;
        match text.len() <= Self::MAX {
            true => Ok(Self(text)),
            false => Err(Refusal::ArgumentsLength {
                most: Self::MAX,
                has: text.len(),
            }),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a value is nested deeper than this.
pub fn is_deeper(value: &Value, most: usize) -> bool {
    match value {
        Value::Array(items) => most == 0 || items.iter().any(|inner| is_deeper(inner, most - 1)),
        Value::Object(fields) => most == 0 || fields.values().any(|inner| is_deeper(inner, most - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn has_null_character(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_null_character),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.contains('\0') || has_null_character(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether every number keeps its value as a double, which is what the canonical form writes.
fn is_exact(value: &Value) -> bool {
    const MOST: u64 = 1 << 53;
    match value {
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(whole), _) => whole <= MOST,
            (None, Some(whole)) => whole.unsigned_abs() <= MOST,
            (None, None) => number.as_f64().is_some_and(f64::is_finite),
        },
        Value::Array(items) => items.iter().all(is_exact),
        Value::Object(fields) => fields.values().all(is_exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// Arguments as a request keeps them: canonical, with a salted hash that the log keeps too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// The text.
    pub text: Canonical,
    /// Random, so that the hash tells nothing of a text that was redacted.
    pub salt: [u8; 16],
}

impl Arguments {
    /// With a fresh salt.
    pub fn salted(env: &Env, text: Canonical) -> Self {
        Self { text, salt: env.bytes() }
    }

    /// The salted hash.
    pub fn hash(&self) -> Hash {
        arguments_hash(&self.salt, self.text.as_str().as_bytes())
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
        /// What happened, as the agent is told.
        why: String,
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
            Self::Respond { answers } => check_answers(kind, asked, answers),
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

fn check_answers(kind: RequestKind, asked: Option<&Value>, answers: &BTreeMap<String, Value>) -> Result<(), Refusal> {
    let form = match (kind, asked) {
        (RequestKind::Question, Some(asked)) => serde_json::from_value::<Question>(asked.clone()).unwrap_or_default().form(),
        _ => Question::default().form(),
    };
    if let Some(unknown) = answers.keys().find(|name| form.iter().all(|field| field.name != **name)) {
        return Err(Refusal::AnswerUnknown { field: unknown.clone() });
    }
    for field in &form {
        field.check(answers.get(&field.name))?;
    }
    Ok(())
}

/// What `ask_user` asks: a sentence and a flat form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// What to ask the person, as one short sentence or two.
    pub question: String,
    /// The fields of the form to fill in, at most eight. Leave it empty for one answer in the person's own words.
    #[serde(default)]
    pub fields: Vec<Field>,
}

/// A field of a form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its name in the answer: small letters, digits and underscores.
    pub name: String,
    /// What the person reads beside it.
    pub label: String,
    /// What can be entered.
    pub kind: FieldKind,
    /// What to choose from, for a choice: two to twenty.
    #[serde(default)]
    pub options: Vec<String>,
    /// Whether it may stay empty.
    #[serde(default)]
    pub optional: bool,
}

word_enum! {
    /// What can be entered into a field.
    FieldKind {
        /// Any words.
        Text = "text",
        /// A number.
        Number = "number",
        /// One of the options.
        Choice = "choice",
        /// Yes or no.
        YesNo = "yes_no",
        /// A date, like 2026-05-09.
        Date = "date",
    }
}

impl Question {
    /// Most fields.
    pub const MAX_FIELDS: usize = 8;

    /// The form, which for a question without fields is one answer in words.
    pub fn form(&self) -> Vec<Field> {
        if !self.fields.is_empty() {
            return self.fields.clone();
        }
        vec![Field {
            name: Decision::ANSWER.into(),
            label: "Your answer".into(),
            kind: FieldKind::Text,
            options: Vec::new(),
            optional: false,
        }]
    }

    /// What is wrong with it, as the model is told.
    pub fn check(&self) -> Result<(), String> {
        if self.question.trim().is_empty() || self.question.len() > Decision::MAX_TEXT {
            return Err(format!("A question has 1 to {} bytes.", Decision::MAX_TEXT));
        }
        if self.fields.len() > Self::MAX_FIELDS {
            return Err(format!("A form has at most {} fields.", Self::MAX_FIELDS));
        }
        for (index, field) in self.fields.iter().enumerate() {
            let named = (1..=40).contains(&field.name.len())
                && field
                    .name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if !named || self.fields[..index].iter().any(|earlier| earlier.name == field.name) {
                return Err("The name of a field is its own, of up to 40 small letters, digits and underscores.".into());
            }
            if field.label.trim().is_empty() || field.label.len() > 200 {
                return Err(format!("The label of `{}` has 1 to 200 bytes.", field.name));
            }
            let choices = field.options.len();
            let chooses = field.kind == FieldKind::Choice;
            if chooses != (choices > 0)
                || choices == 1
                || choices > 20
                || field.options.iter().any(|o| o.is_empty() || o.len() > 200)
            {
                return Err(format!(
                    "`{}`: a choice, and nothing else, has 2 to 20 options of 1 to 200 bytes.",
                    field.name
                ));
            }
        }
        Ok(())
    }
}

impl Field {
    fn check(&self, answer: Option<&Value>) -> Result<(), Refusal> {
        let empty = matches!(answer, None | Some(Value::Null))
            || answer.and_then(Value::as_str).is_some_and(|text| text.trim().is_empty());
        if empty {
            return match self.optional {
                true => Ok(()),
                false => Err(Refusal::AnswerMissing {
                    field: self.name.clone(),
                }),
            };
        }
        let text = answer.and_then(Value::as_str);
        let fits = match self.kind {
            FieldKind::Text => text.is_some_and(|text| text.len() <= Decision::MAX_TEXT),
            FieldKind::Number => answer.is_some_and(|answer| answer.is_number() && is_exact(answer)),
            FieldKind::Choice => text.is_some_and(|text| self.options.iter().any(|option| option == text)),
            FieldKind::YesNo => answer.is_some_and(Value::is_boolean),
            FieldKind::Date => text.is_some_and(|text| text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()),
        };
        match fits {
            true => Ok(()),
            false => Err(Refusal::AnswerForm {
                field: self.name.clone(),
                kind: self.kind,
            }),
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

word_enum! {
    /// What an entry of the Inbox is.
    InboxKind {
        /// A call that needs a yes.
        Approval = "approval",
        /// A question.
        Question = "question",
        /// A call that may have happened.
        Review = "review",
        /// A memory that an agent proposes.
        Memory = "memory",
    }
}

/// An entry of the Inbox, by reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct InboxEntry {
    /// What it is.
    pub kind: InboxKind,
    /// The request's or the memory's id.
    pub id: uuid::Uuid,
    /// Since when it waits.
    pub at: Timestamp,
}

/// An entry of the Inbox with what it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "item", rename_all = "snake_case")]
pub enum InboxItem {
    /// A request to decide.
    Request {
        /// The request.
        request: Request,
    },
    /// A proposed memory to accept or reject.
    Memory {
        /// The memory.
        memory: super::Memory,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_arguments_have_one_form() {
        let form = |value: Value| Canonical::of(&value).map(|canonical| canonical.as_str().to_owned());
        assert_eq!(form(json!({"b": 1.0, "a": "é"})), form(json!({"a": "\u{e9}", "b": 1})));
        assert_eq!(
            form(json!({"b": [1, 2], "a": null})).as_deref(),
            Ok(r#"{"a":null,"b":[1,2]}"#)
        );
        assert_ne!(form(json!({"a": [1, 2]})), form(json!({"a": [2, 1]})));
        for inexact in [json!(9_007_199_254_740_993_u64), json!({"a": [-9_007_199_254_740_993_i64]})] {
            assert_eq!(form(inexact), Err(Refusal::ArgumentNumber));
        }
        assert!(form(json!("x".repeat(Canonical::MAX))).is_err());
        let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        assert!(form(nested(Canonical::MAX_DEPTH)).is_ok());
        let most = Canonical::MAX_DEPTH;
        assert_eq!(form(nested(most + 1)), Err(Refusal::ArgumentsDepth { most }));
        assert_eq!(form(json!({"a": ["b\0"]})), Err(Refusal::ArgumentsText));
    }

    fn field(name: &str, kind: FieldKind, options: &[&str]) -> Field {
        Field {
            name: name.into(),
            label: "Label".into(),
            kind,
            options: options.iter().map(|&option| option.into()).collect(),
            optional: false,
        }
    }

    #[test]
    fn answers_fit_their_form() {
        let question = Question {
            question: "Which day, how many, by train, and where to?".into(),
            fields: vec![
                field("day", FieldKind::Date, &[]),
                field("people", FieldKind::Number, &[]),
                field("train", FieldKind::YesNo, &[]),
                field("place", FieldKind::Choice, &["Rome", "Oslo"]),
            ],
        };
        assert_eq!(question.check(), Ok(()));
        let asked = serde_json::to_value(&question).expect("a question");
        let check = |answers: Value| {
            let decision: Decision =
                serde_json::from_value(json!({"decision": "respond", "answers": answers})).expect("a decision");
            decision.check(RequestKind::Question, Some(&asked))
        };
        assert_eq!(
            check(json!({"day": "2026-05-09", "people": 2, "train": true, "place": "Oslo"})),
            Ok(())
        );
        for wrong in [
            json!({"people": 2, "train": true, "place": "Oslo"}),
            json!({"day": "9 May", "people": 2, "train": true, "place": "Oslo"}),
            json!({"day": "2026-05-09", "people": "two", "train": true, "place": "Oslo"}),
            json!({"day": "2026-05-09", "people": 2, "train": "yes", "place": "Oslo"}),
            json!({"day": "2026-05-09", "people": 2, "train": true, "place": "Bonn"}),
            json!({"day": "2026-05-09", "people": 2, "train": true, "place": "Oslo", "more": 1}),
        ] {
            assert!(check(wrong.clone()).is_err(), "{wrong}");
        }
    }

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
                Decision::Voided { why: "over".into() },
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

    proptest! {
        #[test]
        fn a_form_is_read_back_as_it_was_written(text in "\\PC{0,40}", number in -1_000_000_i64..1_000_000, flag: bool) {
            let value = json!({"text": text, "number": number, "list": [flag, null]});
            let canonical = Canonical::of(&value).expect("canonical");
            prop_assert_eq!(serde_json::from_str::<Value>(canonical.as_str()).expect("JSON"), value);
        }
    }
}
