//! Live hints inside the process: one broadcast channel for each run and each workspace that somebody listens to.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Notify, broadcast};

use crate::{
    domain::{EventHint, Hint, PersonHint},
    ids::{RunId, WorkspaceId},
    ports::EventFeed,
};

/// Hints that are buffered for a slow listener before it is told that it lagged. A lag counts as a hint.
const CAPACITY: usize = 64;

/// The feed of one process.
#[derive(Default)]
pub struct Feed {
    runs: Channels<RunId, EventHint>,
    people: Channels<WorkspaceId, PersonHint>,
    queued: Arc<Notify>,
}

impl Feed {
    /// Passes a hint on to its listeners.
    pub fn send(&self, hint: Hint) {
        match hint {
            Hint::Run(hint) => self.runs.send(hint.run, hint),
            Hint::Person(hint) => self.people.send(hint.workspace, hint),
            // One permit is kept for a worker that is not waiting now.
            Hint::Queued => self.queued.notify_one(),
        }
    }

    /// The runs that somebody listens to.
    pub fn listened(&self) -> Vec<RunId> {
        self.runs.listened()
    }

    /// Ends all streams, because the process is shutting down.
    pub fn close(&self) {
        self.runs.close();
        self.people.close();
    }
}

impl EventFeed for Feed {
    fn subscribe(&self, run: RunId) -> broadcast::Receiver<EventHint> {
        self.runs.subscribe(run)
    }

    fn people(&self, workspace: WorkspaceId) -> broadcast::Receiver<PersonHint> {
        self.people.subscribe(workspace)
    }

    fn queued(&self) -> Arc<Notify> {
        Arc::clone(&self.queued)
    }
}

/// A channel for each key that somebody listens to.
struct Channels<K, H>(Mutex<HashMap<K, broadcast::Sender<H>>>);

impl<K, H> Default for Channels<K, H> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Copy + Eq + Hash, H: Clone> Channels<K, H> {
    /// Drops the channel once nobody listens.
    fn send(&self, key: K, hint: H) {
        let mut channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if channels.get(&key).is_some_and(|channel| channel.send(hint).is_err()) {
            channels.remove(&key);
        }
    }

    fn subscribe(&self, key: K) -> broadcast::Receiver<H> {
        let mut channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        channels.retain(|_, channel| channel.receiver_count() > 0);
        channels
            .entry(key)
            .or_insert_with(|| broadcast::channel(CAPACITY).0)
            .subscribe()
    }

    fn listened(&self) -> Vec<K> {
        let channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = channels.iter().filter(|(_, channel)| channel.receiver_count() > 0);
        heard.map(|(key, _)| *key).collect()
    }

    fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
