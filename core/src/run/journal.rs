//! How an effect puts on record what happens in it.

use futures::channel::{mpsc, oneshot};

use crate::{
    domain::{EffectId, NewEvent, NewRequest, RunEvent, UsedApproval},
    refusal::Refusal,
};

/// What an effect has to say, to be written before it continues.
pub(super) struct Entry {
    pub events: Vec<NewEvent>,
    /// What it asks with that.
    pub asks: Option<NewRequest>,
    /// The approval that it uses with that.
    pub uses: Option<UsedApproval>,
    /// Told once the events are in the log and folded; or why they were not written.
    pub written: oneshot::Sender<Result<(), Refusal>>,
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
        // Without a request or an approval there is nothing to refuse.
        let _ = self.enter(events, None, None).await;
    }

    /// Puts a question to a person on record, with what follows from that at once. Refused when the run asks too much.
    pub async fn ask(&self, request: NewRequest, then: Vec<NewEvent>) -> Result<(), Refusal> {
        let asked = RunEvent::Asked {
            effect: request.effect,
            request: request.id,
            kind: request.kind,
            hash: hex::encode(request.arguments.hash()),
        };
        let events = std::iter::once(asked.into()).chain(then).collect();
        self.enter(events, Some(request), None).await
    }

    /// [`Self::note`], making use of an approval. Refused when it does not hold.
    pub async fn note_approved(&self, event: RunEvent, approval: UsedApproval) -> Result<(), Refusal> {
        self.enter(vec![event.into()], None, Some(approval)).await
    }

    async fn enter(&self, events: Vec<NewEvent>, asks: Option<NewRequest>, uses: Option<UsedApproval>) -> Result<(), Refusal> {
        let (written, confirmed) = oneshot::channel();
        let entry = Entry {
            events,
            asks,
            uses,
            written,
        };
        let sent = self.entries.unbounded_send(entry);
        match (sent, confirmed.await) {
            (Ok(()), Ok(answer)) => answer,
            _ => std::future::pending().await,
        }
    }

    /// [`Self::record`] for one event.
    pub async fn note(&self, event: RunEvent) {
        self.record(vec![event.into()]).await;
    }
}
