//! A project, real or not: attacked by SQL in a transaction that is taken back, and over its Data API by those whom nobody let in.
//!
//! `DUET_TEST_SUPABASE_DB_URL` (as the database's owner), `DUET_TEST_SUPABASE_URL` and `DUET_TEST_SUPABASE_PUBLISHABLE_KEY` name a real
//! one; without them the test server's stand in.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::{fs, path::Path, str::FromStr};

use duet_core::contract::Harness;
use duet_rls_tests::{
    data_api::{self, Newcomer},
    suite::{self, Report},
    visit,
};
use duet_supabase::testing::{EmptyDatabase, ServedDatabase, SupabaseProject};
use sqlx::postgres::PgConnectOptions;

/// The owner's URL of a real project's database.
const DATABASE: &str = "DUET_TEST_SUPABASE_DB_URL";

fn named() -> Option<String> {
    std::env::var(DATABASE).ok().filter(|url| !url.is_empty())
}

fn owner(url: &str) -> PgConnectOptions {
    PgConnectOptions::from_str(url).unwrap_or_else(|_| panic!("{DATABASE} is no URL of a Postgres."))
}

fn told(report: &Report) -> String {
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    findings.join("\n")
}

#[tokio::test]
async fn a_database_is_attacked_by_its_owner_and_left_as_it_was() {
    let Some(url) = named() else {
        let database = EmptyDatabase::fresh().await;
        let mut stage = visit::stage(&owner(&database.url("postgres"))).await.unwrap();
        // The functions are attacked on the arena of `suite.rs`; here it is about the way of taking on somebody.
        let mut report = Report::default();
        for check in ["world", "rule", "matrix", "reach", "cases"] {
            suite::one(&mut stage, check, &[], &mut report).await.unwrap();
        }
        assert_eq!(told(&report), "");
        assert!(report.tried > 2_000, "only {} statements were tried", report.tried);
        drop(stage);
        let left = "select count(*) from pg_namespace where nspname in ('duet', 'private', 'driver', 'duet_migrations')";
        assert_eq!(database.value(left).await, "0");
        return;
    };
    let mut stage = visit::stage(&owner(&url)).await.unwrap();
    let report = suite::run(&mut stage).await.unwrap();
    println!("{} statements were tried", report.tried);
    assert_eq!(told(&report), "");
    assert!(report.tried > 10_000, "only {} statements were tried", report.tried);
}

/// On such a stage, too, holes are found.
#[tokio::test]
async fn its_holes_are_found() {
    let database = EmptyDatabase::fresh().await;
    for (mutant, finder) in [
        ("02_policy_true", "matrix"),
        ("04_public_executes", "rule 02_nobody_is_everybody"),
    ] {
        let mut stage = visit::stage(&owner(&database.url("postgres"))).await.unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("mutants/{mutant}.sql"));
        stage.run(&fs::read_to_string(file).unwrap()).await.unwrap();
        let mut report = Report::default();
        suite::one(&mut stage, finder, &[], &mut report).await.unwrap();
        assert!(report.checks().contains(&finder), "{mutant}: {}", told(&report));
    }
}

#[tokio::test]
async fn a_database_that_somebody_lives_in_is_left_alone() {
    let served = ServedDatabase::fresh().await;
    served.account("ada@example.org").await;
    let refused = visit::stage(&served.database.owner_options()).await.err().unwrap();
    assert!(refused.to_string().contains("name a project of the tests' own"), "{refused}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "a real project keeps its people: each run needs others"
)]
async fn newcomer(project: &SupabaseProject) -> Newcomer {
    let address = format!("duet-test-{}@example.org", uuid::Uuid::new_v4().simple());
    let (id, token) = project.sign_up(&address).await;
    Newcomer {
        id: id.to_string(),
        token,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_data_api_has_nothing_for_whom_nobody_let_in() {
    let served;
    let project = match SupabaseProject::named() {
        Some(project) => project,
        None => {
            served = ServedDatabase::fresh().await;
            served.account("ada@example.org").await;
            served.project.clone()
        }
    };
    let mut report = Report::default();
    let newcomer = newcomer(&project).await;
    data_api::strangers(&project, &newcomer, &mut report).await.unwrap();
    println!("{} requests", report.tried);
    assert_eq!(told(&report), "");
    assert!(report.tried > 200, "{}", report.tried);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_has_for_them_is_found() {
    let served = ServedDatabase::fresh().await;
    served.account("ada@example.org").await;
    let holes = "
        create view public.account as select * from duet.account;
        grant select on public.account to anon, authenticated;
        alter function public.workspace_memberships() security definer;
        grant execute on function public.workspace_memberships() to anon;
        create or replace function public.agent_list(p_workspace uuid) returns jsonb
        language sql stable security definer set search_path = '' as $$ select private.ok(jsonb_agg(id)) from duet.account $$;";
    sqlx::raw_sql(holes)
        .execute(&mut served.database.superuser().await)
        .await
        .unwrap();
    let mut report = Report::default();
    let newcomer = newcomer(&served.project).await;
    data_api::strangers(&served.project, &newcomer, &mut report).await.unwrap();
    let found = told(&report);
    for hole in [
        "anon reads public.account",
        "a newcomer reads public.account",
        "anon calls workspace_memberships",
        "from agent_list",
    ] {
        assert!(found.contains(hole), "{hole}: {found}");
    }
}
