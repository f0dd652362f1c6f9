//! The one HTTP client for outgoing calls to model and embedding providers, and what counts as local.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use reqwest::{Client, NoProxy, Proxy, Url, redirect};

/// Longest time to establish a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Addresses that are never reached through a proxy: what counts as local must stay local.
const NEVER_PROXIED: &str = "localhost,127.0.0.0/8,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7";

/// Builds the client: TLS by rustls with ring and the system's certificates, no redirects (a provider that sends one is
/// misconfigured, and a key must not follow it), connections kept alive. A proxy is taken from `HTTPS_PROXY` or `ALL_PROXY`, but
/// never for local addresses. Timeouts for answers are set per provider, on each call.
///
/// On a machine without any certificates the client still works for plain local addresses; calls over TLS then fail.
pub fn client() -> anyhow::Result<Client> {
    // A second call finds the provider already installed: it is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let proxy = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    match builder(proxy.as_deref())?.build() {
        Ok(client) => Ok(client),
        Err(error) => {
            tracing::warn!(
                "no system certificates could be loaded; providers reached over https will fail until they are installed"
            );
            builder(proxy.as_deref())?
                .tls_certs_only(std::iter::empty())
                .build()
                .map_err(|_| anyhow::Error::new(error).context("the HTTP client could not be built"))
        }
    }
}

fn builder(proxy: Option<&str>) -> anyhow::Result<reqwest::ClientBuilder> {
    #[expect(clippy::disallowed_methods, reason = "this is the one client of the process")]
    let builder = Client::builder()
        .user_agent(concat!("duet/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_keepalive(Duration::from_secs(30))
        .tcp_nodelay(true)
        .pool_idle_timeout(Duration::from_secs(60))
        .redirect(redirect::Policy::none())
        .referer(false)
        .no_proxy();
    let Some(proxy) = proxy else { return Ok(builder) };
    let exempt = std::env::var("NO_PROXY")
        .or_else(|_| std::env::var("no_proxy"))
        .unwrap_or_default();
    let proxy = Proxy::all(proxy)
        .map_err(|_| {
            anyhow::anyhow!("HTTPS_PROXY or ALL_PROXY does not hold a proxy's address; set it to http://host:port or remove it")
        })?
        .no_proxy(NoProxy::from_string(&format!("{NEVER_PROXIED},{exempt}")));
    Ok(builder.proxy(proxy))
}

/// Whether an address is on this machine or its private network: `localhost` and loopback, RFC 1918 and unique-local address
/// literals. Other names are not looked up: what they resolve to may change.
pub fn is_local(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(IpAddr::V4(address)) => is_local_v4(address),
        Ok(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(mapped) => is_local_v4(mapped),
            None => address == Ipv6Addr::LOCALHOST || address.is_unique_local(),
        },
        Err(_) => false,
    }
}

fn is_local_v4(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_private()
}

/// Reads a base URL from the configuration: http or https, with a host, without user, password, query or fragment.
pub fn base_url(text: &str) -> Result<Url, String> {
    let refuse = |why: &str| {
        Err(format!(
            "the base URL {why}; write it like `http://127.0.0.1:11434` or `https://host/v1`"
        ))
    };
    let Ok(mut url) = Url::parse(text.trim()) else {
        return refuse("is not a URL");
    };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return refuse("has to start with http:// or https:// and name a host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("must not hold a user name or password (use `api_key`)");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("must not have a query or fragment");
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// A base URL with a path appended to its own.
pub(crate) fn join(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_literal_private_addresses_and_localhost_are_local() {
        let table = [
            ("http://localhost:11434", true),
            ("http://LOCALHOST", true),
            ("http://127.0.0.1:1", true),
            ("http://127.9.9.9", true),
            ("http://10.1.2.3", true),
            ("http://172.16.0.1", true),
            ("http://172.32.0.1", false),
            ("http://192.168.1.5:8080/v1", true),
            ("http://[::1]:8080", true),
            ("http://[fd12:3456::1]", true),
            ("http://[::ffff:192.168.0.1]", true),
            ("http://[::ffff:8.8.8.8]", false),
            ("http://169.254.169.254", false),
            ("http://[fe80::1]", false),
            ("http://100.64.0.1", false),
            ("http://0.0.0.0", false),
            ("http://8.8.8.8", false),
            ("http://2130706433", true), // The URL standard reads it as 127.0.0.1, and so does the connection.
            ("https://api.anthropic.com", false),
            ("http://gpu.local", false),
            ("http://models.internal", false),
            ("http://localhost.example.com", false),
            ("http://127.0.0.1.nip.io", false),
            ("http://host.docker.internal", false),
        ];
        for (url, local) in table {
            assert_eq!(is_local(&Url::parse(url).unwrap()), local, "{url}");
        }
    }

    #[test]
    fn base_urls_are_checked_and_joined() {
        for bad in [
            "",
            "x",
            "ftp://h",
            "http://",
            "https://me:pw@h",
            "http://h?key=1",
            "http://h#x",
            "127.0.0.1:11434",
        ] {
            let error = base_url(bad).unwrap_err();
            assert!(!error.contains("pw"), "{error}");
        }
        let url = base_url("http://127.0.0.1:1/v1/").unwrap();
        assert_eq!(
            join(&url, "/chat/completions").as_str(),
            "http://127.0.0.1:1/v1/chat/completions"
        );
        assert_eq!(
            join(&base_url("http://h").unwrap(), "/api/chat").as_str(),
            "http://h/api/chat"
        );
    }

    #[test]
    fn the_client_can_be_built_twice() {
        client().unwrap();
        client().unwrap();
    }
}
