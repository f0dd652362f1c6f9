//! How an effect puts on record what happens in it.

use futures::channel::{mpsc, oneshot};

use crate::domain::{EffectId, NewEvent, RunEvent};

/// What an effect has to say, to be written before it continues.
pub(super) struct Entry {
    pub events: Vec<NewEvent>,
    /// Told once the events are in the log and folded.
    pub written: oneshot::Sender<()>,
}

/// An effect's access to the log of its run.
pub(super) struct Journal {
    pub id: EffectId,
    entries: mpsc::UnboundedSender<Entry>,
}

impl Journal {
    pub fn new(id: EffectId, entries: mpsc::UnboundedSender<Entry>) -> Self {
        Self { id, entries }
    }

    /// Returns once the events are in the log. If the run has come to want something else by then, it never returns: the effect is
    /// dropped.
    pub async fn record(&self, events: Vec<NewEvent>) {
        let (written, confirmed) = oneshot::channel();
        let sent = self.entries.unbounded_send(Entry { events, written });
        if sent.is_err() || confirmed.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// [`Self::record`] for one event.
    pub async fn note(&self, event: RunEvent) {
        self.record(vec![event.into()]).await;
    }
}
