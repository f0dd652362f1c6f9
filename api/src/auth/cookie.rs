//! The session cookie, and the mark by which a browser is recognised.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::error::{ApiResult, Code, Problem};

const PLAIN: &str = "duet_session";
/// Under TLS: browsers then insist on `Secure`, `Path=/` and no `Domain`, so that no sibling host can set it.
const HOST: &str = "__Host-duet_session";
const DEVICE_PLAIN: &str = "duet_device";
const DEVICE_HOST: &str = "__Host-duet_device";
/// Half a year.
const DEVICE_SECONDS: u64 = 180 * 24 * 3600;

/// The session's secret, if the request carries one. Under TLS only the cookie that no other host or plain page can set counts;
/// any other cookie planted in the browser is ignored.
pub fn read(headers: &HeaderMap, secure: bool) -> ApiResult<Option<&str>> {
    let mut found = values(headers, if secure { HOST } else { PLAIN });
    let first = found.next();
    match found.next() {
        None => Ok(first),
        Some(_) => Err(Problem::new(
            Code::InvalidRequest,
            "The request carries two session cookies. Delete this site's cookies and sign in again.",
        )),
    }
}

/// The values of the cookies of that name.
fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(move |(found, _)| *found == name)
        .map(|(_, value)| value)
}

/// The marks that [`remember`] left in this browser.
pub fn devices(headers: &HeaderMap, secure: bool) -> impl Iterator<Item = &str> {
    values(headers, if secure { DEVICE_HOST } else { DEVICE_PLAIN })
}

/// The `Set-Cookie` by which a browser is recognised at its next sign-in. It grants nothing.
pub fn remember(mark: &str, secure: bool) -> HeaderValue {
    header(if secure { DEVICE_HOST } else { DEVICE_PLAIN }, mark, DEVICE_SECONDS, secure)
}

/// The `Set-Cookie` of a sign-in.
pub fn set(secret: &str, seconds: u64, secure: bool) -> HeaderValue {
    header(if secure { HOST } else { PLAIN }, secret, seconds, secure)
}

/// The `Set-Cookie` that removes it.
pub fn clear(secure: bool) -> HeaderValue {
    header(if secure { HOST } else { PLAIN }, "", 0, secure)
}

fn header(name: &str, value: &str, seconds: u64, secure: bool) -> HeaderValue {
    let flag = if secure { "; Secure" } else { "" };
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
        assert_eq!(read(&cookies(&[]), false).unwrap(), None);
        assert_eq!(read(&cookies(&["a=b; duet_session=x; c=d"]), false).unwrap(), Some("x"));
        assert_eq!(read(&cookies(&["xduet_session=x"]), false).unwrap(), None);
        assert_eq!(
            read(&cookies(&["duet_session=x; duet_session=y"]), false).unwrap_err().status,
            400
        );
        let both = cookies(&["duet_session=x", "a=b; __Host-duet_session=y"]);
        assert_eq!(read(&both, false).unwrap(), Some("x"));
        assert_eq!(read(&both, true).unwrap(), Some("y"), "the plain one may be anybody's");
        assert_eq!(read(&cookies(&["duet_session=x; duet_session=z"]), true).unwrap(), None);
    }

    #[test]
    fn marks_of_a_browser() {
        let set = remember("m", true);
        assert!(
            set.to_str()
                .unwrap()
                .starts_with("__Host-duet_device=m; Path=/; Max-Age=15552000; HttpOnly")
        );
        let sent = cookies(&["duet_device=a; __Host-duet_device=b"]);
        assert_eq!(devices(&sent, true).collect::<Vec<_>>(), ["b"]);
        assert_eq!(devices(&sent, false).collect::<Vec<_>>(), ["a"]);
    }
}
