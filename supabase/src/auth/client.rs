//! The HTTP interface of Supabase Auth (`<project>/auth/v1`), as far as Duet uses it. Requests carry the publishable key as `apikey`
//! and, when a person acts, that person's own token; no other key of the project.
//!
//! Protocol: <https://supabase.com/docs/reference/self-hosting-auth> and the errors at <https://supabase.com/docs/guides/auth/debugging/error-codes>.

use duet_core::ids::UserId;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header::RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{AuthSettings, jwks::KeySet};

/// Maximum size of an answer, in bytes.
const MOST_BYTES: usize = 256 * 1024;
/// The API version, which fixes the form of errors and answers.
const API_VERSION: (&str, &str) = ("x-supabase-api-version", "2024-01-01");
/// The wait when Auth says "too often" without saying how long, in seconds.
const WAIT: u64 = 60;

/// Why Auth did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Address and password do not match.
    #[error("Wrong email or password.")]
    Credentials,
    /// The address was not confirmed.
    #[error("This email address is not confirmed yet. Follow the link in the email that Supabase sent to it, then sign in.")]
    NotConfirmed,
    /// The address may not sign up, or already has an account. The caller is not told which.
    #[error(
        "This address cannot sign up: it needs an open invitation, or it already has an account. Ask an owner for an invitation, or sign in."
    )]
    MayNotSignUp,
    /// The project accepts no sign-ups at all.
    #[error(
        "The Supabase project does not allow sign-ups by email. Whoever runs it has to turn them on (Authentication, Sign In / Providers)."
    )]
    SignUpsOff,
    /// The password is too weak for the project's rules.
    #[error("This password is too weak for the Supabase project. Choose a longer one that you use nowhere else.")]
    WeakPassword,
    /// Not a valid address.
    #[error("Supabase Auth does not accept this email address. Check it.")]
    BadAddress,
    /// The sign-in has ended, or the token was never valid.
    #[error("The sign-in is over. Sign in again.")]
    SignedOut,
    /// Too many requests; retry after this many seconds.
    #[error("Supabase Auth has had too many requests. Try again in {0} s.")]
    TooMany(u64),
    /// The gateway refuses the publishable key.
    #[error(
        "Supabase refuses the publishable key. Whoever runs this Duet has to check `supabase.url` and `supabase.publishable_key`; `duet-api check` says more."
    )]
    BadKey,
    /// Auth cannot be reached, or cannot answer.
    #[error("Supabase Auth cannot be reached or cannot answer now ({0}). Try again shortly.")]
    Unavailable(&'static str),
    /// Auth does not answer as documented.
    #[error("Supabase Auth answers in a way that this Duet does not know ({0}). `duet-api check` says more.")]
    Foreign(&'static str),
}

/// The result of a sign-in.
#[derive(Clone, Debug, Deserialize)]
pub struct TokenPair {
    /// The access token.
    #[serde(deserialize_with = "secret")]
    pub access_token: SecretString,
    /// Gets the next access token, once.
    #[serde(deserialize_with = "secret")]
    pub refresh_token: SecretString,
    /// How long the access token lasts, in seconds.
    pub expires_in: u32,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// The outcome of a sign-up.
#[derive(Clone, Debug)]
pub enum SignedUp {
    /// The person is signed in.
    In(TokenPair),
    /// The person has to follow the link in the message that Auth sent.
    ToConfirm,
}

/// What the project allows (`/settings`).
#[derive(Clone, Debug, Deserialize)]
pub struct ProjectSettings {
    /// Whether sign-ups are disabled.
    #[serde(default)]
    pub disable_signup: bool,
    /// Whether addresses count as confirmed without proof.
    #[serde(default)]
    pub mailer_autoconfirm: bool,
    /// Ways to sign in. An answer without them is not from Auth.
    pub external: External,
}

/// Ways to sign in; only two matter here.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct External {
    /// Email and password.
    #[serde(default)]
    pub email: bool,
    /// No proof at all.
    #[serde(default)]
    pub anonymous_users: bool,
}

/// An error in any of the formats of Auth and the gateway in front of it.
#[derive(Default, Deserialize)]
struct Complaint {
    code: Option<Value>,
    error_code: Option<String>,
    error: Option<String>,
    message: Option<String>,
}

impl Complaint {
    fn code(&self) -> &str {
        self.error_code
            .as_deref()
            .or_else(|| self.code.as_ref().and_then(Value::as_str))
            .or(self.error.as_deref())
            .unwrap_or_default()
    }
}

/// A client of one project's Auth.
#[derive(Debug)]
pub struct AuthClient {
    settings: AuthSettings,
}

/// An address below `<project>/auth/v1`.
pub(super) fn endpoint(project: &Url, path: &str) -> Url {
    let mut url = project.clone();
    url.set_path(&format!("{}/auth/v1{path}", project.path().trim_end_matches('/')));
    url
}

impl AuthClient {
    /// Sends nothing yet.
    pub fn new(settings: AuthSettings) -> Self {
        Self { settings }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let mut url = endpoint(&self.settings.url, path);
        url.set_query(query);
        self.settings
            .client
            .request(method, url)
            .timeout(self.settings.timeout)
            .header("apikey", &self.settings.publishable_key)
            .header(API_VERSION.0, API_VERSION.1)
    }

    /// `POST /signup`: a new person.
    pub async fn sign_up(&self, email: &str, password: &SecretString) -> Result<SignedUp, AuthError> {
        let body = json!({"email": email, "password": password.expose_secret()});
        let answer = send(self.request(Method::POST, "/signup").json(&body)).await?;
        let status = answer.status;
        if status.is_success() {
            let answer: Value = answer.json("no person")?;
            return match answer.get("access_token") {
                Some(_) => serde_json::from_value(answer)
                    .map(SignedUp::In)
                    .map_err(|_| AuthError::Foreign("no tokens")),
                None => Ok(SignedUp::ToConfirm),
            };
        }
        Err(match answer.complaint() {
            AuthError::Credentials | AuthError::SignedOut if status != StatusCode::UNAUTHORIZED => AuthError::MayNotSignUp,
            error => error,
        })
    }

    /// `POST /token?grant_type=password`.
    pub async fn sign_in(&self, email: &str, password: &SecretString) -> Result<TokenPair, AuthError> {
        let body = json!({"email": email, "password": password.expose_secret()});
        self.tokens("/token?grant_type=password", &body, AuthError::Credentials).await
    }

    /// `POST /token?grant_type=refresh_token`. A refresh token works once.
    pub async fn refresh(&self, refresh_token: &SecretString) -> Result<TokenPair, AuthError> {
        let body = json!({"refresh_token": refresh_token.expose_secret()});
        self.tokens("/token?grant_type=refresh_token", &body, AuthError::SignedOut)
            .await
    }

    async fn tokens(&self, grant: &str, body: &Value, refused: AuthError) -> Result<TokenPair, AuthError> {
        let answer = send(self.request(Method::POST, grant).json(body)).await?;
        match answer.status {
            status if status.is_success() => answer.json("no tokens"),
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => {
                Err(match answer.complaint() {
                    AuthError::NotConfirmed => AuthError::NotConfirmed,
                    AuthError::SignUpsOff => AuthError::SignUpsOff,
                    _ => refused,
                })
            }
            _ => Err(answer.complaint()),
        }
    }

    /// `POST /logout`: ends the token's sign-in, or all sign-ins of its person. A sign-in that has already ended is no error.
    pub async fn sign_out(&self, token: &SecretString, everywhere: bool) -> Result<(), AuthError> {
        let path = match everywhere {
            true => "/logout?scope=global",
            false => "/logout?scope=local",
        };
        let answer = send(self.request(Method::POST, path).bearer_auth(token.expose_secret())).await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            _ => match answer.complaint() {
                AuthError::SignedOut => Ok(()),
                error => Err(error),
            },
        }
    }

    /// `GET /user`: whose token it is. [`AuthError::SignedOut`] when Auth rejects it.
    pub async fn user(&self, token: &SecretString) -> Result<Uuid, AuthError> {
        #[derive(Deserialize)]
        struct Person {
            id: UserId,
        }
        let answer = send(self.request(Method::GET, "/user").bearer_auth(token.expose_secret())).await?;
        match answer.status {
            status if status.is_success() => Ok(duet_core::ids::Id::uuid(answer.json::<Person>("no person")?.id)),
            _ => Err(answer.complaint()),
        }
    }

    /// `GET /.well-known/jwks.json`: the keys of the project's tokens.
    pub async fn key_set(&self) -> Result<KeySet, AuthError> {
        let answer = send(self.request(Method::GET, "/.well-known/jwks.json")).await?;
        match answer.status {
            status if status.is_success() => KeySet::read(&answer.body).ok_or(AuthError::Foreign("no key set")),
            _ => Err(answer.complaint()),
        }
    }

    /// `GET /settings`: what the project allows.
    pub async fn settings(&self) -> Result<ProjectSettings, AuthError> {
        let answer = send(self.request(Method::GET, "/settings")).await?;
        match answer.status {
            status if status.is_success() => answer.json("no settings"),
            _ => Err(answer.complaint()),
        }
    }
}

