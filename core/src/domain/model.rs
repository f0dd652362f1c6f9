//! Models by name, their usage and its cost.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::word_enum;

/// A model: `provider/name`, such as `anthropic/claude-sonnet-4-5`, `ollama/llama3.2` or `offline/rules`.
/// The provider is the name of an entry in the deployment's configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelRef {
    provider: String,
    name: String,
}

impl ModelRef {
    /// The provider's name in the configuration.
    pub fn provider(&self) -> &str {
        &self.provider
    }
    /// The model's name at that provider; may contain slashes.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl utoipa::PartialSchema for ModelRef {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("A model, as `provider/name`."))
            .examples(["ollama/llama3.2"])
            .into()
    }
}

impl utoipa::ToSchema for ModelRef {}

impl FromStr for ModelRef {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((provider, name))
                if !provider.is_empty() && !name.is_empty() && text.len() <= 200 && !text.contains(char::is_whitespace) =>
            {
                Ok(Self {
                    provider: provider.into(),
                    name: name.into(),
                })
            }
            _ => Err(format!(
                "`{text}` does not name a model. Write `provider/name`, for example `ollama/llama3.2`."
            )),
        }
    }
}

impl TryFrom<String> for ModelRef {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ModelRef> for String {
    fn from(model: ModelRef) -> Self {
        model.to_string()
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.name)
    }
}

word_enum! {
    /// Where a model computes; decides whether `local_only` memories may reach it.
    Locality {
        /// On the owner's machine or network (loopback or private address, or in this process).
        Local = "local",
        /// Anywhere else.
        Remote = "remote",
    }
}

/// Tokens that model calls used. Cached input is counted within `input_tokens` as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Input tokens read from the provider's prompt cache.
    #[serde(default)]
    pub cached_input_tokens: u64,
    /// Input tokens written to the provider's prompt cache.
    #[serde(default)]
    pub cache_write_tokens: u64,
}

impl Usage {
    /// Input plus output.
    pub fn total(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }

    /// The usage a provider reports, capped so that no sum of it overflows.
    #[must_use]
    pub fn within_reason(self) -> Self {
        const MOST: u64 = 1_000_000_000_000;
        Self {
            input_tokens: self.input_tokens.min(MOST),
            output_tokens: self.output_tokens.min(MOST),
            cached_input_tokens: self.cached_input_tokens.min(MOST),
            cache_write_tokens: self.cache_write_tokens.min(MOST),
        }
    }
}

impl std::ops::Sub for Usage {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_sub(other.input_tokens),
            output_tokens: self.output_tokens.saturating_sub(other.output_tokens),
            cached_input_tokens: self.cached_input_tokens.saturating_sub(other.cached_input_tokens),
            cache_write_tokens: self.cache_write_tokens.saturating_sub(other.cache_write_tokens),
        }
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.cached_input_tokens = self.cached_input_tokens.saturating_add(other.cached_input_tokens);
        self.cache_write_tokens = self.cache_write_tokens.saturating_add(other.cache_write_tokens);
    }
}

/// What a model charges, in micro-US-dollars per million tokens (so 3 dollars per million is 3,000,000).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Uncached input.
    pub input: u64,
    /// Output.
    pub output: u64,
    /// Input read from the cache.
    pub cached_input: u64,
    /// Input written to the cache.
    pub cache_write: u64,
}

impl Price {
    /// Cost of a usage in micro-US-dollars, rounded up; at most what every JSON reader can hold (2^53 - 1).
    pub fn cost_micros(&self, usage: &Usage) -> u64 {
        const MOST: u64 = (1 << 53) - 1;
        let plain = usage
            .input_tokens
            .saturating_sub(usage.cached_input_tokens.saturating_add(usage.cache_write_tokens));
        let millionths = u128::from(plain) * u128::from(self.input)
            + u128::from(usage.output_tokens) * u128::from(self.output)
            + u128::from(usage.cached_input_tokens) * u128::from(self.cached_input)
            + u128::from(usage.cache_write_tokens) * u128::from(self.cache_write);
        u64::try_from(millionths.div_ceil(1_000_000)).unwrap_or(MOST).min(MOST)
    }
}
