//! Calls over connections to the database: one round trip each, encrypted as the URL says, and abandoned when the database is silent.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use duet_core::{StoreError, contract::TestEnv};
use duet_supabase::{
    rpc::{Call, Identity, Rpc, WireRpc, WireSettings},
    testing::TestDatabase,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

/// A database, and the worker's connection options.
async fn database() -> (TestDatabase, PgConnectOptions) {
    let database = TestDatabase::fresh().await;
    let worker = database.worker_options();
    (database, worker)
}

fn transport(connect: PgConnectOptions, statement_timeout: Duration) -> WireRpc {
    transport_at(connect, statement_timeout, &TestEnv::new(1))
}

fn transport_at(connect: PgConnectOptions, statement_timeout: Duration, time: &TestEnv) -> WireRpc {
    let settings = WireSettings {
        connect,
        connections: 1,
        statement_timeout,
        acquire_timeout: Duration::from_secs(30),
    };
    WireRpc::new(settings, time.env())
}

async fn ask(rpc: &WireRpc) -> Result<serde_json::Value, StoreError> {
    rpc.call(&Identity::Driver, &Call::new("needs_owner")).await
}

/// The same login through a local listener.
fn through(worker: PgConnectOptions, here: SocketAddr) -> PgConnectOptions {
    worker.host("127.0.0.1").port(here.port()).ssl_mode(PgSslMode::Disable)
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap();
    (listener, here)
}

/// Whether `bytes` end a call.
fn is_whole(bytes: &[u8]) -> bool {
    bytes.ends_with(b"commit\0")
}

/// Passes on the server's answers only after a `commit` has been sent: a client that waits for an answer before that waits for ever.
async fn hold_back(near: TcpStream, far: TcpStream) {
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = far.into_split();
    let (mut buffer, mut seen) = (vec![0; 65_536], Vec::new());
    // The login.
    let length = from_near.read(&mut buffer).await.unwrap();
    to_far.write_all(&buffer[..length]).await.unwrap();
    loop {
        let length = from_far.read(&mut buffer).await.unwrap();
        to_near.write_all(&buffer[..length]).await.unwrap();
        if buffer[..length].ends_with(b"Z\0\0\0\x05I") {
            break;
        }
    }
    loop {
        seen.clear();
        while !is_whole(&seen) {
            let length = from_near.read(&mut buffer).await.unwrap();
            if length == 0 {
                return;
            }
            to_far.write_all(&buffer[..length]).await.unwrap();
            seen.extend_from_slice(&buffer[..length]);
        }
        // The answers to the beginning, the call and the commit, after which the connection is idle again.
        let mut answers: Vec<u8> = Vec::new();
        while !answers.ends_with(b"Z\0\0\0\x05I") {
            let length = from_far.read(&mut buffer).await.unwrap();
            answers.extend_from_slice(&buffer[..length]);
        }
        to_near.write_all(&answers).await.unwrap();
    }
}

#[tokio::test]
async fn a_call_is_written_whole_before_an_answer_is_read() {
    let (_database, worker) = database().await;
    let there = (worker.get_host().to_owned(), worker.get_port());
    let (listener, here) = listen().await;
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(&there).await.unwrap();
            tokio::spawn(hold_back(near, far));
        }
    });
    let rpc = transport(through(worker, here), Duration::from_secs(5));
    for _ in 0..3 {
        let asked = tokio::time::timeout(Duration::from_secs(180), ask(&rpc)).await;
        let answer = asked
            .expect("the call waits for an answer before it is written whole")
            .unwrap();
        assert_eq!(answer["ok"], true);
    }
    rpc.close().await;
}

