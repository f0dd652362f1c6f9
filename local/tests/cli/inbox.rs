//! `duet inbox` and `duet policy`: what waits, who may answer it, and how the reply goes on.

use serde_json::{Value, json};

use crate::harness::{Home, PASSWORD};

/// A home whose companion asks before it remembers.
fn asking() -> Home {
    let home = Home::new();
    home.init();
    let mut policy = home.run(["policy", "show", "--json"]).json();
    let rule = json!({"category": "memory_write", "say": "ask", "why": "Memories are read first."});
    policy["rules"].as_array_mut().unwrap().push(rule);
    home.run_with(["policy", "set", "-"], policy.to_string().as_bytes()).ok();
    home
}

/// Says something to remember; the request that it comes to.
fn waiting(home: &Home) -> String {
    let done = home.run(["ask", "My sister is called Marta."]);
    assert_eq!(done.code, 6, "out: {}\nerr: {}", done.out, done.err);
    let listed = home.run(["inbox", "--kind", "approval", "--json"]).json();
    let id = listed[0]["request"]["id"].as_str().unwrap().to_owned();
    assert!(done.err.contains(&format!("duet inbox approve {id}")), "{}", done.err);
    assert!(done.err.contains("Memories are read first."), "{}", done.err);
    id
}

fn memories(home: &Home) -> Vec<Value> {
    home.run(["memory", "list", "--json"]).json().as_array().unwrap().clone()
}

/// Everything that can be answered is tried over the file, and over a server.
fn answers(home: &Home) {
    let id = waiting(home);
    let shown = home.run(["inbox", "show", &id[..30]]).ok();
    assert!(
        shown.contains("remember") && shown.contains(&format!("duet inbox reject {id}")),
        "{shown}"
    );
    assert!(home.run(["inbox"]).ok().contains(&id));
    home.run(["inbox", "show", "zz"])
        .refused(4, &["None of the requests or memories"]);

    // Nobody is at a terminal, and then somebody who does not know the password.
    home.run(["inbox", "approve", &id]).refused(3, &["terminal"]);
    home.run_with(["inbox", "approve", &id], format!("{PASSWORD}\n").as_bytes())
        .refused(3, &["terminal"]);
    home.run_typing(["inbox", "approve", &id], "a wrong password")
        .refused(3, &["Wrong password. Nothing was decided."]);
    // What does not fit is refused before the password is asked for.
    home.run(["inbox", "did-not", &id]).refused(2, &["did_not"]);
    home.run(["inbox", "respond", &id, "--field", "day=May"])
        .refused(2, &["`day`", "It has: answer."]);
    home.run(["inbox", "approve", &id, "--arguments", "{"])
        .refused(2, &["not JSON"]);
    assert_eq!(memories(home), Vec::<Value>::new());

    let done = home.run_typing(["inbox", "approve", &id[..34]], PASSWORD);
    assert!(!done.err.contains(PASSWORD), "{}", done.err);
    assert!(!done.ok().trim().is_empty(), "the reply goes on");
    assert_eq!(memories(home).len(), 1);
    home.run(["inbox", "reject", &id]).refused(1, &["approved already"]);
    assert_eq!(home.run(["inbox", "--json"]).json(), json!([]));
}

#[test]
fn a_request_is_answered_with_the_password_over_the_file() {
    answers(&asking());
}

#[test]
fn a_request_is_answered_with_the_password_over_a_server() {
    let home = asking();
    let server = home.serve();
    answers(&home);
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_policy_is_shown_explained_and_replaced_only_from_its_newest_version() {
    let home = Home::new();
    home.init();
    let first = home.run(["policy", "show", "--json"]).json();
    assert!(home.run(["policy", "show"]).ok().contains("memory_write"));
    assert_eq!(home.run(["policy"]).ok(), home.run(["policy", "show"]).ok());
    assert!(
        home.run(["policy", "why", "remember"])
            .ok()
            .contains("allowed (rule 2 of version 1)")
    );
    home.run(["policy", "why", "fly"]).refused(4, &["`fly`", "`remember`"]);
    let rules = json!([{"category": "memory_write", "role": "member", "say": "ask", "decider": "owner"}]);
    home.run_with(["policy", "set", "-"], rules.to_string().as_bytes()).ok();
    let why = home.run(["policy", "why", "remember", "--role", "member"]).ok();
    assert!(why.contains("asks an owner first (rule 1 of version 2)"), "{why}");
    assert!(home.run(["policy", "why", "remember"]).ok().contains("denied"));
    home.run_with(["policy", "set", "-"], first.to_string().as_bytes())
        .refused(1, &["Someone else changed the policy"]);
    home.run_with(["policy", "set", "-"], b"[{\"category\": \"x\", \"say\": \"ask\"}]")
        .refused(2, &["Rule 1"]);
    home.run_with(["policy", "set", "-"], b"{}").refused(2, &["neither"]);
    home.run(["policy", "set", "nowhere.json"]).refused(2, &["nowhere.json"]);
}
