//! Through a real PgBouncer in transaction mode: few connections of the database for many people.

use duet_api::testing::{Browser, text_of};
use duet_supabase::testing::{EmptyDatabase, Pooler};
use futures::future::join_all;
use serde_json::Value;

use crate::support::Program;

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_pooler_is_told_apart_and_worked_with() {
    let database = EmptyDatabase::fresh().await;
    let pooler = Pooler::start(&database, 3);
    let pooled = |user: &str| database.url_at(user, &pooler.address());
    let direct = Program::of(&database);

    // Migrations need one session.
    direct
        .clone()
        .with("DUET_DATABASE_OWNER_URL", &pooled("postgres"))
        .run(&["migrate"])
        .refused(2, &["transaction pooler", "direct URL"]);
    let token = direct.migrate();

    let through = direct.clone().with("DUET_DATABASE_URL", &pooled("duet_worker"));
    let report = through.run(&["check", "--json"]);
    assert_eq!(report.code, 1, "live hints need a direct URL: {}{}", report.out, report.err);
    let report: Value = serde_json::from_str(&report.out).unwrap();
    let found = |name: &str| {
        let checks = report["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).unwrap().clone()
    };
    assert!(
        found("url")["found"].as_str().unwrap().contains("transaction mode"),
        "{report}"
    );
    assert_eq!(found("direct url")["verdict"], "problem", "{report}");
    assert!(
        found("direct url")["fix"].as_str().unwrap().contains("database.direct_url"),
        "{report}"
    );
    let both = through
        .clone()
        .with("DUET_DATABASE__DIRECT_URL", "env:DUET_DIRECT_URL")
        .with("DUET_DIRECT_URL", &database.url("duet_worker"));
    assert_eq!(both.run(&["check", "--json"]).json()["healthy"], true);

    // With a direct URL for hints, and without one.
    let server = both.serve();
    let mut ada = Browser::new(&server.url);
    ada.set_up(&token).await;
    talk_at_once(&ada, 8).await;
    assert_eq!(server.stop().await.code(), Some(0));
    let server = through.serve();
    talk_at_once(&server.sign_in().await, 8).await;
    assert_eq!(server.stop().await.code(), Some(0));
    let kept: u64 = database
        .value("select count(*) from pg_stat_activity where datname = current_database() and usename = 'duet_worker'")
        .await
        .parse()
        .unwrap();
    assert!(kept <= 3, "{kept} connections for all of them");
}

/// Conversations at the same time, each of which gets its own answer.
async fn talk_at_once(ada: &Browser, conversations: usize) {
    let talks = (0..conversations).map(|number| async move {
        let talk = ada.conversation().await;
        let said = ada.say(&talk, &format!("count to {}", 10 + number)).await;
        let events = ada.events(said["run_id"].as_str().unwrap(), 0).await;
        let text = text_of(&events);
        assert!(
            text.contains(&format!("{}", 10 + number)) && !text.contains(&format!("{}", 11 + number)),
            "{text}"
        );
        assert_eq!(events.last().unwrap().data["type"], "RUN_FINISHED");
    });
    join_all(talks).await;
}
