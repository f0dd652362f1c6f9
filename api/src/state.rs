//! The state that every handler can reach.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use duet_core::{
    Env, Timestamp,
    domain::TurnLimits,
    ids::SessionId,
    memory::Memories,
    ports::{Embedder, ModelDirectory, Stores},
    run::{Advice, Driver, DriverParts},
    tools::ToolRegistry,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use zeroize::Zeroizing;

use crate::{
    auth::{device::Devices, issuer::Issuer, origin::Origins, token::Tokens},
    config::Config,
    error::{ApiResult, Code, Problem},
    limits::Limits,
    observability::{
        measured::{MeasuredModels, MeasuredRunLog},
        metrics::Metrics,
    },
};

/// Where an installation keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One encrypted file on one machine, served by one process.
    Local,
    /// Postgres, served by any number of processes.
    Server,
}

/// What a deployment provides.
pub struct AppParts {
    /// Where the data is.
    pub mode: Mode,
    /// The settings.
    pub config: Config,
    /// Time and randomness.
    pub env: Env,
    /// The stores.
    pub stores: Stores,
    /// The models.
    pub models: Arc<dyn ModelDirectory>,
    /// The embedder, if there is one.
    pub embedder: Option<Arc<dyn Embedder>>,
    /// The tools that runs may use.
    pub tools: Arc<ToolRegistry>,
    /// Where to find what to do about a model that fails.
    pub advice: Advice,
    /// The key that signs access tokens; the same for every process of an installation.
    pub signing_key: Zeroizing<[u8; 32]>,
}

/// Leaves driving runs to other processes.
#[async_trait]
pub trait Dispatch: Send + Sync {
    /// Tells them that a run was queued, or was asked to stop or to pause. That is already durable: if they cannot be told, this logs it, and
    /// they find the run on their own later.
    async fn queued(&self);
}

/// Shared by all handlers. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    inner: Arc<Inner>,
}

/// How long the result of a test write counts: probes are frequent, and each would be a write.
const PROOF: Duration = Duration::from_secs(5);

/// Whether something could be written, and when.
struct Proof {
    at: Timestamp,
    outcome: ApiResult<()>,
}

struct Inner {
    mode: Mode,
    config: Config,
    env: Env,
    stores: Stores,
    models: Arc<dyn ModelDirectory>,
    embedder: Option<Arc<dyn Embedder>>,
    tools: Arc<ToolRegistry>,
    memories: Memories,
    driver: Driver,
    tokens: Tokens,
    devices: Devices,
    /// Newest last; a process makes two a day.
    vouched: Mutex<Vec<SessionId>>,
    issuer: Option<Arc<dyn Issuer>>,
    origins: Origins,
    limits: Limits,
    metrics: Metrics,
    wake: Arc<Notify>,
    dispatch: OnceLock<Arc<dyn Dispatch>>,
    backlog: Notify,
    proof: tokio::sync::Mutex<Option<Proof>>,
    closing: watch::Sender<bool>,
    working: watch::Sender<bool>,
}

impl AppState {
    /// Puts the parts together. Models and the run log are measured from here on.
    pub fn new(parts: AppParts) -> Self {
        Self::made_of(parts, None)
    }

    /// The same, with an outside issuer.
    pub fn with_issuer(parts: AppParts, issuer: Arc<dyn Issuer>) -> Self {
        Self::made_of(parts, Some(issuer))
    }

    fn made_of(parts: AppParts, issuer: Option<Arc<dyn Issuer>>) -> Self {
        let metrics = Metrics::new();
        let models: Arc<dyn ModelDirectory> = Arc::new(MeasuredModels::new(parts.models, metrics.clone()));
        let mut stores = parts.stores;
        stores.run_log = Arc::new(MeasuredRunLog::new(stores.run_log, metrics.clone()));
        let driver = Driver::new(DriverParts {
            env: parts.env.clone(),
            stores: stores.clone(),
            models: Arc::clone(&models),
            embedder: parts.embedder.clone(),
            tools: Arc::clone(&parts.tools),
            lease: (&parts.config.worker).into(),
            advice: parts.advice,
        });
        let memories = Memories::new(
            parts.env.clone(),
            Arc::clone(&stores.memories),
            Arc::clone(&stores.system),
            parts.embedder.clone(),
        );
        Self {
            inner: Arc::new(Inner {
                mode: parts.mode,
                origins: Origins::new(&parts.config.server),
                limits: Limits::new(&parts.config.limits),
                tokens: Tokens::new(&parts.signing_key),
                devices: Devices::new(&parts.signing_key),
                vouched: Mutex::default(),
                issuer,
                config: parts.config,
                env: parts.env,
                stores,
                models,
                embedder: parts.embedder,
                tools: parts.tools,
                memories,
                driver,
                metrics,
                wake: Arc::new(Notify::new()),
                dispatch: OnceLock::new(),
                backlog: Notify::new(),
                proof: tokio::sync::Mutex::default(),
                closing: watch::Sender::new(false),
                working: watch::Sender::new(false),
            }),
        }
    }

