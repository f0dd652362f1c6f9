//! Every command, with a server and without, as text and as JSON.

use std::{
    collections::BTreeSet,
    io::Read,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::harness::{Home, PASSWORD};

fn texts(list: &Value) -> Vec<&str> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|one| one["text"].as_str().unwrap())
        .collect()
}

/// The same commands give the same results on the file and through a server.
#[test]
fn commands_work_with_and_without_a_server() {
    let home = Home::new();
    home.init();
    for round in ["alone", "served"] {
        let server = (round == "served").then(|| home.serve());
        let id = home.run(["memory", "add", &format!("The {round} bike is red.")]).ok();
        let id = id.trim();
        let found = home
            .run(["memory", "search", "--json", "-n", "3", &format!("{round} bike")])
            .json();
        assert_eq!(found["items"][0]["memory"]["id"], id, "{found}");
        let shown = home.run(["memory", "show", "--json", id]).json();
        assert_eq!(shown["memory"]["visibility"], "private", "{shown}");
        assert!(home.run(["memory", "show", id]).ok().contains("bike is red"));
        assert!(home.run(["memory", "list"]).ok().contains(id));

        let next = home
            .run(["memory", "add", "--supersedes", id, &format!("The {round} bike is blue.")])
            .ok();
        let live = home.run(["memory", "list", "--json"]).json();
        assert!(
            texts(&live).contains(&format!("The {round} bike is blue.").as_str()),
            "{live}"
        );
        assert!(
            !texts(&live).contains(&format!("The {round} bike is red.").as_str()),
            "{live}"
        );
        let receipt = home.run(["memory", "redact", "--yes", "--json", next.trim()]).json();
        assert_eq!(receipt["memory_id"], next.trim(), "{receipt}");
        let history = home.run(["memory", "list", "--json", "--history"]).json();
        assert!(!history.to_string().contains(&format!("{round} bike is")), "{history}");

        let asked = home.run(["ask", "--json", &format!("My {round} cat is called Mia.")]).json();
        assert_eq!(asked["remembered"].as_array().unwrap().len(), 1, "{asked}");
        let id = asked["conversation_id"].as_str().unwrap();
        let again = home
            .run_with(["ask", "--json", "-c", "last", "-"], b"What is my cat called?")
            .json();
        assert_eq!(again["conversation_id"], id);
        assert!(again["text"].as_str().unwrap().contains("Mia"), "{again}");
        let list = home.run(["conversation", "list", "--json"]).json();
        assert_eq!(list[0]["id"], id, "{list}");
        assert!(home.run(["conversation", "show", id]).ok().contains("Mia"));
        assert!(home.run(["conversation", "export", id]).ok().contains("Mia"));
        let export = home.path().join(format!("{round}.json"));
        let arguments = [
            "conversation",
            "export",
            "last",
            "--format",
            "json",
            "-o",
            export.to_str().unwrap(),
        ];
        home.run(arguments).ok();
        serde_json::from_slice::<Value>(&std::fs::read(&export).unwrap()).unwrap();
        home.run(arguments).refused(1, &["--output"]);

        let agents = home.run(["agent", "list", "--json"]).json();
        assert_eq!(agents.as_array().unwrap().len(), 2, "{agents}");
        let edited = home
            .run(["agent", "edit", "companion_primary", "--name", round, "--json"])
            .json();
        assert_eq!(edited["name"], round);
        home.run(["agent", "edit", "companion_primary"])
            .refused(2, &["nothing to change"]);

        let secret = home.run(["keys", "create", round, "--scope", "chat", "--days", "3"]).ok();
        assert!(secret.starts_with("duet_"), "{secret}");
        let keys = home.run(["keys", "list", "--json"]).json();
        assert!(!keys.to_string().contains(secret.trim()), "shown once");
        let key = keys[0]["id"].as_str().unwrap().to_owned();
        let revoked = home.run(["keys", "revoke", "--json", &key]).json();
        assert!(revoked["revoked_at"].is_string(), "{revoked}");

        assert!(home.run(["audit", "verify"]).ok().starts_with("intact"));
        let audit = home.run(["audit", "list", "--json"]).json();
        assert!(audit.to_string().contains("redact"), "{audit}");
        let doctor = home.run(["doctor", "--json"]).json();
        assert_eq!(doctor["healthy"], true, "{doctor}");
        for check in ["key", "cipher", "embedder"] {
            assert!(
                doctor.to_string().contains(&format!("\"name\":\"{check}\"")),
                "{check}: {doctor}"
            );
        }
        if let Some(server) = server {
            assert_eq!(server.stop().code(), Some(0));
        }
    }
}

