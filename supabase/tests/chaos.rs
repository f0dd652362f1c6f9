//! The database hangs up repeatedly while people and drivers write: everything acknowledged is stored, complete and once.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use duet_core::{
    Caller, Env, StoreError,
    contract::{Harness, World, Writes},
    domain::{LogRange, MessageRole, PageRequest, RunEvent},
    ids::Id,
    ports::{ChainCheck, Stores},
};
use duet_supabase::testing::{ServedDatabase, TestDatabase};
use reqwest::Url;
use sqlx::{ConnectOptions, postgres::PgConnectOptions};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

/// The test's progress: cuts follow calls, not the clock, so that a slow machine is not cut at every call.
#[derive(Default)]
struct Progress {
    calls: AtomicUsize,
    done: AtomicBool,
}

impl Progress {
    fn called(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
    }
}

/// Cuts one of the stores' connections after every few calls, and the proxy's; returns how many it cut.
async fn hang_up(name: String, proxy: Proxy, progress: Arc<Progress>) -> (i64, usize) {
    let url = std::env::var("DUET_TEST_POSTGRES_URL").unwrap();
    let mut superuser = url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
    let cut = "select count(pg_terminate_backend(pid)) from (
                   select pid from pg_stat_activity where datname = $1 and application_name = 'duet' order by random() limit 1) one";
    let (mut ended, mut cut_off, mut seen) = (0, 0, 0);
    while !progress.done.load(Ordering::SeqCst) {
        let calls = progress.calls.load(Ordering::SeqCst);
        if calls < seen + 5 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        seen = calls;
        cut_off += proxy.cut();
        ended += sqlx::query_scalar::<_, i64>(cut)
            .bind(&name)
            .fetch_one(&mut superuser)
            .await
            .unwrap();
    }
    (ended, cut_off)
}

/// A proxy between the stores and the Data API that drops connections: before the request is through, while the database works on it,
/// or before the answer is back.
#[derive(Clone, Default)]
struct Proxy(Arc<Mutex<Vec<AbortHandle>>>);

impl Proxy {
    /// Relays to a project; returns its own address.
    async fn to(self, mut project: Url) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let there = project.socket_addrs(|| None).unwrap()[0];
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let relay = tokio::spawn(async move {
                    let mut far = TcpStream::connect(there).await.unwrap();
                    // How it ends is up to both peers.
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
                self.0.lock().unwrap().push(relay.abort_handle());
            }
        });
        project.set_port(Some(here.port())).unwrap();
        project
    }

    /// Cuts all connections; returns how many there were.
    fn cut(&self) -> usize {
        let relays = std::mem::take(&mut *self.0.lock().unwrap());
        let alive = relays.iter().filter(|relay| !relay.is_finished());
        alive.map(AbortHandle::abort).count()
    }
}

/// What a driver was told is written, by number.
async fn drive(
    env: Env,
    stores: Stores,
    claim: duet_core::domain::Claim,
    writer: usize,
    progress: Arc<Progress>,
) -> Vec<(u64, String)> {
    let mut written = Vec::new();
    for round in 0..60 {
        let text = format!("{writer}/{round}");
        let delta = RunEvent::Delta {
            step: 1,
            text: text.clone(),
        };
        match stores
            .run_log
            .append(claim.run.id, claim.lease, 1, env.id(), vec![delta.into()])
            .await
        {
            Ok(appended) => written.push((appended.own[0].seq, text)),
            Err(error) => assert!(matches!(error, StoreError::Unavailable(_)), "{error}"),
        }
        progress.called();
    }
    written
}

/// Sends a message, and repeats it if the outcome is unknown.
async fn say(stores: &Stores, caller: &Caller, turn: duet_core::domain::NewTurn, progress: &Progress) {
    for _ in 0..50 {
        let outcome = stores.runs.start_turn(caller, turn.clone()).await;
        progress.called();
        match outcome {
            Ok(receipt) => {
                assert_eq!(receipt.message_id, turn.message_id);
                return;
            }
            Err(error) => assert!(matches!(error, StoreError::Unavailable(_)), "{error}"),
        }
    }
    panic!("never answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_outlive_broken_connections() {
    let db = TestDatabase::fresh().await;
    let (ended, _) = outlive(&db, &db, Proxy::default()).await;
    assert!(ended > 5, "only {ended} connections were cut");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_outlive_broken_connections_to_the_data_api() {
    let proxy = Proxy::default();
    let relaying = proxy.clone();
    let served = ServedDatabase::behind(async |url| relaying.to(url).await).await;
    let (_, cut_off) = outlive(&served, &served.database, proxy).await;
    assert!(cut_off > 5, "only {cut_off} connections were cut");
}

/// How many connections to the database were cut in the process, and how many of the proxy's.
async fn outlive(harness: &dyn Harness, db: &TestDatabase, proxy: Proxy) -> (i64, usize) {
    let world = World::new(harness).await;
    let name: String = sqlx::query_scalar("select current_database()::text")
        .fetch_one(&mut db.owner().await)
        .await
        .unwrap();
    let claim = world.claimed().await;
    let mut turns = Vec::new();
    for _ in 0..30 {
        turns.push(world.turn(world.conversation(&world.owner).await.id, "Hello"));
    }
    let progress = Arc::new(Progress::default());
    let chaos = tokio::spawn(hang_up(name, proxy, progress.clone()));
    let mut drivers = JoinSet::new();
    for writer in 0..4 {
        drivers.spawn(drive(
            world.env.clone(),
            world.stores.clone(),
            claim.clone(),
            writer,
            progress.clone(),
        ));
    }
    for turn in &turns {
        say(&world.stores, &world.owner, turn.clone(), &progress).await;
    }
    let written = drivers.join_all().await.concat();
    progress.done.store(true, Ordering::SeqCst);
    let ended = chaos.await.unwrap();
    assert!(written.len() > 20, "only {} events were acknowledged", written.len());

    let page = world
        .stores
        .runs
        .events(&world.owner, claim.run.id, LogRange::whole(0, 1_000))
        .await
        .unwrap();
    assert_eq!(
        page.events.iter().map(|stored| stored.seq).collect::<Vec<_>>(),
        (1..=page.last_seq).collect::<Vec<_>>()
    );
    for (seq, text) in &written {
        let stored = &page.events[*seq as usize - 1].event;
        assert!(
            matches!(stored, Some(RunEvent::Delta { text: kept, .. }) if kept == text),
            "{seq} {text}: {stored:?}"
        );
    }
    for turn in turns {
        let messages = world
            .stores
            .conversations
            .messages(&world.owner, turn.conversation_id, PageRequest::first(10))
            .await
            .unwrap();
        assert_eq!(messages.items.len(), 1, "a message is there once");
        assert_eq!(
            (messages.items[0].id, messages.items[0].role),
            (turn.message_id, MessageRole::User)
        );
        let run = world.stores.runs.run(&world.owner, turn.run_id).await.unwrap().unwrap();
        assert_eq!(run.last_seq, 1, "{}", run.id.uuid());
    }
    assert!(matches!(
        world.stores.audit.verify(&world.owner).await.unwrap(),
        ChainCheck::Intact(_)
    ));
    ended
}
