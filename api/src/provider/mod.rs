//! One provider over HTTP: how its key is fetched, how a request is sent, and how every failure becomes one sentence
//! that says what to do. No prompt, reply text or key gets into a message: of a provider's own error texts only the
//! machine-readable code is passed on.

mod refusal;

use std::{error::Error as _, sync::Arc, time::Duration};

use duet_core::{domain::ModelFailure, ports::ModelError};
use reqwest::{Client, RequestBuilder, Response, Url};
use secrecy::{ExposeSecret, SecretString};

pub(crate) use self::refusal::Refusal;
use self::refusal::RefusalKind;
use crate::secret::{SecretError, SecretPointer, SecretResolver};

/// Where a provider is and how to talk to it.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// Its name in the configuration.
    pub name: String,
    /// The section of the configuration that holds it, such as `models.providers.openai`.
    pub section: String,
    /// Its base URL.
    pub base: Url,
    /// The process's client.
    pub http: Client,
    /// Fetches keys.
    pub secrets: Arc<dyn SecretResolver>,
    /// Where its key is.
    pub key: Option<SecretPointer>,
    /// How long the head of an answer may take, and after it the first thing that is said.
    pub first_byte: Duration,
    /// How long the next part of an answer that says something may take.
    pub idle: Duration,
}

impl Endpoint {
    /// The URL of a path below the base.
    pub fn url(&self, path: &str) -> Url {
        crate::http::join(&self.base, path)
    }