#[test]
fn redacting_without_a_terminal_needs_yes() {
    let home = Home::new();
    home.init();
    let id = home.run(["memory", "add", "Keep me."]).ok();
    home.run(["memory", "redact", id.trim()])
        .refused(1, &["Nothing was redacted", "--yes"]);
    assert!(home.run(["memory", "list"]).ok().contains("Keep me."));
}

/// A person clears the labels of a memory and of a reply made from it: one at a time, on record, after a yes.
#[test]
fn labels_are_cleared_by_their_person() {
    let home = Home::new();
    home.init();
    let id = home
        .run(["memory", "add", "--local-only", "The safe is behind the piano."])
        .ok();
    let id = id.trim();
    let asked = home.run(["ask", "--json", "Where is the safe?"]).json();
    assert!(asked["text"].as_str().unwrap().contains("piano"), "{asked}");
    assert!(
        home.run(["conversation", "show"])
            .ok()
            .contains("Duet [for local models only]:")
    );
    assert!(
        home.run(["memory", "show", id])
            .ok()
            .contains("trusted, for local models only")
    );

    home.run(["memory", "trust", "--label", "egress", id])
        .refused(1, &["Nothing was changed", "--yes"]);
    home.run(["conversation", "trust", "last", "--label", "egress"])
        .refused(1, &["Nothing was changed", "--yes"]);
    home.run(["conversation", "trust", "last", "--message", "77", "--yes"])
        .refused(4, &["messages", "77"]);
    let before = home.run(["audit", "list", "--json"]).json();
    assert!(!before.to_string().contains("clear_label"), "{before}");

    let opened = home
        .run(["memory", "trust", "--yes", "--label", "egress", "--json", id])
        .json();
    assert_eq!(
        (&opened["egress"], &opened["taint"]),
        (&"any".into(), &"trusted".into()),
        "{opened}"
    );
    assert!(home.run(["memory", "show", id]).ok().contains("trusted, open to any model"));
    let messages = home.run(["conversation", "show", "--json"]).json();
    let reply = messages[1]["id"].as_str().unwrap();
    let arguments = [
        "conversation",
        "trust",
        "last",
        "--yes",
        "--label",
        "egress",
        "--json",
        "--message",
    ];
    let cleared = home
        .run(arguments.into_iter().chain([messages[0]["id"].as_str().unwrap()]))
        .json();
    assert_eq!(cleared, serde_json::json!([]), "the question was not marked");
    let cleared = home.run(arguments.into_iter().chain([reply])).json();
    assert_eq!(
        (&cleared[0]["id"], &cleared[0]["labels"]["egress"]),
        (&reply.into(), &"any".into())
    );
    assert!(home.run(["conversation", "show"]).ok().contains("Duet: "));
    let again = home.run([
        "conversation",
        "trust",
        "last",
        "--json",
        "--label",
        "egress",
        "--label",
        "integrity",
    ]);
    assert_eq!(again.json(), serde_json::json!([]), "nothing is left to ask about");

    let audit = home.run(["audit", "list", "--json"]).json();
    let entries: Vec<_> = audit
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["action"].as_str().unwrap().ends_with("clear_label"))
        .collect();
    assert_eq!(entries.len(), 2, "{audit}");
    assert!(
        entries
            .iter()
            .all(|entry| entry["details"] == serde_json::json!({"labels": ["egress"]})),
        "{audit}"
    );
}

