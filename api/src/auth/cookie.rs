//! The session cookie.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::error::{ApiResult, Code, Problem};

const PLAIN: &str = "duet_session";
/// Under TLS: browsers then insist on `Secure`, `Path=/` and no `Domain`, so that no sibling host can set it.
const HOST: &str = "__Host-duet_session";

/// The session's secret, if the request carries one.
pub fn read(headers: &HeaderMap) -> ApiResult<Option<&str>> {
    let mut found = None;
    for value in headers.get_all(header::COOKIE) {
        let Ok(text) = value.to_str() else { continue };
        for pair in text.split(';') {
            let Some((name, secret)) = pair.trim().split_once('=') else {
                continue;
            };
            if name != PLAIN && name != HOST {
                continue;
            }
            if found.replace(secret).is_some() {
                return Err(Problem::new(
                    Code::InvalidRequest,
                    "The request carries two session cookies. Delete this site's cookies and sign in again.",
                ));
            }
        }
    }
    Ok(found)
}

/// The `Set-Cookie` of a sign-in.
pub fn set(secret: &str, seconds: u64, secure: bool) -> HeaderValue {
    header(secret, seconds, secure)
}

/// The `Set-Cookie` that removes it.
pub fn clear(secure: bool) -> HeaderValue {
    header("", 0, secure)
}

fn header(value: &str, seconds: u64, secure: bool) -> HeaderValue {
    let (name, flag) = if secure { (HOST, "; Secure") } else { (PLAIN, "") };
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{flag}");
    let mut header = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, line.parse().unwrap());
        }
        headers
    }

    #[test]
    fn flags() {
        assert_eq!(
            set("abc", 60, false).to_str().unwrap(),
            "duet_session=abc; Path=/; Max-Age=60; HttpOnly; SameSite=Strict"
        );
        assert_eq!(
            set("abc", 60, true).to_str().unwrap(),
            "__Host-duet_session=abc; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            clear(true).to_str().unwrap(),
            "__Host-duet_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict; Secure"
        );
    }

    #[test]
    fn reading() {
        assert_eq!(read(&cookies(&[])).unwrap(), None);
        assert_eq!(read(&cookies(&["a=b; duet_session=x; c=d"])).unwrap(), Some("x"));
        assert_eq!(read(&cookies(&["a=b", "__Host-duet_session=y"])).unwrap(), Some("y"));
        assert_eq!(read(&cookies(&["xduet_session=x"])).unwrap(), None);
        assert_eq!(read(&cookies(&["duet_session=x; duet_session=y"])).unwrap_err().status, 400);
        assert_eq!(
            read(&cookies(&["duet_session=x", "__Host-duet_session=y"]))
                .unwrap_err()
                .status,
            400
        );
    }
}
