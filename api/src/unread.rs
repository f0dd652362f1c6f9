//! Bodies of requests that were answered before they were read. The rest of such a body is in the way of the connection's next
//! request: a little is read and dropped, so that the connection can be reused; a client with more to send is told that the
//! connection ends.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream, HttpBody},
    extract::Request,
    http::{HeaderValue, Version, header},
    response::Response,
};
use bytes::Bytes;
use futures::{Stream, StreamExt};

/// Longest wait for the rest of an unread body.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where a request's body is.
enum Place {
    /// With the handler.
    Out,
    /// Given back with some of it unread.
    Left(BodyDataStream),
    /// Read to its end.
    Read,
}

/// What became of a request's body.
pub struct Unread {
    place: Arc<Mutex<Place>>,
    /// The client waits to be told that it may send, and was not told.
    waits: bool,
    persistent: bool,
}

/// A body that gives back its unread rest.
struct Lent {
    stream: Option<BodyDataStream>,
    place: Arc<Mutex<Place>>,
}

impl Lent {
    fn put(&self, place: Place) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }
}

impl Stream for Lent {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        let next = std::task::ready!(stream.poll_next_unpin(cx));
        if next.is_none() {
            self.stream = None;
            self.put(Place::Read);
        }
        Poll::Ready(next)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.put(Place::Left(stream));
        }
    }
}

/// Watches the body of a request; `None` when it has none.
pub fn watch(request: Request) -> (Request, Option<Unread>) {
    if request.body().is_end_stream() {
        return (request, None);
    }
    let place = Arc::new(Mutex::new(Place::Out));
    let unread = Unread {
        place: Arc::clone(&place),
        waits: request.headers().contains_key(header::EXPECT),
        // Later versions have streams of their own for each request, and no such header.
        persistent: matches!(request.version(), Version::HTTP_10 | Version::HTTP_11),
    };
    let request = request.map(|body| {
        Body::from_stream(Lent {
            stream: Some(body.into_data_stream()),
            place,
        })
    });
    (request, Some(unread))
}

impl Unread {
    /// Reads the rest, at most this many bytes; if there is more, the answer says that the connection ends.
    pub async fn settle(self, response: &mut Response, most: usize) {
        let place = std::mem::replace(&mut *self.place.lock().unwrap_or_else(PoisonError::into_inner), Place::Out);
        let read = match place {
            Place::Read => true,
            Place::Left(rest) if !self.waits => tokio::time::timeout(PATIENCE, drain(rest, most)).await.unwrap_or(false),
            Place::Left(_) | Place::Out => false,
        };
        if !read && self.persistent {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// Whether the rest ended within this many bytes.
async fn drain(mut rest: BodyDataStream, most: usize) -> bool {
    let mut dropped = 0;
    while let Some(chunk) = rest.next().await {
        match chunk {
            Ok(chunk) => dropped += chunk.len(),
            Err(_) => return false,
        }
        if dropped > most {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;

    fn request(chunks: Vec<&'static str>, expects: bool) -> Request {
        let stream = futures::stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>));
        let mut request = Request::new(Body::from_stream(stream));
        if expects {
            request
                .headers_mut()
                .insert(header::EXPECT, HeaderValue::from_static("100-continue"));
        }
        request
    }

    async fn says_close(request: Request, reads: bool) -> bool {
        let (request, unread) = watch(request);
        if reads {
            axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
        } else {
            drop(request);
        }
        let mut response = ().into_response();
        if let Some(unread) = unread {
            unread.settle(&mut response, 8).await;
        }
        response.headers().contains_key(header::CONNECTION)
    }

    #[tokio::test]
    async fn a_connection_ends_only_with_a_body_that_is_still_coming() {
        assert!(!says_close(Request::new(Body::empty()), false).await);
        assert!(!says_close(request(vec!["much more than eight"], false), true).await);
        assert!(
            !says_close(request(vec!["1234", "5678"], false), false).await,
            "the rest is little"
        );
        assert!(says_close(request(vec!["1234", "5678", "9"], false), false).await);
        assert!(says_close(request(vec!["1234"], true), false).await, "it was not asked for");
        let endless = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        tokio::time::pause();
        assert!(says_close(Request::new(Body::from_stream(endless)), false).await);
    }
}
