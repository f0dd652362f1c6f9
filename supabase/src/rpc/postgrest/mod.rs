//! Calls over the Data API of a Supabase project (PostgREST), as the person whose access token they carry.
//!
//! Requests use the process's own HTTP client and not the crate `postgrest`: its last release (1.6.0, 2023) depends on reqwest 0.11,
//! which would be a second HTTP and TLS stack without our timeouts, and it panics on a token that is not a valid header. The protocol
//! is one `POST` (<https://docs.postgrest.org/en/stable/references/api/functions.html>).

mod credentials;
mod failure;

use std::time::Duration;

use async_trait::async_trait;
use duet_core::{Env, StoreResult, refusal::Refusal};
use reqwest::{
    Client, Method, Response, StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, HeaderValue},
};
use serde_json::{Map, Value};

pub use self::credentials::InvalidSettings;
use self::failure::Failure;
use super::{Call, Identity, Rpc};

/// How to reach a project's Data API.
#[derive(Clone)]
pub struct PostgrestSettings {
    /// The project's base URL: `https://<project>.supabase.co`.
    pub url: Url,
    /// Its publishable key (`sb_publishable_…`), or the older key of the role `anon`. It identifies the project and grants no rights.
    pub publishable_key: String,
    /// Timeout of one request, including its answer.
    pub timeout: Duration,
    /// The process's HTTP client.
    pub client: Client,
}

impl std::fmt::Debug for PostgrestSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgrestSettings")
            .field("host", &self.url.host_str())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Makes calls as persons, each with their own token. Agents and the server itself are rejected: they use
/// [`WireRpc`](super::WireRpc), because the Data API has no role for them.
pub struct PostgrestRpc {
    functions: Url,
    publishable_key: HeaderValue,
    timeout: Duration,
    client: Client,
    env: Env,
    #[cfg(feature = "testing")]
    tell_time: bool,
}

/// How often a call is tried when it certainly had no effect, or when it failed and may be repeated.
const TRIES: u32 = 4;

/// Longest wait that an answer may ask for before the next try; beyond that the call fails and says so.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// Maximum size of an answer. Functions return pages and one query's candidates, a few megabytes at most.
const LARGEST_ANSWER: usize = 32 << 20;

/// The header in which tests tell a database their time; a shipped database ignores it.
#[cfg(feature = "testing")]
pub const TIME_HEADER: &str = "x-duet-test-now";

impl PostgrestRpc {
    /// Checks the settings; sends nothing yet.
    pub fn new(settings: PostgrestSettings, env: Env) -> Result<Self, InvalidSettings> {
        Ok(Self {
            functions: credentials::functions_url(&settings.url)?,
            publishable_key: credentials::publishable_key(&settings.publishable_key)?,
            timeout: settings.timeout,
            client: settings.client,
            env,
            #[cfg(feature = "testing")]
            tell_time: false,
        })
    }

    /// Sends this transport's clock to the database with each call; only test databases read it.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn telling_time(self) -> Self {
        Self { tell_time: true, ..self }
    }

    async fn once(&self, authorization: &HeaderValue, call: &Call, body: &str) -> Result<Value, Failure> {
        let mut url = self.functions.clone();
        url.set_path(&format!("{}{}", url.path(), call.function));
        let mut request = self
            .client
            .request(Method::POST, url)
            .timeout(self.timeout)
            .header("apikey", self.publishable_key.clone())
            .header(AUTHORIZATION, authorization.clone())
            .header("content-profile", "public")
            .header("content-type", "application/json")
            .header(ACCEPT, "application/json")
            .body(body.to_owned());
        #[cfg(feature = "testing")]
        if self.tell_time {
            request = request.header(TIME_HEADER, self.env.now().to_string());
        }
        request = request.header("x-client-info", concat!("duet/", env!("CARGO_PKG_VERSION")));
        let response = request.send().await.map_err(|error| Failure::of_transport(&error))?;
        let (status, wait) = (response.status(), failure::asked_wait(response.headers()));
        let answer = read(response).await;
        if status == StatusCode::OK {
            return serde_json::from_slice(&answer?).map_err(|_| Failure::Malformed);
        }
        // An unreadable error is identified by its status alone.
        Err(Failure::of_answer(status, wait, &answer.unwrap_or_default()))
    }

    /// The pause before the next try: growing, and with jitter, so that many callers do not return at once.
    fn pause(&self, tried: u32) -> Duration {
        let longest: u64 = 25 << (2 * tried);
        let [chance] = self.env.bytes::<1>();
        Duration::from_millis(longest / 2 + longest * u64::from(chance) / 510)
    }
}

/// Reads an answer up to the largest size.
async fn read(mut response: Response) -> Result<Vec<u8>, Failure> {
    let announced = response.content_length().unwrap_or_default();
    if announced > LARGEST_ANSWER as u64 {
        return Err(Failure::TooLarge);
    }
    let mut answer = Vec::with_capacity(usize::try_from(announced).unwrap_or_default());
    while let Some(chunk) = response.chunk().await.map_err(|error| Failure::of_transport(&error))? {
        if answer.len() + chunk.len() > LARGEST_ANSWER {
            return Err(Failure::TooLarge);
        }
        answer.extend_from_slice(&chunk);
    }
    Ok(answer)
}

#[async_trait]
impl Rpc for PostgrestRpc {
    async fn call(&self, identity: &Identity, call: &Call) -> StoreResult<Value> {
        let Identity::Person { user, access_token } = identity else {
            return Err(Refusal::NoDataApi.of(call.action));
        };
        let Some(token) = access_token else {
            return Err(Refusal::NoAccessToken.of(call.action));
        };
        let authorization = credentials::authorization(*user, token).map_err(|refusal| refusal.of(call.action))?;
        let arguments: Map<String, Value> = call
            .arguments
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.json()))
            .collect();
        let body = Value::Object(arguments).to_string();
        let mut tried = 1;
        loop {
            let failure = match self.once(&authorization, call, &body).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let wait = failure.asked_wait();
            let again = failure.had_no_effect() || (call.repeatable && failure.is_passing());
            if !again || tried == TRIES || wait.is_some_and(|wait| wait > LONGEST_WAIT) {
                return Err(failure.store_error(call));
            }
            self.env.sleep(wait.unwrap_or_default().max(self.pause(tried))).await;
            tried += 1;
        }
    }
}

impl std::fmt::Debug for PostgrestRpc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgrestRpc")
            .field("host", &self.functions.host_str())
            .finish_non_exhaustive()
    }
}
