//! The function `worker`: claims runs and drives them until nothing is left or its time is nearly up. Then it hands back what it
//! holds and has itself invoked again.

use std::time::Duration;

use duet_core::run::Driver;
use lambda_runtime::{Error, LambdaEvent};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    app::{App, Ready},
    platform::left_until,
};

/// Before the end of its time the worker stops, has runs end or hands them back, and invokes its successor.
const MARGIN: Duration = Driver::SHUTDOWN.saturating_add(Duration::from_secs(3));
/// Where the platform tells no deadline.
const UNTOLD: Duration = Duration::from_secs(60);
/// How often a worker has itself invoked in a row. The schedule goes on from there, so that a mistake cannot go round for ever.
const ROUNDS: u32 = 10;
/// Hints taken out of the outbox at once.
const HINTS: usize = 1024;

/// What the worker is invoked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case", deny_unknown_fields)]
pub enum Task {
    /// Drive what is queued.
    Drive {
        /// How often a worker had itself invoked for this.
        #[serde(default)]
        round: u32,
    },
    /// The same, and look after what nobody else does: what has expired, hints nobody delivers, memories without a vector.
    Sweep,
}

impl Task {
    /// Something was queued.
    pub fn first() -> Self {
        Self::Drive { round: 0 }
    }

    /// Reads an event: one of these tasks, or what a schedule sends by itself.
    fn of(event: &Value) -> Result<Self, Error> {
        if event["source"] == "aws.events" || event["source"] == "aws.scheduler" {
            return Ok(Self::Sweep);
        }
        serde_json::from_value(event.clone())
            .map_err(|_| "The event is no task of this function: send {\"task\": \"drive\"} or {\"task\": \"sweep\"}.".into())
    }

    fn next(&self) -> Option<Self> {
        let round = match self {
            Self::Drive { round } => *round,
            Self::Sweep => 0,
        };
        (round < ROUNDS).then_some(Self::Drive { round: round + 1 })
    }
}

/// An instance of the worker.
pub struct Worker {
    app: App,
}

impl Worker {
    /// With these settings.
    pub fn new(app: App) -> Self {
        Self { app }
    }

    /// Does what an event asks for. An error makes the platform try again.
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
        if !done && let (Some(worker), Some(next)) = (&ready.worker, task.next()) {
            worker.invoke(next).await;
        }
        Ok(json!({"done": done}))
    }

    /// Whether nothing was left that can be done now.
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

/// What a server does beside answering requests. None of it is lost when it is cut off: the next sweep does it.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_tasks_or_come_from_a_schedule() {
        let of = |event: Value| Task::of(&event).ok();
        assert_eq!(of(json!({"task": "drive"})), Some(Task::first()));
        assert_eq!(of(json!({"task": "drive", "round": 3})), Some(Task::Drive { round: 3 }));
        assert_eq!(of(json!({"task": "sweep"})), Some(Task::Sweep));
        assert_eq!(of(json!({"source": "aws.events", "detail": {}})), Some(Task::Sweep));
        for event in [
            json!({}),
            json!(null),
            json!({"task": "dance"}),
            json!({"task": "drive", "round": -1}),
            json!([1]),
        ] {
            assert_eq!(of(event.clone()), None, "{event}");
        }
    }

    #[test]
    fn a_worker_does_not_invoke_itself_for_ever() {
        let mut task = Task::Sweep;
        let mut rounds = 0;
        while let Some(next) = task.next() {
            assert_eq!(Task::of(&serde_json::to_value(&next).unwrap()).unwrap(), next);
            task = next;
            rounds += 1;
            assert!(rounds < 100);
        }
        assert_eq!(rounds, ROUNDS);
    }
}
