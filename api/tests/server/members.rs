//! A guest comes in through one server process and is removed through another one on the same Postgres.

use std::time::Duration;

use duet_api::testing::{Browser, text_of};
use duet_supabase::testing::EmptyDatabase;
use reqwest::Method;
use serde_json::json;

use crate::support::Program;

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_members_stream_ends_within_five_seconds_in_every_process() {
    let database = EmptyDatabase::fresh().await;
    let duet = Program::of(&database).with("DUET_MODELS__OFFLINE__PAUSE_MS", "60");
    let token = duet.migrate();
    let (first, second) = (duet.serve(), duet.serve());
    let mut ada = Browser::new(&first.url);
    ada.set_up(&token).await;
    let made = ada
        .post("{ws}/invitations", &json!({"email": "bea@example.org", "role": "member"}))
        .await;
    let mut bea = Browser::new(&second.url);
    bea.join(made["token"].as_str().unwrap(), "Bea").await;
    let members = ada.get("{ws}/members").await;
    assert_eq!(members["items"][1]["display_name"], "Bea", "{members}");
    let key = bea.post("{ws}/keys", &json!({"name": "k", "scopes": ["chat"]})).await;

    let talk = bea.conversation().await;
    let said = bea.say(&talk, "count to 2000").await;
    let run = said["run_id"].as_str().unwrap();
    let mut stream = bea.follow(run, None).await;
    let mut seen = Vec::new();
    while !text_of(&seen).contains(" 5, 6") {
        seen.push(stream.next().await.expect("the reply goes on"));
    }
    let path = format!("{{ws}}/members/{}", members["items"][1]["user_id"].as_str().unwrap());
    let removed = ada.request(Method::DELETE, &path, None).await.unwrap();
    assert_eq!(removed.status(), 204);
    let rest = async {
        while let Some(event) = stream.next().await {
            seen.push(event);
        }
    };
    tokio::time::timeout(Duration::from_secs(180), rest)
        .await
        .expect("the stream ends before the reply would");
    assert!(!text_of(&seen).contains("2000"));

    for server in [&first, &second] {
        let bea = bea.at(&server.url);
        for path in [
            "{ws}/members".to_owned(),
            format!("{{ws}}/runs/{run}/events"),
            format!("{{ws}}/conversations/{talk}"),
        ] {
            let refused = bea.request(Method::GET, &path, None).await.unwrap();
            assert_eq!(refused.status(), 404, "{path}");
        }
        let by_key = duet_api::http::client()
            .unwrap()
            .get(format!("{}/v1/workspaces", server.url))
            .bearer_auth(key["secret"].as_str().unwrap())
            .send()
            .await
            .unwrap();
        assert_eq!(by_key.status(), 401);
    }
    // The run is over for its workers as well: nothing is left to claim, and the log says why.
    let made = ada
        .post("{ws}/invitations", &json!({"email": "bea@example.org", "role": "member"}))
        .await;
    bea.post("/v1/invitations/accept", &json!({"token": made["token"]})).await;
    let ended = bea.get(&format!("{{ws}}/runs/{run}")).await;
    assert_eq!(ended["status"], "parked", "{ended}");
    assert!(ended["reason"].as_str().unwrap().contains("no longer a member"), "{ended}");
}
