//! The tasks of the function `worker`.

use lambda_runtime::Error;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How often a worker invokes itself in a row. After that the schedule takes over, so that a mistake cannot loop for ever.
const ROUNDS: u32 = 10;

/// A task of the worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case", deny_unknown_fields)]
pub enum Task {
    /// Drive queued runs.
    Drive {
        /// How often a worker has invoked itself for this.
        #[serde(default)]
        round: u32,
    },
    /// The same, plus maintenance: what has expired, undelivered hints, memories without a vector.
    Sweep,
}

impl Task {
    /// The task after something was queued.
    pub fn first() -> Self {
        Self::Drive { round: 0 }
    }

    /// Reads an event: one of these tasks, or what a schedule sends on its own.
    pub fn of(event: &Value) -> Result<Self, Error> {
        if event["source"] == "aws.events" || event["source"] == "aws.scheduler" {
            return Ok(Self::Sweep);
        }
        serde_json::from_value(event.clone())
            .map_err(|_| "The event is no task of this function: send {\"task\": \"drive\"} or {\"task\": \"sweep\"}.".into())
    }

    /// The next worker's task, if there is to be one.
    pub fn next(&self) -> Option<Self> {
        let round = match self {
            Self::Drive { round } => *round,
            Self::Sweep => 0,
        };
        (round < ROUNDS).then_some(Self::Drive { round: round + 1 })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
