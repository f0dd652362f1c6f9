//! The HTTP API as the commands use it: through the running server, through the same router inside this process, or at a server
//! elsewhere. On this machine commands are signed in as the owner by a session cookie, like a browser; elsewhere by what `duet login`
//! got, as a bearer.

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use bytes::Bytes;
use duet_api::auth::secret;
use futures::{Stream, StreamExt, stream::BoxStream};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::exit::{Exit, Failure, Outcome};

/// Base URL of requests within the process; nothing listens there.
const INSIDE: &str = "http://localhost";

/// How the API is reached.
#[derive(Clone)]
enum Transport {
    /// A server: the one that holds the file, or one that is `elsewhere`.
    Server {
        http: reqwest::Client,
        url: String,
        elsewhere: bool,
    },
    /// The router in this process.
    Inside(Router),
}

/// What a client is signed in by.
#[derive(Clone)]
enum Proof {
    Nothing,
    /// The secret of a session.
    Cookie(SecretString),
    /// What `duet login` got.
    Bearer(SecretString),
}

/// A client of the API.
pub struct Client {
    transport: Transport,
    proof: Proof,
}

/// What a server refused.
pub struct Refused {
    /// The code of its problem.
    pub code: String,
    /// The same for people.
    pub failure: Failure,
}

/// A response whose status has not been checked yet.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// The sign-in that it gave, if it gave one.
    session: Option<SecretString>,
    /// Whether a sign-in asked that is never recent.
    never_recent: bool,
    body: BoxStream<'static, Result<Bytes, String>>,
}

impl Client {
    /// Through the server at `url`.
    pub fn server(http: reqwest::Client, url: &str, session: Option<String>) -> Self {
        Self {
            transport: Transport::Server {
                http,
                url: url.trim_end_matches('/').to_owned(),
                elsewhere: false,
            },
            proof: cookie(session),
        }
    }

    /// At the server `url`, which is not the one that holds the file here; `token` is what `duet login` got there.
    pub fn elsewhere(http: reqwest::Client, url: &str, token: Option<&str>) -> Self {
        Self {
            transport: Transport::Server {
                http,
                url: url.to_owned(),
                elsewhere: true,
            },
            proof: token.map_or(Proof::Nothing, |token| Proof::Bearer(token.into())),
        }
    }

    /// Through the router in this process.
    pub fn inside(router: Router, session: Option<String>) -> Self {
        Self {
            transport: Transport::Inside(router),
            proof: cookie(session),
        }
    }

    /// Whether it is signed in by what `duet login` got.
    pub fn is_by_login(&self) -> bool {
        matches!(self.proof, Proof::Bearer(_))
    }

    /// Whether that is the sign-in of a device, for which nobody typed a password.
    fn is_of_device(&self) -> bool {
        matches!(&self.proof, Proof::Bearer(token) if secret::is_of_device(token.expose_secret()))
    }

    /// Sends a request and returns the response unchecked.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>, headers: &[(&str, &str)]) -> Outcome<Answer> {
        let mut all: Vec<(&str, String)> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        all.push(("sec-fetch-site", "same-origin".into()));
        all.push(("x-duet-csrf", "1".into()));
        match &self.proof {
            Proof::Nothing => {}
            Proof::Cookie(session) => {
                // The server decides which name counts: the one used under TLS, or the other.
                let secret = session.expose_secret();
                all.push(("cookie", format!("duet_session={secret}; __Host-duet_session={secret}")));
            }
            Proof::Bearer(token) => all.push(("authorization", format!("Bearer {}", token.expose_secret()))),
        }
        let never_recent = self.is_of_device();
        let bytes = body.map(Value::to_string);
        if bytes.is_some() {
            all.push(("content-type", "application/json".into()));
        }
        match &self.transport {
            Transport::Server { http, url, elsewhere } => {
                let mut request = http.request(method, format!("{url}{path}"));
                for (name, value) in all {
                    request = request.header(name, value);
                }
                if let Some(bytes) = bytes {
                    request = request.body(bytes);
                }
                let response = request.send().await.map_err(|error| unreachable(url, *elsewhere, &error))?;
                Ok(Answer {
                    status: response.status(),
                    session: session_of(response.headers()),
                    never_recent,
                    body: response
                        .bytes_stream()
                        .map(|chunk| chunk.map_err(|error| error.to_string()))
                        .boxed(),
                })
            }
            Transport::Inside(router) => {
                let mut request = Request::builder()
                    .method(method)
                    .uri(path)
                    .header("host", INSIDE.trim_start_matches("http://"));
                for (name, value) in all {
                    request = request.header(name, value);
                }
                let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
                let request = request
                    .extension(ConnectInfo(loopback))
                    .body(bytes.map_or_else(Body::empty, Body::from))
                    .map_err(|error| Failure::usage(format!("This cannot be asked of the API: {error}.")))?;
                let response = match router.clone().oneshot(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                Ok(Answer {
                    status: response.status(),
                    session: session_of(response.headers()),
                    never_recent,
                    body: response
                        .into_body()
                        .into_data_stream()
                        .map(|chunk| chunk.map_err(|error| error.to_string()))
                        .boxed(),
                })
            }
        }
    }