    /// Its address as people write it.
    pub fn place(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The key, if one is configured.
    pub fn key(&self) -> Result<Option<SecretString>, ModelError> {
        let Some(pointer) = &self.key else { return Ok(None) };
        self.secrets.resolve(pointer).map(Some).map_err(|error| {
            let message = match &error {
                SecretError::Missing { .. } => format!("There is no key for `{}`: {error}.", self.name),
                _ => format!(
                    "The key of `{}` cannot be had (`{}.api_key`): {error}.",
                    self.name, self.section
                ),
            };
            ModelError::new(ModelFailure::Unauthorized, message)
        })
    }

    /// Adds the key as a bearer token, if there is one.
    pub fn bearer(&self, request: RequestBuilder) -> Result<RequestBuilder, ModelError> {
        Ok(match self.key()? {
            Some(key) => request.bearer_auth(key.expose_secret()),
            None => request,
        })
    }

    /// Sends a request and waits for the head of the answer.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, ModelError> {
        match tokio::time::timeout(self.first_byte, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.transport(&error)),
            Err(_) => Err(self.silent(self.first_byte, "timeout_seconds")),
        }
    }

    /// The error for a provider that says nothing.
    pub fn silent(&self, waited: Duration, setting: &str) -> ModelError {
        ModelError::new(
            ModelFailure::TimedOut,
            format!(
                "`{}` at {} said nothing for {} s; try again, or raise `{}.{setting}`.",
                self.name,
                self.place(),
                waited.as_secs_f32().round().max(1.0),
                self.section
            ),
        )
    }

    /// The error for an answer that holds more than any reply may.
    pub fn too_much(&self) -> ModelError {
        ModelError::new(
            ModelFailure::Limited,
            format!(
                "`{}` at {} sent more than a reply can hold; the rest was not read.",
                self.name,
                self.place()
            ),
        )
    }

    /// The error for an answer that is not what the provider should speak.
    pub fn malformed(&self, what: &str) -> ModelError {
        ModelError::new(
            ModelFailure::Malformed,
            format!(
                "`{}` at {} {what}; check that `{}.base_url` and `kind` fit the server.",
                self.name,
                self.place(),
                self.section
            ),
        )
    }

    /// The error for a stream that ended before its end.
    pub fn cut(&self) -> ModelError {
        ModelError::new(
            ModelFailure::Unreachable,
            format!(
                "The connection to `{}` at {} broke off in mid-reply; try again.",
                self.name,
                self.place()
            ),
        )
    }

    /// The error for a request that got no answer.
    fn transport(&self, error: &reqwest::Error) -> ModelError {
        if error.is_timeout() && !error.is_connect() {
            return self.silent(self.first_byte, "timeout_seconds");
        }
        if error.is_builder() {
            return ModelError::new(
                ModelFailure::Unauthorized,
                format!(
                    "The request to `{}` could not be made: its key holds characters that a header cannot carry; check `{}.api_key`.",
                    self.name, self.section
                ),
            );
        }
        let advice = if crate::http::is_local(&self.base) {
            format!("Is it running? If it is elsewhere, set `{}.base_url`", self.section)
        } else {
            format!("Check the network and `{}.base_url`", self.section)
        };
        ModelError::new(
            ModelFailure::Unreachable,
            format!(
                "Could not reach `{}` at {}{}. {advice}.",
                self.name,
                self.place(),
                cause(error)
            ),
        )
    }

    /// The error for a refusal. `model` is what was asked for.
    pub fn refused(&self, refusal: &Refusal, model: &str) -> ModelError {
        let (name, section) = (&self.name, &self.section);
        let status = refusal.shown();
        let (failure, message) = match refusal.kind() {
            RefusalKind::Key => {
                let fix = match &self.key {
                    Some(pointer) => format!("check the key at {pointer} (`{section}.api_key`)"),
                    None => format!("set `{section}.api_key` to `env:NAME` or `file:/path`"),
                };
                (
                    ModelFailure::Unauthorized,
                    format!("`{name}` refused the key ({status}); {fix}."),
                )
            }
            RefusalKind::NoSuchModel => (
                ModelFailure::UnknownModel,
                format!(
                    "`{name}` at {} does not know the model `{model}` ({status}); check the model's name and `{section}.base_url`{}.",
                    self.place(),
                    if refusal.ollama {
                        format!(", or run `ollama pull {model}`")
                    } else {
                        String::new()
                    }
                ),
            ),
            RefusalKind::NoCredit => (
                ModelFailure::Rejected,
                format!(
                    "`{name}` says that the account has no credit left ({status}); see to its billing or choose another model."
                ),
            ),
            RefusalKind::Busy => (
                ModelFailure::Busy,
                format!("`{name}` has too much to do or limits this key ({status}); wait and try again."),
            ),
            RefusalKind::TooLong => (
                ModelFailure::Rejected,
                format!(
                    "This conversation is too long for `{name}/{model}` ({status}); start a new conversation or choose a model with a larger context."
                ),
            ),
            RefusalKind::Slow => (
                ModelFailure::TimedOut,
                format!("`{name}` gave up waiting for the model ({status}); try again."),
            ),
            RefusalKind::Broken => (
                ModelFailure::Unreachable,
                format!(
                    "`{name}` at {} has trouble of its own ({status}); try again later.",
                    self.place()
                ),
            ),
            RefusalKind::Moved => (
                ModelFailure::Rejected,
                format!(
                    "`{name}` at {} answers with a redirect ({status}), which is not followed; set `{section}.base_url` to the final address.",
                    self.place()
                ),
            ),
            RefusalKind::Other => (
                ModelFailure::Rejected,
                format!("`{name}` refused the request for `{model}` ({status}); the model may not support what was asked."),
            ),
        };
        ModelError {
            failure,
            message,
            retry_after_ms: refusal.retry_after_ms,
        }
    }
}

/// The innermost reason of a transport error: the operating system's or the TLS library's words, which hold no content.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost = None;
    let mut source = error.source();
    while let Some(error) = source {
        innermost = Some(error);
        source = error.source();
    }
    match innermost.map(|error| error.to_string()) {
        Some(text) if !text.is_empty() && text.len() < 200 => format!(" ({})", text.to_lowercase()),
        _ => String::new(),
    }
}
