//! What models charge: a dated list of public prices, and the owner's own entries, which come first.

use std::sync::LazyLock;

use duet_core::domain::Price;
use serde::Deserialize;

use super::config::{PriceConfig, ProviderConfig};

/// The built-in list. It is part of the program, so tests catch a mistake in it.
static LIST: LazyLock<List> = LazyLock::new(|| toml::from_str(include_str!("../../data/prices.toml")).unwrap_or_default());

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    /// The day on which the list was last compared with the providers' own pages.
    as_of: String,
    #[serde(default)]
    price: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    /// The provider's host: the same model may cost something else elsewhere.
    host: String,
    model: String,
    #[serde(flatten)]
    price: PriceConfig,
}

/// The day on which the built-in list was last compared with the providers' pages, `YYYY-MM-DD`.
pub fn as_of() -> &'static str {
    &LIST.as_of
}

/// The price of a model at a host: the owner's entry, else the built-in one; `None` if neither exists.
pub(super) fn price(config: &ProviderConfig, host: &str, model: &str) -> Option<Price> {
    let own = config.prices.iter().map(|(pattern, price)| (pattern.as_str(), *price));
    let listed = LIST
        .price
        .iter()
        .filter(|entry| entry.host == host)
        .map(|entry| (entry.model.as_str(), entry.price));
    best(own, model).or_else(|| best(listed, model)).map(Price::from)
}

/// The most specific pattern that matches.
fn best<'a>(entries: impl Iterator<Item = (&'a str, PriceConfig)>, model: &str) -> Option<PriceConfig> {
    entries
        .filter(|(pattern, _)| match pattern.strip_suffix('*') {
            Some(start) => model.starts_with(start),
            None => model == *pattern,
        })
        .max_by_key(|(pattern, _)| (pattern.trim_end_matches('*').len(), !pattern.ends_with('*')))
        .map(|(_, price)| price)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::models::config::ProviderKind;

    #[test]
    fn the_list_parses_and_is_sane() {
        let list: List = toml::from_str(include_str!("../../data/prices.toml")).unwrap();
        assert!(list.as_of.parse::<jiff::civil::Date>().is_ok());
        assert!(list.price.len() > 10);
        for entry in &list.price {
            let price = Price::from(entry.price);
            assert!(price.input > 0 && price.output >= price.input, "{}", entry.model);
            assert!(
                price.cached_input <= price.input && price.output <= 200_000_000,
                "{}",
                entry.model
            );
        }
    }

    #[test]
    fn the_owners_price_wins_and_the_most_specific_pattern_matches() {
        let mut config = ProviderConfig::new(ProviderKind::Anthropic);
        let host = "api.anthropic.com";
        assert_eq!(
            price(&config, host, "claude-sonnet-4-5-20250929").map(|p| p.input),
            Some(3_000_000)
        );
        assert_eq!(price(&config, host, "claude-unheard-of"), None);
        assert_eq!(price(&config, "proxy.example", "claude-sonnet-4-5"), None);
        let own = |input| PriceConfig {
            input,
            output: 2,
            cached_input: None,
            cache_write: None,
        };
        config.prices = BTreeMap::from([("claude-*".into(), own(1)), ("claude-sonnet-4-5".into(), own(7))]);
        assert_eq!(price(&config, host, "claude-sonnet-4-5").map(|p| p.input), Some(7));
        assert_eq!(
            price(&config, host, "claude-x").map(|p| (p.input, p.cached_input)),
            Some((1, 1))
        );
    }
}