#[test]
fn nothing_said_leaves_no_conversation() {
    let home = Home::new();
    home.init();
    for input in ["", " \n\t\n"] {
        home.run_with(["ask", "-"], input.as_bytes()).refused(2, &["is empty"]);
        home.run(["ask", input]).refused(2, &["is empty"]);
        home.run(["memory", "add", input]).refused(2, &["is empty"]);
    }
    assert_eq!(home.run(["conversation", "list", "--json"]).json(), serde_json::json!([]));
}

/// What is said anew leaves the old version where it can be shown again.
#[test]
fn what_was_said_has_versions() {
    let home = Home::new();
    home.init();
    let asked = home.run(["ask", "--json", "My sister is called Mia."]).json();
    let shown = || home.run(["conversation", "show", "--json"]).json();
    let id = |index: usize| shown()[index]["id"].as_str().unwrap().to_owned();
    let first = id(0);
    home.run(["ask", "--instead", &first[..30], "My sister is called Mara."]).ok();
    assert_eq!(shown().as_array().unwrap().len(), 2);
    let second = id(0);
    let text = home.run(["conversation", "show"]).ok();
    assert!(text.contains("Mara") && !text.contains("Mia."), "{text}");
    assert!(text.contains(&format!("version 2 of 2; before: {first}")), "{text}");
    home.run(["ask", "--again", "--message", &second[..30]]).ok();
    assert_eq!(shown()[1]["siblings"]["of"], 2);
    home.run(["conversation", "switch", "last", &first]).ok();
    assert!(home.run(["conversation", "show"]).ok().contains("Mia."));
    home.run(["ask", "--after", &second, "How are you?"]).ok();
    assert_eq!(
        shown().as_array().unwrap().len(),
        3,
        "a message without the reply, and what follows"
    );
    let conversation = asked["conversation_id"].as_str().unwrap();
    home.run(["conversation", "switch", conversation, "nowhere"])
        .refused(2, &["whole id"]);
    home.run(["ask", "--instead", "zz", "x"]).refused(4, &["messages"]);
}

/// Conversations are renamed, archived, brought back, and deleted for good.
#[test]
fn conversations_are_renamed_archived_and_deleted() {
    let home = Home::new();
    home.init();
    for round in ["alone", "served"] {
        let server = (round == "served").then(|| home.serve());
        let asked = home.run(["ask", "--json", &format!("My {round} cat is called Mia.")]).json();
        let id = asked["conversation_id"].as_str().unwrap();
        let memory = asked["remembered"][0].as_str().unwrap();
        let renamed = home.run(["conversation", "rename", "last", "About", round, "--json"]).json();
        assert_eq!(renamed["title"], format!("About {round}"));
        home.run(["conversation", "rename", id, " "]).refused(2, &["name"]);
        home.run(["conversation", "archive", id]).ok();
        let listed = || home.run(["conversation", "list"]).ok();
        assert!(!listed().contains(id));
        assert!(home.run(["conversation", "list", "--archived"]).ok().contains(id));
        home.run(["conversation", "archive", "--undo", id]).ok();
        assert!(listed().contains(id));
        home.run(["conversation", "delete", id])
            .refused(1, &["Nothing was deleted", "--yes"]);
        let deleted = home.run(["conversation", "delete", "--yes", "--json", id]).json();
        assert_eq!(deleted, serde_json::json!({"id": id, "deleted": true}));
        assert!(!listed().contains(id));
        home.run(["conversation", "show", id]).refused(4, &["conversation"]);
        let why = home.run(["memory", "show", memory]).ok();
        assert!(
            why.contains("Mia") && why.contains("a conversation that was deleted"),
            "{why}"
        );
        assert!(home.run(["audit", "verify"]).ok().starts_with("intact"));
        if let Some(server) = server {
            assert_eq!(server.stop().code(), Some(0));
        }
    }
}