    /// The same API by a sign-in of this person's own, until [`Self::sign_out`].
    pub async fn sign_in(&self, email: &str, password: &SecretString) -> Outcome<Self> {
        let nobody = Self {
            transport: self.transport.clone(),
            proof: Proof::Nothing,
        };
        let body = json!({"email": email, "password": password.expose_secret()});
        let mut answer = nobody.send(Method::POST, "/v1/auth/sign-in", Some(&body), &[]).await?;
        let session = answer.session.take();
        answer.bytes().await?;
        match session {
            Some(session) => Ok(Self {
                proof: Proof::Cookie(session),
                ..nobody
            }),
            None => Err(Failure::failed(
                "The server gave no sign-in. Is it another version of Duet? Restart it.",
            )),
        }
    }

    /// Ends that sign-in.
    pub async fn sign_out(self) -> Outcome {
        let answer = self.send(Method::POST, "/v1/auth/sign-out", None, &[]).await?;
        answer.bytes().await.map(drop)
    }

    /// `GET` of JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        self.send(Method::GET, path, None, &[]).await?.json().await
    }

    /// `GET` of an unpaged list: bare, or as `{items}`.
    pub async fn list<T: DeserializeOwned>(&self, path: &str) -> Outcome<Vec<T>> {
        let mut answer: Value = self.get(path).await?;
        let items = if answer.is_array() { answer } else { answer["items"].take() };
        serde_json::from_value(items).map_err(misunderstood)
    }

    /// `POST` of JSON.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Outcome<T> {
        self.send(Method::POST, path, Some(body), &[]).await?.json().await
    }

    /// `PUT` of JSON.
    pub async fn put<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Outcome<T> {
        self.send(Method::PUT, path, Some(body), &[]).await?.json().await
    }

    /// `PATCH` of JSON.
    pub async fn patch<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Outcome<T> {
        self.send(Method::PATCH, path, Some(body), &[]).await?.json().await
    }

    /// `DELETE` whose answer has no body.
    pub async fn remove(&self, path: &str) -> Outcome {
        self.send(Method::DELETE, path, None, &[]).await?.bytes().await.map(drop)
    }

    /// `DELETE`.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        self.send(Method::DELETE, path, None, &[]).await?.json().await
    }
}

impl Answer {
    /// The whole body, or the failure that the problem document describes.
    pub async fn bytes(self) -> Outcome<Vec<u8>> {
        let status = self.status;
        let mut body = self.body;
        let mut bytes = Vec::new();
        while let Some(chunk) = body.next().await {
            bytes.extend_from_slice(
                &chunk.map_err(|error| Failure::unavailable(format!("The answer broke off: {error}. Repeat the command.")))?,
            );
        }
        if status.is_success() {
            return Ok(bytes);
        }
        let Refused { code, failure } = problem(status, &bytes);
        Err(match failure {
            Failure::Say(exit, message) if self.never_recent && code == "sign_in_again" => Failure::Say(
                exit,
                format!("{message} What needs a recent sign-in is done in the browser: `duet login` does not count as one."),
            ),
            failure => failure,
        })
    }

    /// The body as JSON, or what was refused, for a caller that acts on the code.
    pub async fn tried<T: DeserializeOwned>(mut self) -> Outcome<Result<T, Refused>> {
        let status = std::mem::replace(&mut self.status, StatusCode::OK);
        let bytes = self.bytes().await?;
        match status.is_success() {
            true => serde_json::from_slice(&bytes).map(Ok).map_err(misunderstood),
            false => Ok(Err(problem(status, &bytes))),
        }
    }

    /// The body as JSON, or the failure.
    pub async fn json<T: DeserializeOwned>(self) -> Outcome<T> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(misunderstood)
    }

    /// The body as it arrives, or the failure.
    pub async fn stream(self) -> Outcome<impl Stream<Item = Result<Bytes, String>> + Unpin> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        self.bytes()
            .await
            .and_then(|_| Err(Failure::failed("The server's answer is not understood.")))
    }
}

fn cookie(session: Option<String>) -> Proof {
    session.map_or(Proof::Nothing, |session| Proof::Cookie(session.into()))
}

/// The secret of the sign-in that an answer sets as a cookie.
fn session_of(headers: &HeaderMap) -> Option<SecretString> {
    let cookies = headers
        .get_all(header::SET_COOKIE)
        .iter()
        .filter_map(|cookie| cookie.to_str().ok());
    let mut pairs = cookies.filter_map(|cookie| cookie.split(';').next()?.split_once('='));
    let found = pairs.find(|(name, _)| matches!(*name, "duet_session" | "__Host-duet_session"));
    found.map(|(_, secret)| secret.to_owned().into())
}

