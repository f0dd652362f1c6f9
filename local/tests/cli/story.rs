//! What a new person does: set up, tell it three facts, lose power mid-reply, start again, continue, ask.

use std::process::{Child, ChildStdout};

use serde_json::{Value, json};

use crate::harness::{Browser, Home};

/// A pause between words makes the built-in model slow enough to be cut off.
const SLOW: &str = "[models.offline]\npause_ms = 60\n";

#[tokio::test(flavor = "multi_thread")]
async fn three_facts_a_power_cut_and_an_answer_with_its_source() {
    let home = Home::with_config(SLOW);
    let server = home.serve();
    let ada = Browser::set_up(&server).await;

    let talk = ada.conversation().await;
    for fact in [
        "My dog is called Rex.",
        "I live in Lyon.",
        "My sister Anna was born on 3 May.",
    ] {
        let said = ada.say(&talk, fact).await;
        let reply = ada.reply(&talk, said["run_id"].as_str().unwrap()).await;
        assert_eq!(reply["status"], "complete", "{reply}");
        assert_eq!(reply["trace"]["offline"], true, "{reply}");
        assert_eq!(reply["trace"]["remembered"].as_array().unwrap().len(), 1, "{reply}");
    }
    let said = ada.say(&talk, "count to 200").await;
    ada.writing(said["run_id"].as_str().unwrap(), 20).await;
    server.kill();

    // A new process: the conversation is there, the reply is marked interrupted, and can be continued.
    let server = home.serve();
    assert!(server.setup_token.is_none(), "there is an owner");
    let ada = Browser::sign_in(&server.url).await;
    let reply = ada.reply(&talk, said["run_id"].as_str().unwrap()).await;
    assert_eq!(reply["status"], "interrupted", "{reply}");
    let partial = reply["text"].as_str().unwrap().to_owned();
    assert!(partial.contains("1, 2, 3") && !partial.contains("200"), "{partial}");
    let page = ada.get(&format!("{{ws}}/conversations/{talk}/messages")).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 8, "{page}");

    let asked = said["message_id"].as_str().unwrap();
    let again = ada
        .post(
            &format!("{{ws}}/conversations/{talk}/messages/{asked}/retry"),
            &json!({"mode": "continue"}),
        )
        .await;
    assert_eq!(again["reply_id"], said["reply_id"], "the same reply goes on");
    let whole = ada.reply(&talk, again["run_id"].as_str().unwrap()).await;
    assert_eq!(whole["status"], "complete", "{whole}");
    let text = whole["text"].as_str().unwrap();
    assert!(text.starts_with(&partial) && text.contains("200"), "{text}");
    assert_eq!(text.matches(" 77,").count(), 1, "nothing is written twice: {text}");

    // Over HTTP: the answer quotes its source, and names the memory.
    let other = ada.conversation().await;
    let question = ada.say(&other, "What is my dog's name?").await;
    let answer = ada.reply(&other, question["run_id"].as_str().unwrap()).await;
    assert!(answer["text"].as_str().unwrap().contains("My dog is called Rex."), "{answer}");
    let source = answer["trace"]["recalled"].as_array().unwrap();
    let mut found = false;
    for id in source {
        let why = ada.get(&format!("{{ws}}/memories/{}/provenance", id.as_str().unwrap())).await;
        found |= why["memory"]["text"] == "My dog is called Rex." && why["message"]["text"] == "My dog is called Rex.";
    }
    assert!(found, "the memory leads to the message it came from: {source:?}");

    // From the terminal, through the running server and then without it.
    let mut server = Some(server);
    for through_server in [true, false] {
        if !through_server {
            assert_eq!(server.take().unwrap().stop().code(), Some(0));
        }
        let asked = home.run(["ask", "--json", "Where do I live?"]).json();
        assert!(asked["text"].as_str().unwrap().contains("I live in Lyon."), "{asked}");
        assert_eq!(asked["outcome"], "completed");
        assert_eq!(asked["offline"], true);
        let told = home.run(["ask", "Where do I live?"]);
        assert!(told.out.contains("I live in Lyon."), "{}", told.out);
        assert!(told.err.contains("recalled") && told.err.contains("offline"), "{}", told.err);
        assert_eq!(home.run(["doctor", "--json", "--no-network"]).json()["healthy"], true);
    }
    let verified: Value = home.run(["audit", "verify", "--json"]).json();
    assert_eq!(verified["intact"], true, "{verified}");
}

/// Reads a command's output until these words appear; returns the output, still open.
fn read_until(child: &mut Child, words: &str) -> ChildStdout {
    let mut seen = String::new();
    let mut out = child.stdout.take().unwrap();
    while !seen.contains(words) {
        let mut buffer = [0; 64];
        let count = std::io::Read::read(&mut out, &mut buffer).unwrap();
        assert!(count > 0, "it ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_cut_off_in_the_terminal_goes_on_there() {
    let home = Home::with_config(SLOW);
    home.init();
    // Without a server: the command itself drives the run, and is killed in the middle.
    let mut cut = home.command(["ask", "count to 200"]).spawn().unwrap();
    let _out = read_until(&mut cut, "5,");
    cut.kill().unwrap();
    cut.wait().unwrap();

    let whole = home.run(["ask", "--continue"]).ok();
    assert!(whole.contains("1, 2, 3") && whole.contains("200"), "{whole}");
    let shown = home.run(["conversation", "show", "--json"]).json();
    assert_eq!(shown.as_array().unwrap().len(), 2, "{shown}");
    assert_eq!(shown[1]["status"], "complete", "{shown}");
}

#[cfg(unix)]
#[test]
fn control_c_stops_the_reply_and_keeps_what_was_written() {
    let home = Home::with_config(SLOW);
    home.init();
    let mut asked = home.command(["ask", "count to 200"]).spawn().unwrap();
    // Its output is kept open: otherwise the command would end when its reader is gone.
    let _out = read_until(&mut asked, "5,");
    let pid = asked.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let status = asked.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    let shown = home.run(["conversation", "show", "--json"]).json();
    assert_eq!(shown[1]["status"], "stopped", "{shown}");
    assert!(shown[1]["text"].as_str().unwrap().contains("1, 2"), "{shown}");
}
