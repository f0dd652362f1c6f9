//! Live hints inside the process: one broadcast channel for each run that somebody listens to.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::broadcast;

use crate::{domain::EventHint, ids::RunId, ports::EventFeed};

/// Hints that are buffered for a slow listener before it is told that it lagged. A lag counts as a hint.
const CAPACITY: usize = 64;

/// The feed of one process.
#[derive(Default)]
pub struct Feed {
    channels: Mutex<HashMap<RunId, broadcast::Sender<EventHint>>>,
}

impl Feed {
    /// Passes a hint on to the run's listeners, and drops the channel once there are none.
    pub fn send(&self, hint: EventHint) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if channels.get(&hint.run).is_some_and(|channel| channel.send(hint).is_err()) {
            channels.remove(&hint.run);
        }
    }

    /// The runs that somebody listens to.
    pub fn listened(&self) -> Vec<RunId> {
        let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = channels.iter().filter(|(_, channel)| channel.receiver_count() > 0);
        heard.map(|(run, _)| *run).collect()
    }

    /// Ends all streams, because the process is shutting down.
    pub fn close(&self) {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl EventFeed for Feed {
    fn subscribe(&self, run: RunId) -> broadcast::Receiver<EventHint> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.retain(|_, channel| channel.receiver_count() > 0);
        channels
            .entry(run)
            .or_insert_with(|| broadcast::channel(CAPACITY).0)
            .subscribe()
    }
}