fn misunderstood(error: serde_json::Error) -> Failure {
    Failure::failed(format!(
        "The server's answer is not understood ({error}). Is it another version of Duet? Restart it."
    ))
}

fn unreachable(url: &str, elsewhere: bool, error: &reqwest::Error) -> Failure {
    let why = if error.is_timeout() {
        "it does not answer"
    } else {
        "it cannot be reached"
    };
    if elsewhere {
        return Failure::unavailable(format!(
            "The Duet server at {url} is asked for, but {why}. Check the address and the connection, then repeat the command."
        ));
    }
    Failure::unavailable(format!(
        "The Duet server at {url} holds the data file, but {why}. Wait a moment, or stop it and repeat the command."
    ))
}

/// What a problem document describes.
fn problem(status: StatusCode, body: &[u8]) -> Refused {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let exit = match (status.as_u16(), problem["code"].as_str().unwrap_or_default()) {
        (401 | 403, _) => Exit::Refused,
        (404, _) => Exit::NotFound,
        (429 | 502..=504, _) => Exit::Unavailable,
        (400 | 413 | 415 | 422, _) => Exit::Usage,
        _ => Exit::Failed,
    };
    let detail = problem["detail"].as_str().or(problem["title"].as_str()).map(str::to_owned);
    let mut message = detail.unwrap_or_else(|| format!("The server answered {status}."));
    if let Some(errors) = problem["errors"].as_array() {
        for error in errors.iter().filter_map(Value::as_str) {
            message.push(' ');
            message.push_str(error);
        }
    }
    Refused {
        code: problem["code"].as_str().unwrap_or_default().to_owned(),
        failure: Failure::new(exit, message),
    }
}

/// A path part or query value, percent-encoded.
pub fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Json, response::AppendHeaders, routing::post};

    fn client() -> Client {
        let echo = |headers: axum::http::HeaderMap, Json(body): Json<Value>| async move {
            Json(
                json!({"cookie": headers["cookie"].to_str().unwrap(), "site": headers["sec-fetch-site"].to_str().unwrap(), "body": body}),
            )
        };
        let refuse = || async {
            (
                StatusCode::FORBIDDEN,
                Json(json!({"code": "denied", "detail": "Not allowed to do it: no."})),
            )
        };
        let router = Router::new().route("/echo", post(echo)).route("/refuse", post(refuse));
        Client::inside(router, Some("s3cret".into()))
    }

    #[tokio::test]
    async fn inside_requests_are_signed_in_and_same_origin() {
        let answer: Value = client().post("/echo", &json!({"a": 1})).await.unwrap();
        assert_eq!(
            answer,
            json!({"cookie": "duet_session=s3cret; __Host-duet_session=s3cret", "site": "same-origin", "body": {"a": 1}})
        );
    }

    #[tokio::test]
    async fn a_persons_own_sign_in_takes_the_place_of_the_commands() {
        let sign_in = |headers: HeaderMap, Json(body): Json<Value>| async move {
            assert!(
                headers.get("cookie").is_none(),
                "the commands' own sign-in does not come along"
            );
            assert_eq!(body, json!({"email": "ada@example.org", "password": "hunter2"}));
            let cookies = ["duet_device=mark; Path=/", "duet_session=own; HttpOnly; Path=/"];
            (AppendHeaders(cookies.map(|cookie| (header::SET_COOKIE, cookie))), "{}")
        };
        let who = |headers: HeaderMap| async move { Json(json!(headers["cookie"].to_str().unwrap())) };
        let router = Router::new()
            .route("/v1/auth/sign-in", post(sign_in))
            .route("/who", axum::routing::get(who));
        let commands = Client::inside(router, Some("commands".into()));
        let own = commands
            .sign_in("ada@example.org", &"hunter2".to_owned().into())
            .await
            .unwrap();
        let cookie: String = own.get("/who").await.unwrap();
        assert!(cookie.starts_with("duet_session=own;"), "{cookie}");
    }

    #[tokio::test]
    async fn problems_become_sentences_and_exit_codes() {
        match client().post::<Value>("/refuse", &json!({})).await.unwrap_err() {
            Failure::Say(exit, message) => {
                assert_eq!(exit, Exit::Refused);
                assert_eq!(message, "Not allowed to do it: no.");
            }
            other => panic!("{other}"),
        }
        assert!(matches!(
            client().get::<Value>("/nothing").await.unwrap_err(),
            Failure::Say(Exit::NotFound, _)
        ));
    }

    #[test]
    fn encoding_is_of_utf8_bytes() {
        assert_eq!(encode("a b/ü&"), "a%20b%2F%C3%BC%26");
    }
}
