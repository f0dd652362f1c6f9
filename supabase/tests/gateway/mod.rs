//! A labelled stand-in for what is in front of PostgREST: an HTTP/1.1 server of the test's own, which answers as told and records the
//! requests.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// What happens to one request.
#[derive(Clone, Debug)]
pub enum Act {
    /// An answer with a status, headers and a body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The connection closes without an answer.
    Cut,
    /// The answer begins, then the connection closes.
    CutAnswer,
    /// No answer, ever.
    Silence,
    /// An answer that begins and never ends.
    Drip,
    /// An answer of this many bytes in chunks, without a length.
    Chunks(usize),
    /// An answer that announces this many bytes.
    Announced(usize),
}

/// An answer without headers of its own.
pub fn answer(status: u16, body: &str) -> Act {
    Act::Answer(status, Vec::new(), body.to_owned())
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its first line.
    pub line: String,
    /// Its headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Value,
}

/// The server. It repeats its last act for ever.
#[derive(Clone)]
pub struct Gateway {
    /// Its address.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Gateway {
    /// On a free port.
    pub async fn acting(acts: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::on(listener, acts)
    }

    /// On a given listener.
    pub fn on(listener: TcpListener, acts: impl IntoIterator<Item = Act>) -> Self {
        let gateway = Self {
            address: listener.local_addr().expect("an address"),
            seen: Arc::default(),
        };
        let acts: Arc<Mutex<VecDeque<Act>>> = Arc::new(Mutex::new(acts.into_iter().collect()));
        let seen = gateway.seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, acts.clone(), seen.clone()));
            }
        });
        gateway
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("no panic before").clone()
    }
}

async fn serve(stream: TcpStream, acts: Arc<Mutex<VecDeque<Act>>>, seen: Arc<Mutex<Vec<Request>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        seen.lock().expect("no panic before").push(request);
        let act = {
            let mut acts = acts.lock().expect("no panic before");
            let next = acts.front().cloned().expect("an act");
            if acts.len() > 1 {
                acts.pop_front();
            }
            next
        };
        // A client that hangs up early is the test's concern.
        if perform(stream.get_mut(), act).await != Some(true) {
            return;
        }
    }
}

/// Whether the connection continues; `None` if it broke.
async fn perform(stream: &mut TcpStream, act: Act) -> Option<bool> {
    match act {
        Act::Answer(status, headers, body) => {
            let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let length = body.len();
            let text = format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
            stream.write_all(text.as_bytes()).await.ok()?;
            return Some(true);
        }
        Act::Cut => {}
        Act::CutAnswer => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"ok\":")
                .await
                .ok()?;
        }
        Act::Silence => std::future::pending::<()>().await,
        Act::Drip => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"ok\":")
                .await
                .ok()?;
            std::future::pending::<()>().await;
        }
        Act::Chunks(size) => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                .await
                .ok()?;
            let piece = vec![b' '; 1 << 20];
            for _ in 0..size.div_ceil(piece.len()) {
                stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.ok()?;
                stream.write_all(&piece).await.ok()?;
                stream.write_all(b"\r\n").await.ok()?;
            }
            stream.write_all(b"0\r\n\r\n").await.ok()?;
        }
        Act::Announced(size) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            std::future::pending::<()>().await;
        }
    }
    Some(false)
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let headers: BTreeMap<String, String> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut body = vec![
        0;
        headers
            .get("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0)
    ];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request {
        line: lines[0].clone(),
        headers,
        body: serde_json::from_slice(&body).expect("a body that is JSON"),
    })
}
