//! Server-sent events, byte by byte.

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::agui::Frame;

/// A comment that keeps proxies from closing a quiet connection.
pub const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// One frame on the wire. JSON has no line breaks of its own, so `data:` is one line. Its keys are sorted, so that the bytes do not
/// depend on the order in which the fields are declared.
pub fn encode(frame: &Frame, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(frame.kind.as_str().as_bytes());
    out.push(b'\n');
    if let Some(id) = frame.id {
        out.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    out.extend_from_slice(b"data: ");
    let data = serde_json::to_value(&frame.data).unwrap_or_default();
    out.extend_from_slice(data.to_string().as_bytes());
    out.extend_from_slice(b"\n\n");
}

/// Many frames on the wire.
pub fn encode_all(frames: &[Frame]) -> Bytes {
    let mut out = Vec::with_capacity(frames.len() * 128);
    for frame in frames {
        encode(frame, &mut out);
    }
    out.into()
}

/// A response that streams these chunks. Proxies are asked not to buffer them.
pub fn response(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let mut response = Response::new(Body::from_stream(chunks.map(Ok::<_, std::convert::Infallible>)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
