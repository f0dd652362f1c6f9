//! How one function invokes another: asynchronously, with the official SDK. The platform queues the invocation and answers at once.

use std::{env, time::Duration};

use async_trait::async_trait;
use aws_sdk_lambda::{
    Client,
    config::{BehaviorVersion, Builder, Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{DisplayErrorContext, ProvideErrorMetadata},
    primitives::Blob,
    types::InvocationType,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use duet_api::{command::exit::Failure, state::Dispatch};
use tokio::sync::OnceCell;

use crate::task::Task;

/// Names the function `worker`, by name or ARN.
const WORKER: &str = "DUET_WORKER_FUNCTION";
/// Timeout of one invocation with all its attempts: the waiting person's message is already stored.
const PATIENCE: Duration = Duration::from_secs(4);
/// Timeout of one attempt.
const ATTEMPT: Duration = Duration::from_millis(1500);

/// The function `worker`, as seen by its callers.
pub struct WorkerFunction {
    name: String,
    client: OnceCell<Client>,
}

impl WorkerFunction {
    /// The function that the environment names.
    pub fn from_environment() -> Result<Self, Failure> {
        let name = env::var(WORKER).ok().filter(|name| !name.is_empty());
        let name =
            name.ok_or_else(|| Failure::usage(format!("{WORKER} names no function: set it to the name or ARN of `worker`.")))?;
        Ok(Self {
            name,
            client: OnceCell::new(),
        })
    }

    /// Has a task done. A failure is not reported: whoever depends on the task finds it undone, and does it then.
    pub async fn invoke(&self, task: Task) {
        let client = self.client.get_or_init(client).await;
        let payload = serde_json::to_vec(&task).unwrap_or_default();
        let call = client
            .invoke()
            .function_name(&self.name)
            .invocation_type(InvocationType::Event)
            .payload(Blob::new(payload))
            .send();
        match call.await {
            Ok(_) => {}
            Err(error) => tracing::error!(
                code = error.code(),
                error = %DisplayErrorContext(&error),
                "`worker` could not be invoked; the schedule will find the run"
            ),
        }
    }
}

#[async_trait]
impl Dispatch for WorkerFunction {
    async fn queued(&self) {
        self.invoke(Task::first()).await;
    }
}

/// The SDK's client with the role's credentials, which are in the environment for the lifetime of the instance, and with the same TLS
/// as everything else here.
async fn client() -> Client {
    let read = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(ATTEMPT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(PATIENCE)
        .build();
    let mut config = Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .timeout_config(timeouts)
        .region(read("AWS_REGION").or_else(|| read("AWS_DEFAULT_REGION")).map(Region::new));
    if let (Some(key), Some(secret)) = (read("AWS_ACCESS_KEY_ID"), read("AWS_SECRET_ACCESS_KEY")) {
        let credentials = Credentials::new(key, secret, read("AWS_SESSION_TOKEN"), None, "lambda");
        config = config.credentials_provider(credentials);
    }
    if let Some(endpoint) = read("AWS_ENDPOINT_URL_LAMBDA").or_else(|| read("AWS_ENDPOINT_URL")) {
        config = config.endpoint_url(endpoint);
    }
    Client::from_conf(config.build())
}
