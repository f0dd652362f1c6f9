//! A refusal from a provider, and what can be done about it.

use std::{fmt, time::Duration};

use futures::StreamExt;
use reqwest::{Response, StatusCode, header};

/// Largest error body that is read, in bytes.
const MAX_ERROR_BODY: usize = 64 * 1024;
/// How long an error body may take.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusalKind {
    Key,
    NoSuchModel,
    NoCredit,
    Busy,
    TooLong,
    Slow,
    Broken,
    Moved,
    Other,
}

/// A refusal from a provider.
pub(crate) struct Refusal {
    status: Option<StatusCode>,
    /// The machine-readable code, kept only if it looks like one.
    code: Option<String>,
    /// The provider's words in lower case; only searched, never shown: they may quote the request.
    words: String,
    pub(super) retry_after_ms: Option<u64>,
    /// Whether the shape is Ollama's.
    pub(super) ollama: bool,
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Refusal {
    /// Reads the body of an answer with an error status.
    pub async fn read(response: Response) -> Self {
        let status = response.status();
        let retry_after_ms = retry_after(response.headers());
        let mut body = Vec::new();
        let read = async {
            let mut chunks = response.bytes_stream();
            while let Some(Ok(chunk)) = chunks.next().await {
                body.extend_from_slice(&chunk[..chunk.len().min(MAX_ERROR_BODY - body.len())]);
                if body.len() == MAX_ERROR_BODY {
                    break;
                }
            }
        };
        // Whatever has arrived is used even if the rest takes too long.
        let _ = tokio::time::timeout(ERROR_BODY_TIMEOUT, read).await;
        let json = serde_json::from_slice(&body).unwrap_or_default();
        Self {
            status: Some(status),
            retry_after_ms,
            ..Self::in_json(&json)
        }
    }

    /// An error object within a stream, where there is no status.
    pub fn in_json(json: &serde_json::Value) -> Self {
        let text = |pointer: &str| json.pointer(pointer).and_then(serde_json::Value::as_str);
        let code = ["/error/code", "/error/type", "/code"]
            .iter()
            .find_map(|pointer| text(pointer))
            .filter(|code| {
                (1..=64).contains(&code.len())
                    && code
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c))
            });
        let status = ["/error/code", "/error/status", "/status"]
            .iter()
            .find_map(|pointer| json.pointer(pointer)?.as_u64())
            .and_then(|status| StatusCode::from_u16(u16::try_from(status).ok()?).ok());
        let words = ["/error/message", "/error", "/message", "/detail"]
            .iter()
            .find_map(|pointer| text(pointer));
        Self {
            status,
            code: code.map(str::to_owned),
            words: words.unwrap_or_default().to_lowercase(),
            retry_after_ms: None,
            ollama: json.get("error").is_some_and(serde_json::Value::is_string),
        }
    }

    /// Whether the request was refused as wrong and the words contain `needle` (lower case).
    pub fn complains_about(&self, needle: &str) -> bool {
        matches!(self.status.map(|s| s.as_u16()), None | Some(400 | 404 | 422 | 500 | 501)) && self.words.contains(needle)
    }

    /// Status and code, for people.
    pub(super) fn shown(&self) -> String {
        match (self.status, &self.code) {
            (Some(status), Some(code)) => format!("HTTP {}, {code}", status.as_u16()),
            (Some(status), None) => format!("HTTP {}", status.as_u16()),
            (None, Some(code)) => code.clone(),
            (None, None) => "an error in the stream".into(),
        }
    }

    /// What can be done about it.
    pub(super) fn kind(&self) -> RefusalKind {
        let code = self.code.as_deref().unwrap_or_default();
        let says = |needle: &str| self.words.contains(needle);
        // The code is more specific than the status.
        match code {
            "insufficient_quota" | "billing_error" | "billing_hard_limit_reached" => return RefusalKind::NoCredit,
            "model_not_found" | "not_found_error" => return RefusalKind::NoSuchModel,
            "context_length_exceeded" | "string_above_max_length" | "request_too_large" => return RefusalKind::TooLong,
            "authentication_error" | "permission_error" | "invalid_api_key" => return RefusalKind::Key,
            "overloaded_error" | "rate_limit_error" | "rate_limit_exceeded" => return RefusalKind::Busy,
            "timeout_error" => return RefusalKind::Slow,
            "api_error" | "server_error" | "internal_error" => return RefusalKind::Broken,
            _ => {}
        }
        match self.status.map(|status| status.as_u16()) {
            Some(401 | 403) => RefusalKind::Key,
            Some(402) => RefusalKind::NoCredit,
            Some(404) => RefusalKind::NoSuchModel,
            Some(413) => RefusalKind::TooLong,
            Some(408 | 504) => RefusalKind::Slow,
            Some(429 | 503 | 529) => RefusalKind::Busy,
            Some(300..=399) => RefusalKind::Moved,
            Some(500..=599) => RefusalKind::Broken,
            _ if says("context length") || says("too long") || says("context window") || says("maximum context") => {
                RefusalKind::TooLong
            }
            _ if says("credit balance") => RefusalKind::NoCredit,
            _ if says("model") && says("not found") => RefusalKind::NoSuchModel,
            None if code.is_empty() => RefusalKind::Broken,
            _ => RefusalKind::Other,
        }
    }
}