/// An id may be shortened wherever one is taken, as long as only one begins like that.
#[test]
fn ids_may_be_cut_short() {
    let home = Home::new();
    home.init();
    for round in ["alone", "served"] {
        let server = (round == "served").then(|| home.serve());
        let add = |text: &str| home.run(["memory", "add", text]).ok().trim().to_owned();
        let (first, second) = (add("One"), add("Two"));
        let listed = home.run(["memory", "list", "--history", "--json"]).json();
        let all: Vec<&str> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|memory| memory["id"].as_str().unwrap())
            .collect();
        let short = |id: &str| {
            let alone = |length: &usize| all.iter().filter(|other| other.starts_with(&id[..*length])).count() == 1;
            id[..(1..=id.len()).find(alone).unwrap()].to_owned()
        };
        let shared = first.bytes().zip(second.bytes()).take_while(|(a, b)| a == b).count();
        assert_eq!(
            home.run(["memory", "show", "--json", &short(&first)]).json()["memory"]["id"],
            first.as_str()
        );
        home.run(["memory", "show", &first[..shared]])
            .refused(2, &["Several memories", &first, &second]);
        home.run(["memory", "show", "zz"]).refused(4, &["None of the memories"]);
        let receipt = home.run(["memory", "redact", "--yes", "--json", &short(&second)]).json();
        assert_eq!(receipt["memory_id"], second.as_str());
        let third = home.run(["memory", "add", "--supersedes", &short(&first), "Three"]).ok();
        assert!(home.run(["memory", "show", third.trim()]).ok().contains("Three"));

        let asked = home.run(["ask", "--json", "Hello"]).json();
        let id = asked["conversation_id"].as_str().unwrap();
        let again = home.run(["ask", "--json", "-c", &id[..30], "Hello again"]).json();
        assert_eq!(again["conversation_id"], id);
        assert!(home.run(["conversation", "show", &id[..30]]).ok().contains("Hello again"));
        assert!(home.run(["conversation", "export", &id[..30]]).ok().contains("Hello again"));

        let agents = home.run(["agent", "list", "--json"]).json();
        let agent = agents[0]["id"].as_str().unwrap();
        let shown = home.run(["agent", "show", &agent[..35]]).ok();
        assert!(shown.contains(agent) && shown.contains("tools"), "{shown}");
        assert_eq!(
            home.run(["agent", "show", "--json", "companion_primary"]).json()["kind"],
            "companion_primary"
        );
        home.run(["agent", "show", "nobody"]).refused(4, &["nobody"]);

        home.run(["keys", "create", round, "--scope", "chat"]).ok();
        let keys = home.run(["keys", "list", "--json"]).json();
        let key = keys[0]["id"].as_str().unwrap();
        assert_eq!(home.run(["keys", "revoke", "--json", &key[..35]]).json()["id"], key);
        home.run(["member", "invite", &format!("{round}@example.org")]).ok();
        let invitations = home.run(["member", "invitations", "--json"]).json();
        let invitation = invitations[0]["id"].as_str().unwrap();
        let revoked = home.run(["member", "revoke", "--json", &invitation[..35]]).json();
        assert_eq!(revoked["id"], invitation);
        let workspace = agents[0]["workspace_id"].as_str().unwrap();
        home.run(["memory", "list", "--workspace", &workspace[..8]]).ok();
        home.run(["memory", "list", "--workspace", "77"]).refused(4, &["77"]);
        if let Some(server) = server {
            assert_eq!(server.stop().code(), Some(0));
        }
    }
}

#[test]
fn times_are_those_of_the_place_and_help_has_its_blocks() {
    let home = Home::new();
    home.init();
    home.run(["memory", "add", "--occurred-at", "2026-05-01T22:30:00Z", "A day in May."])
        .ok();
    for (zone, day) in [("UTC0", "2026-05-01"), ("JST-9", "2026-05-02")] {
        let listed = home.command(["memory", "list"]).env("TZ", zone).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.contains(day), "{zone}: {listed}");
    }
    for command in [&["ask"][..], &["conversation", "delete"], &[]] {
        let help = home.run([command, &["--help"]].concat()).ok();
        let (own, global) = help.split_once("Global options:").unwrap_or_else(|| panic!("{help}"));
        assert!(global.contains("--json") && global.contains("--workspace"), "{help}");
        assert!(!own.contains("--workspace"), "{help}");
    }
    let help = home.run(["--help"]).ok();
    let examples = help.split_once("Examples:\n").unwrap().1;
    let said: BTreeSet<usize> = examples
        .lines()
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let (_, said) = line.trim_start().split_once("  ").unwrap();
            line.len() - said.trim_start().len()
        })
        .collect();
    assert_eq!(said.len(), 1, "one column: {help}");
}

