//! A connection's bytes, with time limits: a request's head has to arrive in time, and what is sent has to be taken.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::open::Pulse;

/// A reader that takes less than this while it keeps us waiting for [`Patience::slow`] is dropped.
const LEAST_TAKEN: usize = 32 * 1024;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the head of a request, from its first byte (of the first request: from the connection).
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// For taking some of what is sent.
    pub slow: Duration,
}

/// The bytes of one connection.
pub struct Watched<S> {
    stream: S,
    pulse: Arc<Pulse>,
    patience: Patience,
    head: Option<Head>,
    stalled: Option<Stalled>,
}

/// The head of a request that is arriving.
struct Head {
    /// How many requests had begun before it.
    after: u64,
    until: Pin<Box<Sleep>>,
}

/// Data that was sent and not taken at once.
struct Stalled {
    until: Pin<Box<Sleep>>,
    taken: usize,
}

impl<S> Watched<S> {
    /// A fresh connection.
    pub fn new(stream: S, pulse: Arc<Pulse>, patience: Patience) -> Self {
        Self {
            head: Some(Head {
                after: 0,
                until: Box::pin(tokio::time::sleep(patience.head)),
            }),
            stream,
            pulse,
            patience,
            stalled: None,
        }
    }

    /// Called after bytes arrived, or none did.
    fn head_in_time(&mut self, cx: &mut Context<'_>, came: bool) -> io::Result<()> {
        let begun = self.pulse.begun();
        if self.head.as_ref().is_some_and(|head| head.after != begun) || self.pulse.answering() {
            self.head = None;
        }
        if came && !self.pulse.answering() && self.head.is_none() {
            self.head = Some(Head {
                after: begun,
                until: Box::pin(tokio::time::sleep(self.patience.head)),
            });
        }
        let late = self.head.as_mut().is_some_and(|head| head.until.as_mut().poll(cx).is_ready());
        match late {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(()),
        }
    }

    /// Called after a write of `asked` bytes.
    fn taken_in_time(&mut self, cx: &mut Context<'_>, asked: usize, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match wrote {
            Poll::Ready(Ok(taken)) => {
                let enough = taken >= asked
                    || self
                        .stalled
                        .as_ref()
                        .is_some_and(|stalled| stalled.taken + taken >= LEAST_TAKEN);
                if enough {
                    self.stalled = None;
                } else if let Some(stalled) = &mut self.stalled {
                    stalled.taken += taken;
                }
                Poll::Ready(Ok(taken))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let patience = self.patience.slow;
                let stalled = self.stalled.get_or_insert_with(|| Stalled {
                    until: Box::pin(tokio::time::sleep(patience)),
                    taken: 0,
                });
                match stalled.until.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Err(_)) = read {
            return read;
        }
        let came = buffer.filled().len() > before;
        match self.head_in_time(cx, came) {
            Ok(()) => read,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.taken_in_time(cx, bytes.len(), wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let asked = slices.iter().map(|slice| slice.len()).sum();
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.taken_in_time(cx, asked, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const PATIENCE: Patience = Patience {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        slow: Duration::from_secs(30),
    };

    async fn read_one(connection: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        connection.read(&mut [0; 16]).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_to_come_in_time_and_a_pause_between_requests_may_last() {
        let (ours, mut theirs) = duplex(64);
        let pulse = Arc::new(Pulse::default());
        let mut connection = Watched::new(ours, Arc::clone(&pulse), PATIENCE);
        theirs.write_all(b"GET").await.unwrap();
        read_one(&mut connection).await.unwrap();
        drop(pulse.begin());
        // A long silence after a request is not a slow head.
        let waited = tokio::time::timeout(Duration::from_secs(55), read_one(&mut connection)).await;
        assert!(waited.is_err());
        theirs.write_all(b"G").await.unwrap();
        read_one(&mut connection).await.unwrap();
        assert_eq!(read_one(&mut connection).await.unwrap_err().kind(), io::ErrorKind::TimedOut);

        let (ours, _theirs) = duplex(64);
        let mut silent = Watched::new(ours, Arc::new(Pulse::default()), PATIENCE);
        assert_eq!(read_one(&mut silent).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_may_come_slowly() {
        let (ours, mut theirs) = duplex(64);
        let pulse = Arc::new(Pulse::default());
        let mut connection = Watched::new(ours, Arc::clone(&pulse), PATIENCE);
        let _answering = pulse.begin();
        for _ in 0..5 {
            tokio::time::advance(Duration::from_secs(9)).await;
            theirs.write_all(b"x").await.unwrap();
            read_one(&mut connection).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_next_to_nothing_is_dropped() {
        let (ours, mut theirs) = duplex(1024);
        let mut connection = Watched::new(ours, Arc::new(Pulse::default()), PATIENCE);
        let sending = tokio::spawn(async move { connection.write_all(&[7; 64 * 1024]).await });
        let trickle = tokio::spawn(async move {
            let mut taken = 0;
            while theirs.read_exact(&mut [0; 16]).await.is_ok() {
                taken += 16;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            taken
        });
        assert_eq!(sending.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(trickle.await.unwrap() < 2 * 1024);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_slowly_but_steadily_is_served() {
        let (ours, mut theirs) = duplex(1024);
        let mut connection = Watched::new(ours, Arc::new(Pulse::default()), PATIENCE);
        let sending = tokio::spawn(async move { connection.write_all(&[7; 256 * 1024]).await });
        let mut taken = 0;
        while taken < 256 * 1024 {
            theirs.read_exact(&mut [0; 1024]).await.unwrap();
            taken += 1024;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        sending.await.unwrap().unwrap();
    }
}
