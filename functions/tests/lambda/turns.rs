//! A person's turn over the three functions, and what happens when an invocation does not arrive.

use std::time::Duration;

use duet_api::testing::{Browser, Event, text_of};
use duet_supabase::testing::{EmptyDatabase, Pooler};
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::platform::{Fate, Platform};

/// Applies the schema to the database of the owner's URL; returns a setup token.
pub async fn migrated(owner: String) -> String {
    let (token, hash) = duet_api::auth::setup::new_token(&duet_api::testing::env());
    let url = duet_supabase::connect::Database::from_url("the test", &owner.into()).unwrap();
    let mut owner = duet_supabase::install::Owner::connect(url).await.unwrap();
    owner.migrate().await.unwrap();
    owner.put_setup_token(hash).await.unwrap();
    token
}

/// An installation with an owner.
pub async fn installed(database: &EmptyDatabase, prepare: impl FnOnce(&mut Platform)) -> (Platform, Browser) {
    installed_at(database, &database.url("duet_worker"), prepare).await
}

/// The same, with the functions connecting to the database by this URL.
async fn installed_at(database: &EmptyDatabase, url: &str, prepare: impl FnOnce(&mut Platform)) -> (Platform, Browser) {
    let token = migrated(database.url("postgres")).await;
    let mut platform = Platform::start(url).await;
    prepare(&mut platform);
    platform.run("api", 2);
    let mut ada = platform.browser();
    ada.set_up(&token).await;
    (platform, ada)
}

/// Checks that the frames' seqs have no gaps and no duplicates.
pub fn gapless(events: &[Event]) {
    let ids: Vec<u64> = events.iter().filter_map(|event| event.id).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>());
}

