//! Origins as the configuration names them.

/// The origin of a URL, `scheme://host[:port]`, as browsers write it.
pub fn parse_origin(url: &str) -> Result<String, String> {
    let explain = || format!("is `{url}`; allowed is `http://host[:port]` or `https://host[:port]`, without a path");
    let parsed = reqwest::Url::parse(url).map_err(|_| explain())?;
    let plain = matches!(parsed.scheme(), "http" | "https")
        && matches!(parsed.path(), "" | "/")
        && parsed.query().is_none()
        && parsed.fragment().is_none()
        && parsed.username().is_empty()
        && parsed.password().is_none();
    match plain {
        true => Ok(parsed.origin().ascii_serialization()),
        false => Err(explain()),
    }
}

/// Whether browsers reach a server with this public URL over TLS.
pub fn is_secure(public_url: Option<&str>) -> bool {
    public_url
        .and_then(|url| parse_origin(url).ok())
        .is_some_and(|origin| origin.starts_with("https://"))
}
