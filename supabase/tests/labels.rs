//! Labels below every handler: what the agents' role can do in plain SQL with a run's settings, and that a planted hole is found.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use duet_core::{
    Caller,
    contract::{World, Writes, memories::fact},
    domain::{Claim, EffectId, Egress, Labels, NewMemory, RunEvent, Taint, ToolOutput, ToolStatus},
    ids::Id,
};
use duet_supabase::testing::TestDatabase;
use sqlx::{AssertSqlSafe, Connection};

const UNTRUSTED: u8 = 1;
const LOCAL_ONLY: u8 = 2;
const SENSITIVE: u8 = 4;
const OTHERS: u8 = 8;

/// Assumes an agent's identity like the transport.
fn become_agent(agent: &Caller, locality: &str) -> String {
    let acting = agent.agent.as_ref().unwrap();
    let settings = [
        ("request.jwt.claims", format!(r#"{{"sub": "{}"}}"#, agent.user)),
        ("duet.workspace_id", agent.workspace.to_string()),
        ("duet.agent_id", acting.agent.to_string()),
        ("duet.run_id", acting.run.to_string()),
        (
            "duet.agent_scopes",
            r#"{"capabilities": ["read_memory", "write_memory"], "memory_scopes": {"domains": ["episodic", "semantic", "working"], "private": true}}"#
                .to_owned(),
        ),
        ("duet.locality", locality.to_owned()),
        ("role", "duet_agent".to_owned()),
    ];
    let columns = settings.map(|(name, value)| format!("set_config('{name}', '{value}', true)"));
    format!("select {}", columns.join(", "))
}

/// A number from a statement in a transaction that is rolled back; the error's code when it fails.
async fn number(db: &TestDatabase, before: &str, sql: &str) -> Result<i64, String> {
    let mut conn = db.worker().await;
    let mut transaction = conn.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(before)).execute(&mut *transaction).await.unwrap();
    let found = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *transaction).await;
    found.map_err(|error: sqlx::Error| {
        let code = error.as_database_error().and_then(|error| error.code());
        code.map_or_else(|| error.to_string(), |code| code.into_owned())
    })
}

/// A running run that has read text with these labels, and its agent.
async fn at_work(world: &World, read: u8) -> (Claim, Caller) {
    let claim = world.claimed().await;
    let result = RunEvent::ToolFinished {
        effect: EffectId::tool(1, 0),
        status: ToolStatus::Succeeded,
        output: ToolOutput {
            labels: Labels::from_bits(read),
            ..ToolOutput::default()
        },
    };
    let log = &world.stores.run_log;
    log.append(claim.run.id, claim.lease, 1, world.env.id(), vec![result.into()])
        .await
        .unwrap();
    let agent = world.agent_in(&world.owner, claim.run.id).await;
    (claim, agent)
}

