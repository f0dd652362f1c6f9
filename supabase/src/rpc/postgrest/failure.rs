//! The outcomes of a request over the Data API, and what they mean for the caller.

use std::time::Duration;

use duet_core::{StoreError, refusal::Refusal};
use reqwest::{StatusCode, header};
use serde::Deserialize;

use crate::{
    error,
    rpc::{Call, mismatch},
};

/// Why the function has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection was made: the request was never sent.
    NotSent,
    /// No answer in time. Whether it had an effect is unknown.
    TimedOut,
    /// The connection broke. Whether it had an effect is unknown.
    Broken,
    /// The answer is larger than any function's.
    TooLarge,
    /// The answer is not JSON.
    Malformed,
    /// Another status than 200.
    Refused {
        /// The status.
        status: StatusCode,
        /// The code in the body: PostgREST's own (`PGRST…`) or the database's SQLSTATE. Gateways send none.
        code: Option<String>,
        /// The wait that the answer asks for.
        wait: Option<Duration>,
    },
}

/// The body of an error: <https://docs.postgrest.org/en/stable/references/errors.html>. Its message can contain values and is not
/// read.
#[derive(Deserialize)]
struct Body {
    code: Option<String>,
}

impl Failure {
    /// For a request without a complete answer.
    pub fn of_transport(error: &reqwest::Error) -> Self {
        if error.is_connect() {
            Self::NotSent
        } else if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Broken
        }
    }

    /// For an error answer.
    pub fn of_answer(status: StatusCode, wait: Option<Duration>, body: &[u8]) -> Self {
        let code = serde_json::from_slice(body).ok().and_then(|body: Body| body.code);
        // Codes are looked up and logged: anything else is dropped.
        let code = code.filter(|code| code.len() <= 10 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        Self::Refused { status, code, wait }
    }

    /// The wait that the answer asks for before the next try.
    pub fn asked_wait(&self) -> Option<Duration> {
        match self {
            Self::Refused { wait, .. } => *wait,
            _ => None,
        }
    }

    /// Whether the database certainly did nothing, so that any call may be retried: the request was not sent, PostgREST had no
    /// connection or schema to run it with, or the transaction was rolled back.
    pub fn had_no_effect(&self) -> bool {
        match self {
            Self::NotSent => true,
            Self::Refused { code: Some(code), .. } => {
                error::says_again(code) || matches!(code.as_str(), "PGRST000" | "PGRST002" | "PGRST003")
            }
            _ => false,
        }
    }

    /// Whether a retry may well succeed. Not after a timeout: a slow server gets no second request.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::NotSent | Self::Broken => true,
            Self::Refused { status, code, .. } => match code.as_deref() {
                None => matches!(status.as_u16(), 429 | 502..=504 | 520..=523),
                Some(code) => {
                    code == "PGRST001"
                        || code.starts_with("08")
                        || code.starts_with("57P")
                        || code == "53300"
                        || self.had_no_effect()
                }
            },
            _ => false,
        }
    }

    /// The error that callers see. The log gets function, status and code: bodies and arguments can contain people's text.
    pub fn store_error(&self, call: &Call) -> StoreError {
        let (kind, status, code) = match self {
            Self::NotSent => ("not sent", None, None),
            Self::TimedOut => ("timed out", None, None),
            Self::Broken => ("broken", None, None),
            Self::TooLarge => ("answer too large", None, None),
            Self::Malformed => ("answer is not JSON", None, None),
            Self::Refused { status, code, .. } => ("refused", Some(status.as_u16()), code.as_deref()),
        };
        tracing::warn!(function = call.function, kind, status, code, "a call of the Data API failed");
        match self {
            Self::NotSent => StoreError::unavailable(
                "The Supabase project cannot be reached. Nothing was written. Check its URL and the network; `duet-api check` tests both.",
            ),
            Self::TimedOut if call.repeatable => StoreError::unavailable(
                "The Supabase project took too long to answer. Try again; `duet-api check` shows what is slow.",
            ),
            Self::TimedOut => StoreError::unavailable(
                "The Supabase project took too long to answer, and what became of the request is unknown. Look before you try again.",
            ),
            Self::Broken if call.repeatable => {
                StoreError::unavailable("The connection to the Supabase project broke. Try again shortly.")
            }
            Self::Broken => StoreError::unavailable(
                "The connection to the Supabase project broke, and what became of the request is unknown. Look before you try again.",
            ),
            Self::TooLarge => StoreError::unavailable(
                "The Supabase project's answer is larger than any that Duet asks for. Ask for less, or check what answers at its URL with `duet-api check`.",
            ),
            Self::Malformed => mismatch(),
            Self::Refused { status, code, wait } => refused(*status, code.as_deref(), *wait, call),
        }
    }
}

