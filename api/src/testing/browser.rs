//! A browser's access to a running server: a cookie, its page's headers, and streams that are read piece by piece.
#![allow(clippy::unwrap_used, reason = "only tests use it; the lint knows only `cfg(test)`")]

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};

/// The owner's password in all tests.
pub const PASSWORD: &str = "correct horse battery staple";

/// A signed-in person.
#[derive(Clone)]
pub struct Browser {
    http: reqwest::Client,
    /// Where requests go.
    pub url: String,
    /// The address of the page, which distinguishes its writes from those of other pages.
    origin: String,
    cookie: Option<String>,
    token: Option<String>,
    /// The workspace's id.
    pub workspace: String,
}

/// One frame of a stream of events.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its `id:`, on the last frame of an event.
    pub id: Option<u64>,
    /// Its `event:`.
    pub kind: String,
    /// Its `data:`.
    pub data: Value,
}

/// An open stream of events.
pub struct Events {
    response: Response,
    pending: String,
    /// How many pieces have come so far.
    pub pieces: usize,
}

impl Browser {
    /// Nobody yet.
    pub fn new(url: &str) -> Self {
        Self {
            http: crate::http::client().unwrap(),
            url: url.to_owned(),
            origin: url.to_owned(),
            cookie: None,
            token: None,
            workspace: String::new(),
        }
    }