/// What an agent said appears under its name, and if two share a name the choice is shown.
#[test]
fn agents_go_by_their_names() {
    let home = Home::new();
    home.init();
    for round in ["alone", "served"] {
        let server = (round == "served").then(|| home.serve());
        for kind in ["companion_primary", "executor_primary"] {
            home.run(["agent", "edit", kind, "--name", &format!("Juno {round}")]).ok();
        }
        home.run(["ask", "Hello"]).ok();
        let shown = home.run(["conversation", "show"]).ok();
        assert!(shown.contains(&format!("\nJuno {round}: ")), "{shown}");
        let file = home.run(["conversation", "export", "last"]).ok();
        let messages = home.run(["conversation", "show", "--json"]).json();
        let juno = format!("Juno {round}");
        for (number, name) in ["You", juno.as_str()].into_iter().enumerate() {
            let at = messages[number]["created_at"].as_str().unwrap();
            let heading = format!("\n## {name}, {} {} UTC\n", &at[..10], &at[11..16]);
            assert!(file.contains(&heading), "{heading:?} is not in {file}");
        }
        let agents = home.run(["agent", "list", "--json"]).json();
        let ids = [0, 1].map(|number| agents[number]["id"].as_str().unwrap());
        home.run(["agent", "show", &format!("Juno {round}")])
            .refused(2, &["companion_primary", "executor_primary", ids[0], ids[1]]);
        if let Some(server) = server {
            assert_eq!(server.stop().code(), Some(0));
        }
    }
}

#[test]
fn events_are_lines_of_json() {
    let home = Home::new();
    home.init();
    let lines = home.run(["ask", "--events", "My dog is called Rex."]).ok();
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.first().unwrap()["type"], "RUN_STARTED");
    assert_eq!(events.last().unwrap()["type"], "RUN_FINISHED");
    assert!(events.iter().any(|event| event["type"] == "TOOL_CALL_START"));
}

#[test]
fn words_go_to_the_standard_error_and_quiet_silences_them() {
    let home = Home::new();
    home.init();
    let loud = home.run(["ask", "Hello"]);
    assert!(loud.err.contains("offline"), "{}", loud.err);
    let quiet = home.run(["--quiet", "ask", "Hello"]);
    assert_eq!(quiet.err, "");
    assert_eq!(quiet.out, loud.out);
    assert!(!quiet.out.contains('\u{1b}'), "no colour into a pipe");
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let home = Home::new();
    home.init();
    for number in 0..3 {
        home.run(["memory", "add", &format!("Number {number}")]).ok();
    }
    let mut listed = home.command(["memory", "list"]).spawn().unwrap();
    drop(listed.stdout.take());
    let mut said = String::new();
    listed.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(listed.wait().unwrap().code(), Some(0));
    assert_eq!(said, "");
}

#[test]
fn what_needs_no_data_makes_none() {
    let home = Home::new();
    let document = home.run(["openapi"]).json();
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3.1"),
        "{}",
        document["openapi"]
    );
    assert!(home.run(["completions", "bash"]).ok().contains("duet"));
    assert!(home.run(["config", "path"]).ok().contains("duet.db"));
    let shown = home.run(["config", "show"]).ok();
    assert!(shown.contains("127.0.0.1:7717"), "{shown}");
    let again = Home::with_config(&shown);
    assert_eq!(again.run(["config", "show"]).ok(), shown, "what is shown can be used");
    for help in [
        &["--help"][..],
        &["ask", "--help"],
        &["memory", "add", "--help"],
        &["serve", "--help"],
    ] {
        assert!(home.run(help).ok().contains("Usage"));
    }
    assert!(home.run(["--version"]).ok().starts_with("duet "));
    assert!(!home.data().exists() && !home.key().exists());
}

