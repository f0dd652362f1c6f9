//! Hints to a person: what of theirs may have changed, so that their pages read it again. Nothing is read here.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use duet_core::{
    domain::{Changed, PersonHint},
    ids::UserId,
};
use futures::{Stream, stream};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        watch,
    },
    time::{Instant, sleep_until},
};

use super::{
    follow::{Pace, StillAllowed},
    sse,
};

/// Hints come in bursts, one for each write of a run: what comes within this time after the first is told together.
const GATHERED: Duration = Duration::from_millis(100);

/// What a person's pages are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ChangedData {
    /// What may have changed.
    pub changed: Changed,
}

/// One server-sent event of a person's feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FeedItem {
    /// `event:`, always `changed`.
    #[schema(example = "changed")]
    pub event: String,
    /// `data:`, as JSON on one line.
    pub data: ChangedData,
}

/// Whose feed it is, and how it goes.
pub struct Listener {
    /// The person.
    pub user: UserId,
    /// The hints of their workspace.
    pub hints: broadcast::Receiver<PersonHint>,
    /// Asks whether they may still read.
    pub allowed: Arc<dyn StillAllowed>,
    /// Becomes true when the server stops.
    pub closing: watch::Receiver<bool>,
    /// How patient the stream is.
    pub pace: Pace,
    /// How often everything counts as changed, where no hints arrive.
    pub untold: Option<Duration>,
}

struct Live<G> {
    listener: Listener,
    next_keep_alive: Instant,
    next_recheck: Instant,
    next_untold: Option<Instant>,
    ends_at: Option<Instant>,
    /// What to tell next, and when.
    changed: BTreeSet<Changed>,
    due: Option<Instant>,
    over: bool,
    _guard: G,
}

/// The feed as bytes. It begins with everything, since hints may have been missed, and ends when the person may no longer read or the
/// server stops. `guard` lives as long as the stream.
pub fn bytes<G: Send + 'static>(listener: Listener, guard: G) -> impl Stream<Item = Bytes> + Send + 'static {
    let (now, pace) = (now(), listener.pace);
    let live = Live {
        next_keep_alive: now + pace.keep_alive,
        next_recheck: now + pace.recheck,
        next_untold: listener.untold.map(|untold| now + untold),
        ends_at: pace.longest.map(|longest| now + longest),
        changed: Changed::ALL.iter().copied().collect(),
        due: Some(now),
        over: false,
        listener,
        _guard: guard,
    };
    stream::unfold(live, |mut live| async move { live.next().await.map(|chunk| (chunk, live)) })
}

fn now() -> Instant {
    Instant::now()
}

impl<G> Live<G> {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.over || *self.listener.closing.borrow() || self.ends_at.is_some_and(|end| now() >= end) {
                return None;
            }
            if now() >= self.next_recheck {
                self.next_recheck = now() + self.listener.pace.recheck;
                if !self.listener.allowed.still_allowed().await {
                    return None;
                }
            }
            if self.next_untold.is_some_and(|at| now() >= at) {
                self.next_untold = self.listener.untold.map(|untold| now() + untold);
                self.gather(Changed::ALL);
            }
            if self.due.is_some_and(|due| now() >= due) {
                self.due = None;
                self.next_keep_alive = now() + self.listener.pace.keep_alive;
                return Some(encode(&std::mem::take(&mut self.changed)));
            }
            if now() >= self.next_keep_alive {
                self.next_keep_alive = now() + self.listener.pace.keep_alive;
                return Some(Bytes::from_static(sse::KEEP_ALIVE));
            }
            self.wait().await;
        }
    }

    fn gather(&mut self, changed: &[Changed]) {
        self.changed.extend(changed);
        self.due.get_or_insert_with(|| now() + GATHERED);
    }

    /// Waits until there may be something to do.
    async fn wait(&mut self) {
        let others = [self.due, self.next_untold, self.ends_at].into_iter().flatten();
        let wake = others.fold(self.next_keep_alive.min(self.next_recheck), Instant::min);
        tokio::select! {
            hint = self.listener.hints.recv() => match hint {
                Ok(hint) if hint.user == self.listener.user => self.gather(&[hint.changed]),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => self.gather(Changed::ALL),
                Err(RecvError::Closed) => self.over = true,
            },
            () = sleep_until(wake) => {}
            changed = self.listener.closing.changed() => self.over |= changed.is_err(),
        }
    }
}

