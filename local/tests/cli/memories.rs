//! `duet memory`: proposals, notices, times, who sees what.

use serde_json::{Value, json};

use crate::harness::{Browser, Home, Served};

/// The owner's home with a server, and a member at it.
async fn with_a_member() -> (Home, Served, Browser) {
    let home = Home::new();
    home.init();
    let server = home.serve();
    let invited = home.run(["member", "invite", "bea@example.org", "--json"]).json();
    let bea = Browser::join(&server.url, &invited, "Bea").await;
    (home, server, bea)
}

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_are_accepted_and_rejected() {
    let (home, server, bea) = with_a_member().await;
    let mut proposals = Vec::new();
    for number in 0..3 {
        let old = home
            .run(["memory", "add", "--shared", &format!("Locker {number} is red.")])
            .ok();
        let new = json!({"text": format!("Locker {number} is blue."), "visibility": "shared", "supersedes": old.trim()});
        let proposed = bea.post("{ws}/memories", &new).await;
        assert_eq!(proposed["review"], "proposed");
        proposals.push(id(&proposed));
    }
    let texts = |more: &[&str]| {
        let listed = home.run([&["memory", "list", "--json"][..], more].concat()).json();
        let texts = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|memory| memory["text"].as_str().unwrap());
        let mut texts: Vec<String> = texts.map(str::to_owned).collect();
        texts.sort();
        texts
    };
    let waiting = || texts(&["--review", "proposed"]).len();
    let shown = home.run(["memory", "show", &proposals[0]]).ok();
    for decision in ["accept", "reject"] {
        let command = format!("duet memory {decision} {}", proposals[0]);
        assert!(shown.contains(&command), "{shown}");
    }

    home.run(["memory", "accept", &proposals[0], "zz"])
        .refused(4, &["None of the memories"]);
    assert_eq!(waiting(), 3, "all or none");
    let accepted = home.run(["memory", "accept", "--json", &proposals[0][..35]]).json();
    assert_eq!(
        (&accepted[0]["id"], &accepted[0]["review"]),
        (&json!(proposals[0]), &json!("accepted"))
    );
    assert_eq!(texts(&[]), ["Locker 0 is blue.", "Locker 1 is red.", "Locker 2 is red."]);
    assert_eq!(server.stop().code(), Some(0));

    let rejected = home
        .run(["memory", "reject", "--json", &proposals[1][..35], &proposals[2]])
        .json();
    assert!(
        rejected
            .as_array()
            .unwrap()
            .iter()
            .all(|memory| memory["review"] == "rejected"),
        "{rejected}"
    );
    assert_eq!(waiting(), 0);
    assert_eq!(texts(&[]), ["Locker 0 is blue.", "Locker 1 is red.", "Locker 2 is red."]);
    let shown = home.run(["memory", "show", &proposals[1]]).ok();
    assert!(!shown.contains("duet memory accept"), "{shown}");
    let again = home.run(["memory", "accept", &proposals[1]]);
    assert!(
        again.err.contains("accepted: \u{201c}Locker 1 is blue.\u{201d}"),
        "{}",
        again.err
    );
    assert_eq!(home.run(["memory", "accept"]).code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_go_by_the_beginning_of_their_id_and_by_local_time() {
    let (home, server, bea) = with_a_member().await;
    for (text, question) in [
        ("The alarm code is 4711.", "What is the alarm code?"),
        ("Gustav waters the lemon tree.", "Who waters the lemon tree?"),
    ] {
        let memory = id(&bea
            .post("{ws}/memories", &json!({"text": text, "visibility": "shared"}))
            .await);
        let asked = home.run(["ask", "--json", question]).json();
        assert!(asked["recalled"].to_string().contains(&memory), "{asked}");
        bea.post(&format!("{{ws}}/memories/{memory}/redact"), &json!({})).await;
    }
    let open = || home.run(["memory", "notices", "--json"]).json();
    let notices = open();
    let notices = notices.as_array().unwrap();
    assert_eq!(notices.len(), 2, "{notices:?}");
    let listed = home.command(["memory", "notices"]).env("TZ", "UTC0").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for notice in notices {
        let at = notice["created_at"].as_str().unwrap();
        assert!(listed.contains(&format!("{} {}  ", &at[..10], &at[11..16])), "{listed}");
    }

    home.run(["memory", "notices", "--dismiss", "zz"])
        .refused(4, &["None of the notices"]);
    home.run(["memory", "notices", "--dismiss", &id(&notices[0])[..35]]).ok();
    assert_eq!(id(&open()[0]), id(&notices[1]));
    assert_eq!(server.stop().code(), Some(0));
    home.run(["memory", "notices", "--blank", &id(&notices[1])[..35]]).ok();
    assert_eq!(open(), json!([]));
    // The first decision stands, and is shown to anyone with the full id.
    let again = home.run(["memory", "notices", "--blank", &id(&notices[0]), "--json"]).json();
    assert_eq!(again["settled"], "dismiss");
}

#[test]
fn times_are_dates_or_times_and_expiry_is_to_come() {
    let home = Home::new();
    home.init();
    for option in ["--occurred-at", "--expires-at"] {
        let done = home.run(["memory", "add", option, "tomorrow", "A note."]);
        assert_eq!(done.code, 2, "{}", done.err);
        let advice = "Give a date such as 2026-05-01, or a time such as 2026-05-01T14:00Z.";
        assert!(done.err.contains(option) && done.err.contains(advice), "{}", done.err);
    }
    for (given, told) in [
        ("2026-05-01", "2026-04-30T15:00:00.000Z"),
        ("2026-05-01T14:00", "2026-05-01T05:00:00.000Z"),
        ("2026-05-01T14:00Z", "2026-05-01T14:00:00.000Z"),
    ] {
        let added = home
            .command(["memory", "add", "--json", "--occurred-at", given, &format!("It was {given}.")])
            .env("TZ", "JST-9")
            .output()
            .unwrap();
        let added: Value = serde_json::from_slice(&added.stdout).unwrap();
        assert_eq!(added["occurred_at"], told, "{given}");
    }
    for round in ["alone", "served"] {
        let server = (round == "served").then(|| home.serve());
        let add = |until: &str| home.run(["memory", "add", "--domain", "working", "--expires-at", until, "Step two."]);
        add("2020-01-01").refused(2, &["That time is over."]);
        let working = || home.run(["memory", "list", "--json", "--domain", "working"]).json();
        let before = working().as_array().unwrap().len();
        add("9000-01-01").ok();
        assert_eq!(working().as_array().unwrap().len(), before + 1);
        if let Some(server) = server {
            assert_eq!(server.stop().code(), Some(0));
        }
    }
}

#[test]
fn a_memory_is_private_unless_it_is_shared() {
    let home = Home::new();
    home.init();
    let add = |more: &[&str]| home.run([&["memory", "add", "--json", "The boiler is new."][..], more].concat());
    assert_eq!(add(&[]).json()["visibility"], "private");
    assert_eq!(add(&["--shared"]).json()["visibility"], "shared");
    assert_eq!(add(&["--private"]).code, 2);
}

#[test]
fn a_receipt_names_places_in_words_and_in_json_as_they_are() {
    let home = Home::new();
    home.init();
    let add = |text: &str| home.run(["memory", "add", text]).ok().trim().to_owned();
    let told = home.run(["memory", "redact", "--yes", &add("The safe is green.")]).ok();
    assert!(!told.contains('_'), "{told}");
    for words in ["vectors", "replies", "marks of requests"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let receipt = home
        .run(["memory", "redact", "--yes", "--json", &add("The safe is grey.")])
        .json();
    let places: Vec<&str> = receipt["removed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["place"].as_str().unwrap())
        .collect();
    assert_eq!(places, duet_core::domain::RedactionReceipt::PLACES);
}
