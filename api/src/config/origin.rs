//! Origins as the configuration names them.

/// The origin of a URL, `scheme://host[:port]`, as browsers write it.
pub fn parse_origin(url: &str) -> Result<String, String> {
    let explain = || format!("is `{url}`; write it like https://duet.example.org or http://192.168.0.7:7717, without a path");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_in_the_settings() {
        assert_eq!(parse_origin("https://Duet.example:443/").unwrap(), "https://duet.example");
        assert_eq!(parse_origin("http://127.0.0.1:4470").unwrap(), "http://127.0.0.1:4470");
        for bad in [
            "duet.example",
            "ftp://x",
            "https://x/path",
            "https://u:p@x",
            "https://x?q",
            "https://x#f",
            "",
        ] {
            assert!(parse_origin(bad).is_err(), "{bad}");
        }
    }
}