/// An answer, fully read.
struct Answer {
    status: StatusCode,
    retry_after: Option<u64>,
    body: Vec<u8>,
}

impl Answer {
    fn json<T: DeserializeOwned>(&self, what: &'static str) -> Result<T, AuthError> {
        serde_json::from_slice(&self.body).map_err(|_| AuthError::Foreign(what))
    }

    /// The error that an unsuccessful answer means.
    fn complaint(&self) -> AuthError {
        let complaint: Complaint = serde_json::from_slice(&self.body).unwrap_or_default();
        // The status decides when the code is unknown, so that a new code is not mistaken for another.
        match (complaint.code(), self.status) {
            (_, StatusCode::TOO_MANY_REQUESTS) => AuthError::TooMany(self.retry_after.unwrap_or(WAIT).max(1)),
            (_, status) if status.is_server_error() => AuthError::Unavailable("it is in trouble itself"),
            ("email_not_confirmed", _) => AuthError::NotConfirmed,
            ("weak_password", _) => AuthError::WeakPassword,
            ("signup_disabled" | "email_provider_disabled", _) => AuthError::SignUpsOff,
            ("email_address_invalid" | "email_address_not_authorized", _) => AuthError::BadAddress,
            ("user_already_exists" | "email_exists", _) => AuthError::MayNotSignUp,
            ("invalid_credentials" | "invalid_grant", _) => AuthError::Credentials,
            (
                "bad_jwt"
                | "no_authorization"
                | "session_not_found"
                | "session_expired"
                | "user_not_found"
                | "user_banned"
                | "refresh_token_not_found"
                | "refresh_token_already_used",
                _,
            ) => AuthError::SignedOut,
            // The gateway in front of Auth reports errors in other words, or none.
            ("", StatusCode::UNAUTHORIZED) if about_the_key(&complaint) => AuthError::BadKey,
            (_, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => AuthError::SignedOut,
            (_, StatusCode::NOT_FOUND) => AuthError::Foreign("there is no Auth at `supabase.url`"),
            (_, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY) => AuthError::BadAddress,
            _ => AuthError::Foreign("an unknown error"),
        }
    }
}

fn about_the_key(complaint: &Complaint) -> bool {
    complaint
        .message
        .as_deref()
        .is_some_and(|message| message.to_ascii_lowercase().contains("api key"))
}

async fn send(request: RequestBuilder) -> Result<Answer, AuthError> {
    let response = request.send().await.map_err(|error| unreachable(&error))?;
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let body = read(response).await?;
    Ok(Answer {
        status,
        retry_after,
        body,
    })
}

async fn read(mut response: Response) -> Result<Vec<u8>, AuthError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + chunk.len() > MOST_BYTES {
            return Err(AuthError::Foreign("too long an answer"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A description without the address, which the error's own text contains.
fn unreachable(error: &reqwest::Error) -> AuthError {
    AuthError::Unavailable(match () {
        () if error.is_timeout() => "it takes too long",
        () if error.is_connect() => "no connection comes about",
        () if error.is_redirect() || error.is_builder() => "its address leads elsewhere",
        () => "the connection broke",
    })
}
