//! Streams that are cut, resumed and given bad hints.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use duet_core::{
    Caller, StoreError, StoreResult,
    domain::*,
    ids::*,
    ports::{EventFeed, RunStore},
    refusal::Refusal,
};
use futures::StreamExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::{Notify, broadcast, watch};

use super::{
    super::{
        follow::{self, Follower, Pace, Start, StillAllowed},
        sse,
    },
    logs::{eventful, id, run, waiting},
};

/// What a client makes of a stream, however it was cut: the events up to the last id, whole.
#[derive(Clone, Debug, Default, PartialEq)]
struct Client {
    last_id: u64,
    seen: Vec<(String, Value)>,
    pending: Vec<(String, Value)>,
}

impl Client {
    /// Reads what came before the connection broke; an unfinished frame or event is dropped.
    fn read(&mut self, bytes: &[u8]) {
        self.pending.clear();
        let mut rest = bytes;
        while let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") {
            let frame = std::str::from_utf8(&rest[..end]).unwrap();
            rest = &rest[end + 2..];
            let (mut kind, mut data, mut id) = (String::new(), Value::Null, None);
            for line in frame.lines() {
                if let Some(value) = line.strip_prefix("event: ") {
                    kind = value.to_owned();
                } else if let Some(value) = line.strip_prefix("id: ") {
                    id = Some(value.parse().unwrap());
                } else if let Some(value) = line.strip_prefix("data: ") {
                    data = serde_json::from_str(value).unwrap();
                }
            }
            if kind.is_empty() {
                continue;
            }
            self.pending.push((kind, data));
            if let Some(id) = id {
                self.last_id = id;
                self.seen.append(&mut self.pending);
            }
        }
        self.pending.clear();
    }
}

/// A log that grows, and a feed that announces it as badly as it likes.
struct Fake {
    log: Mutex<Vec<StoredEvent>>,
    visible: Mutex<usize>,
    hints: broadcast::Sender<EventHint>,
    down: Mutex<bool>,
}

impl Fake {
    fn new(log: Vec<StoredEvent>, visible: usize) -> Arc<Self> {
        Arc::new(Self {
            log: Mutex::new(log),
            visible: Mutex::new(visible),
            hints: broadcast::channel(4).0,
            down: Mutex::new(false),
        })
    }
    fn grow(&self, to: usize) {
        *self.visible.lock().unwrap() = to;
    }
    fn hint(&self, last_seq: u64) {
        let _ = self.hints.send(EventHint { run: id(1), last_seq });
    }
}

impl EventFeed for Fake {
    fn subscribe(&self, _: RunId) -> broadcast::Receiver<EventHint> {
        self.hints.subscribe()
    }
    fn people(&self, _: WorkspaceId) -> broadcast::Receiver<PersonHint> {
        unreachable!("streams follow one run")
    }
    fn queued(&self) -> Arc<Notify> {
        unreachable!("streams follow one run")
    }
}

#[async_trait]
impl RunStore for Fake {
    async fn start_turn(&self, _: &Caller, _: NewTurn) -> StoreResult<TurnReceipt> {
        unreachable!("streams only read")
    }
    async fn retry_turn(&self, _: &Caller, _: RetryTurn) -> StoreResult<TurnReceipt> {
        unreachable!("streams only read")
    }
    async fn run(&self, _: &Caller, _: RunId) -> StoreResult<Option<Run>> {
        Ok(Some(run()))
    }
    async fn runs(&self, _: &Caller, _: ConversationId, _: PageRequest) -> StoreResult<ListPage<Run>> {
        unreachable!("streams read one run")
    }
    async fn events(&self, _: &Caller, _: RunId, range: LogRange) -> StoreResult<EventPage> {
        let LogRange { after, limit, closed_by } = range;
        if *self.down.lock().unwrap() {
            return Err(StoreError::unavailable("down"));
        }
        let log = self.log.lock().unwrap();
        let visible = &log[..*self.visible.lock().unwrap()];
        if after > visible.len() as u64 {
            return Err(Refusal::NoSuchEvent {
                events: visible.len() as u64,
                after,
            }
            .into());
        }
        let replied = |stored: &&StoredEvent| stored.kind == EventKind::Reply && stored.seq <= closed_by;
        let closed = visible.iter().rev().find(replied).map_or(0, |stored| stored.seq);
        let wanted = |stored: &&StoredEvent| stored.seq > after && (stored.kind != EventKind::Delta || stored.seq > closed);
        Ok(EventPage {
            events: visible.iter().filter(wanted).take(limit).cloned().collect(),
            last_seq: visible.len() as u64,
            ended: matches!(
                visible.last().map(|stored| stored.kind),
                Some(EventKind::Done | EventKind::Error | EventKind::Suspended)
            ),
        })
    }
    async fn cancel(&self, _: &Caller, _: RunId) -> StoreResult<Run> {
        unreachable!("streams only read")
    }
    async fn pause(&self, _: &Caller, _: RunId, _: bool) -> StoreResult<Run> {
        unreachable!("streams only read")
    }
}

