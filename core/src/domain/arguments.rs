//! Arguments of a call as a request keeps them.

use serde_json::Value;

use crate::{
    clock::Env,
    crypto::{Hash, arguments_hash},
    refusal::Refusal,
};

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
pub(super) fn is_exact(value: &Value) -> bool {
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

    proptest! {
        #[test]
        fn a_form_is_read_back_as_it_was_written(text in "\\PC{0,40}", number in -1_000_000_i64..1_000_000, flag: bool) {
            let value = json!({"text": text, "number": number, "list": [flag, null]});
            let canonical = Canonical::of(&value).expect("canonical");
            prop_assert_eq!(serde_json::from_str::<Value>(canonical.as_str()).expect("JSON"), value);
        }
    }
}
