//! The server's connections: a bounded number at once, heads that arrive in time, readers that read. A client that holds
//! connections, or sends and takes nothing, keeps nobody else out.

mod answer;
mod open;
mod watched;

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{ConnectInfo, Request},
    response::{IntoResponse, Response},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tower::ServiceExt;
use tracing::{debug, warn};

use self::{
    answer::{Answer, PIECE, Share, Waiting},
    open::{Bounds, Open, Slot},
    watched::{Patience, Watched},
};
use crate::{
    config::Config,
    error::{Code, Problem},
    hosting::turned,
    limits::network,
};

/// Most bytes kept of an answer that is not taken yet, besides the part being written; also the longest head of a request.
const BUFFER: usize = 64 * 1024;
/// How long nothing is accepted after the system ran out of descriptors.
const RECOVERY: Duration = Duration::from_millis(50);
/// How many idle connections make room in that case.
const SHED: usize = 16;
/// Sent to a client that gets no connection.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n";

/// Serves until `closing` turns true and every connection has ended.
pub async fn serve(listener: TcpListener, router: Router, config: &Config, closing: watch::Receiver<bool>) {
    let patience = Patience {
        head: Duration::from_secs(config.limits.head_seconds),
        idle: Duration::from_secs(config.limits.idle_seconds),
        slow: Duration::from_secs(config.limits.slow_reader_seconds),
    };
    let open = Open::new(bounds(config));
    let waiting = Waiting::new();
    let mut tasks = JoinSet::new();
    let mut refusing = false;
    let mut stop = pin!(turned(closing.clone()));
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match open.admit(peer.ip()) {
                Some(slot) => {
                    refusing = false;
                    let answering = Answering {
                        router: router.clone(),
                        peer,
                        waiting: Arc::clone(&waiting),
                    };
                    tasks.spawn(connection(stream, answering, slot, patience, closing.clone()));
                }
                None => {
                    if !std::mem::replace(&mut refusing, true) {
                        warn!("connections are refused: there are as many as `limits` allows, and all are at work");
                    }
                    refuse(&stream);
                }
            },
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                let shed = open.shed(SHED);
                warn!(%error, shed, "no connection could be accepted; idle ones make room");
                tokio::time::sleep(RECOVERY).await;
            }
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

/// Whether accepting failed because the client was already gone.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Sends what can be sent without waiting.
fn refuse(stream: &TcpStream) {
    if let Err(error) = stream.try_write(REFUSAL) {
        debug!(%error, "a refused connection could not be told so");
    }
}

/// The settings' bounds, as far as the system's limits allow: a quarter of the descriptors stays for files, providers and the
/// database.
fn bounds(config: &Config) -> Bounds {
    let wanted = usize::try_from(config.limits.connections).unwrap_or(usize::MAX);
    let of_one = usize::try_from(config.limits.connections_per_address).unwrap_or(usize::MAX);
    Bounds {
        most: descriptors().map_or(wanted, |all| wanted.min(all / 4 * 3)).max(1),
        most_of_one: (!config.server.behind_proxy).then_some(of_one),
    }
}

#[cfg(unix)]
fn descriptors() -> Option<usize> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.and_then(|most| usize::try_from(most).ok())
}

#[cfg(not(unix))]
fn descriptors() -> Option<usize> {
    None
}

/// What answers the requests of a connection.
struct Answering {
    router: Router,
    peer: SocketAddr,
    waiting: Arc<Waiting>,
}

impl Answering {
    async fn answer(&self, request: hyper::Request<Incoming>) -> Result<(Response, Option<Share>), Infallible> {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let response: Response = self.router.clone().oneshot(request).await?;
        let size = response
            .body()
            .size_hint()
            .exact()
            .and_then(|size| usize::try_from(size).ok());
        let Some(size) = size.filter(|size| *size > PIECE) else {
            return Ok((response, None));
        };
        Ok(match self.waiting.room(network(self.peer.ip()), size) {
            Some(share) => (response, Some(share)),
            None => {
                let problem = Problem::new(
                    Code::Unavailable,
                    "Earlier answers wait to be read. Read them, then try again.",
                );
                (problem.into_response(), None)
            }
        })
    }
}

async fn connection(stream: TcpStream, answering: Answering, slot: Slot, patience: Patience, closing: watch::Receiver<bool>) {
    // An event is one small write: held back for the acknowledgement of the one before (Nagle's algorithm), it would be 40 ms late.
    if let Err(error) = stream.set_nodelay(true) {
        warn!(%error, "a connection does not send at once");
    }
    let pulse = Arc::clone(&slot.pulse);
    let answering = Arc::new(answering);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (begun, answering) = (pulse.begin(), Arc::clone(&answering));
        async move {
            let (response, share) = answering.answer(request).await?;
            Ok::<_, Infallible>(response.map(|body| Answer::new(body, share, begun)))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.idle)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(Watched::new(stream, Arc::clone(&pulse), patience)), service);
    let mut served = pin!(served);
    let mut stop = pin!(turned(closing));
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = served.as_mut() => {
                if let Err(error) = ended {
                    debug!(%error, "a connection ended early");
                }
                return;
            }
            () = slot.pulse.evicted() => return,
            () = &mut stop, if !stopping => {
                stopping = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}
