use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Supabase project of `duet-api`, for `database.backend = "supabase"`. Everything here is public: no setting takes a secret of the project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SupabaseConfig {
    /// The project's URL, such as `https://abcdefghijklmnopqrst.supabase.co`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The project's publishable key (`sb_publishable_…`), or the legacy key of the role `anon`. It is public; browsers get it as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publishable_key: Option<String>,
    /// The `iss` of access tokens, if this server reaches the project under another name than people do. Unset: `<supabase.url>/auth/v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Longest time for one request to the project, in seconds (1 to 120).
    pub timeout_seconds: u64,
}

impl Default for SupabaseConfig {
    fn default() -> Self {
        Self {
            url: None,
            publishable_key: None,
            issuer: None,
            timeout_seconds: 10,
        }
    }
}

impl SupabaseConfig {
    /// Longest time for one request.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }

    /// Checks what must be set when this backend is chosen.
    pub(super) fn check(&self) -> Result<(), String> {
        const WHERE: &str = "the project's page shows it under Project Settings, API Keys";
        let url = self
            .url
            .as_deref()
            .ok_or_else(|| format!("`supabase.url` is not set; {WHERE}"))?;
        let url = crate::http::base_url(url).map_err(|reason| format!("`supabase.url`: {reason}"))?;
        if url.scheme() != "https" && !crate::http::is_local(&url) {
            return Err("`supabase.url` begins with http://, by which passwords would travel in the open; write https://".into());
        }
        let key = self
            .publishable_key
            .as_deref()
            .ok_or_else(|| format!("`supabase.publishable_key` is not set; {WHERE}"))?;
        public_key(key).map_err(|reason| format!("`supabase.publishable_key` {reason}; {WHERE}"))?;
        match self.issuer.as_deref() {
            Some("") => Err("`supabase.issuer` is empty; leave it out, or write what `iss` of the project's tokens says".into()),
            _ => Ok(()),
        }
    }
}

/// Whether a key may be public. The message never contains the key.
fn public_key(key: &str) -> Result<(), String> {
    if key.chars().any(|letter| letter.is_whitespace() || !letter.is_ascii()) {
        return Err("has spaces or special characters".into());
    }
    if key.starts_with("sb_secret_") {
        return Err("holds a secret key (`sb_secret_…`), which opens the whole database: take it out and revoke it if others may have seen it; Duet takes the publishable key (`sb_publishable_…`) only".into());
    }
    if key.len() > "sb_publishable_".len() && key.starts_with("sb_publishable_") {
        return Ok(());
    }
    match legacy_role(key).as_deref() {
        Some("anon") => Ok(()),
        Some("service_role" | "supabase_admin") => Err("holds the service-role key, which passes row level security by: take it out and revoke it if others may have seen it; Duet takes the publishable key (`sb_publishable_…`) only".into()),
        Some(_) => Err("holds a token of another kind than the legacy `anon` key".into()),
        None => Err("holds no key of Supabase; it begins with `sb_publishable_`".into()),
    }
}

/// The role in a legacy key, which is a JWT. The project decides whether the key is valid.
fn legacy_role(key: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Payload {
        role: String,
    }
    let mut parts = key.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    Some(serde_json::from_slice::<Payload>(&payload).ok()?.role)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn legacy(role: &str) -> String {
        let part = |text: String| URL_SAFE_NO_PAD.encode(text);
        format!(
            "{}.{}.c2ln",
            part(r#"{"alg":"HS256","typ":"JWT"}"#.into()),
            part(format!(r#"{{"iss":"supabase","role":"{role}"}}"#))
        )
    }

    fn config(url: &str, key: &str) -> SupabaseConfig {
        SupabaseConfig {
            url: Some(url.into()),
            publishable_key: Some(key.into()),
            ..SupabaseConfig::default()
        }
    }

    #[test]
    fn only_public_keys_are_taken_and_no_message_holds_one() {
        let url = "https://abc.supabase.co";
        for good in ["sb_publishable_abc", &legacy("anon")] {
            assert_eq!(config(url, good).check(), Ok(()), "{good}");
        }
        for (bad, word) in [
            ("sb_secret_canary", "sb_secret_"),
            (legacy("service_role").as_str(), "service-role"),
            (legacy("supabase_admin").as_str(), "service-role"),
            (legacy("authenticated").as_str(), "another kind"),
            ("sb_publishable_", "no key"),
            ("", "no key"),
            ("canary", "no key"),
            ("a.canary.c", "no key"),
            ("sb_publishable_ab canary", "spaces"),
        ] {
            let message = config(url, bad).check().unwrap_err();
            assert!(
                message.contains(word) && message.contains("supabase.publishable_key"),
                "{message}"
            );
            assert!(!message.contains("canary"), "{message}");
            assert!(bad.len() < 20 || !message.contains(bad), "{message}");
        }
    }

    #[test]
    fn the_url_is_needed_and_safe() {
        let key = "sb_publishable_abc";
        for url in [
            "https://abc.supabase.co",
            "https://abc.supabase.co/",
            "http://127.0.0.1:54321",
            "http://localhost:54321",
        ] {
            assert_eq!(config(url, key).check(), Ok(()), "{url}");
        }
        for url in [
            "abc.supabase.co",
            "http://abc.supabase.co",
            "ftp://abc",
            "https://me:pw@abc",
            "https://abc?x=1",
            "",
        ] {
            let message = config(url, key).check().unwrap_err();
            assert!(message.contains("supabase.url") && !message.contains("pw@"), "{message}");
        }
        assert!(SupabaseConfig::default().check().unwrap_err().contains("supabase.url"));
    }
}