/// Waits until a run has ended, following its whole log through the function `stream`; the timeout of minutes only ends a hang.
pub async fn whole_log(platform: &Platform, ada: &Browser, run: &str) -> Vec<Event> {
    let reader = ada.at(&platform.url("stream"));
    let whole = async {
        let mut all: Vec<Event> = Vec::new();
        loop {
            let after = all.iter().rev().find_map(|event| event.id);
            if let Some(mut stream) = reader.try_follow(run, after).await {
                while let Some(event) = stream.next().await {
                    all.push(event);
                }
            }
            // An event that was cut off is sent again.
            let upto = all.iter().rposition(|event| event.id.is_some()).map_or(0, |last| last + 1);
            all.truncate(upto);
            let ended = |event: &Event| event.data["type"] == "RUN_FINISHED" || event.data["type"] == "RUN_ERROR";
            if all.last().is_some_and(ended) {
                return all;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(300), whole)
        .await
        .expect("the run ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_goes_through_the_three_functions() {
    let database = EmptyDatabase::fresh().await;
    let (mut platform, ada) = installed(&database, |_| {}).await;
    platform.run("stream", 2);
    platform.run("worker", 2);
    let config = ada.get("/v1/config").await;
    assert!(config.is_object(), "{config}");
    assert_eq!(ada.get("/health").await["status"], "ok");
    assert_eq!(ada.get("/ready").await["status"], "ok", "runs are left to `worker`");

    let talk = ada.conversation().await;
    let said = ada.say(&talk, "count to 200").await;
    let run = said["run_id"].as_str().unwrap();
    assert_eq!(platform.invoked(), [json!({"task": "drive", "round": 0})]);
    let mut stream = ada.at(&platform.url("stream")).follow(run, None).await;
    let first = stream.next().await.unwrap();
    let status = ada.get(&format!("{{ws}}/runs/{run}")).await["status"].clone();
    assert_ne!(status, "done", "the first event is here before the run has ended");
    let mut events = vec![first];
    while let Some(event) = stream.next().await {
        events.push(event);
    }
    gapless(&events);
    assert_eq!(events.last().unwrap().data["type"], "RUN_FINISHED", "{events:?}");
    assert!(stream.pieces > 5, "it came in {} pieces", stream.pieces);
    assert!(text_of(&events).contains("199, 200"), "{}", text_of(&events));
    let reply = ada.reply(&talk, run).await;
    assert_eq!(reply["status"], "complete", "{reply}");
    assert!(
        text_of(&events).trim().ends_with(reply["text"].as_str().unwrap().trim()),
        "{reply}"
    );

    // From any point on, and all at once from the function that cannot stream.
    let middle = events.len() / 2;
    let from = events[..middle].iter().rev().find_map(|event| event.id).unwrap();
    let upto = events.iter().rposition(|event| event.id == Some(from)).unwrap();
    assert_eq!(ada.at(&platform.url("stream")).events(run, from).await, events[upto + 1..]);
    assert_eq!(ada.events(run, 0).await, events);
    let future = ada
        .request(Method::GET, &format!("{{ws}}/runs/{run}/events?after=9999"), None)
        .await
        .unwrap();
    assert_eq!(future.status(), StatusCode::UNPROCESSABLE_ENTITY);

    // A turn of an AG-UI client is started and followed in one request, where answers can be streamed.
    let input = json!({
        "threadId": talk, "runId": "00000000-0000-4000-8000-000000000007", "messages": [{"id": "1", "role": "user", "content": "count to 20"}],
    });
    let agui = format!("{{ws}}/conversations/{talk}/agui");
    let streamed = ada
        .at(&platform.url("stream"))
        .request(Method::POST, &agui, Some(&input))
        .await
        .unwrap();
    assert_eq!(streamed.status(), StatusCode::OK);
    let text = streamed.text().await.unwrap();
    assert!(text.contains("RUN_STARTED") && text.contains("RUN_FINISHED"), "{text}");
    let buffered = ada.request(Method::POST, &agui, Some(&input)).await.unwrap();
    assert_eq!(buffered.status(), StatusCode::METHOD_NOT_ALLOWED);

    // Otherwise `stream` only reads; both reject strangers and pages of other origins.
    let write = ada
        .at(&platform.url("stream"))
        .request(Method::POST, "{ws}/conversations", Some(&json!({})))
        .await
        .unwrap();
    assert_eq!(write.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(write.headers()["content-type"], "application/problem+json");
    let foreign = ada.clone().from_origin("http://evil.test");
    let refused = foreign
        .request(Method::POST, "{ws}/conversations", Some(&json!({})))
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let stranger = platform
        .browser()
        .request(Method::GET, &format!("/v1/workspaces/{}/runs/{run}", ada.workspace), None)
        .await
        .unwrap();
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    let metrics = ada.request(Method::GET, "/metrics", None).await.unwrap();
    assert!(
        metrics.status().is_client_error(),
        "nobody is on the functions' own machine: {}",
        metrics.status()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_instances_share_few_connections_of_a_pooler() {
    let database = EmptyDatabase::fresh().await;
    let pooler = Pooler::start(&database, 3);
    let url = database.url_at("duet_worker", &pooler.address());
    let (mut platform, ada) = installed_at(&database, &url, |_| {}).await;
    platform.run("stream", 4);
    platform.run("worker", 2);
    let turns = (0..4).map(|number| {
        let (platform, ada) = (&platform, &ada);
        async move {
            let talk = ada.conversation().await;
            let said = ada.say(&talk, &format!("count to {}", 30 + number)).await;
            let events = whole_log(platform, ada, said["run_id"].as_str().unwrap()).await;
            gapless(&events);
            let text = text_of(&events);
            assert!(
                text.trim_end().ends_with(&format!("{}, {}.", 29 + number, 30 + number)),
                "{text}"
            );
        }
    });
    join_all(turns).await;
    let kept = "select count(*) from pg_stat_activity where datname = current_database() and usename = 'duet_worker'";
    let kept: u32 = database.value(kept).await.parse().unwrap();
    assert!((1..=3).contains(&kept), "{kept} connections for eight instances");
    assert!(platform.failures().is_empty(), "{:?}", platform.failures());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buffered_stream_brings_what_there_is_and_the_client_asks_on() {
    let database = EmptyDatabase::fresh().await;
    let (mut platform, ada) = installed(&database, |platform| platform.set("DUET_MODELS__OFFLINE__PAUSE_MS", "40")).await;
    platform.run("worker", 1);
    platform.run("stream", 1);
    let talk = ada.conversation().await;
    let said = ada.say(&talk, "count to 100").await;
    let run = said["run_id"].as_str().unwrap();
    let mut all = ada.events(run, 0).await;
    assert_ne!(
        all.last().unwrap().data["type"],
        "RUN_FINISHED",
        "it does not wait for the end"
    );
    let mut rounds = 1;
    while all.last().unwrap().data["type"] != "RUN_FINISHED" {
        let after = all.iter().rev().find_map(|event| event.id).unwrap();
        all.extend(ada.events(run, after).await);
        rounds += 1;
        assert!(rounds < 20);
    }
    assert_eq!(all, whole_log(&platform, &ada, run).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_invocation_is_found_by_the_schedule() {
    let database = EmptyDatabase::fresh().await;
    let (mut platform, ada) = installed(&database, |_| {}).await;
    platform.run("stream", 1);
    platform.run("worker", 1);
    for fate in [Fate::Lost, Fate::Refused] {
        platform.let_invocations_be(fate);
        let talk = ada.conversation().await;
        let said = ada.say(&talk, "My dog is called Rex.").await;
        let run = said["run_id"].as_str().unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let status = ada.get(&format!("{{ws}}/runs/{run}")).await["status"].clone();
        assert_eq!(status, "queued", "{fate:?}: nobody has heard of it");
        platform.schedule();
        let events = whole_log(&platform, &ada, run).await;
        gapless(&events);
        assert_eq!(ada.reply(&talk, run).await["status"], "complete", "{fate:?}");
    }
    let (status, _) = platform.call("worker", &json!({"task": "sweep"})).await;
    assert_eq!(status, StatusCode::OK);
    let hints = database.value("select count(*) from duet.run_event_outbox").await;
    assert_eq!(hints, "0", "the sweep empties the outbox");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_says_so_and_tries_again() {
    let database = EmptyDatabase::fresh().await;
    let (mut platform, ada) = installed(&database, |_| {}).await;
    platform.set("DUET_DATABASE_URL", "postgres://duet_worker:canary@127.0.0.1:1/x");
    platform.run_as("api", "broken", 1);
    platform.run_as("worker", "lame", 1);
    let answer = ada
        .at(&platform.url("broken"))
        .request(Method::GET, "/v1/config", None)
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Value = answer.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("log"), "{problem}");
    assert!(
        !problem.to_string().contains("canary") && !problem.to_string().contains("127.0.0.1"),
        "{problem}"
    );
    let (_, said) = platform.call("lame", &json!({"task": "drive"})).await;
    assert!(said.contains("cannot be reached") && !said.contains("canary"), "{said}");

    platform.set("DUET_DATABASE_URL", &database.url("duet_worker"));
    platform.run("worker", 1);
    let (_, said) = platform.call("worker", &json!({"task": "dance"})).await;
    assert!(said.contains("no task of this function"), "{said}");
    let event = json!({"version": "0", "source": "aws.events", "detail-type": "Scheduled Event", "detail": {}});
    assert_eq!(
        platform.call("worker", &event).await,
        (StatusCode::OK, json!({"done": true}).to_string())
    );
}
