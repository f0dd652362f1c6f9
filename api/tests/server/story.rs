//! A server that people talk to: set-up, a conversation, `kill -9` in the middle of a reply, SIGTERM.

use duet_api::testing::{Browser, Event, Events, text_of};
use duet_supabase::testing::EmptyDatabase;
use serde_json::json;

use crate::support::Program;

/// Reads a stream until its text holds these words.
async fn until_written(events: &mut Events, words: &str) -> Vec<Event> {
    let mut seen = Vec::new();
    while !text_of(&seen).contains(words) {
        seen.push(events.next().await.expect("the reply goes on"));
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_over_kill_9_and_sigterm() {
    let database = EmptyDatabase::fresh().await;
    let duet = Program::of(&database).with("DUET_MODELS__OFFLINE__PAUSE_MS", "60");
    let token = duet.migrate();
    let server = duet.serve();
    let mut ada = Browser::new(&server.url);
    ada.set_up(&token).await;
    let talk = ada.conversation().await;
    let said = ada.say(&talk, "My dog is called Rex.").await;
    let reply = ada.reply(&talk, said["run_id"].as_str().unwrap()).await;
    assert_eq!(reply["status"], "complete", "{reply}");
    assert_eq!(reply["trace"]["offline"], true, "{reply}");
    assert_eq!(reply["trace"]["remembered"].as_array().unwrap().len(), 1, "{reply}");

    // Cut in the middle of a reply that somebody is reading.
    let said = ada.say(&talk, "count to 200").await;
    let run = said["run_id"].as_str().unwrap();
    let mut stream = ada.follow(run, None).await;
    let seen = until_written(&mut stream, " 5, 6").await;
    server.kill();

    let server = duet.serve();
    assert!(!server.needs_owner);
    let ada = server.sign_in().await;
    let reply = ada.reply(&talk, run).await;
    assert_eq!(reply["status"], "interrupted", "{reply}");
    let partial = reply["text"].as_str().unwrap();
    assert!(partial.contains("1, 2, 3") && !partial.contains("200"), "{partial}");
    // What was read before the cut, and what comes after its last id, is the whole log.
    let last = seen.iter().rev().find_map(|event| event.id).unwrap();
    let upto = seen.iter().rposition(|event| event.id == Some(last)).unwrap();
    let mut joined: Vec<Event> = seen[..=upto].to_vec();
    joined.extend(ada.events(run, last).await);
    assert_eq!(joined, ada.events(run, 0).await);
    assert!(partial.contains(text_of(&joined).trim()), "{partial}");

    let asked = said["message_id"].as_str().unwrap();
    let retry = format!("{{ws}}/conversations/{talk}/messages/{asked}/retry");
    let again = ada.post(&retry, &json!({"mode": "continue"})).await;
    assert_eq!(again["reply_id"], said["reply_id"], "the same reply goes on");
    let mut stream = ada.follow(again["run_id"].as_str().unwrap(), None).await;
    until_written(&mut stream, ", ").await;
    // Asked to stop: it ends in order, and hands back what it was writing.
    assert_eq!(server.stop().await.code(), Some(0));
    while stream.next().await.is_some() {}

    let server = duet.serve();
    let ada = server.sign_in().await;
    ada.reply(&talk, again["run_id"].as_str().unwrap()).await;
    let question = ada.say(&ada.conversation().await, "What is my dog's name?").await;
    let events = ada.events(question["run_id"].as_str().unwrap(), 0).await;
    assert!(text_of(&events).contains("My dog is called Rex."), "{events:?}");
    assert_eq!(events.last().unwrap().data["type"], "RUN_FINISHED", "{events:?}");
    assert_eq!(server.stop().await.code(), Some(0));
}
