//! Live hints, in this process and between processes.
//!
//! Appends by this process reach its own listeners at once. The relay then empties the outbox, many hints at a time, which notifies
//! the other processes (`driver.take_outbox`; a notification in every append would make appends wait for each other). It listens for
//! their notifications on a connection of its own. If notifications do not arrive (the connection broke, or there is a pooler in
//! between), it polls the heads of the runs that have listeners here every second.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use duet_core::{
    StoreResult,
    domain::{EventHint, Hint, PersonHint},
    feed::Feed,
    ids::{Id, RunId, WorkspaceId},
    ports::EventFeed,
};
use sqlx::postgres::{PgConnectOptions, PgListener, PgNotification, PgPoolOptions};
use tokio::{
    sync::{Notify, broadcast},
    task::AbortHandle,
    time,
};

use super::contract::Contract;
use crate::rpc::Call;

/// The channel of runs: a run's id and its newest `seq`.
const RUNS: &str = "duet_run";
/// The channel of all other hints, as JSON.
const OTHERS: &str = "duet_hint";
/// How often the outbox is polled, and the pause before the listener reconnects.
const POLL: Duration = Duration::from_secs(1);
/// The first hint is sent at once; further ones within this time are combined into one notification.
const GATHER: Duration = Duration::from_millis(50);
/// Maximum number of hints taken from the outbox at a time.
const BATCH: usize = 1024;

/// The feed of one process and, if it listens, the task that feeds it. The task ends with the last of its stores.
#[derive(Default)]
pub struct LiveFeed {
    feed: Arc<Feed>,
    grown: Arc<Notify>,
    relay: Option<AbortHandle>,
}

impl Drop for LiveFeed {
    fn drop(&mut self) {
        if let Some(relay) = &self.relay {
            relay.abort();
        }
        self.feed.close();
    }
}

impl EventFeed for LiveFeed {
    fn subscribe(&self, run: RunId) -> broadcast::Receiver<EventHint> {
        self.feed.subscribe(run)
    }

    fn people(&self, workspace: WorkspaceId) -> broadcast::Receiver<PersonHint> {
        self.feed.people(workspace)
    }

    fn queued(&self) -> Arc<Notify> {
        self.feed.queued()
    }
}

impl LiveFeed {
    /// A feed that listens, in a task on the current runtime.
    pub fn listening(contract: Contract, connect: PgConnectOptions) -> Self {
        let feed = Arc::new(Feed::default());
        let grown = Arc::new(Notify::new());
        let relay = Relay {
            contract,
            feed: Arc::clone(&feed),
            grown: Arc::clone(&grown),
            hears: AtomicBool::new(false),
        };
        let task = tokio::spawn(async move {
            tokio::join!(relay.listen(connect), relay.poll());
        });
        Self {
            feed,
            grown,
            relay: Some(task.abort_handle()),
        }
    }

    /// Announces what this process has appended.
    pub fn appended(&self, run: RunId, last_seq: u64) {
        self.feed.send(Hint::Run(EventHint { run, last_seq }));
        self.stirred();
    }

    /// This process has put something into the outbox.
    pub fn stirred(&self) {
        self.grown.notify_one();
    }

    /// Takes hints from the outbox and passes them on.
    pub async fn take_outbox(&self, contract: &Contract, limit: usize) -> StoreResult<Vec<Hint>> {
        take_outbox(contract, &self.feed, limit).await
    }
}

async fn take_outbox(contract: &Contract, feed: &Feed, limit: usize) -> StoreResult<Vec<Hint>> {
    let call = Call::new("take_outbox").arg("p_limit", i32::try_from(limit).unwrap_or(i32::MAX));
    let hints: Vec<Hint> = contract.as_driver(call).await?;
    for hint in &hints {
        feed.send(*hint);
    }
    Ok(hints)
}

struct Relay {
    contract: Contract,
    feed: Arc<Feed>,
    /// This process has put something into the outbox.
    grown: Arc<Notify>,
    /// Whether notifications arrive.
    hears: AtomicBool,
}

impl Relay {
    async fn listen(&self, connect: PgConnectOptions) {
        let mut told = false;
        loop {
            let outcome = self.hear(connect.clone()).await;
            let heard = self.hears.swap(false, Ordering::Relaxed);
            if let Err(error) = outcome
                && (heard || !told)
            {
                told = true;
                tracing::warn!(
                    error = crate::error::kind(&error),
                    "live hints: the database does not notify; asking it every second"
                );
            }
            time::sleep(POLL).await;
        }
    }

    /// Passes notifications on until the connection breaks.
    async fn hear(&self, connect: PgConnectOptions) -> Result<(), sqlx::Error> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect_lazy_with(connect.application_name("duet relay"));
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen_all([RUNS, OTHERS]).await?;
        self.hears.store(true, Ordering::Relaxed);
        // What was appended before it listened.
        self.catch_up().await;
        while let Some(notification) = listener.try_recv().await? {
            match hint(&notification) {
                Some(hint) => self.feed.send(hint),
                None => tracing::warn!("live hints: a notification that is none of Duet's"),
            }
        }
        Ok(())
    }

    async fn poll(&self) {
        let mut ticks = time::interval(POLL);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.grown.notified() => {}
            }
            if !self.hears.load(Ordering::Relaxed) {
                self.catch_up().await;
            }
            loop {
                match take_outbox(&self.contract, &self.feed, BATCH).await {
                    Ok(hints) if hints.len() == BATCH => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::warn!(%error, "the outbox could not be emptied; readers go by the log");
                        break;
                    }
                }
            }
            time::sleep(GATHER).await;
        }
    }

    /// Tells listeners how far their runs are.
    async fn catch_up(&self) {
        let runs: Vec<_> = self.feed.listened().into_iter().map(Id::uuid).collect();
        if runs.is_empty() {
            return;
        }
        let call = Call::repeatable("run_heads").arg("p_runs", runs);
        match self.contract.as_driver::<Vec<EventHint>>(call).await {
            Ok(hints) => hints.into_iter().for_each(|hint| self.feed.send(Hint::Run(hint))),
            Err(error) => tracing::warn!(%error, "live hints: the runs' heads could not be read; readers go by the log"),
        }
    }
}

fn hint(notification: &PgNotification) -> Option<Hint> {
    let payload = notification.payload();
    if notification.channel() == OTHERS {
        return serde_json::from_str(payload).ok();
    }
    let (run, last_seq) = payload.split_once(' ')?;
    Some(Hint::Run(EventHint {
        run: run.parse().ok()?,
        last_seq: last_seq.parse().ok()?,
    }))
}
