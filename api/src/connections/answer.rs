//! Answers on their way out: in pieces, and with a bound on what waits in memory for slow readers.

use std::{
    collections::HashMap,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};

use super::open::Answering;

/// Bytes handed to the connection at once.
pub const PIECE: usize = 64 * 1024;
/// Most bytes that wait in whole answers.
const MOST: usize = 256 * 1024 * 1024;

#[derive(Default)]
struct Held {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// The bytes that wait in whole answers. Streams hold a piece at a time and are not counted.
pub struct Waiting {
    most: usize,
    held: Mutex<Held>,
}

/// A part of it; dropping it makes room.
pub struct Share {
    network: IpAddr,
    bytes: usize,
    waiting: Arc<Waiting>,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.waiting.held();
        held.all -= self.bytes;
        if let Some(own) = held.of.get_mut(&self.network) {
            *own -= self.bytes;
            if *own == 0 {
                held.of.remove(&self.network);
            }
        }
    }
}

impl Waiting {
    /// Nothing yet.
    pub fn new() -> Arc<Self> {
        Self::bounded(MOST)
    }

    fn bounded(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            held: Mutex::default(),
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for an answer to this network. One network gets at most a quarter of the whole, but a single answer is always let
    /// through while there is room for it at all.
    pub fn room(self: &Arc<Self>, network: IpAddr, bytes: usize) -> Option<Share> {
        let mut held = self.held();
        let own = held.of.get(&network).copied().unwrap_or(0);
        let fits = held.all == 0 || held.all.saturating_add(bytes) <= self.most;
        let fair = own == 0 || own.saturating_add(bytes) <= self.most / 4;
        if !(fits && fair) {
            return None;
        }
        held.all += bytes;
        *held.of.entry(network).or_default() += bytes;
        drop(held);
        Some(Share {
            network,
            bytes,
            waiting: Arc::clone(self),
        })
    }
}

/// The body of an answer. While some of it is left, its request is still being answered.
pub struct Answer {
    body: Body,
    rest: Bytes,
    _share: Option<Share>,
    _answering: Answering,
}

impl Answer {
    /// Wraps this body.
    pub fn new(body: Body, share: Option<Share>, answering: Answering) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            _share: share,
            _answering: answering,
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                other => return Poll::Ready(other),
            }
        }
        let piece = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::open::Pulse;

    fn network(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn what_waits_is_bounded_in_all_and_for_each_network() {
        let waiting = Waiting::bounded(100);
        let large = waiting.room(network(1), 60).expect("one is always let through");
        assert!(waiting.room(network(1), 1).is_none(), "it has more than its quarter");
        assert!(waiting.room(network(2), 50).is_none(), "there is no room in all");
        let small = waiting.room(network(2), 20).unwrap();
        let more = waiting.room(network(2), 5).unwrap();
        assert!(waiting.room(network(2), 1).is_none());
        drop((large, small, more));
        assert!(waiting.held().of.is_empty() && waiting.held().all == 0);
        assert!(
            waiting.room(network(1), 1000).is_some(),
            "an answer that is larger than all goes alone"
        );
    }

    #[tokio::test]
    async fn an_answer_goes_out_in_pieces_and_whole() {
        let pulse = Arc::new(Pulse::default());
        let text: Vec<u8> = (0..PIECE * 2 + 7).map(|at| (at % 251) as u8).collect();
        let mut answer = Answer::new(Body::from(text.clone()), None, pulse.begin());
        let mut out = Vec::new();
        let mut pieces = 0;
        while !answer.is_end_stream() {
            assert_eq!(answer.size_hint().exact(), Some((text.len() - out.len()) as u64));
            let frame = std::future::poll_fn(|cx| Pin::new(&mut answer).poll_frame(cx)).await;
            out.extend_from_slice(&frame.unwrap().unwrap().into_data().unwrap());
            pieces += 1;
        }
        assert_eq!((pieces, out == text), (3, true));
        assert!(pulse.answering());
        drop(answer);
        assert!(!pulse.answering());
    }
}
