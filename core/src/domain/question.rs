//! Questions of an agent to a person, and the form that the answer fills in.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Decision, arguments::is_exact, word_enum};
use crate::refusal::Refusal;

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

    /// Checks a person's answers, by the names of the fields.
    pub fn check_answers(&self, answers: &BTreeMap<String, Value>) -> Result<(), Refusal> {
        let form = self.form();
        if let Some(unknown) = answers.keys().find(|name| form.iter().all(|field| field.name != **name)) {
            return Err(Refusal::AnswerUnknown { field: unknown.clone() });
        }
        form.iter().try_for_each(|field| field.check(answers.get(&field.name)))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::RequestKind;

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
}
