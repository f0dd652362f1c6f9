//! Follows a run's log: subscribe first, then read, then wait for hints. The log alone decides what is sent; hints only say when
//! to read it, so lost, doubled or reordered ones change nothing.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use duet_core::{
    Caller, StoreError,
    domain::{EventHint, EventPage, LogRange, Run, RunEvent},
    ids::RequestId,
    ports::{EventFeed, RunStore},
};
use futures::{Stream, stream};
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, sleep_until},
};

use super::{
    agui::{Agui, Frame},
    shapes::AguiEvent,
    sse,
};

/// Events read at once: the most that a stream holds in memory for a stalled reader.
const BATCH: usize = 64;

/// How patient a stream is.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Without a hint the log is read this often: a lost hint delays what follows by at most this long. Where no hints arrive at all,
    /// it has to be short.
    pub poll: Duration,
    /// How often a comment is sent when there is nothing else.
    pub keep_alive: Duration,
    /// How often the person's membership is checked: a removed member's stream ends within five seconds.
    pub recheck: Duration,
    /// A stream ends after this long, and the client reconnects: on a platform that cuts connections, it should end before that.
    pub longest: Option<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(10),
            keep_alive: Duration::from_secs(15),
            recheck: Duration::from_secs(3),
            longest: None,
        }
    }
}

/// Asks whether the person may still read; a stream ends when they may not.
#[async_trait]
pub trait StillAllowed: Send + Sync {
    /// Whether they may.
    async fn still_allowed(&self) -> bool;
}

/// Where a stream starts, and how much of the log it has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    /// Frames of events up to this one are not sent: the client has them.
    pub after: u64,
    /// Whether a step that had ended before is sent with its whole text instead of the pieces in which it came.
    pub brief: bool,
}

impl Start {
    /// What of the log need not be read piece by piece: a client that has nothing yet gets the text of an ended step as a whole; one
    /// that has part of a step gets the rest of its pieces.
    fn closed_by(self) -> u64 {
        match self {
            Self { brief: false, .. } => 0,
            Self { after: 0, .. } => u64::MAX,
            Self { after, .. } => after,
        }
    }
}

/// A run's log as a sequence of frames, from any `seq` on.
pub struct Follower {
    runs: Arc<dyn RunStore>,
    caller: Caller,
    run: Run,
    hints: broadcast::Receiver<EventHint>,
    mapping: Agui,
    /// The newest folded `seq`.
    folded: u64,
    start: Start,
    ended: bool,
    last_seq: u64,
}

impl Follower {
    /// Subscribes, and checks that `start.after` exists. `Invalid` for a `seq` from the future.
    pub async fn open(
        runs: Arc<dyn RunStore>,
        feed: &dyn EventFeed,
        caller: Caller,
        run: Run,
        start: Start,
    ) -> Result<Self, StoreError> {
        let hints = feed.subscribe(run.id);
        if start.after > 0 {
            // The store refuses a cursor from the future in its own words.
            runs.events(&caller, run.id, LogRange::whole(start.after, 1)).await?;
        }
        Ok(Self {
            mapping: Agui::new(&run),
            runs,
            caller,
            run,
            hints,
            folded: 0,
            start,
            ended: false,
            last_seq: 0,
        })
    }

    /// The newest `seq` before the stretch in which this request was decided; 0 when it was not.
    pub async fn before_decision(runs: &dyn RunStore, caller: &Caller, run: &Run, request: RequestId) -> Result<u64, StoreError> {
        let (mut mapping, mut seq, mut before) = (Agui::new(run), 0, 0);
        loop {
            let page = runs.events(caller, run.id, LogRange::brief(seq, BATCH)).await?;
            if page.events.is_empty() {
                return Ok(0);
            }
            for stored in &page.events {
                let frames = mapping.frames(stored);
                if frames.iter().any(|frame| matches!(frame.data, AguiEvent::RunStarted { .. })) {
                    before = seq;
                }
                seq = stored.seq;
                match &stored.event {
                    Some(RunEvent::Decided { request: decided, .. }) if *decided == request => return Ok(before),
                    _ => {}
                }
            }
        }
    }

    /// Whether everything was sent and nothing follows by itself.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The run's newest `seq` when the log was last read.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Whether the log held nothing more when it was last read.
    fn caught_up(&self) -> bool {
        self.last_seq > 0 && self.folded >= self.last_seq
    }

