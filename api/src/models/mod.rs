//! Chat models: providers by name, from the configuration.

mod anthropic;
pub mod config;
mod offline;
mod ollama;
mod openai;
pub mod prices;
mod prompt;
mod stream;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use duet_core::{
    domain::{Locality, ModelFailure, ModelRef, Price},
    ports::{ChatModel, ModelDirectory, ModelError},
};
use reqwest::{Client, header};
use secrecy::ExposeSecret;
use serde_json::Value;

pub use config::{ModelsConfig, OfflineConfig, PriceConfig, ProviderConfig, ProviderKind};
pub use offline::LABEL as OFFLINE_LABEL;

use crate::{
    http,
    provider::{Endpoint, Refusal},
    secret::{EnvAndFiles, SecretPointer, SecretResolver},
};

/// The provider name of the rule-based fallback.
pub const OFFLINE_PROVIDER: &str = "offline";

/// Most models kept ready.
const MAX_READY: usize = 256;

/// The rule-based fallback's full name, `offline/rules`.
pub fn offline_ref() -> ModelRef {
    #[expect(clippy::expect_used, reason = "a constant that a test parses")]
    "offline/rules".parse().expect("a model reference")
}

/// All models of a deployment.
pub struct Models {
    default: ModelRef,
    offline: Arc<offline::Offline>,
    providers: BTreeMap<String, (ProviderConfig, Arc<Endpoint>)>,
    /// Models that were asked for: they remember which features their server lacks.
    ready: Mutex<HashMap<ModelRef, Arc<dyn ChatModel>>>,
}

impl Models {
    /// Reads the configuration; keys are fetched when a model is called. Errors name the setting to fix.
    pub fn from_config(config: &ModelsConfig, http: Client) -> anyhow::Result<Self> {
        Self::with_secrets(config, http, EnvAndFiles::shared())
    }

    /// The same with another source of secrets.
    pub fn with_secrets(config: &ModelsConfig, http: Client, secrets: Arc<dyn SecretResolver>) -> anyhow::Result<Self> {
        let mut providers = BTreeMap::new();
        for (name, provider) in config::built_in().into_iter().chain(config.providers.clone()) {
            let endpoint = endpoint(&name, &provider, http.clone(), secrets.clone())
                .map_err(|reason| anyhow::anyhow!("`models.providers.{name}`: {reason}."))?;
            providers.insert(name, (provider, Arc::new(endpoint)));
        }
        let models = Self {
            default: config.default.clone(),
            offline: Arc::new(offline::Offline::new(Duration::from_millis(config.offline.pause_ms))),
            providers,
            ready: Mutex::default(),
        };
        models
            .model(&config.default)
            .map_err(|error| anyhow::anyhow!("`models.default`: {}", error.in_full()))?;
        Ok(models)
    }

    /// Whether a model is the built-in fallback rather than a language model.
    pub fn is_offline(model: &ModelRef) -> bool {
        model.provider() == OFFLINE_PROVIDER
    }

    /// The names of all providers that can be written before the slash.
    pub fn provider_names(&self) -> Vec<&str> {
        std::iter::once(OFFLINE_PROVIDER)
            .chain(self.providers.keys().map(String::as_str))
            .collect()
    }

