//! The credentials in the headers: a key without rights, and the person's own token. Keys with rights are rejected here.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use duet_core::{
    Refusal,
    ids::{Id, UserId},
};
use reqwest::{Url, header::HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use uuid::Uuid;

/// Wrong settings of the Data API, as a sentence that says what to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    /// Not a project URL.
    #[error(
        "The URL of the Supabase project has to look like https://<project>.supabase.co, without user, password, query and fragment."
    )]
    Url,
    /// A key that bypasses row level security.
    #[error(
        "The key given as the publishable key passes row level security (a secret or service_role key). Duet never uses such a key: take the project's publishable key (sb_publishable_…), and replace the secret key if it was written anywhere it does not belong."
    )]
    Powerful,
    /// Something else.
    #[error(
        "The publishable key of the Supabase project is not one: it begins with sb_publishable_, or is the older key of the role anon. The dashboard shows it under API keys."
    )]
    NoKey,
}

/// Maximum length of a token. Supabase's have one to two thousand characters; servers accept headers of about 8 KiB.
const LONGEST_TOKEN: usize = 8 << 10;

/// The claims that are checked in a token. They are not trusted: only the database, which knows the project's signing key, decides.
#[derive(Deserialize)]
struct Claims {
    role: Option<String>,
    sub: Option<Uuid>,
}

/// The base URL of the functions, with a trailing slash.
pub fn functions_url(base: &Url) -> Result<Url, InvalidSettings> {
    let plain = base.username().is_empty() && base.password().is_none() && base.query().is_none() && base.fragment().is_none();
    if !plain || !base.has_host() || !matches!(base.scheme(), "http" | "https") {
        return Err(InvalidSettings::Url);
    }
    let mut url = base.clone();
    url.set_path(&format!("{}/rest/v1/rpc/", base.path().trim_end_matches('/')));
    Ok(url)
}

/// The value of the header `apikey`.
pub fn publishable_key(key: &str) -> Result<HeaderValue, InvalidSettings> {
    let key = key.trim();
    if key.starts_with("sb_secret_") {
        return Err(InvalidSettings::Powerful);
    }
    let role = claims(key).and_then(|claims| claims.role);
    match role.as_deref() {
        Some("anon") => {}
        Some(_) => return Err(InvalidSettings::Powerful),
        None if key.len() > "sb_publishable_".len() && key.starts_with("sb_publishable_") => {}
        None => return Err(InvalidSettings::NoKey),
    }
    header(key).ok_or(InvalidSettings::NoKey)
}

/// The value of the header `Authorization`, or why this token is not sent.
pub fn authorization(user: UserId, token: &SecretString) -> Result<HeaderValue, Refusal> {
    let token = token.expose_secret();
    let claims = (token.len() <= LONGEST_TOKEN)
        .then(|| claims(token))
        .flatten()
        .ok_or(Refusal::BadAccessToken)?;
    // A token of another role or person is a bug in the caller: it would act as someone else than was authorised.
    if claims.role.as_deref() != Some("authenticated") {
        return Err(Refusal::BadAccessToken);
    }
    if claims.sub != Some(user.uuid()) {
        return Err(Refusal::BadAccessToken);
    }
    header(&format!("Bearer {token}")).ok_or(Refusal::BadAccessToken)
}

/// The claims of a compact token (RFC 7519), without verifying its signature.
fn claims(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

/// A value that nothing prints, not even the HTTP client's own traces.
fn header(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn functions_are_below_the_project() {
        for (base, expected) in [
            ("https://x.supabase.co", "https://x.supabase.co/rest/v1/rpc/"),
            ("http://127.0.0.1:54321/", "http://127.0.0.1:54321/rest/v1/rpc/"),
            ("https://host/behind/it", "https://host/behind/it/rest/v1/rpc/"),
        ] {
            assert_eq!(functions_url(&base.parse().unwrap()).unwrap().as_str(), expected);
        }
        for base in [
            "https://a:b@host",
            "https://host/?a=b",
            "https://host/#x",
            "postgres://host/db",
            "data:x",
        ] {
            assert_eq!(functions_url(&base.parse().unwrap()), Err(InvalidSettings::Url), "{base}");
        }
    }

    #[test]
    fn keys_that_give_rights_are_refused() {
        for key in [
            "sb_secret_abc",
            " sb_secret_abc",
            &token(r#"{"role":"service_role"}"#),
            &token(r#"{"role":"supabase_admin"}"#),
            &token(r#"{"role":"authenticated"}"#),
        ] {
            assert_eq!(publishable_key(key), Err(InvalidSettings::Powerful), "{key}");
        }
        for key in ["", "sb_publishable_", "key", "a.b.c", "sb_publishable_a\nb", &token("{}")] {
            assert_eq!(publishable_key(key), Err(InvalidSettings::NoKey), "{key}");
        }
        for key in ["sb_publishable_abc", " sb_publishable_abc\n", &token(r#"{"role":"anon"}"#)] {
            assert_eq!(publishable_key(key).unwrap(), key.trim());
        }
    }

    #[test]
    fn a_token_is_the_persons_own() {
        let user = UserId::from_uuid(Uuid::from_u128(7));
        let own = token(&format!(r#"{{"role":"authenticated","sub":"{user}","exp":1}}"#));
        assert_eq!(
            authorization(user, &own.clone().into()).unwrap(),
            format!("Bearer {own}").as_str()
        );
        let other = token(&format!(r#"{{"role":"authenticated","sub":"{}"}}"#, Uuid::from_u128(8)));
        let server = token(&format!(r#"{{"role":"service_role","sub":"{user}"}}"#));
        let long = format!("{own}{}", "x".repeat(LONGEST_TOKEN));
        for wrong in [
            other,
            server,
            long,
            format!("{own}\n"),
            "sb_publishable_abc".into(),
            "sb_secret_abc".into(),
            "".into(),
        ] {
            assert_eq!(authorization(user, &wrong.clone().into()), Err(Refusal::BadAccessToken));
        }
    }

    #[test]
    fn what_goes_into_headers_is_never_printed() {
        let user = UserId::from_uuid(Uuid::from_u128(7));
        let own = token(&format!(r#"{{"role":"authenticated","sub":"{user}"}}"#));
        assert_eq!(format!("{:?}", publishable_key("sb_publishable_abc").unwrap()), "Sensitive");
        assert_eq!(format!("{:?}", authorization(user, &own.into()).unwrap()), "Sensitive");
    }
}
