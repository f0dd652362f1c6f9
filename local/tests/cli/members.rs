//! `duet member`, on the file and through a server.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Browser, Home, PASSWORD};

#[test]
fn owners_invite_and_revoke_with_and_without_a_server() {
    let home = Home::new();
    home.init();
    for round in ["alone", "served"] {
        let server = (round == "served").then(|| home.serve());
        let email = format!("{round}@example.org");
        let link = home.run(["member", "invite", &email]).ok();
        let (page, token) = link.trim().split_once("/invite#token=").expect("a link");
        assert!(page.starts_with("http://127.0.0.1:"), "{link}");
        assert_eq!(token.len(), 43);
        if let Some(server) = &server {
            assert_eq!(page, server.url);
        }
        let made = home
            .run([
                "member",
                "invite",
                &email.to_uppercase(),
                "--role",
                "owner",
                "--days",
                "1",
                "--json",
            ])
            .json();
        assert_eq!(made["invitation"]["role"], "owner");
        let listed = home.run(["member", "invitations", "--json"]).json();
        let states: Vec<&Value> = listed
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["email"] == email.as_str())
            .map(|one| &one["status"])
            .collect();
        assert_eq!(states, ["open", "revoked"], "the second replaces the first");
        assert!(!listed.to_string().contains(made["token"].as_str().unwrap()), "shown once");
        let id = made["invitation"]["id"].as_str().unwrap();
        assert_eq!(home.run(["member", "revoke", "--json", id]).json()["status"], "revoked");
        assert!(home.run(["member", "invitations"]).ok().contains(&email));
        assert!(home.run(["member", "list"]).ok().contains("owner"));
        let members = home.run(["member", "list", "--json"]).json();
        let owner = members[0]["email"].as_str().unwrap();
        home.run(["member", "remove", owner]).refused(1, &["owner"]);
        home.run(["member", "role", owner, "member"]).refused(1, &["owner"]);
        home.run(["member", "invite", owner]).refused(1, &["member"]);
        home.run(["member", "invite", "nobody"]).refused(2, &["email"]);
        home.run(["member", "remove", "x@example.org"]).refused(4, &["member list"]);
        home.run(["member", "revoke", "00000000-0000-7000-8000-000000000000"])
            .refused(4, &["invitation"]);
        if let Some(server) = server {
            assert_eq!(server.stop().code(), Some(0));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_comes_in_by_the_link_and_is_removed() {
    let home = Home::new();
    home.init();
    let server = home.serve();
    let made = home.run(["member", "invite", "bea@example.org", "--json"]).json();
    let guest = Browser::new(&server.url);
    let told = guest.post("/v1/invitations/lookup", &json!({"token": made["token"]})).await;
    assert_eq!(told["email"], "bea@example.org");
    let body = json!({"token": made["token"], "display_name": "Bea", "password": PASSWORD});
    let membership = guest.post("/v1/invitations/accept", &body).await;
    assert_eq!(membership["role"], "member");
    assert!(home.run(["member", "list"]).ok().contains("bea@example.org"));
    let promoted = home.run(["member", "role", "bea@example.org", "owner", "--json"]).json();
    assert_eq!(promoted["role"], "owner");
    assert!(home.run(["member", "remove", "Bea@Example.org"]).code == 0);
    let members = home.run(["member", "list", "--json"]).json();
    assert_eq!(members.as_array().unwrap().len(), 1, "{members}");
    // Signed in still, and in no workspace.
    let body = json!({"email": "bea@example.org", "password": PASSWORD});
    let session = guest.request(Method::POST, "/v1/auth/sign-in", Some(&body)).await;
    let session: Value = session.json().await.unwrap();
    assert_eq!(session["workspaces"], json!([]));
    assert!(home.run(["audit", "verify"]).ok().starts_with("intact"));
    assert_eq!(server.stop().code(), Some(0));
}

/// The machine's commands still act as an owner after the first one has left.
#[tokio::test(flavor = "multi_thread")]
async fn commands_go_on_when_the_first_owner_leaves() {
    let home = Home::new();
    home.init();
    let server = home.serve();
    let made = home
        .run(["member", "invite", "bea@example.org", "--role", "owner", "--json"])
        .json();
    let guest = Browser::new(&server.url);
    let body = json!({"token": made["token"], "display_name": "Bea", "password": PASSWORD});
    guest.post("/v1/invitations/accept", &body).await;
    let members = home.run(["member", "list", "--json"]).json();
    let first = members[0]["email"].as_str().unwrap();
    assert_eq!(home.run(["member", "remove", first]).code, 0);
    assert_eq!(server.stop().code(), Some(0));
    let members = home.run(["member", "list", "--json"]).json();
    assert_eq!(members.as_array().unwrap().len(), 1, "{members}");
    assert_eq!(members[0]["email"], "bea@example.org");
}