#[test]
fn set_up_through_a_running_server() {
    let home = Home::new();
    let server = home.serve();
    home.init();
    // The server notices its owner and lets the commands in.
    home.run(["memory", "list"]).ok();
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_passphrase_protects_the_file() {
    let home = Home::with_config("[data]\nkey = \"passphrase:env:DUET_TEST_PHRASE\"\n");
    let with = |phrase: Option<&str>, args: &[&str], input: &str| {
        let mut command = home.command(args);
        if let Some(phrase) = phrase {
            command.env("DUET_TEST_PHRASE", phrase);
        }
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        crate::harness::Done::from(child.wait_with_output().unwrap())
    };
    let init = ["init", "--email", "ada@example.org", "--password-stdin"];
    with(Some("open sesame please"), &init, &format!("{PASSWORD}\n")).ok();
    with(Some("open sesame please"), &["memory", "list"], "").ok();
    with(Some("open sesame pleas"), &["memory", "list"], "").refused(3, &["passphrase"]);
    with(None, &["memory", "list"], "").refused(3, &["DUET_TEST_PHRASE"]);
    assert!(!home.key().exists(), "no key lies about");
}

#[cfg(unix)]
#[test]
fn secrets_are_readable_by_their_owner_only_and_gone_after_the_end() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    home.init();
    let server = home.serve();
    let found = Command::new("find")
        .arg(home.path())
        .args(["-type", "f", "-not", "-path", "*/logs/*"])
        .output()
        .unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    assert!(found.contains("/run/duet/"), "{found}");
    for file in found.lines() {
        let mode = std::fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file}: {mode:o}");
    }
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(std::fs::read_dir(home.path().join("run/duet")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_everywhere_locks_the_commands_out_for_a_moment_only() {
    let home = Home::new();
    home.init();
    let server = home.serve();
    let ada = crate::harness::Browser::sign_in(&server.url).await;
    let ended = ada
        .request(reqwest::Method::POST, "/v1/auth/sign-out?everywhere=true", None)
        .await;
    assert_eq!(ended.status(), 204);
    for _ in 0..600 {
        let listed = home.run(["memory", "list"]);
        if listed.code == 0 {
            assert_eq!(server.stop().code(), Some(0));
            return;
        }
        listed.refused(3, &["ign"]);
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    panic!("the commands stayed locked out");
}

#[test]
fn memory_quality_of_a_data_set_is_measured_and_mistakes_in_it_are_named() {
    let home = Home::new();
    let file = home.path().join("data.jsonl");
    let bench = || home.run(["bench", "memory", "--json", "--dataset", file.to_str().unwrap()]);
    bench().refused(2, &["data.jsonl"]);
    std::fs::write(&file, "{\"type\":\"turn\"").unwrap();
    let done = bench();
    assert!(done.code != 0 && done.err.contains("Line 1"), "{}", done.err);
    let lines = [
        r#"{"type":"turn","conversation":"c","id":"1","speaker":"Ann","time":"2026-05-01T10:00:00Z","text":"My bike is red."}"#,
        r#"{"type":"turn","conversation":"c","id":"2","speaker":"Bob","time":"2026-05-01T10:01:00Z","text":"The weather is fine."}"#,
        r#"{"type":"question","conversation":"c","text":"What colour is the bike?","evidence":["1"],"category":"facts"}"#,
    ];
    std::fs::write(&file, lines.join("\n")).unwrap();
    let report = bench().json();
    assert_eq!(report["modes"]["hybrid"]["all"]["recall_5"], 1.0, "{report}");
    assert!(!home.data().exists(), "it is measured in a file of its own");
}

/// Where browsers come over TLS, commands on the server's own machine still get in: its cookie has another name there, and pages
/// without TLS are refused.
#[test]
fn commands_work_where_browsers_come_over_tls() {
    let home = Home::new();
    home.init();
    let server = home.serve_with(&["--public-url", "https://duet.example"]);
    home.run(["memory", "add", "The bike is red."]).ok();
    assert!(home.run(["memory", "list"]).ok().contains("bike is red"));
    let secret = home.run(["keys", "create", "editor", "--scope", "chat"]).ok();
    assert!(secret.starts_with("duet_"), "{secret}");
    let link = home.run(["member", "invite", "friend@example.org"]).ok();
    assert!(link.starts_with("https://duet.example/invite#token="), "{link}");
    assert_eq!(server.stop().code(), Some(0));
}