#[tokio::test]
async fn a_database_that_falls_silent_is_given_up() {
    let (_database, worker) = database().await;
    let there = (worker.get_host().to_owned(), worker.get_port());
    let (listener, here) = listen().await;
    // The first connection works for one call, then nothing more gets through; the second works.
    tokio::spawn(async move {
        let mut first = true;
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(&there).await.unwrap();
            match std::mem::take(&mut first) {
                true => drop(tokio::spawn(swallow_from_the_second_call(near, far))),
                false => drop(tokio::spawn(relay(near, far))),
            }
        }
    });
    let rpc = transport(through(worker, here), Duration::from_secs(1));
    assert_eq!(ask(&rpc).await.unwrap()["ok"], true);
    let refused = ask(&rpc).await.unwrap_err();
    assert!(
        refused.to_string().contains("Look whether this was done"),
        "nobody knows whether it was: {refused}"
    );
    assert_eq!(ask(&rpc).await.unwrap()["ok"], true, "over another connection");
    rpc.close().await;
}

async fn swallow_from_the_second_call(near: TcpStream, far: TcpStream) {
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = far.into_split();
    let back = tokio::spawn(async move { tokio::io::copy(&mut from_far, &mut to_near).await });
    let mut buffer = vec![0; 65_536];
    loop {
        let length = from_near.read(&mut buffer).await.unwrap_or(0);
        if length == 0 {
            return;
        }
        to_far.write_all(&buffer[..length]).await.unwrap();
        if is_whole(&buffer[..length]) {
            break;
        }
    }
    while from_near.read(&mut buffer).await.unwrap_or(0) > 0 {}
    back.abort();
}

async fn relay<S: AsyncRead + AsyncWrite + Unpin>(mut near: S, mut far: TcpStream) {
    // How it ends is up to both peers.
    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
}

/// Asks for the connections to be cut, and to be told through the sent sender.
type Cuts = std::sync::mpsc::Sender<std::sync::mpsc::Sender<()>>;

/// A relay to the database in its own thread, which keeps running while this process stands still: its address, and a way to cut its
/// connections.
fn relay_beside(there: (String, u16)) -> (SocketAddr, Cuts) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap();
    let (cut, cuts) = std::sync::mpsc::channel::<std::sync::mpsc::Sender<()>>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            listener.set_nonblocking(true).unwrap();
            let listener = TcpListener::from_std(listener).unwrap();
            let mut relays = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let far = TcpStream::connect(&there).await.unwrap();
                        relays.spawn(relay(accepted.unwrap().0, far));
                    }
                    () = tokio::time::sleep(Duration::from_millis(10)) => match cuts.try_recv() {
                        Ok(done) => {
                            relays.shutdown().await;
                            done.send(()).unwrap();
                        }
                        Err(std::sync::mpsc::TryRecvError::Empty) => {}
                        Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                    },
                }
            }
        });
    });
    (here, cut)
}

#[tokio::test]
async fn a_connection_that_broke_while_the_process_was_frozen_is_not_used() {
    let (_database, worker) = database().await;
    let (here, cut) = relay_beside((worker.get_host().to_owned(), worker.get_port()));
    let time = TestEnv::new(1);
    let rpc = transport_at(through(worker, here), Duration::from_secs(5), &time);
    assert_eq!(ask(&rpc).await.unwrap()["ok"], true);
    let (done, wait) = std::sync::mpsc::channel();
    cut.send(done).unwrap();
    // This runtime has one thread: everything on it stops, as on a platform that freezes a process between two events.
    wait.recv().unwrap();
    time.advance(Duration::from_secs(11));
    let asked = ask(&rpc).await;
    assert_eq!(
        asked.expect("a call that is not repeated goes over another connection")["ok"],
        true
    );
    rpc.close().await;
}

/// A certificate authority, and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for this name, and its key.
    fn sign(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
        parameters.extended_key_usages = vec![usage];
        (parameters.signed_by(&key, &self.0).unwrap(), key)
    }
}

