//! Connections as they come: bodies that nobody reads, heads that do not come, readers that do not read, and more of them than there is
//! room for. Over real sockets.

use std::time::Duration;

use duet_api::config::Config;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::*;

/// Longest wait for what has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.address).await.unwrap()
}

/// The head and body of the next answer, or nothing when the connection has ended.
async fn answer(connection: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let reading = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match connection.read(&mut byte).await {
                Ok(1) => head.push(byte[0]),
                _ => return None,
            }
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        let mut body = vec![0; length.parse().unwrap()];
        connection.read_exact(&mut body).await.ok()?;
        Some((head, body))
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an answer, or the end")
}

/// Resolves when the server has ended the connection.
async fn ended(connection: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let reading = connection.read_to_end(&mut rest);
    // Reset counts as well: what the server had not read is no matter.
    let _ = tokio::time::timeout(PATIENCE, reading).await.expect("the server ends it");
    rest
}

fn head(server: &Server, request: &str, length: usize) -> String {
    format!(
        "{request} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n",
        server.address
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_refused_before_its_body_is_read_does_not_break_the_next() {
    let server = Server::start().await;
    let body = json!({"name": "x".repeat(20_000)}).to_string();
    let mut connection = connect(&server).await;
    for round in 0..40 {
        // Refused for want of a sign-in, while the body is still on its way.
        let refused = head(&server, "POST /v1/workspaces", body.len());
        connection.write_all(refused.as_bytes()).await.unwrap();
        connection.write_all(body.as_bytes()).await.unwrap();
        let (refusal, _) = answer(&mut connection).await.expect("an answer");
        assert!(refusal.starts_with("http/1.1 401"), "{refusal}");
        if refusal.contains("connection: close") {
            connection = connect(&server).await;
        }
        let next = head(&server, "GET /health", 0);
        connection.write_all(next.as_bytes()).await.unwrap();
        let (next, _) = answer(&mut connection)
            .await
            .unwrap_or_else(|| panic!("round {round}: the connection ended without saying so"));
        assert!(next.starts_with("http/1.1 200"), "{next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_with_more_to_come_is_said_to_end() {
    let server = Server::start().await;
    let mut connection = connect(&server).await;
    let refused = head(&server, "POST /v1/workspaces", 50 * 1024 * 1024);
    connection.write_all(refused.as_bytes()).await.unwrap();
    let (refusal, _) = answer(&mut connection).await.expect("an answer");
    assert!(
        refusal.starts_with("http/1.1 401") && refusal.contains("connection: close"),
        "{refusal}"
    );
    ended(&mut connection).await;
    // Who waits for leave to send gets none, and is told the same.
    let mut connection = connect(&server).await;
    let refused = head(&server, "POST /v1/workspaces", 100).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    connection.write_all(refused.as_bytes()).await.unwrap();
    let (refusal, _) = answer(&mut connection).await.expect("an answer");
    assert!(
        refusal.starts_with("http/1.1 401") && refusal.contains("connection: close"),
        "{refusal}"
    );
}

fn quick() -> Config {
    let mut config = Config::default();
    config.limits.head_seconds = 1;
    config.limits.idle_seconds = 2;
    config.limits.slow_reader_seconds = 2;
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_ends_its_connection() {
    let server = Server::with(quick()).await;
    let mut silent = connect(&server).await;
    let mut half = connect(&server).await;
    half.write_all(b"GET /health HTTP/1.1\r\nHost: local").await.unwrap();
    let mut second = connect(&server).await;
    second.write_all(head(&server, "GET /health", 0).as_bytes()).await.unwrap();
    answer(&mut second).await.expect("an answer");
    second.write_all(b"GET /health HT").await.unwrap();
    let mut idle = connect(&server).await;
    idle.write_all(head(&server, "GET /health", 0).as_bytes()).await.unwrap();
    answer(&mut idle).await.expect("an answer");
    for connection in [&mut silent, &mut half, &mut second, &mut idle] {
        assert_eq!(ended(connection).await, b"");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_is_dropped() {
    let server = Server::with(quick()).await;
    let ada = server.owner().await;
    let conversation = ada.conversation().await;
    for number in 0..12 {
        let said = ada.say(&conversation, &format!("{number} {}", "word ".repeat(12_000))).await;
        ada.stream(said["run_id"].as_str().unwrap(), 0).await;
    }
    let Proof::Cookie(cookie) = &ada.proof else { unreachable!() };
    let mut readers = Vec::new();
    for _ in 0..20 {
        let mut reader = connect(&server).await;
        // As many answers as would not fit into the sockets' buffers.
        let path = ada.path(&format!("conversations/{conversation}/messages?limit=200"));
        let asked = head(&server, &format!("GET {path}"), 0).replace("\r\n\r\n", &format!("\r\nCookie: {cookie}\r\n\r\n"));
        reader.write_all(asked.repeat(32).as_bytes()).await.unwrap();
        readers.push(reader);
    }
    // Nobody reads. The server lets go of each, and others are served meanwhile.
    server.send(request(axum::http::Method::GET, "/health")).await.ok(200);
    let whole = ada
        .get(&format!("conversations/{conversation}/messages?limit=200"))
        .await
        .text
        .len();
    for reader in &mut readers {
        // What stood in the socket's buffers still comes, and then the end, long before all answers.
        tokio::time::timeout(PATIENCE, reader.writable()).await.unwrap().unwrap();
        wait_for_the_end(reader).await;
        let came = ended(reader).await.len();
        assert!(came < 32 * whole, "{came} of {}", 32 * whole);
    }
}

/// Until the server has ended the connection, without taking any of what it sent.
async fn wait_for_the_end(connection: &TcpStream) {
    let waiting = async {
        loop {
            match connection.try_write(b"G") {
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the server ends it");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_connections_keeps_nobody_out() {
    let mut config = Config::default();
    config.limits.connections = 40;
    config.limits.connections_per_address = 20;
    let server = Server::with(config).await;
    // Twice as many as there is room for, which send nothing or half a head.
    let mut held = Vec::new();
    for number in 0..80 {
        let mut connection = connect(&server).await;
        if number % 2 == 0 {
            connection.write_all(b"GET /health HTTP/1.1\r\n").await.unwrap();
        }
        held.push(connection);
    }
    let mut owner = connect(&server).await;
    owner.write_all(head(&server, "GET /health", 0).as_bytes()).await.unwrap();
    let (answered, _) = answer(&mut owner).await.expect("the owner is served");
    assert!(answered.starts_with("http/1.1 200"), "{answered}");
    // Those that waited longest made room.
    for connection in held.iter_mut().take(60) {
        ended(connection).await;
    }
}
