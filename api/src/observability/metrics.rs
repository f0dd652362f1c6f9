//! Counters and timings, in the text format of Prometheus. One recorder per server, so that two of them in one process (as in
//! tests) keep their figures apart.

use std::{sync::Arc, time::Duration};

use duet_core::domain::RunStatus;
use metrics::{counter, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

/// Upper bounds of the latency buckets, in seconds.
const BUCKETS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.35, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];

/// The figures of one server. Cheap to clone. Labels are words from the code and route templates, never what a client sent.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let builder = PrometheusBuilder::new();
        let builder = match PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS) {
            Ok(with_buckets) => with_buckets,
            Err(_) => builder,
        };
        Self {
            recorder: Arc::new(builder.build_recorder()),
        }
    }

    fn with<T>(&self, record: impl FnOnce() -> T) -> T {
        with_local_recorder(&*self.recorder, record)
    }

    /// A request was answered.
    pub fn request(&self, method: &'static str, route: String, status: u16, took: Duration) {
        self.with(|| {
            counter!("duet_http_requests_total", "method" => method, "route" => route.clone(), "status" => status.to_string())
                .increment(1);
            histogram!("duet_http_request_seconds", "method" => method, "route" => route).record(took);
        });
    }

    /// A run ended.
    pub fn run_ended(&self, status: RunStatus) {
        self.with(|| counter!("duet_runs_ended_total", "status" => status.as_str()).increment(1));
    }

    /// Events were appended.
    pub fn appended(&self, events: usize, took: Duration) {
        self.with(|| {
            counter!("duet_run_events_total").increment(events as u64);
            histogram!("duet_run_append_seconds").record(took);
        });
    }

    /// A model's first text or tool call came.
    pub fn first_delta(&self, provider: &str, took: Duration) {
        self.with(|| histogram!("duet_model_first_delta_seconds", "provider" => provider.to_owned()).record(took));
    }

    /// A model call ended.
    pub fn model_call(&self, provider: &str, outcome: &'static str, took: Duration) {
        self.with(|| {
            counter!("duet_model_calls_total", "provider" => provider.to_owned(), "outcome" => outcome).increment(1);
            histogram!("duet_model_call_seconds", "provider" => provider.to_owned()).record(took);
        });
    }

    /// A stream of events was opened; it counts until the guard is dropped.
    pub fn stream_opened(&self) -> OpenStream {
        self.with(|| gauge!("duet_streams_open").increment(1.0));
        OpenStream(self.clone())
    }

    /// The text format, as of now.
    pub fn render(&self) -> String {
        let handle = self.recorder.handle();
        handle.run_upkeep();
        handle.render()
    }
}

/// Counts an open stream.
pub struct OpenStream(Metrics);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.with(|| gauge!("duet_streams_open").decrement(1.0));
    }
}
