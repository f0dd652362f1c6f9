//! Ports that measure what passes through them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use duet_core::{
    StoreResult,
    domain::{Commit, Committed, HandBack, Locality, ModelRef, Price, Then},
    ids::{LeaseToken, RunId},
    ports::{ChatModel, ChatRequest, ModelDirectory, ModelError, ModelEvent, ModelStream, RunLog},
};
use futures::StreamExt;

use super::metrics::Metrics;

/// Real elapsed time.
#[derive(Clone, Copy)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "measures how long real work takes; nothing is decided by it"
    )]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }
    pub(super) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// A directory whose models are timed.
pub struct MeasuredModels {
    inner: Arc<dyn ModelDirectory>,
    metrics: Metrics,
}

impl MeasuredModels {
    /// Measures the models of `inner`.
    pub fn new(inner: Arc<dyn ModelDirectory>, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }
}

impl ModelDirectory for MeasuredModels {
    fn default_model(&self) -> ModelRef {
        self.inner.default_model()
    }

    fn model(&self, model: &ModelRef) -> Result<Arc<dyn ChatModel>, ModelError> {
        Ok(Arc::new(MeasuredModel {
            inner: self.inner.model(model)?,
            // Providers are few and named by the operator; models are named by anyone who edits an agent.
            provider: model.provider().into(),
            metrics: self.metrics.clone(),
        }))
    }
}

struct MeasuredModel {
    inner: Arc<dyn ChatModel>,
    provider: Arc<str>,
    metrics: Metrics,
}

/// Records a call when it is over, even if it is dropped midway (a person's stop).
struct CallTimer {
    watch: Stopwatch,
    provider: Arc<str>,
    metrics: Metrics,
    first: bool,
    outcome: &'static str,
}

impl CallTimer {
    fn see(&mut self, event: &Result<ModelEvent, ModelError>) {
        match event {
            Ok(ModelEvent::Text(_) | ModelEvent::ToolCall(_)) if self.first => {
                self.first = false;
                self.metrics.first_delta(&self.provider, self.watch.elapsed());
            }
            Ok(ModelEvent::Stop(stop)) => self.outcome = stop.as_str(),
            Err(error) => self.outcome = error.failure.as_str(),
            Ok(_) => {}
        }
    }
}

impl Drop for CallTimer {
    fn drop(&mut self) {
        self.metrics.model_call(&self.provider, self.outcome, self.watch.elapsed());
    }
}

#[async_trait]
impl ChatModel for MeasuredModel {
    async fn stream(&self, request: ChatRequest) -> Result<ModelStream, ModelError> {
        let mut timer = CallTimer {
            watch: Stopwatch::start(),
            provider: Arc::clone(&self.provider),
            metrics: self.metrics.clone(),
            first: true,
            outcome: "dropped",
        };
        match self.inner.stream(request).await {
            Ok(stream) => Ok(stream.inspect(move |event| timer.see(event)).boxed()),
            Err(error) => {
                timer.outcome = error.failure.as_str();
                Err(error)
            }
        }
    }

    fn locality(&self) -> Locality {
        self.inner.locality()
    }

    fn price(&self) -> Option<Price> {
        self.inner.price()
    }
}

/// A run log whose writes are timed.
pub struct MeasuredRunLog {
    inner: Arc<dyn RunLog>,
    metrics: Metrics,
}

impl MeasuredRunLog {
    /// Measures `inner`.
    pub fn new(inner: Arc<dyn RunLog>, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }
}

#[async_trait]
impl RunLog for MeasuredRunLog {
    async fn commit(&self, run: RunId, lease: LeaseToken, after: u64, commit: Commit) -> StoreResult<Committed> {
        let (watch, count) = (Stopwatch::start(), commit.events.len());
        let ended = match &commit.then {
            Then::Settle(settlement) => Some(settlement.status),
            Then::Keep | Then::Suspend(_) => None,
        };
        let committed = self.inner.commit(run, lease, after, commit).await?;
        self.metrics.appended(count, watch.elapsed());
        if let Some(status) = ended {
            self.metrics.run_ended(status);
        }
        Ok(committed)
    }

    async fn heartbeat(&self, run: RunId, lease: LeaseToken) -> StoreResult<u64> {
        self.inner.heartbeat(run, lease).await
    }

    async fn hand_back(&self, run: RunId, lease: LeaseToken, why: HandBack) -> StoreResult<()> {
        self.inner.hand_back(run, lease, why).await
    }
}
