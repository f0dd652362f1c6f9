//! `[models]` of the configuration.

use std::collections::BTreeMap;

use duet_core::domain::{ModelRef, Price};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::SecretPointer;

/// The available models. The default, `offline/rules`, contacts nobody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelsConfig {
    /// The model for agents that name none, as `provider/name`.
    #[schemars(with = "String")]
    pub default: ModelRef,
    /// Providers by name. `anthropic`, `openai` and `ollama` exist without being listed; an entry of that name replaces the
    /// built-in one.
    pub providers: BTreeMap<String, ProviderConfig>,
    /// The built-in rule-based fallback.
    pub offline: OfflineConfig,
}

impl Default for ModelsConfig {
    fn default() -> Self {
        Self {
            default: super::offline_ref(),
            providers: BTreeMap::new(),
            offline: OfflineConfig::default(),
        }
    }
}

/// The protocol of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// Anthropic's Messages API.
    Anthropic,
    /// OpenAI's chat completions, and the many servers compatible with them.
    OpenAi,
    /// Ollama's own API.
    Ollama,
}

/// One provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// Its protocol: `anthropic`, `openai` or `ollama`.
    pub kind: ProviderKind,
    /// Its URL. Unset: the public address of Anthropic or OpenAI, `http://127.0.0.1:11434` for Ollama.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Where to find its key, `env:NAME` or `file:/path`. Unset: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub api_key: Option<SecretPointer>,
    /// Whether it computes on hardware that you trust with `local_only` memories. Unset: yes for `localhost`, loopback and
    /// private address literals, no for anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<bool>,
    /// Seconds to wait for an answer to begin: for its head, and then for its first content.
    #[serde(default = "first_byte_seconds")]
    pub timeout_seconds: u64,
    /// Seconds that may pass between two parts of an answer with content: text, reasoning, parts of a tool call. Comments, pings and empty parts do not count.
    #[serde(default = "idle_seconds")]
    pub idle_timeout_seconds: u64,
    /// Ollama only: size of the context window to ask for, in tokens. Unset: Ollama's own default, which may silently drop
    /// the start of a long conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u32>,
    /// Prices by model name (a trailing `*` matches the rest), in micro-dollars per million tokens; they take precedence over the built-in list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prices: BTreeMap<String, PriceConfig>,
}

fn first_byte_seconds() -> u64 {
    120
}

fn idle_seconds() -> u64 {
    60
}

impl ProviderConfig {
    /// A provider of that kind at its usual address, without a key.
    pub fn new(kind: ProviderKind) -> Self {
        Self {
            kind,
            base_url: None,
            api_key: None,
            local: None,
            timeout_seconds: first_byte_seconds(),
            idle_timeout_seconds: idle_seconds(),
            context_tokens: None,
            prices: BTreeMap::new(),
        }
    }

    /// The same, at another address.
    pub fn at(kind: ProviderKind, base_url: impl Into<String>) -> Self {
        Self {
            base_url: Some(base_url.into()),
            ..Self::new(kind)
        }
    }
}

/// The providers that exist without configuration.
pub(super) fn built_in() -> BTreeMap<String, ProviderConfig> {
    let keyed = |kind, name: &str| ProviderConfig {
        api_key: Some(SecretPointer::Env(name.to_owned())),
        ..ProviderConfig::new(kind)
    };
    BTreeMap::from([
        ("anthropic".to_owned(), keyed(ProviderKind::Anthropic, "ANTHROPIC_API_KEY")),
        ("openai".to_owned(), keyed(ProviderKind::OpenAi, "OPENAI_API_KEY")),
        (
            "ollama".to_owned(),
            ProviderConfig {
                // A cold start of a large model takes minutes.
                timeout_seconds: 300,
                ..ProviderConfig::new(ProviderKind::Ollama)
            },
        ),
    ])
}

/// A price in the configuration, in micro-US-dollars per million tokens: 3 dollars per million is `3_000_000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceConfig {
    /// Uncached input.
    pub input: u64,
    /// Output.
    pub output: u64,
    /// Input read from the provider's cache; unset: the price of uncached input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<u64>,
    /// Input written to the provider's cache; unset: the price of uncached input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<u64>,
}

impl From<PriceConfig> for Price {
    fn from(price: PriceConfig) -> Self {
        Self {
            input: price.input,
            output: price.output,
            cached_input: price.cached_input.unwrap_or(price.input),
            cache_write: price.cache_write.unwrap_or(price.input),
        }
    }
}

/// The rule-based fallback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OfflineConfig {
    /// Milliseconds between two words of a reply, so that a person can follow it, and stop it.
    pub pause_ms: u64,
}

impl Default for OfflineConfig {
    fn default() -> Self {
        Self { pause_ms: 20 }
    }
}