fn encode(changed: &BTreeSet<Changed>) -> Bytes {
    let frames = changed.iter().map(|changed| {
        let data = serde_json::to_string(&ChangedData { changed: *changed }).unwrap_or_default();
        format!("event: changed\ndata: {data}\n\n")
    });
    frames.collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use duet_core::ids::{Id, WorkspaceId};
    use futures::{StreamExt, stream::BoxStream};
    use uuid::Uuid;

    use super::*;

    const RUNS: &str = "event: changed\ndata: {\"changed\":\"runs\"}\n\n";
    const INBOX: &str = "event: changed\ndata: {\"changed\":\"inbox\"}\n\n";

    struct Allowed(watch::Receiver<bool>);

    #[async_trait]
    impl StillAllowed for Allowed {
        async fn still_allowed(&self) -> bool {
            *self.0.borrow()
        }
    }

    struct Feed {
        chunks: BoxStream<'static, Bytes>,
        hints: broadcast::Sender<PersonHint>,
        allowed: watch::Sender<bool>,
        closing: watch::Sender<bool>,
    }

    fn user(number: u128) -> UserId {
        UserId::from_uuid(Uuid::from_u128(number))
    }

    fn open(untold: Option<Duration>) -> Feed {
        let (hints, allowed, closing) = (broadcast::channel(4).0, watch::Sender::new(true), watch::Sender::new(false));
        let listener = Listener {
            user: user(1),
            hints: hints.subscribe(),
            allowed: Arc::new(Allowed(allowed.subscribe())),
            closing: closing.subscribe(),
            pace: Pace::default(),
            untold,
        };
        Feed {
            chunks: bytes(listener, ()).boxed(),
            hints,
            allowed,
            closing,
        }
    }

    impl Feed {
        fn hint(&self, user: UserId, changed: Changed) {
            let workspace = WorkspaceId::from_uuid(Uuid::from_u128(9));
            let _ = self.hints.send(PersonHint {
                workspace,
                user,
                changed,
            });
        }

        async fn next(&mut self) -> Option<String> {
            let chunk = tokio::time::timeout(Duration::from_secs(60), self.chunks.next())
                .await
                .expect("something comes");
            chunk.map(|chunk| String::from_utf8(chunk.to_vec()).unwrap())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_begins_with_everything_and_gathers_bursts() {
        let mut feed = open(None);
        assert_eq!(feed.next().await.unwrap(), format!("{RUNS}{INBOX}"));
        for _ in 0..3 {
            feed.hint(user(1), Changed::Runs);
        }
        assert_eq!(feed.next().await.unwrap(), RUNS);
        feed.hint(user(1), Changed::Inbox);
        assert_eq!(feed.next().await.unwrap(), INBOX);
        // More than the channel holds: anything may have been among them.
        for _ in 0..9 {
            feed.hint(user(1), Changed::Runs);
        }
        assert_eq!(feed.next().await.unwrap(), format!("{RUNS}{INBOX}"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_for_somebody_else_is_passed_over() {
        let mut feed = open(None);
        feed.next().await;
        feed.hint(user(2), Changed::Inbox);
        assert_eq!(feed.next().await.unwrap().as_bytes(), sse::KEEP_ALIVE);
    }

    #[tokio::test(start_paused = true)]
    async fn without_hints_everything_changes_now_and_then() {
        let mut feed = open(Some(Duration::from_secs(10)));
        feed.next().await;
        assert_eq!(feed.next().await.unwrap(), format!("{RUNS}{INBOX}"));
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_for_a_removed_member_a_stopping_server_and_a_closed_feed() {
        let mut feed = open(None);
        feed.next().await;
        feed.allowed.send_replace(false);
        let begun = Instant::now();
        assert_eq!(feed.next().await, None);
        assert!(begun.elapsed() <= Duration::from_secs(5), "a removed member listens on");

        let mut feed = open(None);
        feed.next().await;
        feed.closing.send_replace(true);
        assert_eq!(feed.next().await, None);

        let mut feed = open(None);
        feed.next().await;
        feed.hints = broadcast::channel(1).0;
        assert_eq!(feed.next().await, None);
    }
}