    /// Where the data is.
    pub fn mode(&self) -> Mode {
        self.inner.mode
    }
    /// The settings.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }
    /// Time and randomness.
    pub fn env(&self) -> &Env {
        &self.inner.env
    }
    /// The stores.
    pub fn stores(&self) -> &Stores {
        &self.inner.stores
    }
    /// The models.
    pub fn models(&self) -> &Arc<dyn ModelDirectory> {
        &self.inner.models
    }
    /// The embedder, if there is one.
    pub fn embedder(&self) -> Option<&Arc<dyn Embedder>> {
        self.inner.embedder.as_ref()
    }
    /// The tools that runs may use.
    pub fn tools(&self) -> &ToolRegistry {
        &self.inner.tools
    }
    /// Remember and recall, making vectors as needed.
    pub fn memories(&self) -> &Memories {
        &self.inner.memories
    }
    /// What drives runs.
    pub fn driver(&self) -> &Driver {
        &self.inner.driver
    }
    /// The outside issuer, if it is not Duet itself that signs people in.
    pub fn issuer(&self) -> Option<&Arc<dyn Issuer>> {
        self.inner.issuer.as_ref()
    }
    /// Access tokens of the built-in issuer.
    pub fn tokens(&self) -> &Tokens {
        &self.inner.tokens
    }
    /// Browsers that have signed in before.
    pub fn devices(&self) -> &Devices {
        &self.inner.devices
    }
    /// Makes this sign-in, which the process made and keeps for its machine's commands, count as a recent one; the previous one
    /// no longer does. Anyone who can read its secret is the person who runs the process.
    pub fn vouch_for(&self, session: SessionId) {
        self.inner
            .vouched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(session);
    }
    /// Whether it is that sign-in.
    pub(crate) fn vouches_for(&self, session: SessionId) -> bool {
        self.inner.vouched.lock().unwrap_or_else(PoisonError::into_inner).last() == Some(&session)
    }
    /// Whether it is or was that sign-in: a program of this machine may have it, so it proves no person.
    pub(crate) fn has_vouched_for(&self, session: SessionId) -> bool {
        self.inner
            .vouched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&session)
    }
    /// Which hosts and origins are this server's.
    pub fn origins(&self) -> &Origins {
        &self.inner.origins
    }
    /// Rates and streams.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }
    /// Counters and timings.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }
    /// Bounds of a turn.
    pub fn turn_limits(&self) -> TurnLimits {
        (&self.inner.config.turn).into()
    }
    /// How long a sign-in lasts.
    pub fn session_lifetime(&self) -> Duration {
        Duration::from_secs(u64::from(self.inner.config.auth.session_days) * 24 * 3600)
    }

    /// Leaves runs to other processes, which are told of each. Only the first call counts.
    pub fn leave_runs_to(&self, dispatch: Arc<dyn Dispatch>) {
        if self.inner.dispatch.set(dispatch).is_ok() {
            self.set_working(true);
        }
    }
    /// Tells whatever drives runs that one was queued, or was asked to stop.
    pub async fn wake_driver(&self) {
        match self.inner.dispatch.get() {
            Some(dispatch) => dispatch.queued().await,
            None => self.inner.wake.notify_one(),
        }
    }
    /// The driver's alarm clock.
    pub(crate) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.inner.wake)
    }
    /// Tells the embedding task that a memory may lack its vector.
    pub fn wake_backlog(&self) {
        self.inner.backlog.notify_one();
    }
    /// Waits for [`Self::wake_backlog`].
    pub(crate) async fn backlog_grew(&self) {
        self.inner.backlog.notified().await;
    }

    /// Whether anything can be written, as of the last few seconds.
    pub async fn writable(&self) -> ApiResult<()> {
        let mut last = self.inner.proof.lock().await;
        let now = self.env().now();
        if let Some(proof) = last.as_ref().filter(|proof| proof.at <= now && now.since(proof.at) < PROOF) {
            return proof.outcome.clone();
        }
        let proved = self.stores().system.prove_writable().await;
        let outcome = proved.map_err(|error| Problem::new(Code::Unavailable, error.to_string()));
        *last = Some(Proof {
            at: self.env().now(),
            outcome: outcome.clone(),
        });
        outcome
    }

    /// Becomes true when the server stops: open streams end.
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.inner.closing.subscribe()
    }
    /// Begins the shutdown.
    pub(crate) fn close(&self) {
        self.inner.closing.send_replace(true);
    }
    /// Whether runs are being driven.
    pub fn is_working(&self) -> bool {
        *self.inner.working.borrow()
    }
    /// Records whether runs are being driven.
    pub(crate) fn set_working(&self, working: bool) {
        self.inner.working.send_replace(working);
    }
}
