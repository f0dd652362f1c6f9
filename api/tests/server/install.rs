//! `duet-api migrate`: the schema, the setup token, the server's password.

use duet_api::testing::Browser;
use duet_supabase::{
    migrate,
    testing::{EmptyDatabase, OwnServer},
};
use reqwest::Method;
use serde_json::json;

use crate::support::Program;

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_is_migrated_once_and_its_setup_token_is_shown_once() {
    let database = EmptyDatabase::fresh().await;
    let duet = Program::of(&database);
    let first = duet.run(&["migrate"]);
    assert!(first.err.contains("migrations were applied"), "{}", first.err);
    let out = first.ok();
    let token = out.trim().strip_prefix("Setup token: ").unwrap().to_owned();
    assert!(token.len() >= 20 && out.lines().count() == 1, "{out}");

    let kept = database
        .value("select encode(setup_token_hash, 'hex') from duet.installation")
        .await;
    assert!(!kept.contains(&token), "only its hash is kept");
    let again = duet.run(&["migrate"]);
    assert!(again.err.contains("of this version already"), "{}", again.err);
    assert!(
        again.err.contains("--new-setup-token") && !again.err.contains(&token),
        "{}",
        again.err
    );
    assert_eq!(again.ok(), "", "nothing is printed twice");
    let json = duet.run(&["migrate", "--json"]).json();
    assert_eq!(json, json!({"applied": 0, "setup_token": null, "owned": false}));

    let renewed = duet.run(&["migrate", "--new-setup-token", "--json"]).json();
    let renewed = renewed["setup_token"].as_str().unwrap();
    assert_ne!(renewed, token);
    let server = duet.serve();
    assert!(server.needs_owner);
    let mut ada = Browser::new(&server.url);
    let body = json!({"token": token, "email": "ada@example.org", "password": "correct horse battery", "display_name": "Ada",
        "workspace_name": "Home", "companion_name": "Robin"});
    let old = ada.request(Method::POST, "/v1/setup", Some(&body)).await.unwrap();
    assert!(
        old.status().is_client_error(),
        "the token before is good no longer: {}",
        old.status()
    );
    ada.set_up(renewed).await;
    let owned = duet.run(&["migrate", "--new-setup-token", "--json"]).json();
    assert_eq!(
        owned,
        json!({"applied": 0, "setup_token": null, "owned": true}),
        "an owner is not replaced"
    );
}

/// As `supabase db push` does it, which writes its own ledger; the real command line is tried by `cargo xtask test --only supabase`.
#[tokio::test(flavor = "multi_thread")]
async fn migrations_stay_with_the_command_that_applied_them() {
    let database = EmptyDatabase::fresh().await;
    let duet = Program::of(&database);
    for migration in migrate::statements() {
        database.sql("postgres", &migration).await;
    }
    let ledger = "create schema supabase_migrations;
        create table supabase_migrations.schema_migrations (version text primary key, statements text[], name text);";
    database.sql("postgres", ledger).await;
    let rows: Vec<String> = migrate::versions().iter().map(|version| format!("('{version}')")).collect();
    let (last, before) = rows.split_last().unwrap();
    let insert = "insert into supabase_migrations.schema_migrations (version) values";
    database.sql("postgres", &format!("{insert} {}", before.join(", "))).await;
    let missing = last.trim_matches(['(', ')', '\'']);
    duet.run(&["migrate"])
        .refused(1, &["supabase db push", missing, "apply it by that command"]);

    database.sql("postgres", &format!("{insert} {last}")).await;
    let done = duet.run(&["migrate", "--json"]).json();
    assert_eq!((&done["applied"], &done["owned"]), (&json!(0), &json!(false)));
    assert!(done["setup_token"].is_string(), "{done}");
    assert_eq!(
        database.value("select to_regnamespace('duet_migrations') is null").await,
        "true"
    );
    let server = duet.serve();
    assert!(server.needs_owner);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owners_url_is_asked_for_and_explained() {
    let database = EmptyDatabase::fresh().await;
    let duet = Program::of(&database);
    Program::default()
        .run(&["migrate"])
        .refused(2, &["--owner-url", "DUET_DATABASE_OWNER_URL"]);
    duet.run(&["migrate", "--owner-url", &database.url("postgres")])
        .refused(2, &["--owner-url", "env:NAME"]);
    duet.clone()
        .with("DUET_DATABASE_OWNER_URL", "mysql://postgres:canary@127.0.0.1/x")
        .run(&["migrate"])
        .refused(2, &["env:DUET_DATABASE_OWNER_URL", "postgres://"]);
    duet.clone()
        .with("DUET_DATABASE_OWNER_URL", "postgres://postgres:canary@127.0.0.1:1/x")
        .run(&["migrate"])
        .refused(5, &["127.0.0.1:1/x", "Check that it runs"]);
    // Not the owner: the worker exists on the server, and may not make a schema.
    duet.migrate();
    let other = EmptyDatabase::fresh().await;
    Program::of(&other)
        .with("DUET_DATABASE_OWNER_URL", &other.url("duet_worker"))
        .run(&["migrate"])
        .refused(1, &["as the database's owner"]);
    database
        .sql(
            "supabase_admin",
            "insert into duet_migrations.applied (version, description, success, checksum, execution_time)
             values (99999999999999, 'later', true, '\\x00', 0)",
        )
        .await;
    duet.run(&["migrate"]).refused(1, &["99999999999999", "newer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_passwords_gets_the_workers() {
    let server = OwnServer::with_passwords();
    let database = EmptyDatabase::on(server.url()).await;
    let duet = Program::of(&database);
    duet.run_with(&["migrate", "--worker-password-stdin"], "too short\n")
        .refused(2, &["fewer than 16 characters"]);
    let password = "0123456789abcdef/Duet+1";
    let done = duet.run_with(&["migrate", "--worker-password-stdin"], &format!("{password}\n"));
    assert!(
        done.err.contains("password of duet_worker is set") && !done.err.contains(password),
        "{}",
        done.err
    );
    assert!(done.ok().starts_with("Setup token: "));

    duet.run(&["check"]).refused(3, &["refuses the login", "password"]);
    let login = |password: &str| {
        let user = format!("duet_worker:{}", password.replace('/', "%2F").replace('+', "%2B"));
        duet.clone().with("DUET_DATABASE_URL", &database.url(&user))
    };
    let wrong = login("0123456789abcdef/Duet+2");
    wrong.run(&["check"]).refused(3, &["refuses the login"]);
    wrong.run(&["serve"]).refused(3, &["refuses the login"]);
    let right = login(password);
    assert_eq!(right.run(&["check", "--json"]).json()["healthy"], true);
    let served = right.serve();
    assert!(served.needs_owner);
    assert_eq!(served.stop().await.code(), Some(0));
}
