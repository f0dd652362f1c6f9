//! Which page a browser's request comes from (cross-site request forgery), and under which name the server was reached (DNS
//! rebinding).

use std::net::IpAddr;

use axum::http::{HeaderMap, Uri, header, request::Parts};

use crate::{
    config::{ServerConfig, is_secure, parse_origin},
    error::{ApiResult, Code, Problem},
};

/// The header that a write by cookie carries: a page of another origin cannot send it without a preflight.
pub const CSRF_HEADER: &str = "x-duet-csrf";

/// Which hosts and origins are this server's.
#[derive(Clone, Debug)]
pub struct Origins {
    /// `scheme://host[:port]`, as browsers write it.
    origins: Vec<String>,
    /// Host names of those, without port.
    hosts: Vec<String>,
    /// Whether the server listens on loopback only.
    loopback: bool,
    /// Whether browsers reach it over TLS.
    secure: bool,
}

fn host_of(origin: &str) -> Option<String> {
    reqwest::Url::parse(origin).ok()?.host_str().map(str::to_owned)
}

/// A `Host` without its port, in lower case; brackets stay around IPv6.
fn without_port(authority: &str) -> Option<String> {
    let host = if authority.starts_with('[') {
        let end = authority.find(']')?;
        let rest = &authority[end + 1..];
        if !(rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port)) {
            return None;
        }
        &authority[..=end]
    } else {
        match authority.split_once(':') {
            Some((host, port)) if is_port(port) => host,
            Some(_) => return None,
            None => authority,
        }
    };
    let valid = !host.is_empty() && !host.contains(['@', '/', '\\', '#', '?', ' ']);
    valid.then(|| host.trim_end_matches('.').to_ascii_lowercase())
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

impl Origins {
    /// From the settings.
    pub fn new(config: &ServerConfig) -> Self {
        let known = config.public_url.iter().chain(&config.allowed_origins);
        let mut origins: Vec<String> = known.filter_map(|url| parse_origin(url).ok()).collect();
        let hosts = origins.iter().filter_map(|origin| host_of(origin)).collect();
        let secure = is_secure(config.public_url.as_deref());
        if secure {
            // Anyone between the two could write what a page without TLS says.
            origins.retain(|origin| origin.starts_with("https://"));
        }
        Self {
            hosts,
            secure,
            loopback: config.bind.ip().is_loopback(),
            origins,
        }
    }

    /// Whether browsers reach the server over TLS: cookies are then `Secure`.
    pub fn secure(&self) -> bool {
        self.secure
    }

    /// Whether a request under this `Host` is meant for this server. Names that an attacker's DNS can point here are refused:
    /// only configured ones, `localhost`, and addresses (on loopback: loopback addresses) count.
    pub fn accepts_host(&self, authority: &str) -> bool {
        let Some(host) = without_port(authority) else {
            return false;
        };
        if host == "localhost" || host.ends_with(".localhost") || self.hosts.contains(&host) {
            return true;
        }
        match address(&host) {
            Some(ip) => !self.loopback || ip.is_loopback(),
            None => false,
        }
    }

    /// Whether an `Origin` is a page of this server, reached under this `Host`.
    pub fn accepts_origin(&self, origin: &str, authority: Option<&str>) -> bool {
        if self.origins.iter().any(|known| known == origin) {
            return true;
        }
        if self.secure {
            return false;
        }
        // Without TLS, also the page's own address.
        let Some(authority) = authority.filter(|authority| self.accepts_host(authority)) else {
            return false;
        };
        origin == format!("http://{}", authority.to_ascii_lowercase())
    }
}

/// The name under which the request reached the server.
pub fn authority<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    match headers.get(header::HOST) {
        Some(host) => host.to_str().ok(),
        None => uri.authority().map(axum::http::uri::Authority::as_str),
    }
}

/// Refuses a write by cookie that did not come from this server's own page. The proof is the page's header, and `Origin` or,
/// without one, `Sec-Fetch-Site`.
pub fn check_cookie_write(parts: &Parts, origins: &Origins) -> ApiResult<()> {
    let denied = |detail: &'static str| Err(Problem::new(Code::Denied, detail));
    if parts.headers.get(CSRF_HEADER).is_none_or(|value| value != "1") {
        return denied("A write with the session cookie needs the header `X-Duet-CSRF: 1`.");
    }
    match origin(parts, origins)? {
        true => Ok(()),
        false => match parts.headers.get("sec-fetch-site") {
            Some(site) if site == "same-origin" => Ok(()),
            Some(_) => denied("This request comes from a page of another site."),
            None => denied(
                "A write with the session cookie needs an `Origin` header of this server. Programs use an API key instead.",
            ),
        },
    }
}

