//! The web app inside the binary: its files by exact path, compressed once, under a strict content security policy.
//!
//! Paths are looked up in a map and never reach a file system, so there is nothing to traverse. The shell answers only page
//! addresses: a GET without a file extension from a client that accepts HTML.

use std::{collections::HashMap, io::Write, sync::Arc, sync::OnceLock};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use rust_embed::Embed;

#[derive(Embed)]
#[folder = "../web/dist/client"]
#[allow_missing = true]
struct Built;

/// Names under which a web build may leave its shell.
const SHELLS: [&str; 2] = ["_shell.html", "index.html"];

/// The web app as served.
pub struct WebAssets {
    files: HashMap<String, Asset>,
    shell: Asset,
    shell_text: String,
    policy: HeaderValue,
}

struct Asset {
    bytes: Bytes,
    gzip: OnceLock<Option<Bytes>>,
    brotli: Option<Bytes>,
    kind: &'static str,
    etag: HeaderValue,
    /// Its name carries a hash of its content, so it never changes.
    immutable: bool,
}

impl WebAssets {
    /// The web app that this binary was built with; `None` if it was built without one.
    pub fn embedded() -> Option<Self> {
        Self::new(Built::iter().filter_map(|name| {
            let data = match Built::get(&name)?.data {
                std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                std::borrow::Cow::Owned(bytes) => Bytes::from(bytes),
            };
            Some((name.into_owned(), data))
        }))
    }

    /// The web app made of these files; `None` if there is no shell among them.
    pub fn new(files: impl IntoIterator<Item = (String, Bytes)>) -> Option<Self> {
        let mut raw: HashMap<String, Bytes> = files
            .into_iter()
            .map(|(name, data)| (name.replace('\\', "/"), data))
            .collect();
        let shell = SHELLS.iter().find_map(|name| raw.remove(*name))?;
        let shell_text = String::from_utf8_lossy(&shell).into_owned();
        let policy = content_security_policy(&shell_text, &[]);
        let variants: Vec<String> = raw.keys().filter(|name| has_base(&raw, name)).cloned().collect();
        let mut brotli = HashMap::new();
        for name in variants {
            let data = raw.remove(&name);
            if let (Some(base), Some(data)) = (name.strip_suffix(".br"), data) {
                brotli.insert(base.to_owned(), data);
            }
        }
        let files = raw
            .into_iter()
            .map(|(name, data)| {
                let asset = Asset::new(&name, data, brotli.remove(&name));
                (name, asset)
            })
            .collect();
        Some(Self {
            files,
            shell: Asset::new("shell.html", shell, None),
            shell_text,
            policy: HeaderValue::from_str(&policy).ok()?,
        })
    }

    /// The same, also allowed to connect to these origins (`https://project.example`, `wss://project.example`). One that cannot
    /// be part of a header is left out.
    #[must_use]
    pub fn connecting_to(self, origins: &[String]) -> Self {
        let fit = |origin: &&String| {
            !origin.is_empty() && origin.chars().all(|c| c.is_ascii_graphic() && !matches!(c, ';' | ',' | '\''))
        };
        let origins: Vec<&str> = origins.iter().filter(fit).map(String::as_str).collect();
        let policy = content_security_policy(&self.shell_text, &origins);
        Self {
            policy: HeaderValue::from_str(&policy).unwrap_or(self.policy),
            ..self
        }
    }

    /// The content security policy of the shell.
    pub fn policy(&self) -> &HeaderValue {
        &self.policy
    }

    /// A router that answers every address with a file, the shell or 404.
    pub fn router(self) -> Router {
        let assets = Arc::new(self);
        Router::new().fallback(move |request: Request| {
            let assets = Arc::clone(&assets);
            async move { assets.answer(request.method(), request.uri().path(), request.headers()) }
        })
    }

    fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response {
        let mut response = if method != Method::GET && method != Method::HEAD {
            (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response()
        } else if let Some(asset) = self.files.get(path.trim_start_matches('/')) {
            asset.answer(method, headers)
        } else if is_page(path) && accepts_html(headers) {
            self.shell.answer(method, headers)
        } else {
            (StatusCode::NOT_FOUND, "There is nothing at this address.\n").into_response()
        };
        let all = response.headers_mut();
        all.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        for (name, value) in SECURITY_HEADERS {
            all.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// Headers of every answer of the web app, besides the content security policy.
const SECURITY_HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

impl Asset {
    fn new(name: &str, bytes: Bytes, brotli: Option<Bytes>) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
        let etag = HeaderValue::from_str(&format!("W/\"{}\"", hex::encode(&digest.as_ref()[..16])));
        Self {
            kind: kind(name),
            immutable: name.starts_with("assets/"),
            etag: etag.unwrap_or_else(|_| HeaderValue::from_static("W/\"\"")),
            gzip: OnceLock::new(),
            brotli,
            bytes,
        }
    }

    fn answer(&self, method: &Method, headers: &HeaderMap) -> Response {
        let caching = if self.immutable {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| self.matches(value));
        if known {
            let fixed = [
                (header::CACHE_CONTROL, HeaderValue::from_static(caching)),
                (header::ETAG, self.etag.clone()),
            ];
            return (StatusCode::NOT_MODIFIED, fixed).into_response();
        }
        let (encoding, body) = self.encoded(headers);
        let length = body.len();
        let body = if method == Method::HEAD {
            Body::empty()
        } else {
            Body::from(body)
        };
        let mut response = Response::new(body);
        let all = response.headers_mut();
        all.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        all.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        all.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
        all.insert(header::ETAG, self.etag.clone());
        all.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if let Some(encoding) = encoding {
            all.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        response
    }

    /// Whether an `If-None-Match` names this content: weak comparison, as for any GET.
    fn matches(&self, value: &HeaderValue) -> bool {
        let tags = value.to_str().unwrap_or_default().split(',').map(str::trim);
        let own = self.etag.to_str().unwrap_or_default().trim_start_matches("W/");
        tags.into_iter().any(|tag| tag == "*" || tag.trim_start_matches("W/") == own)
    }

    fn encoded(&self, headers: &HeaderMap) -> (Option<&'static str>, Bytes) {
        if let Some(brotli) = &self.brotli
            && accepts(headers, "br")
        {
            return (Some("br"), brotli.clone());
        }
        if accepts(headers, "gzip") {
            let gzip = self
                .gzip
                .get_or_init(|| compressible(self.kind).then(|| gzip(&self.bytes)).flatten());
            if let Some(gzip) = gzip {
                return (Some("gzip"), gzip.clone());
            }
        }
        (None, self.bytes.clone())
    }
}

fn gzip(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).ok()?;
    let packed = encoder.finish().ok()?;
    (packed.len() < bytes.len()).then(|| Bytes::from(packed))
}

/// Whether `name` is the compressed form of another file of the build.
fn has_base(files: &HashMap<String, Bytes>, name: &str) -> bool {
    [".br", ".gz", ".zst"]
        .iter()
        .any(|end| name.strip_suffix(end).is_some_and(|base| files.contains_key(base)))
}

/// Whether an address is that of a page: no file extension in its last part, and not one of the API's own.
fn is_page(path: &str) -> bool {
    let api = path == "/v1" || path.starts_with("/v1/");
    !api && !path.rsplit('/').next().unwrap_or_default().contains('.')
}

fn accepts_html(headers: &HeaderMap) -> bool {
    let listed = |value: &HeaderValue| {
        value
            .to_str()
            .is_ok_and(|text| text.contains("text/html") || text.contains("*/*"))
    };
    headers.get_all(header::ACCEPT).iter().any(listed)
}

fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    let listed = |value: &HeaderValue| {
        value.to_str().unwrap_or_default().split(',').any(|part| {
            let mut words = part.split(';').map(str::trim);
            let named = words.next() == Some(encoding);
            named && !words.any(|word| matches!(word.trim_start_matches("q="), "0" | "0.0" | "0.00" | "0.000"))
        })
    };
    headers.get_all(header::ACCEPT_ENCODING).iter().any(listed)
}

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn compressible(kind: &str) -> bool {
    kind.starts_with("text/") || kind.contains("json") || kind.contains("svg") || kind.ends_with("wasm")
}

/// The policy for a shell: scripts of this origin and the shell's own inline ones by hash, nothing from elsewhere. Connections go
/// to this origin and the named ones.
fn content_security_policy(shell: &str, origins: &[&str]) -> String {
    let hashes = |element| {
        inline(shell, element)
            .map(|text| {
                let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
                format!(" 'sha256-{}'", BASE64.encode(digest))
            })
            .collect::<String>()
    };
    format!(
        "default-src 'none'; script-src 'self'{}; style-src 'self'{}; img-src 'self' data: blob:; font-src 'self'; \
         connect-src 'self'{}; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; \
         frame-ancestors 'none'; object-src 'none'",
        hashes("script"),
        hashes("style"),
        origins.iter().map(|origin| format!(" {origin}")).collect::<String>()
    )
}

/// The texts of a page's inline elements of that name (those without `src`), byte for byte.
fn inline<'a>(page: &'a str, element: &'a str) -> impl Iterator<Item = &'a str> {
    let open = format!("<{element}");
    let close = format!("</{element}");
    let mut rest = page;
    std::iter::from_fn(move || {
        loop {
            let start = rest.find(&open)?;
            let after_name = &rest[start + open.len()..];
            if !after_name.starts_with([' ', '>', '\n', '\t', '\r']) {
                rest = after_name;
                continue;
            }
            let tag_end = after_name.find('>')?;
            let attributes = &after_name[..tag_end];
            let body = &after_name[tag_end + 1..];
            let end = body.find(&close)?;
            rest = &body[end..];
            let has_source = attributes.split_whitespace().any(|word| word.starts_with("src="));
            if !has_source && !body[..end].is_empty() {
                return Some(&body[..end]);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower::ServiceExt;

    const SHELL: &str = "<!doctype html><html><head><script src=\"/assets/a-1.js\"></script><script>boot()</script>\
        <style>b{}</style><script type=\"module\" async>\nimport('/x')\n</script></head><body><scripture>no</scripture></body></html>";

    fn assets() -> WebAssets {
        let file = |name: &str, data: &str| (name.to_owned(), Bytes::from(data.to_owned()));
        WebAssets::new([
            file("_shell.html", SHELL),
            file("assets/a-1.js", &"let a = 1;\n".repeat(100)),
            file("assets/b-2.js", "let b"),
            file("assets/b-2.js.br", "packed"),
            file("favicon.ico", "icon"),
        ])
        .unwrap()
    }

    async fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        assets().router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn text(response: Response) -> String {
        String::from_utf8(axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
    }

    const HTML: (&str, &str) = ("accept", "text/html,*/*;q=0.8");

    #[tokio::test]
    async fn shell_answers_pages_only() {
        for path in ["/", "/setup", "/c/0198-conversation"] {
            let response = ask("GET", path, &[HTML]).await;
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(response.headers()["cache-control"], "no-cache");
            assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
            assert_eq!(text(response).await, SHELL);
        }
        assert_eq!(ask("GET", "/setup", &[("accept", "application/json")]).await.status(), 404);
        assert_eq!(ask("GET", "/setup", &[]).await.status(), 404);
        assert_eq!(ask("GET", "/v1/nothing", &[HTML]).await.status(), 404);
        assert_eq!(ask("POST", "/setup", &[HTML]).await.status(), 405);
    }

    #[tokio::test]
    async fn unknown_files_and_traversal_are_not_found() {
        for path in [
            "/assets/gone-9.js",
            "/../Cargo.toml",
            "/assets/../../Cargo.toml",
            "/%2e%2e/Cargo.toml",
            "/assets/..%2f..%2fCargo.toml",
            "/..%5cCargo.toml",
            "//etc/passwd.txt",
            "/_shell.html",
            "/assets/b-2.js.br",
        ] {
            let response = ask("GET", path, &[HTML]).await;
            assert_eq!(response.status(), 404, "{path}");
            assert!(!text(response).await.contains("package"), "{path}");
        }
    }

    #[tokio::test]
    async fn assets_are_immutable_and_compressed() {
        let plain = ask("GET", "/assets/a-1.js", &[]).await;
        assert_eq!(plain.headers()["cache-control"], "public, max-age=31536000, immutable");
        assert!(plain.headers().get("content-encoding").is_none());
        let gzip = ask("GET", "/assets/a-1.js", &[("accept-encoding", "gzip, br")]).await;
        assert_eq!(gzip.headers()["content-encoding"], "gzip");
        assert_eq!(gzip.headers()["vary"], "accept-encoding");
        let refused = ask("GET", "/assets/a-1.js", &[("accept-encoding", "gzip;q=0")]).await;
        assert!(refused.headers().get("content-encoding").is_none());
        let brotli = ask("GET", "/assets/b-2.js", &[("accept-encoding", "gzip, br")]).await;
        assert_eq!(brotli.headers()["content-encoding"], "br");
        assert_eq!(text(brotli).await, "packed");
    }

    #[tokio::test]
    async fn head_and_conditional_get() {
        let head = ask("HEAD", "/assets/a-1.js", &[]).await;
        assert_eq!(head.status(), 200);
        assert_eq!(head.headers()["content-length"], "1100");
        let etag = head.headers()["etag"].to_str().unwrap().to_owned();
        assert_eq!(text(head).await, "");
        for tag in [etag.clone(), etag.replace("W/", ""), format!("\"x\", {etag}"), "*".into()] {
            let same = ask("GET", "/assets/a-1.js", &[("if-none-match", &tag)]).await;
            assert_eq!(same.status(), 304, "{tag}");
            assert_eq!(same.headers()["etag"].to_str().unwrap(), etag);
            assert_eq!(text(same).await, "");
        }
        assert_eq!(
            ask("GET", "/assets/a-1.js", &[("if-none-match", "\"x\"")]).await.status(),
            200
        );
    }

    #[tokio::test]
    async fn policy_names_the_shells_inline_scripts_by_hash() {
        let response = ask("GET", "/", &[HTML]).await;
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        let hash = |text: &str| {
            format!(
                "'sha256-{}'",
                BASE64.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()))
            )
        };
        let scripts = policy.split("; ").find(|part| part.starts_with("script-src")).unwrap();
        assert_eq!(
            scripts,
            format!("script-src 'self' {} {}", hash("boot()"), hash("\nimport('/x')\n"))
        );
        assert!(policy.contains(&format!("style-src 'self' {};", hash("b{}"))));
        assert!(!policy.contains("unsafe"));
        assert!(policy.contains("frame-ancestors 'none'"));
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert_eq!(response.headers()["referrer-policy"], "no-referrer");
    }

    #[tokio::test]
    async fn connections_elsewhere_are_named_one_by_one() {
        let connected = |assets: WebAssets| {
            let policy = assets.policy().to_str().unwrap().to_owned();
            policy
                .split("; ")
                .find(|part| part.starts_with("connect-src"))
                .unwrap()
                .to_owned()
        };
        assert_eq!(connected(assets()), "connect-src 'self'");
        let origins = [
            "https://a.example",
            "wss://a.example:4443",
            "https://b.example; script-src *",
            "'unsafe-inline'",
        ];
        let named = connected(assets().connecting_to(&origins.map(str::to_owned)));
        assert_eq!(named, "connect-src 'self' https://a.example wss://a.example:4443");
    }

    #[test]
    fn without_a_shell_there_is_no_web_app() {
        assert!(WebAssets::new([("assets/a.js".to_owned(), Bytes::new())]).is_none());
    }
}
