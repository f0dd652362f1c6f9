//! From the bytes of an answer to model events: lines, frames, and a decoder per provider.
//!
//! A provider is given time as long as it sends content: text, reasoning, parts of a tool call. Comments, pings, empty pieces and
//! bytes that never become a frame are not content, however many come.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use duet_core::ports::{ModelError, ModelEvent, ModelStream};
use futures::{StreamExt, stream::BoxStream};
use reqwest::Response;
use tokio::time::Instant;

use crate::provider::{Endpoint, Refusal};

/// Longest line or frame, in bytes.
pub(crate) const MAX_FRAME: usize = 4 * 1024 * 1024;
/// Most bytes of tool calls that an answer may gather.
pub(super) const MAX_CALLS: usize = 1024 * 1024;
/// Longest answer, in bytes, including everything without content.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// How long to wait for the end of the body after the end of the reply, so that the connection can be reused.
const DRAIN: Duration = Duration::from_millis(20);

/// How frames are delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Server-sent events: the frame is the joined `data`.
    Events,
    /// One JSON object a line.
    Lines,
    /// The whole body is one frame.
    Whole,
}

/// What stopped a decoder.
pub(super) enum Fault {
    /// A frame that breaks the protocol.
    Malformed,
    /// An error that the provider reported in the stream.
    Refused(Refusal),
    /// More than a reply may hold.
    TooMuch,
}

/// Reads the frames of one provider's answer. Pure, so that recorded answers test it without a network.
pub(super) trait Decoder: Send + 'static {
    /// Reads one frame; pushes `Stop` once, at the end of the reply.
    fn frame(&mut self, frame: &str, out: &mut VecDeque<ModelEvent>) -> Result<(), Fault>;

    /// Bytes that have arrived but are not handed out yet, or never will be: reasoning, parts of tool calls. Never shrinks.
    fn heard(&self) -> usize;

    /// The body is over. A decoder that has seen all it needs pushes `Stop` now; otherwise the stream counts as cut.
    fn end(&mut self, _out: &mut VecDeque<ModelEvent>) -> Result<(), Fault> {
        Ok(())
    }
}

/// Why no further frame comes.
enum Break {
    Silent,
    Cut,
    /// A frame that does not end.
    TooLarge,
    /// An answer that does not end.
    TooMuch,
    NotText,
}

/// A body, cut into frames.
struct Frames {
    body: BoxStream<'static, reqwest::Result<Bytes>>,
    framing: Framing,
    /// How long the current wait may take, the setting that says so, and when it is over.
    patience: (Duration, &'static str),
    until: Instant,
    buffer: BytesMut,
    /// How much of the buffer has already been searched for a line end.
    searched: usize,
    total: usize,
    ended: bool,
    data: String,
    has_data: bool,
}

impl Frames {
    /// The first content may take as long as the head of the answer: many servers send the head at once and only then load a model.
    fn new(response: Response, framing: Framing, first: Duration) -> Self {
        Self {
            patience: (first, "timeout_seconds"),
            until: Instant::now() + first,
            body: response.bytes_stream().boxed(),
            framing,
            buffer: BytesMut::new(),
            searched: 0,
            total: 0,
            ended: false,
            data: String::new(),
            has_data: false,
        }
    }

    /// Content has arrived: the next may take this long.
    fn heard(&mut self, idle: Duration) {
        self.patience = (idle, "idle_timeout_seconds");
        self.until = Instant::now() + idle;
    }

    /// Reads more of the body; `false` at its end.
    async fn more(&mut self) -> Result<bool, Break> {
        if self.ended {
            return Ok(false);
        }
        // A body that always has more never waits, so the clock is checked here as well.
        if Instant::now() >= self.until {
            return Err(Break::Silent);
        }
        match tokio::time::timeout_at(self.until, self.body.next()).await {
            Err(_) => Err(Break::Silent),
            Ok(Some(Err(_))) => Err(Break::Cut),
            Ok(None) => {
                self.ended = true;
                Ok(false)
            }
            Ok(Some(Ok(chunk))) => {
                self.total += chunk.len();
                if self.total > MAX_ANSWER {
                    return Err(Break::TooMuch);
                }
                self.buffer.extend_from_slice(&chunk);
                Ok(true)
            }
        }
    }

    /// The next line without its end; text after the last line end counts as a line too.
    async fn line(&mut self) -> Result<Option<String>, Break> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + at);
                self.buffer.advance(1);
                self.searched = 0;
                return text(&line).map(Some);
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > MAX_FRAME {
                return Err(Break::TooLarge);
            }
            if !self.more().await? {
                self.searched = 0;
                let rest = self.buffer.split();
                return if rest.is_empty() { Ok(None) } else { text(&rest).map(Some) };
            }
        }
    }

    /// The next frame.
    async fn frame(&mut self) -> Result<Option<String>, Break> {
        match self.framing {
            Framing::Lines => loop {
                match self.line().await? {
                    Some(line) if line.trim().is_empty() => {}
                    line => return Ok(line),
                }
            },
            Framing::Whole => {
                while self.more().await? {
                    if self.buffer.len() > MAX_FRAME {
                        return Err(Break::TooLarge);
                    }
                }
                let rest = self.buffer.split();
                if rest.is_empty() { Ok(None) } else { text(&rest).map(Some) }
            }
            Framing::Events => loop {
                let line = self.line().await?;
                match line.as_deref() {
                    // Some servers omit the last empty line: what they sent still counts.
                    None | Some("") if self.has_data => {
                        self.has_data = false;
                        return Ok(Some(std::mem::take(&mut self.data)));
                    }
                    None => return Ok(None),
                    Some(line) => {
                        if let Some(data) = line.strip_prefix("data:") {
                            if self.has_data {
                                self.data.push('\n');
                            }
                            self.has_data = true;
                            self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
                            if self.data.len() > MAX_FRAME {
                                return Err(Break::TooLarge);
                            }
                        }
                    }
                }
            },
        }
    }
}