/// A hand-written insert of a memory with these properties.
fn insert(agent: &Caller, shared: bool, egress: Egress, taint: Taint, review: &str) -> String {
    let acting = agent.agent.as_ref().unwrap();
    format!(
        "insert into duet.memory (workspace_id, id, class, user_id, text, terms, sensitive, taint, review, from_user, from_agent, from_run, occurred_at)
         select '{0}', gen_random_uuid(), private.my_class('{0}', {1}, 'semantic', '{egress}'), '{2}', 'Pay to 999', '{{}}', false, '{taint}', '{review}',
                '{2}', '{3}', '{4}', now()
         returning 1::bigint",
        agent.workspace, !shared, agent.user, acting.agent, acting.run
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_believes_no_agent_about_its_text() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    // The classes exist, so that only the policy decides.
    for (shared, egress) in [
        (true, Egress::Any),
        (true, Egress::LocalOnly),
        (false, Egress::Any),
        (false, Egress::LocalOnly),
    ] {
        let visibility = if shared {
            duet_core::domain::Visibility::Shared
        } else {
            duet_core::domain::Visibility::Private
        };
        let memory = NewMemory {
            visibility,
            egress,
            ..fact(&world.env, "One of its class")
        };
        world.stores.memories.remember(&world.owner, memory, None).await.unwrap();
    }
    const REFUSED: Result<i64, String> = Err(String::new());
    let refused = |answer: Result<i64, String>| answer.map_err(|code| if code == "42501" { String::new() } else { code });
    for (read, shared, egress, taint, review, expected) in [
        (0, true, Egress::Any, Taint::Trusted, "accepted", Ok(1)),
        (UNTRUSTED, true, Egress::Any, Taint::Trusted, "accepted", REFUSED),
        (UNTRUSTED, true, Egress::Any, Taint::Untrusted, "accepted", REFUSED),
        (UNTRUSTED, true, Egress::Any, Taint::Untrusted, "proposed", Ok(1)),
        (LOCAL_ONLY, true, Egress::Any, Taint::Trusted, "accepted", REFUSED),
        (LOCAL_ONLY, true, Egress::LocalOnly, Taint::Trusted, "accepted", Ok(1)),
        (SENSITIVE, false, Egress::LocalOnly, Taint::Trusted, "accepted", REFUSED),
        (OTHERS, true, Egress::Any, Taint::Trusted, "accepted", REFUSED),
        (OTHERS, false, Egress::Any, Taint::Trusted, "accepted", Ok(1)),
    ] {
        let (_claim, agent) = at_work(&world, read).await;
        let sql = insert(&agent, shared, egress, taint, review);
        let outcome = refused(number(&db, &become_agent(&agent, "local"), &sql).await);
        assert_eq!(outcome, expected, "{read} {shared} {egress} {taint} {review}");
    }
    // In a run that has ended, in nobody's or in another person's, it writes nothing.
    let (claim, agent) = at_work(&world, 0).await;
    let open = insert(&agent, true, Egress::Any, Taint::Trusted, "accepted");
    assert_eq!(number(&db, &become_agent(&agent, "local"), &open).await, Ok(1));
    world.end(&claim, 2, None).await;
    let nowhere = world.agent_of(&world.owner).await;
    let (_claim, theirs) = at_work(&world, 0).await;
    let stolen = world.agent_in(&world.member, theirs.agent.as_ref().unwrap().run).await;
    for agent in [&agent, &nowhere, &stolen] {
        let sql = insert(agent, true, Egress::Any, Taint::Trusted, "accepted");
        assert_eq!(refused(number(&db, &become_agent(agent, "local"), &sql).await), REFUSED);
    }

    let hole = "create or replace function private.fits_my_run(workspace uuid, class bigint, taint text, sensitive boolean) returns boolean
                language sql stable security definer set search_path = '' as 'select true'";
    sqlx::raw_sql(hole).execute(&mut db.owner().await).await.unwrap();
    let (_claim, agent) = at_work(&world, UNTRUSTED).await;
    let sql = insert(&agent, true, Egress::Any, Taint::Trusted, "accepted");
    assert_eq!(
        number(&db, &become_agent(&agent, "local"), &sql).await,
        Ok(1),
        "a hole is found"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_elsewhere_finds_no_text_that_stays_here() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let hidden = NewMemory {
        egress: Egress::LocalOnly,
        ..fact(&world.env, "The quince vault")
    };
    let hidden = world.stores.memories.remember(&world.owner, hidden, None).await.unwrap();
    let (claim, _) = at_work(&world, LOCAL_ONLY).await;
    world.end(&claim, 2, Some("A quince")).await;
    let (_claim, agent) = at_work(&world, 0).await;
    let workspace = agent.workspace.uuid();
    let (reply, conversation) = (claim.run.reply_id, claim.run.conversation_id);
    let reads = [
        "select count(*) from duet.memory where text like '%quince%'".to_owned(),
        "select count(*) from duet.memory_term where term like 'quinc%'".to_owned(),
        "select count(*) from duet.memory_class where egress = 'local_only'".to_owned(),
        "select count(*) from duet.message where text like '%quince%' or words::text like '%quince%'".to_owned(),
        format!("select count(*) from private.search_messages('{workspace}', 'quince', null, null, 9)"),
        format!(
            "select count(*) from private.withheld_messages('{workspace}', null, array['{reply}']::uuid[], null, 0) w where w::text like '%quince%'"
        ),
        format!(
            "select count(*) from private.withheld_messages('{workspace}', '{conversation}', null, null, 9) w where w::text like '%quince%'"
        ),
        format!("select count(*) where public.message_by_id('{workspace}', array['{reply}']::uuid[])::text like '%quince%'"),
        format!("select count(*) where public.message_list('{workspace}', '{conversation}', null, 9)::text like '%quince%'"),
        format!(
            "select count(*) where private.read_events('{workspace}', '{}', 0, 9, 0)::text not like '%not_found%'",
            claim.run.id
        ),
        format!(
            "select count(*) where public.memory_read('{workspace}', array['{}']::uuid[])::text like '%quince%'",
            hidden.id
        ),
        format!(
            "select count(*) where private.my_written('{workspace}', '{}')::text like '%quince%'",
            hidden.id
        ),
    ];
    let (mut here, mut there) = (0, 0);
    for sql in &reads {
        here += number(&db, &become_agent(&agent, "local"), sql).await.unwrap();
        for nobody_knows in ["remote", "", "nonsense"] {
            there += number(&db, &become_agent(&agent, nobody_knows), sql).await.unwrap();
        }
    }
    assert_eq!(there, 0);
    assert!(here >= 8, "it is there to be found: {here}");
    let hole = "alter policy message_read on duet.message using (true)";
    sqlx::raw_sql(hole).execute(&mut db.owner().await).await.unwrap();
    assert_eq!(
        number(&db, &become_agent(&agent, "remote"), &reads[3]).await,
        Ok(1),
        "a hole is found"
    );
}

/// Even a role that may write the row cannot take a label off a run; and redaction leaves it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_labels_of_a_run_only_worsen() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let (_claim, _) = at_work(&world, UNTRUSTED | LOCAL_ONLY).await;
    let mut owner = db.owner().await;
    for better in [0, UNTRUSTED, LOCAL_ONLY, SENSITIVE, OTHERS] {
        let sql = format!("update duet.run set labels = {better}");
        let error = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut owner).await.unwrap_err();
        assert!(error.to_string().contains("only get worse"), "{error}");
    }
    sqlx::raw_sql("update duet.run set labels = labels | 12")
        .execute(&mut owner)
        .await
        .unwrap();
}