struct Allowed(watch::Receiver<bool>);

#[async_trait]
impl StillAllowed for Allowed {
    async fn still_allowed(&self) -> bool {
        *self.0.borrow()
    }
}

struct Stream {
    chunks: futures::stream::BoxStream<'static, bytes::Bytes>,
    allowed: watch::Sender<bool>,
    closing: watch::Sender<bool>,
}

async fn open(fake: &Arc<Fake>, after: u64) -> Result<Stream, StoreError> {
    start(fake, after, false).await
}

async fn start(fake: &Arc<Fake>, after: u64, brief: bool) -> Result<Stream, StoreError> {
    let caller = Caller::person(id(3), id(2), Role::Member);
    let follower = Follower::open(fake.clone(), &**fake, caller, run(), Start { after, brief }).await?;
    let (allowed, closing) = (watch::Sender::new(true), watch::Sender::new(false));
    let still = Arc::new(Allowed(allowed.subscribe()));
    let chunks = follow::bytes(follower, still, closing.subscribe(), Pace::default(), ()).boxed();
    Ok(Stream {
        chunks,
        allowed,
        closing,
    })
}

async fn everything(fake: &Arc<Fake>, after: u64) -> Vec<u8> {
    let stream = open(fake, after).await.unwrap();
    stream.chunks.map(|chunk| chunk.to_vec()).concat().await
}

/// What a reader has in the end: the text, however it came in pieces, and everything else.
fn outcome(seen: &[(String, Value)]) -> (String, Vec<Value>) {
    let mut text = String::new();
    let mut others = Vec::new();
    for (_, data) in seen {
        if data["type"] == "TEXT_MESSAGE_CONTENT" {
            text.push_str(data["delta"].as_str().unwrap());
            continue;
        }
        if let Some(corrected) = data["value"]["text"].as_str() {
            corrected.clone_into(&mut text);
        }
        // The reply begins with its first piece of text, which may be left out with the attempt that failed.
        if data["type"] != "TEXT_MESSAGE_START" {
            others.push(data.clone());
        }
    }
    (text, others)
}

async fn briefly(fake: &Arc<Fake>, after: u64) -> Vec<u8> {
    let stream = start(fake, after, true).await.unwrap();
    stream.chunks.map(|chunk| chunk.to_vec()).concat().await
}

#[tokio::test]
async fn cut_anywhere_a_stream_resumes_as_if_it_had_not_been() {
    for log in [eventful(), waiting()] {
        let fake = Fake::new(log.clone(), log.len());
        let whole = everything(&fake, 0).await;
        let mut uncut = Client::default();
        uncut.read(&whole);
        assert_eq!(uncut.last_id, log.len() as u64);
        // After every event.
        for after in 0..=log.len() as u64 {
            let rest = everything(&fake, after).await;
            assert!(whole.ends_with(&rest), "resuming after {after} sends other bytes");
        }
        // After every byte.
        for cut in 0..=whole.len() {
            let mut client = Client::default();
            client.read(&whole[..cut]);
            let rest = everything(&fake, client.last_id).await;
            client.read(&rest);
            assert_eq!(client, uncut, "cut after byte {cut}");
        }
    }
}

