//! The tasks of a server: requests, runs, the embedding backlog, sweeping; and how they end.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use axum::Router;
use duet_core::run::Driver;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tracing::{error, info, warn};

use crate::{anchors, connections, state::AppState};

/// Between two checks of the embedding backlog when nobody reports that it has grown.
const BACKLOG_POLL: Duration = Duration::from_secs(60);
/// A driver that is still running this long after it should have ended is given up.
const SPARE: Duration = Duration::from_secs(3);
/// How long the last anchor of the audit logs may take.
const LAST_ANCHOR: Duration = Duration::from_secs(5);
/// Between two log lines about a long backlog.
const PROGRESS_STEP: u64 = 1_000;

/// Serves until `shutdown` resolves: requests on `listener`, and in this process the driver of runs, the embedding backlog and
/// the sweeper. After that no connection is accepted, open streams end, requests and runs get the grace period of the settings,
/// and unfinished runs are handed back for the next start.
pub async fn serve(listener: TcpListener, router: Router, state: AppState, shutdown: impl Future<Output = ()> + Send + 'static) {
    let grace = Duration::from_secs(state.config().server.shutdown_grace_seconds);
    let tasks = Tasks::start(&state, grace);
    let closing = state.closing();
    let trigger = {
        let state = state.clone();
        tokio::spawn(async move {
            shutdown.await;
            info!("stopping");
            state.close();
        })
    };
    let serving = async {
        tokio::select! {
            () = connections::serve(listener, router, state.config(), closing.clone()) => {}
            () = async {
                turned(closing.clone()).await;
                tokio::time::sleep(grace).await;
            } => warn!("some requests did not end in time and were cut"),
        }
        state.close();
    };
    // Requests and runs have the same time, and no further run is taken up.
    let working = async {
        turned(closing.clone()).await;
        tasks.stop().await;
    };
    tokio::join!(serving, working);
    trigger.abort();
}

/// Resolves once the value is true (or nobody can set it any more).
pub(crate) async fn turned(mut receiver: watch::Receiver<bool>) {
    let _ = receiver.wait_for(|value| *value).await;
}

/// What a process does besides answering requests: drives runs, embeds what lacks a vector, sweeps.
pub struct Tasks {
    stop: watch::Sender<bool>,
    grace: Duration,
    driver: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
    stop_anchors: watch::Sender<bool>,
    anchors: JoinHandle<()>,
}

impl Tasks {
    /// Starts the tasks; runs in progress at the end may continue for `grace`.
    pub fn start(state: &AppState, grace: Duration) -> Self {
        let stop = watch::Sender::new(false);
        let stop_anchors = watch::Sender::new(false);
        Self {
            grace,
            anchors: tokio::spawn(anchors::keep(state.clone(), stop_anchors.subscribe())),
            stop_anchors,
            driver: tokio::spawn(drive(state.clone(), stop.subscribe(), grace)),
            others: vec![
                tokio::spawn(embed(state.clone(), stop.subscribe())),
                tokio::spawn(sweep(state.clone(), stop.subscribe())),
            ],
            stop,
        }
    }

    /// Lets runs end within the grace period; unfinished ones are handed back.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let abort = self.driver.abort_handle();
        if tokio::time::timeout(self.grace + Driver::HANDING_BACK + SPARE, self.driver)
            .await
            .is_err()
        {
            warn!("runs did not end in time; their leases will");
            abort.abort();
        }
        for task in self.others {
            task.abort();
        }
        // Last, so that the runs' last entries are anchored too.
        self.stop_anchors.send_replace(true);
        if tokio::time::timeout(LAST_ANCHOR, self.anchors).await.is_err() {
            warn!("the audit logs were not anchored once more");
        }
    }
}

/// Drives runs; restarts the driver if it fails, since nobody would be answered without it.
async fn drive(state: AppState, stop: watch::Receiver<bool>, grace: Duration) {
    let concurrency = usize::try_from(state.config().worker.concurrency).unwrap_or(1);
    while !*stop.borrow() {
        state.set_working(true);
        let (driver, stop, wake) = (state.driver().clone(), stop.clone(), state.wake());
        let work = AbortOnDrop(tokio::spawn(async move { driver.work(stop, wake, concurrency, grace).await }));
        let ended = work.join().await;
        state.set_working(false);
        if ended.is_err() {
            error!("the driver of runs fell over; starting it again");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl AbortOnDrop {
    async fn join(mut self) -> Result<(), tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Embeds what lacks a vector: when a memory was written without one, and at intervals.
async fn embed(state: AppState, stop: watch::Receiver<bool>) {
    if state.embedder().is_none() {
        return;
    }
    let told = AtomicU64::new(0);
    while !*stop.borrow() {
        let progress = |at: duet_core::domain::EmbeddingProgress| {
            let step = at.embedded / PROGRESS_STEP;
            if told.swap(step, Ordering::Relaxed) != step {
                info!(embedded = at.embedded, total = at.total, "embedding memories");
            }
        };
        match state.memories().embed_backlog(&progress).await {
            Ok(report) if report.failed > 0 => warn!(
                embedded = report.embedded,
                failed = report.failed,
                "some memories could not be embedded; full text finds them meanwhile"
            ),
            Ok(report) if report.embedded > 0 => info!(embedded = report.embedded, "memories embedded"),
            Ok(_) => {}
            Err(error) => warn!(%error, "the embedding backlog could not be worked off; trying again"),
        }
        let mut stop = stop.clone();
        tokio::select! {
            () = state.backlog_grew() => {}
            () = tokio::time::sleep(BACKLOG_POLL) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Deletes what has expired, and forgets idle addresses.
async fn sweep(state: AppState, mut stop: watch::Receiver<bool>) {
    let pause = Duration::from_secs(state.config().worker.sweep_seconds);
    while !*stop.borrow() {
        match state.stores().system.sweep().await {
            Ok(0) => {}
            Ok(rows) => info!(rows, "swept what had expired"),
            Err(error) => warn!(%error, "could not sweep; trying again"),
        }
        state.limits().forget_quiet(state.env().now());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.changed() => {}
        }
    }
}