fn text(bytes: &[u8]) -> Result<String, Break> {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Break::NotText)
}

struct Reply<D> {
    endpoint: Arc<Endpoint>,
    model: String,
    frames: Frames,
    decoder: D,
    pending: VecDeque<ModelEvent>,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Reading,
    /// `Stop` was handed out or is about to be.
    Stopped,
    /// Nothing more comes.
    Over,
}

impl<D: Decoder> Reply<D> {
    async fn next(&mut self) -> Option<Result<ModelEvent, ModelError>> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                if matches!(event, ModelEvent::Stop(_)) {
                    self.pending.clear();
                    self.state = State::Stopped;
                }
                return Some(Ok(event));
            }
            match self.state {
                State::Over => return None,
                State::Stopped => {
                    self.state = State::Over;
                    let rest = async {
                        while let Ok(true) = self.frames.more().await {
                            self.frames.buffer.clear();
                        }
                    };
                    let _ = tokio::time::timeout(DRAIN, rest).await;
                    return None;
                }
                State::Reading => {
                    if let Err(error) = self.read().await {
                        self.state = State::Over;
                        self.pending.clear();
                        return Some(Err(error));
                    }
                }
            }
        }
    }

    /// Reads one frame, or the end, into `pending`.
    async fn read(&mut self) -> Result<(), ModelError> {
        let frame = self.frames.frame().await.map_err(|reason| match reason {
            Break::Silent => self.endpoint.silent(self.frames.patience.0, self.frames.patience.1),
            Break::TooMuch => self.endpoint.too_much(),
            Break::Cut => self.endpoint.cut(),
            Break::TooLarge => self.endpoint.malformed("sent more at once than a reply can hold"),
            Break::NotText => self.endpoint.malformed("sent bytes that are not UTF-8 text"),
        })?;
        let over = frame.is_none();
        let before = self.decoder.heard();
        let read = match &frame {
            Some(frame) => self.decoder.frame(frame, &mut self.pending),
            None => self.decoder.end(&mut self.pending),
        };
        let said = |event: &ModelEvent| match event {
            ModelEvent::Text(text) => !text.is_empty(),
            ModelEvent::ToolCall(_) | ModelEvent::Stop(_) => true,
            ModelEvent::Usage(_) => false,
        };
        if self.decoder.heard() > before || self.pending.iter().any(said) {
            self.frames.heard(self.endpoint.idle);
        }
        match read {
            Ok(()) if over && !self.pending.iter().any(|event| matches!(event, ModelEvent::Stop(_))) => {
                Err(self.endpoint.unfinished())
            }
            Ok(()) => Ok(()),
            Err(Fault::Malformed) => Err(self.endpoint.malformed("sent something that is not its protocol")),
            Err(Fault::TooMuch) => Err(self.endpoint.too_much()),
            Err(Fault::Refused(refusal)) => Err(self.endpoint.refused(&refusal, &self.model)),
        }
    }
}

/// Decodes an answer as it arrives.
pub(super) fn decode<D: Decoder>(
    endpoint: Arc<Endpoint>,
    model: String,
    response: Response,
    framing: Framing,
    decoder: D,
) -> ModelStream {
    let frames = Frames::new(response, framing, endpoint.first_byte);
    let reply = Reply {
        endpoint,
        model,
        frames,
        decoder,
        pending: VecDeque::new(),
        state: State::Reading,
    };
    futures::stream::unfold(
        reply,
        |mut reply| async move { reply.next().await.map(|event| (event, reply)) },
    )
    .boxed()
}

/// The media type of an answer, without its parameters; empty when the server names none.
pub(super) fn media_type(response: &Response) -> String {
    response
        .headers()
        .get(reqwest::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// Arguments of a tool call as a model wrote them; text that is not JSON is kept for the registry to refuse.
pub(super) fn arguments(text: &str) -> serde_json::Value {
    if text.trim().is_empty() {
        return serde_json::json!({});
    }
    serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::String(text.to_owned()))
}

/// Arguments as a provider takes them back: always an object.
pub(super) fn arguments_object(arguments: &serde_json::Value) -> serde_json::Value {
    match arguments {
        serde_json::Value::Object(_) => arguments.clone(),
        other => serde_json::json!({ "not_an_object": other }),
    }
}
