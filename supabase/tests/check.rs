//! What the operator's commands rely on: applying the schema twice, the setup token, and a check that finds planted faults.

use duet_core::contract::Harness;
use duet_supabase::{
    check::{self, Finding, Pooling, Verdict},
    connect::{ConnectError, Database},
    install::{InstallError, Owner, Ownership},
    testing::TestDatabase,
};
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

fn url_of(database: &TestDatabase, user: &str) -> Database {
    let options = database.worker_options();
    let url = format!(
        "postgres://{user}@{}:{}/{}",
        options.get_host(),
        options.get_port(),
        options.get_database().expect("a database")
    );
    Database::from_url("env:TEST", &SecretString::from(url)).expect("a URL")
}

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.expect("it runs");
}

async fn inspect(database: &TestDatabase) -> Vec<Finding> {
    let worker = url_of(database, "duet_worker");
    check::inspect(&worker, &worker).await.expect("the database answers")
}

/// The only problem, which must be this one and contain these words.
#[track_caller]
fn only_problem(findings: &[Finding], name: &str, words: &[&str]) {
    let problems: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Problem)
        .collect();
    assert_eq!(
        problems.iter().map(|finding| finding.name).collect::<Vec<_>>(),
        [name],
        "{problems:?}"
    );
    for word in words {
        assert!(problems[0].found.contains(word), "{word}: {:?}", problems[0]);
    }
    assert!(
        problems[0].fix.as_ref().is_some_and(|fix| fix.len() > 20),
        "{:?}",
        problems[0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migrated_database_is_in_order() {
    let database = TestDatabase::fresh().await;
    let findings = inspect(&database).await;
    assert!(findings.iter().all(|finding| finding.verdict == Verdict::Ok), "{findings:?}");
    assert!(findings.len() >= 11, "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_is_migrated_once_and_gets_a_setup_token() {
    let database = TestDatabase::fresh().await;
    let options = database.worker_options();
    let name = format!("{}_empty", options.get_database().expect("a database"));
    let server = options.username("supabase_admin");
    let mut admin = server.connect().await.expect("the superuser");
    run(&mut admin, &format!("create database {name}")).await;
    let mut superuser = server.clone().database(&name).connect().await.expect("the superuser");
    run(&mut superuser, include_str!("../../deploy/postgres/shim.sql")).await;
    superuser.close().await.expect("closed");

    let url = |user: &str| {
        let url = format!("postgres://{user}@{}:{}/{name}", server.get_host(), server.get_port());
        Database::from_url("env:TEST", &SecretString::from(url)).expect("a URL")
    };
    let early = check::before_serving(&url("duet_worker"))
        .await
        .expect_err("nothing is there");
    assert!(early.to_string().contains("duet-api migrate"), "{early}");

    let mut owner = Owner::connect(url("postgres")).await.expect("the owner");
    assert!(owner.migrate().await.expect("applied") > 10);
    assert_eq!(owner.migrate().await.expect("nothing to do"), 0);
    check::before_serving(&url("duet_worker")).await.expect("fit");
    assert_eq!(owner.ownership().await.expect("told"), Ownership::Open);
    owner.put_setup_token([7; 32]).await.expect("stored");
    assert_eq!(owner.ownership().await.expect("told"), Ownership::TokenMade);
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_faults_are_found_one_by_one() {
    let database = TestDatabase::fresh().await;
    let mut owner = database.owner().await;
    let planted: [(&str, &str, &str, &[&str]); 8] = [
        (
            "do $$ begin execute format('grant temporary on database %I to public', current_database()); end $$",
            "do $$ begin execute format('revoke temporary on database %I from public', current_database()); end $$",
            "temporary",
            &["duet_worker", "authenticated"],
        ),
        (
            "alter table duet.message disable row level security",
            "alter table duet.message enable row level security",
            "row security",
            &["duet.message"],
        ),
        (
            "grant execute on function driver.sweep() to public",
            "revoke execute on function driver.sweep() from public",
            "functions",
            &["driver.sweep()"],
        ),
        (
            "grant execute on function private.my_workspaces() to anon",
            "revoke execute on function private.my_workspaces() from anon",
            "functions",
            &["private.my_workspaces()"],
        ),
        (
            "grant execute on function driver.sweep() to authenticated",
            "revoke execute on function driver.sweep() from authenticated",
            "server's own",
            &["driver.sweep()"],
        ),
        (
            "grant select on duet.message to duet_worker",
            "revoke select on duet.message from duet_worker",
            "table grants",
            &["duet.message"],
        ),
        (
            "insert into duet_migrations.applied (version, description, success, checksum, execution_time)
             values (99999999999999, 'later', true, '\\x00', 0)",
            "delete from duet_migrations.applied where version = 99999999999999",
            "schema",
            &["newer", "99999999999999"],
        ),
        (
            "delete from duet_migrations.applied where version = 20261121000050",
            "",
            "schema",
            &["older", "20261121000050"],
        ),
    ];
    for (fault, mend, name, words) in planted {
        run(&mut owner, fault).await;
        only_problem(&inspect(&database).await, name, words);
        run(&mut owner, mend).await;
    }
    // The last fault was left in: a process does not start with it.
    let refusal = check::before_serving(&url_of(&database, "duet_worker"))
        .await
        .expect_err("too old");
    assert!(refusal.to_string().contains("duet-api migrate"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_with_power_are_refused() {
    let database = TestDatabase::fresh().await;
    check::before_serving(&url_of(&database, "duet_worker")).await.expect("fit");
    for (login, power) in [("supabase_admin", "superuser"), ("postgres", "BYPASSRLS")] {
        let refusal = check::before_serving(&url_of(&database, login)).await.expect_err(login);
        assert!(refusal.to_string().contains(power), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_is_one_sentence() {
    let database = TestDatabase::fresh().await;
    let stranger = url_of(&database, "nobody_of_duet");
    let error = check::before_serving(&stranger).await.expect_err("no such login");
    assert!(matches!(error, check::Refusal::Connect(ConnectError::Refused(_))), "{error}");
    let down = Database::from_url("env:TEST", &SecretString::from("postgres://duet_worker:canary@127.0.0.1:1/x")).expect("a URL");
    let error = Owner::connect(down).await.err().expect("nobody is there");
    assert!(
        matches!(error, InstallError::Connect(ConnectError::Unreachable { .. })),
        "{error}"
    );
    assert!(
        error.to_string().contains("127.0.0.1:1/x") && !error.to_string().contains("canary"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_connection_keeps_its_session_and_many_processes_share_one_signing_key() {
    let database = TestDatabase::fresh().await;
    let pooling = check::pooling(&url_of(&database, "duet_worker")).await.expect("probed");
    assert_eq!(pooling, Pooling::Session);
    let rpc = std::sync::Arc::new(duet_supabase::rpc::WireRpc::new(
        duet_supabase::rpc::WireSettings {
            connect: database.worker_options(),
            connections: 2,
            statement_timeout: std::time::Duration::from_secs(10),
            acquire_timeout: std::time::Duration::from_secs(10),
        },
        database.env().env(),
    ));
    let store = || duet_supabase::store::PostgresStore::new(rpc.clone(), rpc.clone(), database.env().env());
    let first = store().signing_key().await.expect("made");
    assert_eq!(*first, *store().signing_key().await.expect("found"));
    assert_ne!(*first, [0; 32]);
}