    /// With an origin other than the address that requests go to.
    #[must_use]
    pub fn from_origin(self, origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            ..self
        }
    }

    /// With an access token instead of a cookie.
    #[must_use]
    pub fn bearing(self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self
        }
    }

    /// The same person at another address of the same installation.
    #[must_use]
    pub fn at(&self, url: &str) -> Self {
        Self {
            url: url.to_owned(),
            ..self.clone()
        }
    }

    /// Becomes the owner with the setup token.
    pub async fn set_up(&mut self, token: &str) {
        let body = json!({
            "token": token,
            "email": "ada@example.org",
            "password": PASSWORD,
            "display_name": "Ada",
            "workspace_name": "Home",
            "companion_name": "Robin",
        });
        self.enter("/v1/setup", &body).await;
    }

    /// Becomes the owner as a person who has signed in elsewhere.
    pub async fn claim(&mut self, token: &str) {
        let body = json!({"token": token, "display_name": "Ada", "workspace_name": "Home", "companion_name": "Robin"});
        self.enter("/v1/setup", &body).await;
    }

    /// Signs the owner in.
    pub async fn sign_in(&mut self) {
        self.enter("/v1/auth/sign-in", &json!({"email": "ada@example.org", "password": PASSWORD}))
            .await;
    }

    /// Accepts an invitation with a new account.
    pub async fn join(&mut self, token: &str, name: &str) {
        let body = json!({"token": token, "display_name": name, "password": PASSWORD});
        let membership = self.keep_cookie("/v1/invitations/accept", &body).await;
        self.workspace = membership["workspace"]["id"].as_str().unwrap().to_owned();
    }

    async fn enter(&mut self, path: &str, body: &Value) {
        let session = self.keep_cookie(path, body).await;
        self.workspace = session["workspaces"][0]["workspace"]["id"].as_str().unwrap().to_owned();
    }

    async fn keep_cookie(&mut self, path: &str, body: &Value) -> Value {
        let response = self.request(Method::POST, path, Some(body)).await.unwrap();
        let cookie = response
            .headers()
            .get("set-cookie")
            .map(|value| value.to_str().unwrap().to_owned());
        self.cookie = cookie.and_then(|cookie| Some(cookie.split(';').next()?.to_owned()));
        json_of(path, response).await
    }

    /// Any request; `{ws}` is replaced by the workspace's address.
    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> reqwest::Result<Response> {
        let path = path.replace("{ws}", &format!("/v1/workspaces/{}", self.workspace));
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .header("origin", &self.origin)
            .header("x-duet-csrf", "1")
            .timeout(Duration::from_secs(60));
        request = self.signed(request);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        request.send().await
    }

    fn signed(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match (&self.token, &self.cookie) {
            (Some(token), _) => request.bearer_auth(token),
            (None, Some(cookie)) => request.header("cookie", cookie),
            (None, None) => request,
        }
    }

    /// JSON of a path, which must exist.
    pub async fn get(&self, path: &str) -> Value {
        json_of(path, self.request(Method::GET, path, None).await.unwrap()).await
    }

    /// The JSON answer of a write, which must succeed.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        json_of(path, self.request(Method::POST, path, Some(body)).await.unwrap()).await
    }

    /// A new conversation.
    pub async fn conversation(&self) -> String {
        let made = self.post("{ws}/conversations", &json!({})).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Says something and returns the receipt.
    pub async fn say(&self, conversation: &str, text: &str) -> Value {
        let path = format!("{{ws}}/conversations/{conversation}/messages");
        self.post(&path, &json!({"text": text})).await
    }

    /// Waits for the end of a run and returns the newest message of the conversation.
    pub async fn reply(&self, conversation: &str, run: &str) -> Value {
        for _ in 0..3_000 {
            let path = format!("{{ws}}/runs/{run}");
            // A database that is away for a moment is not the end.
            if let Ok(response) = self.request(Method::GET, &path, None).await
                && response.status().is_success()
                && let Ok(answer) = response.json::<Value>().await
                && answer["status"] != "queued"
                && answer["status"] != "running"
            {
                let path = format!("{{ws}}/conversations/{conversation}/messages?limit=1");
                return self.get(&path).await["items"][0].clone();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the run did not end within five minutes");
    }

    /// Opens the stream of a run's events after this `seq`, which must succeed.
    pub async fn follow(&self, run: &str, after: Option<u64>) -> Events {
        let opened = self.try_follow(run, after).await;
        opened.expect("the stream opens")
    }

    /// The same; `None` if the server is away or cannot answer now.
    pub async fn try_follow(&self, run: &str, after: Option<u64>) -> Option<Events> {
        let mut request = self
            .http
            .get(format!("{}/v1/workspaces/{}/runs/{run}/events", self.url, self.workspace))
            .header("accept", "text/event-stream")
            .timeout(Duration::from_secs(60));
        request = self.signed(request);
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = request.send().await.ok()?;
        let status = response.status();
        assert!(!status.is_client_error(), "{status}");
        status.is_success().then(|| Events {
            response,
            pending: String::new(),
            pieces: 0,
        })
    }

    /// All events of a run after this `seq`, as one page that must hold all of them.
    pub async fn events(&self, run: &str, after: u64) -> Vec<Event> {
        let mut events = self.follow(run, Some(after)).await;
        let mut all = Vec::new();
        while let Some(event) = events.next().await {
            all.push(event);
        }
        all
    }
}

impl Events {
    /// The next frame; `None` when the stream has ended, in order or not.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((frame, rest)) = self.pending.split_once("\n\n") {
                let event = parse(frame);
                self.pending = rest.to_owned();
                if event.is_some() {
                    return event;
                }
            }
            let chunk = self.response.chunk().await.ok()??;
            self.pieces += 1;
            self.pending.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

/// A frame; `None` for a comment.
fn parse(frame: &str) -> Option<Event> {
    let field = |name: &str| {
        let prefix = format!("{name}:");
        frame
            .lines()
            .find_map(|line| line.strip_prefix(&prefix))
            .map(|value| value.trim_start().to_owned())
    };
    Some(Event {
        id: field("id").map(|id| id.parse().unwrap()),
        kind: field("event")?,
        data: serde_json::from_str(&field("data")?).unwrap(),
    })
}

/// The text that a reply's frames amount to.
pub fn text_of(events: &[Event]) -> String {
    events
        .iter()
        .filter(|event| event.data["type"] == "TEXT_MESSAGE_CONTENT")
        .filter_map(|event| event.data["delta"].as_str())
        .collect()
}

async fn json_of(path: &str, response: Response) -> Value {
    let status = response.status();
    let text = response.text().await.unwrap();
    assert!(status.is_success(), "{path}: {status}: {text}");
    serde_json::from_str(&text).unwrap()
}
