//! The function `worker`: claims runs and drives them until nothing is left or its time is nearly up. Then it hands back the runs it
//! holds and invokes itself again.

use std::time::Duration;

use duet_core::run::Driver;
use lambda_runtime::{Error, LambdaEvent};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    app::{App, Ready},
    platform::left_until,
    task::Task,
};

/// How long before its deadline the worker stops, lets runs end or hands them back, and invokes its successor.
const MARGIN: Duration = Driver::SHUTDOWN.saturating_add(Duration::from_secs(3));
/// The time limit if the platform sends no deadline.
const UNTOLD: Duration = Duration::from_secs(60);
/// Maximum number of hints taken from the outbox at once.
const HINTS: usize = 1024;

/// An instance of the worker.
pub struct Worker {
    app: App,
}

impl Worker {
    /// With this instance.
    pub fn new(app: App) -> Self {
        Self { app }
    }

    /// Handles an event. An error makes the platform retry.
    pub async fn handle(&self, event: LambdaEvent<Value>) -> Result<Value, Error> {
        let task = Task::of(&event.payload)?;
        let ready = match self.app.ready().await {
            Ok(ready) => ready,
            Err(failure) => {
                tracing::error!(reason = %failure, "not ready");
                return Err(format!("The worker cannot start: {failure}").into());
            }
        };
        let now = ready.state.env().now();
        let time = left_until(event.context.deadline, now)
            .unwrap_or(UNTOLD)
            .saturating_sub(MARGIN);
        let stop = watch::Sender::new(time.is_zero());
        let work = self.work(ready, &task, stop.subscribe());
        tokio::pin!(work);
        let done = tokio::select! {
            done = &mut work => done,
            () = tokio::time::sleep(time) => {
                stop.send_replace(true);
                work.await
            }
        };
        if !done && let Some(next) = task.next() {
            ready.worker.invoke(next).await;
        }
        Ok(json!({"done": done}))
    }

    /// Whether nothing was left to do for now.
    async fn work(&self, ready: &Ready, task: &Task, stop: watch::Receiver<bool>) -> bool {
        let concurrency = usize::try_from(ready.state.config().worker.concurrency).unwrap_or(1);
        let driving = ready.state.driver().work_off(stop.clone(), concurrency);
        if *task != Task::Sweep {
            return driving.await;
        }
        let mut stop = stop;
        let sweeping = async {
            tokio::select! {
                () = sweep(ready) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        };
        let (done, ()) = tokio::join!(driving, sweeping);
        done
    }
}

/// What a server does besides answering requests. Nothing is lost if it is cut off: the next sweep does it.
async fn sweep(ready: &Ready) {
    let system = &ready.state.stores().system;
    match system.sweep().await {
        Ok(0) => {}
        Ok(rows) => tracing::info!(rows, "swept what had expired"),
        Err(error) => tracing::warn!(%error, "could not sweep; the next schedule tries again"),
    }
    loop {
        match system.take_outbox(HINTS).await {
            Ok(hints) if hints.len() < HINTS => break,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "the outbox could not be emptied; the next schedule tries again");
                break;
            }
        }
    }
    if ready.state.embedder().is_some() {
        match ready.state.memories().embed_backlog(&|_| {}).await {
            Ok(report) if report.failed > 0 => tracing::warn!(
                embedded = report.embedded,
                failed = report.failed,
                "some memories could not be embedded; full text finds them meanwhile"
            ),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the embedding backlog could not be worked off; the next schedule tries again"),
        }
    }
}
