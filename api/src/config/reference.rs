//! The reference of all settings, generated from the types' own documentation.

use serde_json::Value;

use super::{ALIASES, Config};

/// One setting as the reference shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key, such as `server.bind`.
    pub key: String,
    /// The environment variables that set it.
    pub env: Vec<String>,
    /// What kind of value it takes.
    pub kind: String,
    /// Its default as TOML; empty when unset.
    pub default: String,
    /// What it is for.
    pub description: String,
}

impl Config {
    /// Every setting, in the order of the sections.
    pub fn reference() -> Vec<Setting> {
        let schema = schemars::schema_for!(Config).to_value();
        let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
        let mut settings = Vec::new();
        walk(&schema, &schema, &defaults, "", &mut settings);
        settings
    }

    /// The reference as a Markdown page.
    pub fn reference_markdown() -> String {
        let mut page = String::from(
            "# Configuration\n\n\
             <!-- Generated from the code by `cargo xtask gen`; edit the doc comments of `Config` instead. -->\n\n\
             Settings are read from a TOML file, then from the environment, then from flags; each overrides the one before. \
             `[server] bind` in the file is `DUET_SERVER__BIND` in the environment. A setting that does not exist is an error. \
             Secrets are never settings: a setting points to them (`env:NAME`, `file:/path`).\n",
        );
        let mut section = String::new();
        for setting in Self::reference() {
            let own = setting.key.split('.').next().unwrap_or_default().to_owned();
            if own != section {
                page.push_str(&format!(
                    "\n## `[{own}]`\n\n| key | environment | value | default | what it does |\n|---|---|---|---|---|\n"
                ));
                section = own;
            }
            let env: Vec<String> = setting.env.iter().map(|name| format!("`{name}`")).collect();
            let default = match setting.default.as_str() {
                "" => "–".to_owned(),
                text => format!("`{text}`"),
            };
            page.push_str(&format!(
                "| `{}` | {} | {} | {default} | {} |\n",
                setting.key,
                env.join(", "),
                setting.kind.replace('|', "\\|"),
                setting.description.replace('\n', " ").replace('|', "\\|"),
            ));
        }
        page
    }
}

/// Follows references to their definitions.
fn resolve<'a>(root: &'a Value, mut schema: &'a Value) -> &'a Value {
    loop {
        let target = schema.get("$ref").or_else(|| {
            // `Option<Struct>`: the variant that is not null.
            schema
                .get("anyOf")?
                .as_array()?
                .iter()
                .find_map(|variant| variant.get("$ref"))
        });
        let Some(next) = target
            .and_then(Value::as_str)
            .and_then(|path| path.strip_prefix('#'))
            .and_then(|pointer| root.pointer(pointer))
        else {
            return schema;
        };
        schema = next;
    }
}

fn walk(root: &Value, schema: &Value, defaults: &Value, prefix: &str, settings: &mut Vec<Setting>) {
    let Some(properties) = resolve(root, schema).get("properties").and_then(Value::as_object) else {
        return;
    };
    // A section's own keys come before those of its sub-sections, and sections keep the order of the struct.
    let mut names: Vec<&String> = properties.keys().collect();
    let order: Vec<&String> = defaults.as_object().map(|table| table.keys().collect()).unwrap_or_default();
    names.sort_by_key(|name| order.iter().position(|known| known == name).unwrap_or(usize::MAX));
    for name in names {
        let field = &properties[name];
        let key = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        let default = defaults.get(name).unwrap_or(&Value::Null);
        let target = resolve(root, field);
        if target.get("properties").is_some() {
            walk(root, target, default, &key, settings);
            continue;
        }
        // A table with user-chosen names (`models.providers.<name>`): the fields of its entries.
        if let Some(entry) = target.get("additionalProperties").filter(|entry| entry.is_object()) {
            let key = format!("{key}.<name>");
            if resolve(root, entry).get("properties").is_some() {
                walk(root, entry, &Value::Null, &key, settings);
                continue;
            }
        }
        let description = [field, target]
            .iter()
            .find_map(|schema| schema.get("description").and_then(Value::as_str))
            .unwrap_or_default();
        let mut env = vec![format!("DUET_{}", key.to_uppercase().replace('.', "__"))];
        env.extend(
            ALIASES
                .iter()
                .filter(|(_, target)| *target == key)
                .map(|(alias, _)| (*alias).to_owned()),
        );
        settings.push(Setting {
            env,
            kind: kind(root, target),
            default: toml_text(default),
            description: description.to_owned(),
            key,
        });
    }
}

/// The kind of a value in words.
fn kind(root: &Value, schema: &Value) -> String {
    let schema = resolve(root, schema);
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words
            .iter()
            .map(|word| format!("`{}`", word.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join(", ");
    }
    if let Some(variants) = schema.get("oneOf").and_then(Value::as_array) {
        let words: Vec<String> = variants
            .iter()
            .filter_map(|variant| variant.get("const").and_then(Value::as_str))
            .map(|word| format!("`{word}`"))
            .collect();
        if !words.is_empty() {
            return words.join(", ");
        }
    }
    match schema.get("type") {
        Some(Value::String(word)) => word_for(word).to_owned(),
        Some(Value::Array(words)) => words
            .iter()
            .filter_map(Value::as_str)
            .filter(|word| *word != "null")
            .map(word_for)
            .collect::<Vec<_>>()
            .join(" or "),
        _ => "text".to_owned(),
    }
}

fn word_for(word: &str) -> &str {
    match word {
        "string" => "text",
        "integer" | "number" => "number",
        "boolean" => "`true`, `false`",
        "array" => "list",
        "object" => "table",
        other => other,
    }
}

fn toml_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Object(table) if table.is_empty() => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_described_and_its_default_is_right() {
        let settings = Config::reference();
        for setting in &settings {
            assert!(!setting.description.is_empty(), "{} has no description", setting.key);
        }
        let bind = settings.iter().find(|setting| setting.key == "server.bind").unwrap();
        assert_eq!(bind.default, "\"127.0.0.1:7717\"");
        assert_eq!(bind.env, ["DUET_SERVER__BIND", "DUET_BIND"]);
        let format = settings.iter().find(|setting| setting.key == "log.format").unwrap();
        assert_eq!(format.kind, "`human`, `json`");
        assert!(settings.iter().any(|setting| setting.key.starts_with("models.")));
        assert!(settings.iter().any(|setting| setting.key.starts_with("embedder.")));
    }

    #[test]
    fn the_page_has_a_row_for_every_setting() {
        let page = Config::reference_markdown();
        for setting in Config::reference() {
            assert!(page.contains(&format!("| `{}` |", setting.key)), "{}", setting.key);
        }
    }

    #[test]
    fn every_alias_names_a_setting() {
        let settings = Config::reference();
        for (alias, key) in ALIASES {
            assert!(
                settings.iter().any(|setting| setting.key == *key),
                "{alias} names {key}, which does not exist"
            );
        }
    }
}