fn refused(status: StatusCode, code: Option<&str>, wait: Option<Duration>, call: &Call) -> StoreError {
    if let Some(known) = error::by_code(code, call) {
        return known;
    }
    match code {
        Some("PGRST301" | "PGRST302" | "PGRST303") => Refusal::BadAccessToken.of(call.action),
        Some("PGRST300") => StoreError::unavailable(
            "The Supabase project's Data API has no key to check sign-ins with. Restart the project, or set its JWT key.",
        ),
        Some("PGRST202" | "PGRST203") => StoreError::unavailable(
            "The Supabase project lacks a function that this Duet calls, or has not noticed it yet. Run `duet-api migrate` of this version, then `duet-api check`.",
        ),
        Some("PGRST106") => StoreError::unavailable(
            "The Supabase project's Data API does not expose the schema `public`. Add it to the exposed schemas in the project's API settings.",
        ),
        Some(code) if code.starts_with("PGRST1") || code.starts_with("PGRST2") => mismatch(),
        _ => by_status(status, wait),
    }
}

/// The meaning of an error from a gateway in front of PostgREST, which sends no code.
fn by_status(status: StatusCode, wait: Option<Duration>) -> StoreError {
    match status.as_u16() {
        200..=299 => mismatch(),
        401 | 403 => StoreError::unavailable(
            "The Supabase project refuses its publishable key. Copy the key anew from the project's API keys; `duet-api check` tests it.",
        ),
        300..=399 | 404 | 405 => StoreError::unavailable(
            "There is no Data API at the Supabase project's URL. Set the project's own URL, as its dashboard shows it; `duet-api check` tests it.",
        ),
        413 | 414 | 431 => Refusal::TooLargeToSend.into(),
        429 => StoreError::unavailable(match wait {
            Some(wait) => format!(
                "The Supabase project accepts no more requests for now. Try again in {} seconds.",
                wait.as_secs().max(1)
            ),
            None => "The Supabase project accepts no more requests for now. Try again in a minute.".to_owned(),
        }),
        540 => StoreError::unavailable("The Supabase project is paused. Restore it in its dashboard, then try again."),
        _ => StoreError::unavailable(
            "The Supabase project cannot answer now. Try again shortly; its dashboard and `duet-api check` say more.",
        ),
    }
}

