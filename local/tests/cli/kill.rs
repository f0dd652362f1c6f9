//! `kill -9` at any moment: what was acknowledged is there, nothing is torn, every run ends.
//!
//! Ten moments by default, a hundred with `cargo xtask test --long` (`DUET_TEST_LONG=1`), any number with `DUET_TEST_KILLS`; the
//! simulator in the core covers the single steps.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::harness::{Browser, Home};

/// Short leases: a lost worker's runs are taken over within seconds.
const CONFIG: &str = "[models.offline]\npause_ms = 15\n[worker]\nlease_seconds = 3\n[limits]\nsign_in_per_minute = 10000\nsign_in_per_address_per_minute = 10000\n";

/// A small generator, so that a failed seed can be repeated.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// What the server said it has stored.
#[derive(Default)]
struct Acknowledged {
    memories: BTreeMap<String, String>,
    messages: BTreeMap<String, (String, String)>,
    runs: Vec<(String, String)>,
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_kill_9_at_any_moment() {
    let usual = if std::env::var_os("DUET_TEST_LONG").is_some() {
        100
    } else {
        10
    };
    let kills: u64 = std::env::var("DUET_TEST_KILLS").map_or(usual, |count| count.parse().unwrap());
    let home = Home::with_config(CONFIG);
    let server = home.serve();
    Browser::set_up(&server).await;
    server.kill();
    let mut all = Acknowledged::default();
    for seed in 0..kills {
        let mut acknowledged = Acknowledged::default();
        let server = home.serve();
        let ada = Browser::sign_in(&server.url).await;
        let fuse = Duration::from_millis(Dice(seed).next(1200));
        let written = tokio::select! {
            _ = tokio::time::sleep(fuse) => None,
            never = write(&ada, seed, &mut acknowledged) => Some(never),
        };
        assert!(written.is_none(), "writing goes on until the end");
        server.kill();
        check(&home, &format!("seed {seed}"), &acknowledged).await;
        all.memories.append(&mut acknowledged.memories);
        all.messages.append(&mut acknowledged.messages);
        all.runs.append(&mut acknowledged.runs);
    }
    // What survived its own crash survives all the later ones.
    check(&home, "at the end", &all).await;
    assert!(!all.memories.is_empty() && !all.runs.is_empty());
}

/// Writes memories and turns endlessly, and records what is acknowledged.
async fn write(ada: &Browser, seed: u64, acknowledged: &mut Acknowledged) {
    let talk = ada.conversation().await;
    let mut dice = Dice(seed ^ 0xd0e7);
    for number in 0.. {
        let text = format!("Seed {seed} number {number} is {}.", dice.next(1000));
        if dice.next(3) > 0 {
            let memory = ada.post("{ws}/memories", &json!({"text": text})).await;
            acknowledged.memories.insert(memory["id"].as_str().unwrap().to_owned(), text);
            continue;
        }
        // A conversation answers one message at a time: each turn has its own.
        let talk = if number % 2 == 0 {
            ada.conversation().await
        } else {
            talk.clone()
        };
        let said = format!("count to {}", 20 + dice.next(200));
        let busy = ada.try_say(&talk, &said).await;
        if let Some(receipt) = busy {
            let id = |key: &str| receipt[key].as_str().unwrap().to_owned();
            acknowledged.messages.insert(id("message_id"), (talk.clone(), said));
            acknowledged.runs.push((talk.clone(), id("run_id")));
        }
    }
}

/// Restarts, and checks that everything is there.
async fn check(home: &Home, when: &str, acknowledged: &Acknowledged) {
    let server = home.serve();
    let ada = Browser::sign_in(&server.url).await;
    for (id, text) in &acknowledged.memories {
        let memory = ada.get(&format!("{{ws}}/memories/{id}")).await;
        assert_eq!(memory["text"], *text, "{when}");
    }
    let mut talks: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for (id, (talk, text)) in &acknowledged.messages {
        if !talks.contains_key(talk.as_str()) {
            let page = ada.get(&format!("{{ws}}/conversations/{talk}/messages?limit=200")).await;
            talks.insert(talk, page["items"].as_array().unwrap().clone());
        }
        let found = talks[talk.as_str()].iter().find(|message| message["id"] == **id);
        assert_eq!(found.unwrap_or(&Value::Null)["text"], *text, "{when}: message {id}");
    }
    for (talk, run) in acknowledged.runs.iter().rev().take(4) {
        ada.reply(talk, run).await;
        let run = ada.get(&format!("{{ws}}/runs/{run}")).await;
        let status = run["status"].as_str().unwrap();
        assert!(matches!(status, "done" | "interrupted"), "{when}: {run}");
    }
    let verified = home.run(["audit", "verify", "--json"]).json();
    assert_eq!(verified["intact"], true, "{when}: {verified}");
    assert_eq!(server.stop().code(), Some(0), "{when}");
}

/// The sign-in that a server keeps for commands ends with it, however it ends: afterwards it would pass for the person's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_servers_own_sign_in_is_over() {
    let home = Home::new();
    home.init();
    let http = duet_api::http::client().unwrap();
    let status = async |url: &str, secret: &str| {
        let asked = http
            .get(format!("{url}/v1/auth/session"))
            .header("cookie", format!("duet_session={secret}"));
        asked.send().await.unwrap().status().as_u16()
    };
    let server = home.serve();
    home.run(["conversation", "list"]).ok();
    let places = [home.path().join("run/duet"), home.data().parent().unwrap().to_owned()];
    let files = places
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .flatten();
    let (file, runtime) = files
        .map(|file| file.path())
        .filter(|file| file.extension().is_some_and(|end| end == "json"))
        .find_map(|file| {
            Some((
                file.clone(),
                serde_json::from_slice::<Value>(&std::fs::read(file).ok()?).ok()?,
            ))
        })
        .expect("the runtime file");
    let secret = runtime["session"].as_str().expect("a sign-in").to_owned();
    assert_eq!(status(&server.url, &secret).await, 200);
    server.kill();
    // Whoever has read it can also remove what the next server would know it by.
    std::fs::remove_file(file).unwrap();
    let server = home.serve();
    assert_eq!(status(&server.url, &secret).await, 401);
}