/// Refuses requests to sign-in and set-up from a page of another origin. Programs send no `Origin`.
pub fn check_page(parts: &Parts, origins: &Origins) -> ApiResult<()> {
    origin(parts, origins)?;
    match parts.headers.get("sec-fetch-site") {
        Some(site) if site != "same-origin" && site != "none" => {
            Err(Problem::new(Code::Denied, "This request comes from a page of another site."))
        }
        _ => Ok(()),
    }
}

/// Whether there is an `Origin`; a foreign one is refused.
fn origin(parts: &Parts, origins: &Origins) -> ApiResult<bool> {
    let mut named = parts.headers.get_all(header::ORIGIN).iter();
    let Some(first) = named.next() else {
        return Ok(false);
    };
    let known = first
        .to_str()
        .is_ok_and(|origin| origins.accepts_origin(origin, authority(&parts.headers, &parts.uri)));
    if known && named.next().is_none() {
        return Ok(true);
    }
    Err(Problem::new(
        Code::Denied,
        "This request comes from a page of another origin. If Duet is reached under another address, set `server.public_url` to it.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(bind: &str, public_url: Option<&str>) -> Origins {
        Origins::new(&ServerConfig {
            bind: bind.parse().unwrap(),
            public_url: public_url.map(str::to_owned),
            ..ServerConfig::default()
        })
    }

    #[test]
    fn hosts_on_loopback() {
        let own = origins("127.0.0.1:4470", Some("https://duet.example"));
        for good in [
            "127.0.0.1",
            "127.0.0.1:4470",
            "localhost",
            "localhost:1",
            "LOCALHOST:1",
            "app.localhost:4470",
            "[::1]",
            "[::1]:4470",
            "127.8.8.8",
            "duet.example",
            "duet.example:443",
            "duet.example.",
        ] {
            assert!(own.accepts_host(good), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:4470",
            "127.0.0.1.evil.example",
            "192.168.1.4",
            "10.0.0.1:4470",
            "0.0.0.0",
            "[::2]:4470",
            "",
            ":4470",
            "localhost:x",
            "localhost@evil.example",
            "duet.example.evil",
            "xduet.example",
            "[::1",
            "[::1]x",
            "localhost evil",
        ] {
            assert!(!own.accepts_host(bad), "{bad}");
        }
    }

    #[test]
    fn hosts_on_a_network() {
        let own = origins("0.0.0.0:4470", None);
        assert!(own.accepts_host("192.168.1.4:4470"));
        assert!(own.accepts_host("[fe80::1]:4470"));
        assert!(
            !own.accepts_host("rebound.example:4470"),
            "a name that nobody configured may be an attacker's"
        );
    }

    #[test]
    fn pages() {
        let own = origins("127.0.0.1:4470", Some("http://duet.example"));
        let here = Some("127.0.0.1:4470");
        assert!(own.accepts_origin("http://127.0.0.1:4470", here));
        assert!(own.accepts_origin("http://duet.example", here));
        for bad in [
            "null",
            "",
            "http://127.0.0.1:4471",
            "http://127.0.0.1",
            "http://localhost:4470",
            "https://127.0.0.1:4470",
            "https://duet.example",
            "http://duet.example:8443",
            "http://duet.example.evil",
            "http://evil.example",
            "http://127.0.0.1:4470/",
        ] {
            assert!(!own.accepts_origin(bad, here), "{bad}");
        }
        assert!(
            !own.accepts_origin("http://evil.example", Some("evil.example")),
            "host and origin agree, but neither is ours"
        );
        assert!(!own.accepts_origin("http://127.0.0.1:4470", None));
    }

    #[test]
    fn under_tls_no_page_without_it_is_ours() {
        let own = Origins::new(&ServerConfig {
            bind: "127.0.0.1:4470".parse().unwrap(),
            public_url: Some("HTTPS://Duet.example".into()),
            allowed_origins: vec!["https://other.example".into(), "http://plain.example".into()],
            ..ServerConfig::default()
        });
        assert!(own.secure());
        for (origin, authority, ours) in [
            ("https://duet.example", "duet.example", true),
            ("https://other.example", "duet.example", true),
            ("http://duet.example", "duet.example", false),
            ("http://127.0.0.1:4470", "127.0.0.1:4470", false),
            ("http://localhost:4470", "localhost:4470", false),
            ("http://plain.example", "plain.example", false),
            ("https://duet.example:8443", "duet.example:8443", false),
        ] {
            assert_eq!(own.accepts_origin(origin, Some(authority)), ours, "{origin}");
        }
    }
}