/// How long the provider asks to wait: `retry-after-ms`, or `Retry-After` as seconds or as a date, which is compared with the
/// answer's own `Date` so that clocks need not agree.
fn retry_after(headers: &header::HeaderMap) -> Option<u64> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(millis) = text("retry-after-ms").and_then(|value| value.parse().ok()) {
        return Some(millis);
    }
    let value = text("retry-after")?;
    if let Ok(seconds) = value.parse::<f64>() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to a day before"
        )]
        return (seconds >= 0.0).then(|| (seconds.min(86_400.0) * 1_000.0).round() as u64);
    }
    let date = |text: &str| {
        jiff::fmt::rfc2822::parse(text)
            .ok()
            .map(|zoned| zoned.timestamp().as_millisecond())
    };
    let wait = date(value)?.checked_sub(date(text("date")?)?)?;
    u64::try_from(wait).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> header::HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn retry_after_in_every_form() {
        assert_eq!(retry_after(&headers(&[("retry-after", "7")])), Some(7_000));
        assert_eq!(retry_after(&headers(&[("retry-after", "0.5")])), Some(500));
        assert_eq!(
            retry_after(&headers(&[("retry-after-ms", "120"), ("retry-after", "7")])),
            Some(120)
        );
        assert_eq!(
            retry_after(&headers(&[
                ("retry-after", "Wed, 21 Oct 2026 07:28:10 GMT"),
                ("date", "Wed, 21 Oct 2026 07:28:00 GMT")
            ])),
            Some(10_000)
        );
        for nonsense in ["soon", "-3", "Wed, 21 Oct 2026 07:28:10 GMT"] {
            assert_eq!(retry_after(&headers(&[("retry-after", nonsense)])), None, "{nonsense}");
        }
    }

    #[test]
    fn refusals_are_sorted_by_what_can_be_done() {
        let refusal = |status: u16, body: &str| Refusal {
            status: StatusCode::from_u16(status).ok(),
            ..Refusal::in_json(&serde_json::from_str(body).unwrap_or_default())
        };
        let table = [
            (
                401,
                r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#,
                RefusalKind::Key,
            ),
            (403, "", RefusalKind::Key),
            (
                404,
                r#"{"error":{"message":"The model does not exist","type":"invalid_request_error","code":"model_not_found"}}"#,
                RefusalKind::NoSuchModel,
            ),
            (404, r#"{"error":"model 'x' not found"}"#, RefusalKind::NoSuchModel),
            (
                400,
                r#"{"error":{"code":"context_length_exceeded","message":"…"}}"#,
                RefusalKind::TooLong,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
                RefusalKind::TooLong,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#,
                RefusalKind::NoCredit,
            ),
            (429, r#"{"error":{"code":"insufficient_quota"}}"#, RefusalKind::NoCredit),
            (429, r#"{"error":{"code":"rate_limit_exceeded"}}"#, RefusalKind::Busy),
            (
                529,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                RefusalKind::Busy,
            ),
            (503, "<html>", RefusalKind::Busy),
            (500, "", RefusalKind::Broken),
            (504, "", RefusalKind::Slow),
            (301, "", RefusalKind::Moved),
            (422, r#"{"detail":"nope"}"#, RefusalKind::Other),
        ];
        for (status, body, kind) in table {
            assert_eq!(refusal(status, body).kind(), kind, "{status} {body}");
        }
    }

    #[test]
    fn a_refusal_never_shows_the_providers_words() {
        let refusal = Refusal::in_json(&serde_json::json!({"error": {"type": "Invalid: CANARY", "message": "you said CANARY"}}));
        assert!(!format!("{refusal:?} {}", refusal.shown()).contains("CANARY"));
    }
}
