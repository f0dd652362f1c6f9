//! What the scripted server should say.

use std::time::Duration;

use duet_core::domain::{StopReason, Usage};
use serde_json::Value;

/// One part of a reply; each is sent as a separate chunk.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text.
    Text(String),
    /// A tool call.
    Call {
        /// Its id; Ollama sends none.
        id: String,
        /// The tool.
        name: String,
        /// Its arguments.
        arguments: Value,
    },
}

/// One reply, or one failure.
#[derive(Clone, Debug)]
pub struct Scripted {
    /// Its parts, in order.
    pub pieces: Vec<Piece>,
    /// What it claims to have used.
    pub usage: Usage,
    /// How it ends; `ToolUse` is set by [`Scripted::call`].
    pub stop: StopReason,
    /// Wait before the first byte.
    pub first_byte: Duration,
    /// Wait before each part.
    pub pause: Duration,
    /// What goes wrong.
    pub fault: Option<Fault>,
    /// Cut the bytes into chunks of this size, across characters and lines.
    pub chunk_bytes: Option<usize>,
    /// End lines with CR LF.
    pub crlf: bool,
    /// Say exactly this instead, under this content type (a recorded answer).
    pub raw: Option<(&'static str, String)>,
}

/// What can go wrong. `after` counts the parts that are sent before it.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// An answer with this status and body.
    Status {
        /// The status.
        status: u16,
        /// `Retry-After`, as it is written.
        retry_after: Option<String>,
        /// The body; a provider-shaped error if unset.
        body: Option<Value>,
    },
    /// The stream stays open and says nothing more.
    Stall {
        /// Parts before.
        after: usize,
    },
    /// The connection breaks.
    Cut {
        /// Parts before.
        after: usize,
    },
    /// The body ends in good order, but without the reply's end.
    EndEarly {
        /// Parts before.
        after: usize,
    },
    /// A frame with broken JSON.
    MalformedJson {
        /// Parts before.
        after: usize,
    },
    /// Bytes that are not text.
    Garbage {
        /// Parts before.
        after: usize,
    },
    /// A line that does not end for this many bytes.
    GiantLine {
        /// Its length.
        bytes: usize,
    },
    /// An error object in the stream, as providers send it, with this machine-readable type.
    ErrorInStream {
        /// Parts before.
        after: usize,
        /// Such as `overloaded_error`.
        kind: &'static str,
    },
    /// The right bytes under another content type.
    ContentType(&'static str),
}

/// What can go wrong with an embedding request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbedFault {
    /// An answer with this status.
    Status(u16),
    /// One vector too few.
    TooFew,
    /// Vectors of another length.
    WrongDimensions,
    /// Vectors without a direction.
    Zero,
    /// Not JSON.
    Malformed,
    /// OpenAI only: the right vectors in the opposite order, with their index.
    Reversed,
}

impl Scripted {
    /// A reply of these parts of text.
    pub fn text<T: Into<String>>(parts: impl IntoIterator<Item = T>) -> Self {
        Self {
            pieces: parts.into_iter().map(|part| Piece::Text(part.into())).collect(),
            usage: Usage {
                input_tokens: 100,
                output_tokens: 20,
                ..Usage::default()
            },
            stop: StopReason::End,
            first_byte: Duration::ZERO,
            pause: Duration::ZERO,
            fault: None,
            chunk_bytes: None,
            crlf: false,
            raw: None,
        }
    }

    /// A recorded answer, byte for byte.
    pub fn raw(content_type: &'static str, body: impl Into<String>) -> Self {
        Self {
            raw: Some((content_type, body.into())),
            ..Self::text(Vec::<String>::new())
        }
    }

    /// A reply that calls one tool.
    pub fn calls(id: &str, name: &str, arguments: Value) -> Self {
        Self::text(Vec::<String>::new()).call(id, name, arguments)
    }

    /// A failure with a status.
    pub fn status(status: u16) -> Self {
        Self::text(Vec::<String>::new()).fault(Fault::Status {
            status,
            retry_after: None,
            body: None,
        })
    }

    /// `chunks` parts of text with a wait before each: for load.
    pub fn throughput(chunks: usize, pause: Duration) -> Self {
        Self {
            pause,
            ..Self::text((0..chunks).map(|at| format!("word{at} ")))
        }
    }

    /// The same, and then a tool call.
    #[must_use]
    pub fn call(mut self, id: &str, name: &str, arguments: Value) -> Self {
        self.pieces.push(Piece::Call {
            id: id.into(),
            name: name.into(),
            arguments,
        });
        self.stop = StopReason::ToolUse;
        self
    }

    /// The same, ending for this reason.
    #[must_use]
    pub fn stop(mut self, stop: StopReason) -> Self {
        self.stop = stop;
        self
    }

    /// The same with this usage.
    #[must_use]
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// The same with this fault.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// The same after a wait.
    #[must_use]
    pub fn after(mut self, first_byte: Duration) -> Self {
        self.first_byte = first_byte;
        self
    }

    /// The same with a wait before each part.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The same in chunks of this many bytes.
    #[must_use]
    pub fn chunk_bytes(mut self, bytes: usize) -> Self {
        self.chunk_bytes = Some(bytes);
        self
    }

    /// The same with CR LF.
    #[must_use]
    pub fn crlf(mut self) -> Self {
        self.crlf = true;
        self
    }
}
