//! `duet-api check`, and what `duet-api serve` does not start on.

use duet_supabase::testing::EmptyDatabase;
use serde_json::Value;

use crate::support::Program;

/// Faults of a database: what makes them, what mends them, which check sees them, the words that name them, and whether a
/// server starts in spite of them.
const FAULTS: [(&str, &str, &str, &str, bool); 5] = [
    (
        "revoke execute on function driver.sweep() from duet_worker",
        "grant execute on function driver.sweep() to duet_worker",
        "server's own",
        "driver.sweep()",
        true,
    ),
    (
        "alter table duet.message disable row level security",
        "alter table duet.message enable row level security",
        "row security",
        "duet.message",
        true,
    ),
    (
        "grant select on duet.message to duet_worker",
        "revoke select on duet.message from duet_worker",
        "table grants",
        "duet.message",
        true,
    ),
    (
        "insert into duet_migrations.applied (version, description, success, checksum, execution_time)
         values (99999999999999, 'later', true, '\\x00', 0)",
        "delete from duet_migrations.applied where version = 99999999999999",
        "schema",
        "newer",
        false,
    ),
    (
        "delete from duet_migrations.applied where version = 20261121000050",
        "",
        "schema",
        "older",
        false,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_database_is_ok_and_each_fault_is_named_with_its_fix() {
    let database = EmptyDatabase::fresh().await;
    let duet = Program::of(&database);
    duet.run(&["serve"]).refused(1, &["duet-api migrate"]);
    duet.migrate();
    let sound = duet.run(&["check"]).ok();
    assert!(sound.lines().all(|line| line.starts_with("ok ")), "{sound}");
    assert!(sound.lines().count() >= 11, "{sound}");

    for (fault, mend, name, words, serves) in FAULTS {
        database.sql("postgres", fault).await;
        let found = duet.run(&["check", "--json"]);
        assert_eq!(found.code, 1, "{fault}: {}", found.out);
        let report: Value = serde_json::from_str(&found.out).unwrap();
        assert_eq!(report["healthy"], false, "{fault}");
        let problems: Vec<&Value> = report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|check| check["verdict"] == "problem")
            .collect();
        assert_eq!(problems.len(), 1, "{fault}: {problems:?}");
        assert_eq!(problems[0]["name"], name, "{fault}");
        assert!(
            problems[0]["found"].as_str().unwrap().contains(words),
            "{fault}: {problems:?}"
        );
        let fix = problems[0]["fix"].as_str().unwrap();
        let told = duet.run(&["check"]);
        assert_eq!(told.code, 1);
        assert!(
            told.out.contains("PROBLEM") && told.out.contains(fix),
            "{fault}: {}",
            told.out
        );
        match serves {
            true => assert_eq!(duet.serve().stop().await.code(), Some(0), "{fault}"),
            false => duet.run(&["serve"]).refused(1, &["will not do", words, fix]),
        }
        database.sql("postgres", if mend.is_empty() { "select" } else { mend }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_urls_and_logins_are_refused_with_what_to_do() {
    let database = EmptyDatabase::fresh().await;
    let duet = Program::of(&database);
    duet.migrate();
    let url = |url: &str| duet.clone().with("DUET_DATABASE_URL", url);
    let missing = database.url("duet_worker").replace(database.name(), "not_there");
    for command in ["check", "serve"] {
        Program::default()
            .run(&[command])
            .refused(2, &["database.url", "DUET_DATABASE_URL"]);
        url("postgres://duet_worker:canary@127.0.0.1:port/x")
            .run(&[command])
            .refused(2, &["env:DUET_DATABASE_URL", "postgres://USER:PASSWORD@HOST:PORT/DATABASE"]);
        url("postgres://duet_worker:canary@127.0.0.1:1/x")
            .run(&[command])
            .refused(5, &["127.0.0.1:1/x", "cannot be reached"]);
        url(&missing).run(&[command]).refused(5, &["no such database"]);
        url(&database.url("nobody_of_duet"))
            .run(&[command])
            .refused(3, &["refuses the login"]);
        url(&format!("{}?sslmode=require", database.url("duet_worker")))
            .run(&[command])
            .refused(5, &["sslmode"]);
    }
    for (login, power) in [("supabase_admin", "superuser"), ("postgres", "BYPASSRLS")] {
        url(&database.url(login)).run(&["serve"]).refused(1, &[power, "duet_worker"]);
        assert_eq!(url(&database.url(login)).run(&["check"]).code, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_named_with_their_place() {
    let database = EmptyDatabase::fresh().await;
    let duet = Program::of(&database);
    duet.migrate();
    let with = |name: &str, value: &str| duet.clone().with(name, value);
    with("DUET_DATABASE__CONNECTIONS", "0")
        .run(&["serve"])
        .refused(2, &["DUET_DATABASE__CONNECTIONS", "database.connections", "1 to 1000"]);
    with("DUET_DATABASE__URL", "postgres://duet_worker:canary@127.0.0.1/x")
        .run(&["serve"])
        .refused(2, &["database.url", "env:NAME"]);
    with("DUET_DATABASE__MASTER_KEY", "env:DUET_TEST_KEY")
        .with("DUET_TEST_KEY", "canary")
        .run(&["serve"])
        .refused(2, &["database.master_key", "64 hexadecimal digits"]);
    duet.run(&["serve", "--bind", "nonsense"]).code_is(2);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    duet.run(&["serve", "--bind", &address]).refused(5, &["in use", "--bind"]);
}