#[tokio::test]
async fn a_brief_stream_has_the_same_outcome_from_wherever_it_starts() {
    let log = eventful();
    let fake = Fake::new(log.clone(), log.len());
    let live = everything(&fake, 0).await;
    let read = |bytes: &[u8]| {
        let mut client = Client::default();
        client.read(bytes);
        client
    };
    let expected = outcome(&read(&live).seen);
    let whole = briefly(&fake, 0).await;
    assert_eq!(outcome(&read(&whole).seen), expected, "who comes late");
    assert!(whole.len() < live.len(), "pieces of ended steps are left out");
    for stream in [&live, &whole] {
        for cut in 0..=stream.len() {
            let mut client = read(&stream[..cut]);
            client.read(&briefly(&fake, client.last_id).await);
            assert_eq!(client.last_id, log.len() as u64);
            assert_eq!(outcome(&client.seen), expected, "cut after byte {cut}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn events_between_subscribing_and_reading_are_neither_lost_nor_doubled() {
    let log = eventful();
    let fake = Fake::new(log.clone(), 3);
    let mut stream = open(&fake, 1).await.unwrap();
    // Appended and hinted after the subscription and before the first read.
    fake.grow(5);
    fake.hint(4);
    fake.hint(5);
    let mut bytes = stream.chunks.next().await.unwrap().to_vec();
    fake.grow(log.len());
    fake.hint(log.len() as u64);
    while let Some(chunk) = stream.chunks.next().await {
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(bytes, everything(&fake, 1).await);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_where_the_run_waits_and_the_next_begins_a_stretch() {
    let log = waiting();
    let ends: Vec<usize> = (1..=log.len())
        .filter(|length| log[length - 1].kind == EventKind::Suspended)
        .collect();
    let mut after = 0;
    for end in ends {
        let fake = Fake::new(log.clone(), end);
        let mut client = Client::default();
        client.read(&everything(&fake, after).await);
        let (first, last) = (&client.seen[0].1, &client.seen[client.seen.len() - 1].1);
        assert_eq!(
            (&first["type"], &last["type"]),
            (&json!("RUN_STARTED"), &json!("RUN_FINISHED"))
        );
        assert_eq!(first["runId"], last["runId"]);
        after = client.last_id;
        assert_eq!(after, end as u64);
    }
}

#[tokio::test]
async fn who_decides_follows_from_the_stretch_that_the_decision_began() {
    let log = waiting();
    let fake = Fake::new(log.clone(), log.len());
    let caller = Caller::person(id(3), id(2), Role::Member);
    for (request, before) in [(11, 7), (12, 10), (13, 16), (14, 20), (99, 0)] {
        let found = Follower::before_decision(&*fake, &caller, &run(), id(request)).await.unwrap();
        assert_eq!(found, before, "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_future_cursor_is_refused() {
    let fake = Fake::new(eventful(), 3);
    assert!(matches!(open(&fake, 4).await, Err(StoreError::Invalid(_))));
    assert!(open(&fake, 3).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_an_ended_run_ends_even_without_hints() {
    let log = eventful();
    let fake = Fake::new(log.clone(), log.len() - 1);
    let mut stream = open(&fake, 0).await.unwrap();
    stream.chunks.next().await.unwrap();
    fake.grow(log.len());
    let rest = async { while stream.chunks.next().await.is_some() {} };
    tokio::time::timeout(Pace::default().poll + Duration::from_secs(1), rest)
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_is_kept_alive() {
    let fake = Fake::new(eventful(), 2);
    let mut stream = open(&fake, 2).await.unwrap();
    let chunk = tokio::time::timeout(Duration::from_secs(16), stream.chunks.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&chunk[..], sse::KEEP_ALIVE);
}

#[tokio::test(start_paused = true)]
async fn a_removed_member_a_stopping_server_and_a_failing_store_end_the_stream() {
    let end = |stream: Stream, within: Duration| async move {
        let Stream {
            mut chunks,
            allowed,
            closing,
        } = stream;
        let ended = async { while chunks.next().await.is_some() {} };
        let ended = tokio::time::timeout(within, ended).await;
        drop((allowed, closing));
        ended
    };
    let five_seconds = Duration::from_secs(5);
    let fake = Fake::new(eventful(), 2);
    let stream = open(&fake, 2).await.unwrap();
    stream.allowed.send_replace(false);
    end(stream, five_seconds).await.expect("a removed member reads on");

    let stream = open(&fake, 2).await.unwrap();
    stream.closing.send_replace(true);
    end(stream, five_seconds).await.expect("a stopping server keeps its streams");

    let stream = open(&fake, 2).await.unwrap();
    *fake.down.lock().unwrap() = true;
    let patience = Pace::default().poll + Duration::from_secs(1);
    end(stream, patience).await.expect("a failing store keeps streams open");

    *fake.down.lock().unwrap() = false;
    end(open(&fake, 2).await.unwrap(), patience)
        .await
        .expect_err("nothing ended this one");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Hints are dropped, doubled, reordered, from the past or from the future, while the log grows in random portions: the bytes
    /// are the same.
    #[test]
    fn bad_hints_change_nothing(growth in prop::collection::vec((0usize..6, prop::collection::vec(0u64..25, 0..4)), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let log = eventful();
            let fake = Fake::new(log.clone(), 0);
            let stream = open(&fake, 0).await.unwrap();
            let reader = tokio::spawn(stream.chunks.map(|chunk| chunk.to_vec()).concat());
            let mut visible = 0;
            for (more, hints) in growth {
                visible = (visible + more).min(log.len());
                fake.grow(visible);
                for hint in hints {
                    fake.hint(hint);
                }
                tokio::time::sleep(Duration::from_millis(7)).await;
            }
            fake.grow(log.len());
            let bytes = tokio::time::timeout(Pace::default().poll + Duration::from_secs(2), reader).await.expect("the stream ends").unwrap();
            drop((stream.allowed, stream.closing));
            assert_eq!(bytes, everything(&fake, 0).await);
        });
    }
}