/// A server that speaks TLS and relays to the database; it requires clients' certificates of `clients`, if given.
async fn encrypted(there: (String, u16), authority: &Authority, name: &str, clients: Option<&Authority>) -> SocketAddr {
    let (certificate, key) = authority.sign(name, ExtendedKeyUsagePurpose::ServerAuth);
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut known = RootCertStore::empty();
            known.add(clients.0.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(known), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (listener, here) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (acceptor, there) = (acceptor.clone(), there.clone());
            tokio::spawn(async move {
                // The request for encryption: its length, and 80877103.
                let mut request = [0; 8];
                near.read_exact(&mut request).await.ok()?;
                if request != [0, 0, 0, 8, 4, 210, 22, 47] {
                    return None;
                }
                near.write_all(b"S").await.ok()?;
                let near = acceptor.accept(near).await.ok()?;
                relay(near, TcpStream::connect(&there).await.ok()?).await;
                Some(())
            });
        }
    });
    here
}

#[tokio::test]
async fn connections_are_encrypted_as_the_url_says() {
    let (_database, worker) = database().await;
    let there = (worker.get_host().to_owned(), worker.get_port());
    let (known, foreign) = (Authority::new(), Authority::new());
    let folder = std::env::temp_dir().join(format!("duet-wire-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let root = folder.join("root.pem");
    std::fs::write(&root, known.0.pem()).unwrap();
    let right = encrypted(there.clone(), &known, "localhost", None).await.port();
    let wrong_name = encrypted(there.clone(), &known, "db.example", None).await.port();
    let unknown = encrypted(there.clone(), &foreign, "localhost", None).await.port();
    let plain = there.1;

    use PgSslMode::{Disable, Prefer, Require, VerifyCa, VerifyFull};
    let table = [
        (right, Disable, false),
        (right, Prefer, true),
        (right, Require, true),
        (right, VerifyCa, true),
        (right, VerifyFull, true),
        (wrong_name, Require, true),
        (wrong_name, VerifyCa, true),
        (wrong_name, VerifyFull, false),
        (unknown, Require, true),
        (unknown, VerifyCa, false),
        (unknown, VerifyFull, false),
        (plain, Prefer, true),
        (plain, Require, false),
        (plain, VerifyFull, false),
    ];
    for (port, mode, answers) in table {
        let place = worker
            .clone()
            .host("localhost")
            .port(port)
            .ssl_mode(mode)
            .ssl_root_cert(&root);
        let rpc = transport(place, Duration::from_secs(5));
        let asked = ask(&rpc).await;
        assert_eq!(
            asked.is_ok(),
            answers,
            "port {port} (right {right}, other name {wrong_name}, unknown {unknown}, plain {plain}), {mode:?}: {asked:?}"
        );
        rpc.close().await;
    }

    // A client without a certificate of the authority that the server trusts is rejected.
    let mutual = encrypted(there, &known, "localhost", Some(&foreign)).await.port();
    let (certificate, key) = foreign.sign("duet_worker", ExtendedKeyUsagePurpose::ClientAuth);
    std::fs::write(folder.join("me.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("me.key"), key.serialize_pem()).unwrap();
    let place = worker
        .clone()
        .host("localhost")
        .port(mutual)
        .ssl_mode(VerifyFull)
        .ssl_root_cert(&root);
    let stranger = transport(place.clone(), Duration::from_secs(5));
    ask(&stranger).await.unwrap_err();
    let mine = place
        .ssl_client_cert(folder.join("me.pem"))
        .ssl_client_key(folder.join("me.key"));
    let me = transport(mine, Duration::from_secs(5));
    assert_eq!(ask(&me).await.unwrap()["ok"], true);

    let nowhere = worker
        .host("localhost")
        .port(right)
        .ssl_mode(VerifyFull)
        .ssl_root_cert(folder.join("none.pem"));
    let refused = ask(&transport(nowhere, Duration::from_secs(5)))
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("`sslrootcert`"), "{refused}");
    std::fs::remove_dir_all(folder).unwrap();
}
