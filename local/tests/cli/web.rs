//! The web app as the binary serves it, or the plain notice that this build has none.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use reqwest::Method;

use crate::harness::{Browser, Home};

#[tokio::test(flavor = "multi_thread")]
async fn shell_assets_and_policy() {
    let home = Home::new();
    let server = home.serve();
    let browser = Browser::new(&server.url);
    let page = reqwest_page(&browser, "/setup").await;
    let built = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/dist/client");
    if !built.join("_shell.html").exists() && !built.join("index.html").exists() {
        assert_eq!(page.0, 404, "{}", page.2);
        assert_eq!(server.setup_url, None, "there is no page to set it up on");
        assert!(server.setup_token.is_some());
        assert!(home.log().contains("no web app"), "{}", home.log());
        assert_eq!(browser.get("/health").await["status"], "ok", "the API is served all the same");
        return;
    }
    let link = format!("{}/setup#token={}", server.url, server.setup_token.as_deref().unwrap());
    assert_eq!(server.setup_url, Some(link));
    let (status, policy, shell) = page;
    assert_eq!(status, 200);
    assert!(!policy.contains("unsafe"), "{policy}");
    // Each inline script of the shell is allowed by its hash, and there are no more hashes than scripts.
    let scripts: Vec<&str> = shell
        .split("<script")
        .skip(1)
        .filter_map(|rest| rest.split_once('>'))
        .filter(|(attributes, _)| !attributes.contains("src="))
        .filter_map(|(_, rest)| Some(rest.split_once("</script")?.0))
        .filter(|text| !text.is_empty())
        .collect();
    for text in &scripts {
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        assert!(policy.contains(&format!("'sha256-{}'", BASE64.encode(digest))), "{policy}");
    }
    let listed = policy.split("; ").find(|part| part.starts_with("script-src")).unwrap();
    assert_eq!(listed.matches("sha256-").count(), scripts.len());
    // The assets it names exist, and never change.
    for name in shell.split('"').filter(|text| text.starts_with("/assets/")) {
        let response = browser.request(Method::GET, name, None).await;
        assert_eq!(response.status(), 200, "{name}");
        assert!(
            response.headers()["cache-control"].to_str().unwrap().contains("immutable"),
            "{name}"
        );
    }
    for path in ["/assets/../../../Cargo.toml", "/assets/gone.js", "/..%2f..%2fCargo.toml"] {
        assert_eq!(browser.request(Method::GET, path, None).await.status(), 404, "{path}");
    }
}

async fn reqwest_page(browser: &Browser, path: &str) -> (u16, String, String) {
    let response = browser.page(path).await;
    let policy = response.headers().get("content-security-policy");
    let policy = policy.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    (response.status().as_u16(), policy, response.text().await.unwrap())
}
