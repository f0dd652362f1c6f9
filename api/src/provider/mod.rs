//! One provider over HTTP: how its key is fetched, how a request is sent, and how every failure becomes one sentence that says
//! what to do. No prompt, reply text or key gets into a message: of a provider's own error texts only the machine-readable code
//! is passed on.

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
    /// How long the head of an answer may take, and then its first content.
    pub first_byte: Duration,
    /// How long the next content of an answer may take.
    pub idle: Duration,
}

impl Endpoint {
    /// The URL of a path below the base.
    pub fn url(&self, path: &str) -> Url {
        crate::http::join(&self.base, path)
    }

    /// Its address, for people.
    pub fn place(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The key, if one is configured.
    pub fn key(&self) -> Result<Option<SecretString>, ModelError> {
        let Some(pointer) = &self.key else { return Ok(None) };
        self.secrets.resolve(pointer).map(Some).map_err(|error| {
            let message = match &error {
                SecretError::Missing { .. } => format!("Duet has no key for {}.", self.name),
                _ => format!("Duet cannot read its key for {}.", self.name),
            };
            ModelError::new(ModelFailure::Unauthorized, message).advise(format!("`{}.api_key`: {error}.", self.section))
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

    /// The error for a silent provider.
    pub fn silent(&self, waited: Duration, setting: &str) -> ModelError {
        ModelError::new(
            ModelFailure::TimedOut,
            format!(
                "{} sent nothing for {} seconds. Try again.",
                self.name,
                waited.as_secs_f32().round().max(1.0),
            ),
        )
        .advise(format!("If it needs longer, raise `{}.{setting}`.", self.section))
    }

    /// The error for an answer that exceeds what any reply may hold.
    pub fn too_much(&self) -> ModelError {
        ModelError::new(
            ModelFailure::Limited,
            format!("{} sent more than a reply can hold; the rest was not read.", self.name),
        )
    }

    /// The error for an answer that breaks the provider's protocol.
    pub fn malformed(&self, what: &str) -> ModelError {
        let (name, section, place) = (&self.name, &self.section, self.place());
        ModelError::new(ModelFailure::Malformed, format!("{name} {what}.")).advise(format!(
            "Check that `{section}.base_url` ({place}) and `kind` fit the server."
        ))
    }

    /// The error for a well-formed reply that stops before its end.
    pub fn unfinished(&self) -> ModelError {
        let name = &self.name;
        ModelError::new(
            ModelFailure::Malformed,
            format!("{name} ended its reply before it was whole. Try again."),
        )
    }

    /// The error for a stream that ended before its end.
    pub fn cut(&self) -> ModelError {
        ModelError::new(
            ModelFailure::Unreachable,
            format!("The connection to {} broke off in mid-reply. Try again.", self.name),
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
                    "Duet's key for {} cannot be one: it holds characters that no key has.",
                    self.name
                ),
            )
            .advise(format!("Check `{}.api_key`.", self.section));
        }
        let first = if crate::http::is_local(&self.base) {
            "Check that it is running."
        } else {
            "Check the network."
        };
        ModelError::new(
            ModelFailure::Unreachable,
            format!("Could not reach {}{}. {first}", self.name, cause(error)),
        )
        .advise(format!(
            "It is expected at {}; if it is elsewhere, set `{}.base_url`.",
            self.place(),
            self.section
        ))
    }

    /// The error for a refusal. `model` is what was asked for.
    pub fn refused(&self, refusal: &Refusal, model: &str) -> ModelError {
        let (name, section, place) = (&self.name, &self.section, self.place());
        let status = refusal.shown();
        let error = match refusal.kind() {
            RefusalKind::Key => ModelError::new(ModelFailure::Unauthorized, format!("{name} refused Duet's key ({status})."))
                .advise(match &self.key {
                    Some(pointer) => format!("Check the key at {pointer} (`{section}.api_key`)."),
                    None => format!("Set `{section}.api_key` to `env:NAME` or `file:/path`."),
                }),
            RefusalKind::NoSuchModel => ModelError::new(
                ModelFailure::UnknownModel,
                format!("{name} does not know the model {model} ({status})."),
            )
            .advise(if refusal.ollama {
                format!("Run `ollama pull {model}`, or check the model's name and `{section}.base_url` ({place}).")
            } else {
                format!("Check the model's name and `{section}.base_url` ({place}).")
            }),
            RefusalKind::NoCredit => ModelError::new(
                ModelFailure::Rejected,
                format!("{name} says that the account has no credit left ({status}). Top it up, or choose another model."),
            ),
            RefusalKind::Busy => ModelError::new(
                ModelFailure::Busy,
                format!("{name} is too busy or limits this key ({status}). Wait a moment, then try again."),
            ),
            RefusalKind::TooLong => ModelError::new(
                ModelFailure::Rejected,
                format!(
                    "This conversation is too long for {name}/{model} ({status}). Start a new conversation, or choose a model with a larger context."
                ),
            ),
            RefusalKind::Slow => ModelError::new(
                ModelFailure::TimedOut,
                format!("{name} gave up waiting for the model ({status}). Try again."),
            ),
            RefusalKind::Broken => ModelError::new(
                ModelFailure::Unreachable,
                format!("{name} has a problem of its own ({status}). Try again later."),
            ),
            RefusalKind::Moved => ModelError::new(
                ModelFailure::Rejected,
                format!("{name} redirects to another address ({status}), which Duet does not follow."),
            )
            .advise(format!("Set `{section}.base_url` to the final address instead of {place}.")),
            RefusalKind::Other => ModelError::new(
                ModelFailure::Rejected,
                format!("{name} refused the request for {model} ({status}). The model may not support what was asked."),
            ),
        };
        ModelError {
            retry_after_ms: refusal.retry_after_ms,
            ..error
        }
    }
}

/// The innermost reason of a transport error, in the words of the operating system or the TLS library, which contain no content.
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
