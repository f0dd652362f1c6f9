//! The functions on a Supabase project: people through its Auth and Data API, runs over the database. The project is the stand-in of
//! `supabase/testbed`.

use duet_api::testing::text_of;
use duet_supabase::testing::ServedDatabase;
use secrecy::ExposeSecret;

use super::{
    platform::Platform,
    turns::{gapless, migrated, whole_log},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_of_the_projects_auth_has_a_turn_answered() {
    let served = ServedDatabase::fresh().await;
    let options = served.database.worker_options();
    let (host, port, name) = (options.get_host(), options.get_port(), options.get_database().unwrap());
    let url = |login: &str| format!("postgres://{login}@{host}:{port}/{name}");
    let setup = migrated(url("postgres")).await;
    let mut platform = Platform::start(&url("duet_worker")).await;
    platform.set("DUET_BACKEND", "supabase");
    platform.set("DUET_SUPABASE_URL", served.project.url.as_str().trim_end_matches('/'));
    platform.set("DUET_SUPABASE_PUBLISHABLE_KEY", &served.project.publishable_key);
    platform.run("api", 1);
    platform.run("stream", 1);
    platform.run("worker", 1);
    let (_, token) = served.project.sign_up("ada@example.org").await;
    let mut ada = platform.browser().bearing(token.expose_secret());
    assert_eq!(ada.get("/v1/config").await["auth"]["mode"], "supabase");
    ada.claim(&setup).await;
    let talk = ada.conversation().await;
    let said = ada.say(&talk, "count to 40").await;
    let events = whole_log(&platform, &ada, said["run_id"].as_str().unwrap()).await;
    gapless(&events);
    assert!(text_of(&events).contains("39, 40"), "{}", text_of(&events));
}