    /// The frames that the log has for us now; empty when we have caught up. Reads from the log's start whatever `after` is: what
    /// frames look like depends on what came before them.
    pub async fn read(&mut self) -> Result<Vec<Frame>, StoreError> {
        loop {
            let range = LogRange {
                after: self.folded,
                limit: BATCH,
                closed_by: self.start.closed_by(),
            };
            let page = self.runs.events(&self.caller, self.run.id, range).await?;
            let more = !page.events.is_empty();
            let frames = self.fold(page);
            if !frames.is_empty() || !more || self.ended || self.caught_up() {
                return Ok(frames);
            }
        }
    }

    fn fold(&mut self, page: EventPage) -> Vec<Frame> {
        let mut frames = Vec::new();
        for stored in &page.events {
            if stored.seq <= self.folded {
                continue;
            }
            self.folded = stored.seq;
            let own = self.mapping.frames(stored);
            if stored.seq > self.start.after {
                frames.extend(own);
            }
        }
        self.last_seq = page.last_seq;
        self.ended = page.ended && self.folded >= page.last_seq;
        frames
    }

    /// Returns when a hint announces something new.
    async fn hinted(hints: &mut broadcast::Receiver<EventHint>, folded: u64) -> Hint {
        loop {
            match hints.recv().await {
                Ok(hint) if hint.last_seq <= folded => {}
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return Hint::Look,
                Err(broadcast::error::RecvError::Closed) => return Hint::Closed,
            }
        }
    }
}

enum Hint {
    Look,
    Closed,
}

struct Live<G> {
    follower: Follower,
    allowed: Arc<dyn StillAllowed>,
    closing: watch::Receiver<bool>,
    pace: Pace,
    next_keep_alive: Instant,
    next_recheck: Instant,
    ends_at: Option<Instant>,
    over: bool,
    feed_closed: bool,
    /// Whether the log may hold something unread.
    look: bool,
    _guard: G,
}

/// The stream as bytes. It ends when the run has ended or waits for a person, when the person may no longer read, when the server stops, or when the store cannot
/// answer; a client reconnects with the last id it saw. `guard` lives as long as the stream.
pub fn bytes<G: Send + 'static>(
    follower: Follower,
    allowed: Arc<dyn StillAllowed>,
    closing: watch::Receiver<bool>,
    pace: Pace,
    guard: G,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let now = now();
    let live = Live {
        follower,
        allowed,
        closing,
        pace,
        next_keep_alive: now + pace.keep_alive,
        next_recheck: now + pace.recheck,
        ends_at: pace.longest.map(|longest| now + longest),
        over: false,
        feed_closed: false,
        look: true,
        _guard: guard,
    };
    stream::unfold(live, |mut live| async move { live.next().await.map(|chunk| (chunk, live)) })
}

/// Deadlines of a network connection are in real time (and stop in tests that pause it).
fn now() -> Instant {
    Instant::now()
}

impl<G> Live<G> {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.over || *self.closing.borrow() || self.ends_at.is_some_and(|end| now() >= end) {
                return None;
            }
            if now() >= self.next_recheck {
                self.next_recheck = now() + self.pace.recheck;
                if !self.allowed.still_allowed().await {
                    return None;
                }
            }
            let frames = match self.look {
                true => match self.follower.read().await {
                    Ok(frames) => frames,
                    Err(error) => {
                        // No frame can report this (an error is not an event of the run); the client reconnects and gets the
                        // reason then.
                        tracing::warn!(%error, "an event stream ends early");
                        return None;
                    }
                },
                false => Vec::new(),
            };
            self.look = !self.follower.caught_up();
            self.over = self.follower.ended();
            if !frames.is_empty() {
                self.next_keep_alive = now() + self.pace.keep_alive;
                return Some(sse::encode_all(&frames));
            }
            if self.over {
                return None;
            }
            if now() >= self.next_keep_alive {
                self.next_keep_alive = now() + self.pace.keep_alive;
                return Some(Bytes::from_static(sse::KEEP_ALIVE));
            }
            self.wait().await;
            self.look = true;
        }
    }

    /// Waits until there may be something to do.
    async fn wait(&mut self) {
        let wake = (now() + self.pace.poll).min(self.next_keep_alive).min(self.next_recheck);
        let wake = self.ends_at.map_or(wake, |end| wake.min(end));
        let folded = self.follower.folded;
        let hints = &mut self.follower.hints;
        let feed_closed = self.feed_closed;
        tokio::select! {
            hint = Follower::hinted(hints, folded), if !feed_closed => {
                self.feed_closed = matches!(hint, Hint::Closed);
            }
            () = sleep_until(wake) => {}
            changed = self.closing.changed() => self.over |= changed.is_err(),
        }
    }
}
