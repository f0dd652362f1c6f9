//! The people of a load run: each with a workspace, an API key and a conversation of their own.

use anyhow::{Context, Result, bail};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::server::Server;

const PASSWORD: &str = "a long password for the bench";

/// Someone who talks.
pub struct Person {
    pub(super) http: Client,
    pub(super) secret: String,
    pub(super) workspace: String,
    pub(super) conversation: String,
    /// `http://…/v1/workspaces/{workspace}`.
    pub(super) base: String,
}

/// Sets up the server and creates this many people.
pub async fn settle(server: &Server, http: &Client, people: usize) -> Result<Vec<Person>> {
    let token = server.setup_token.as_deref().context("The server has an owner already.")?;
    let setup = json!({
        "token": token, "email": "bench@example.org", "password": PASSWORD, "display_name": "Bench",
        "workspace_name": "Bench", "companion_name": "Duet",
    });
    let answer = http
        .post(format!("{}/v1/setup", server.url))
        .json(&setup)
        .send()
        .await
        .context("The set-up failed.")?;
    let cookie = answer
        .headers()
        .get("set-cookie")
        .and_then(|cookie| cookie.to_str().ok())
        .unwrap_or_default();
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    if !answer.status().is_success() || cookie.is_empty() {
        bail!("The set-up was refused: {}", answer.text().await.unwrap_or_default());
    }
    // Like the web app: the cookie, the same origin, and the header that other sites cannot send.
    let signed_in = |request: RequestBuilder| {
        request
            .header("cookie", &cookie)
            .header("origin", &server.url)
            .header("x-duet-csrf", "1")
    };

    let mut all = Vec::with_capacity(people);
    for index in 0..people {
        let named = json!({"name": format!("Bench {index}"), "companion_name": "Duet"});
        let made = ask(signed_in(http.post(format!("{}/v1/workspaces", server.url))).json(&named)).await?;
        let workspace = text(&made, "/id").or_else(|_| text(&made, "/workspace/id"))?;
        let base = format!("{}/v1/workspaces/{workspace}", server.url);
        let scopes = json!({"name": "bench", "scopes": ["chat"]});
        let secret = text(
            &ask(signed_in(http.post(format!("{base}/keys"))).json(&scopes)).await?,
            "/secret",
        )?;
        let conversation = ask(http
            .post(format!("{base}/conversations"))
            .bearer_auth(&secret)
            .json(&json!({})))
        .await?;
        let conversation = text(&conversation, "/id")?;
        all.push(Person {
            http: http.clone(),
            secret,
            workspace,
            conversation,
            base,
        });
    }
    Ok(all)
}

/// Sends a request and returns its JSON; a refusal is an error that quotes it.
pub(super) async fn ask(request: RequestBuilder) -> Result<Value> {
    let answer = request.send().await.context("The server did not answer.")?;
    let (status, url) = (answer.status(), answer.url().path().to_owned());
    let body = answer.text().await.context("The answer broke off.")?;
    if !status.is_success() {
        bail!("{url}: {status}: {body}");
    }
    serde_json::from_str(&body).with_context(|| format!("{url} did not answer with JSON."))
}

/// A text in an answer.
pub(super) fn text(answer: &Value, pointer: &str) -> Result<String> {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    found
        .map(str::to_owned)
        .with_context(|| format!("The answer has no {pointer}: {answer}"))
}