/// The wait that an answer asks for: `Retry-After` in seconds, or as a date, which is compared with the answer's own `Date` so that
/// clocks need not agree (RFC 9110, 10.2.3).
pub fn asked_wait(headers: &header::HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let value = text(header::RETRY_AFTER)?;
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let date = |text| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp());
    let wait = date(value)?.as_second().checked_sub(date(text(header::DATE)?)?.as_second())?;
    u64::try_from(wait).ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Failure {
        Failure::of_answer(StatusCode::from_u16(status).unwrap(), None, body.as_bytes())
    }

    fn sentence(failure: &Failure) -> String {
        failure.store_error(&Call::new("run_list").to("list runs")).to_string()
    }

    #[test]
    fn what_may_be_tried_again() {
        // (status, code in the body) → (certainly without effect, passing)
        for (status, code, no_effect, passing) in [
            (503, "PGRST000", true, true),
            (503, "PGRST001", false, true),
            (503, "PGRST002", true, true),
            (504, "PGRST003", true, true),
            (500, "40001", true, true),
            (500, "40P01", true, true),
            (503, "08006", false, true),
            (500, "57P01", false, true),
            (503, "53300", false, true),
            (500, "57014", false, false),
            (404, "PGRST202", false, false),
            (401, "PGRST303", false, false),
            (403, "42501", false, false),
            (409, "23505", false, false),
            (500, "XX000", false, false),
        ] {
            let failure = answer(status, &format!(r#"{{"code":"{code}","message":"m"}}"#));
            assert_eq!(
                (failure.had_no_effect(), failure.is_passing()),
                (no_effect, passing),
                "{code}"
            );
        }
        for (status, passing) in [
            (429, true),
            (502, true),
            (503, true),
            (504, true),
            (500, false),
            (401, false),
            (404, false),
            (301, false),
        ] {
            let failure = answer(status, "<html>");
            assert_eq!((failure.had_no_effect(), failure.is_passing()), (false, passing), "{status}");
        }
        assert!(Failure::NotSent.had_no_effect() && Failure::Broken.is_passing() && !Failure::Broken.had_no_effect());
        assert!(!Failure::TimedOut.is_passing() && !Failure::Malformed.is_passing() && !Failure::TooLarge.is_passing());
    }

    #[test]
    fn every_failure_is_a_sentence_that_says_what_to_do() {
        for (failure, word) in [
            (Failure::NotSent, "URL"),
            (Failure::TimedOut, "Look before you try again"),
            (Failure::Broken, "Look before you try again"),
            (Failure::TooLarge, "Ask for less"),
            (Failure::Malformed, "duet-api migrate"),
            (answer(404, r#"{"code":"PGRST202"}"#), "duet-api migrate"),
            (answer(406, r#"{"code":"PGRST106"}"#), "exposed schemas"),
            (answer(401, r#"{"code":"PGRST301"}"#), "sign in again"),
            (answer(401, r#"{"code":"PGRST303"}"#), "sign in again"),
            (answer(403, r#"{"code":"42501"}"#), "Not allowed to list runs"),
            (answer(500, r#"{"code":"57014"}"#), "took too long"),
            (answer(401, r#"{"message":"Invalid API key"}"#), "publishable key"),
            (answer(404, "no Route matched"), "no Data API"),
            (answer(308, ""), "no Data API"),
            (answer(413, ""), "Send less"),
            (answer(429, ""), "in a minute"),
            (answer(540, ""), "paused"),
            (answer(503, ""), "Try again shortly"),
            (answer(204, ""), "duet-api migrate"),
        ] {
            let said = sentence(&failure);
            assert!(said.contains(word) && said.ends_with('.'), "{failure:?}: {said}");
        }
        assert!(matches!(
            answer(404, r#"{"code":"23503"}"#).store_error(&Call::new("f").of("the run")),
            StoreError::NotFound("the run")
        ));
    }

    #[test]
    fn only_a_code_passes_for_a_code() {
        let code = |body: &str| match answer(400, body) {
            Failure::Refused { code, .. } => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(r#"{"code":"PGRST202"}"#).as_deref(), Some("PGRST202"));
        for body in [
            "",
            "{}",
            "[]",
            r#"{"code":7}"#,
            r#"{"code":"my secret text"}"#,
            r#"{"code":"a b"}"#,
            r#"{"code":null}"#,
        ] {
            assert_eq!(code(body), None, "{body}");
        }
    }

    #[test]
    fn retry_after_in_both_forms() {
        let wait = |pairs: &[(header::HeaderName, &str)]| {
            asked_wait(
                &pairs
                    .iter()
                    .map(|(name, value)| (name.clone(), value.parse().unwrap()))
                    .collect(),
            )
        };
        assert_eq!(wait(&[(header::RETRY_AFTER, "2")]), Some(Duration::from_secs(2)));
        let (date, later) = ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:03 GMT");
        assert_eq!(
            wait(&[(header::RETRY_AFTER, later), (header::DATE, date)]),
            Some(Duration::from_secs(3))
        );
        assert_eq!(wait(&[(header::RETRY_AFTER, date), (header::DATE, later)]), None);
        for nonsense in ["soon", "-1", later] {
            assert_eq!(wait(&[(header::RETRY_AFTER, nonsense)]), None, "{nonsense}");
        }
        assert_eq!(wait(&[]), None);
    }
}