    /// Checks whether a model can be used: its provider answers, accepts the key and lists the model. The sentence reports the
    /// result; an error's sentence says what to do. Nothing is generated and nothing is charged.
    pub async fn check(&self, model: &ModelRef) -> Result<String, ModelError> {
        self.model(model)?;
        let Some((config, endpoint)) = self.providers.get(model.provider()) else {
            return Ok(format!(
                "`{model}` is the built-in fallback: it follows rules and is no language model. Set `models.default` to use one."
            ));
        };
        let path = match config.kind {
            ProviderKind::Anthropic if endpoint.base.path().ends_with("/v1") => "/models?limit=1000",
            ProviderKind::Anthropic => "/v1/models?limit=1000",
            ProviderKind::OpenAi => "/models",
            ProviderKind::Ollama => "/api/tags",
        };
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut url = endpoint.url(path);
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        let call = endpoint.http.get(url);
        let call = match config.kind {
            ProviderKind::Anthropic => {
                let call = call.header("anthropic-version", anthropic::VERSION);
                match endpoint.key()? {
                    Some(key) => call.header("x-api-key", key.expose_secret()),
                    None => call,
                }
            }
            _ => endpoint.bearer(call)?,
        };
        let response = endpoint
            .send(call.header(header::ACCEPT, "application/json").timeout(endpoint.first_byte))
            .await?;
        if response.status() == reqwest::StatusCode::NOT_FOUND && config.kind == ProviderKind::OpenAi {
            return Ok(format!(
                "`{}` at {} answers; it does not list its models, so whether it has `{}` shows with the first message.",
                endpoint.name,
                endpoint.place(),
                model.name()
            ));
        }
        if !response.status().is_success() {
            return Err(endpoint.refused(&Refusal::read(response).await, model.name()));
        }
        let listed: Value = response
            .json()
            .await
            .map_err(|_| endpoint.malformed("answered with something that is no list of models"))?;
        let (list, key) = match config.kind {
            ProviderKind::Ollama => ("models", "name"),
            _ => ("data", "id"),
        };
        let Some(entries) = listed.get(list).and_then(Value::as_array) else {
            return Err(endpoint.malformed("answered with something that is no list of models"));
        };
        let wanted = model.name();
        let has = entries.iter().filter_map(|entry| entry.get(key)?.as_str()).any(|name| {
            // Ollama's default tag may be omitted; Anthropic's aliases omit the date.
            name == wanted
                || name.strip_suffix(":latest") == Some(wanted)
                || name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with("-20"))
        });
        if has {
            Ok(format!("`{model}` is there and answers at {}.", endpoint.place()))
        } else {
            let fix = match config.kind {
                ProviderKind::Ollama => format!("Run `ollama pull {wanted}`."),
                _ => "Check the model's name.".into(),
            };
            Err(ModelError::new(
                ModelFailure::UnknownModel,
                format!("{} answers, but does not list {wanted}.", endpoint.name),
            )
            .advise(fix))
        }
    }

    fn build(&self, model: &ModelRef) -> Result<Arc<dyn ChatModel>, ModelError> {
        let Some((config, endpoint)) = self.providers.get(model.provider()) else {
            return Err(self.unknown_provider(model));
        };
        let endpoint = endpoint.clone();
        let name = model.name().to_owned();
        let locality = locality(config, &endpoint, &name);
        let price = match locality {
            Locality::Local => Some(Price::default()),
            Locality::Remote => prices::price(config, endpoint.base.host_str().unwrap_or_default(), &name),
        };
        Ok(match config.kind {
            ProviderKind::Anthropic => Arc::new(anthropic::Anthropic {
                endpoint,
                model: name,
                locality,
                price,
                refuses_prefill: AtomicBool::new(false),
            }),
            ProviderKind::OpenAi => {
                let own = endpoint.base.host_str() == Some("api.openai.com");
                Arc::new(openai::OpenAi {
                    endpoint,
                    model: name,
                    locality,
                    price,
                    quirks: openai::Quirks::new(own),
                })
            }
            ProviderKind::Ollama => Arc::new(ollama::Ollama {
                endpoint,
                model: name,
                locality,
                price,
                context_tokens: config.context_tokens,
                no_tools: AtomicBool::new(false),
            }),
        })
    }

    fn unknown_provider(&self, model: &ModelRef) -> ModelError {
        let known = self.provider_names().join("`, `");
        ModelError::new(
            ModelFailure::UnknownModel,
            format!("Duet does not know the provider {} of the model {model}.", model.provider()),
        )
        .advise(format!(
            "Use one of `{known}`, or add `[models.providers.{}]` with its `kind` and `base_url`.",
            model.provider()
        ))
    }
}

impl ModelDirectory for Models {
    fn default_model(&self) -> ModelRef {
        self.default.clone()
    }

    fn model(&self, model: &ModelRef) -> Result<Arc<dyn ChatModel>, ModelError> {
        if Self::is_offline(model) {
            if *model == offline_ref() {
                return Ok(self.offline.clone());
            }
            return Err(ModelError::new(
                ModelFailure::UnknownModel,
                format!("There is no model {model}; the built-in fallback is {}.", offline_ref()),
            ));
        }
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = ready.get(model) {
            return Ok(found.clone());
        }
        let built = self.build(model)?;
        if ready.len() < MAX_READY {
            ready.insert(model.clone(), built.clone());
        }
        Ok(built)
    }
}

/// Where a model computes. A hosted model behind a local Ollama (their names end in `cloud`) does not compute locally,
/// whatever the configuration says.
fn locality(config: &ProviderConfig, endpoint: &Endpoint, model: &str) -> Locality {
    let hosted = config.kind == ProviderKind::Ollama && (model.ends_with("-cloud") || model.ends_with(":cloud"));
    if !hosted && config.local.unwrap_or_else(|| http::is_local(&endpoint.base)) {
        Locality::Local
    } else {
        Locality::Remote
    }
}

fn endpoint(name: &str, config: &ProviderConfig, http: Client, secrets: Arc<dyn SecretResolver>) -> Result<Endpoint, String> {
    if name == OFFLINE_PROVIDER {
        return Err("the name `offline` belongs to the built-in fallback; choose another".into());
    }
    if name.is_empty() || name.contains('/') || name.contains(char::is_whitespace) {
        return Err("a provider's name has no slash and no space".into());
    }
    if config.api_key == Some(SecretPointer::Literal) {
        return Err(format!("`api_key`: {}", crate::secret::SecretError::Literal));
    }
    if config.timeout_seconds == 0 || config.idle_timeout_seconds == 0 {
        return Err("`timeout_seconds` and `idle_timeout_seconds` are at least 1".into());
    }
    let usual = match config.kind {
        ProviderKind::Anthropic => "https://api.anthropic.com",
        ProviderKind::OpenAi => "https://api.openai.com/v1",
        ProviderKind::Ollama => "http://127.0.0.1:11434",
    };
    Ok(Endpoint {
        name: name.to_owned(),
        section: format!("models.providers.{name}"),
        base: http::base_url(config.base_url.as_deref().unwrap_or(usual))?,
        http,
        secrets,
        key: config.api_key.clone(),
        first_byte: Duration::from_secs(config.timeout_seconds),
        idle: Duration::from_secs(config.idle_timeout_seconds),
    })
}

#[cfg(test)]
#[path = "mod_tests.rs"]
mod tests;
