//! What no role may do, tried with plain SQL that bypasses the stores.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::time::Duration;

use duet_core::{
    Caller,
    contract::{World, memories::fact},
    domain::{EventKind, LeasePolicy, LogRange, PageRequest, RunStatus, TurnLimits},
    ids::{Id, WorkspaceId},
};
use duet_supabase::testing::TestDatabase;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// The SQLSTATE for a missing privilege.
const REFUSED: &str = "42501";

/// Runs a statement in a transaction that is rolled back; returns the error's code when it fails.
async fn attempt(conn: &mut PgConnection, before: &str, sql: &str) -> Result<(), String> {
    let mut transaction = conn.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(before)).execute(&mut *transaction).await.unwrap();
    let outcome = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await;
    transaction.rollback().await.unwrap();
    outcome.map(|_| ()).map_err(|error| {
        let code = error
            .as_database_error()
            .and_then(|error| error.code())
            .map(|code| code.into_owned());
        code.unwrap_or_else(|| error.to_string())
    })
}

/// Acts as a person, or as an agent for them, the way the transport does.
fn become_caller(caller: &Caller, role: &str) -> String {
    format!(
        r#"select set_config('request.jwt.claims', '{{"sub": "{}"}}', true), set_config('duet.workspace_id', '{}', true), set_config('role', '{role}', true)"#,
        caller.user, caller.workspace
    )
}

/// Every table of Duet's, with one of its columns.
async fn tables(db: &TestDatabase) -> Vec<(String, String)> {
    let found: Vec<(String, String)> = sqlx::query_as(
        "select c.relname::text, min(a.attname)::text from pg_class c
         join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
              and a.attnum > 0 and a.attidentity = '' and a.attgenerated = ''
         where n.nspname = 'duet' and c.relkind in ('r', 'p') group by 1 order by 1",
    )
    .fetch_all(&mut db.owner().await)
    .await
    .unwrap();
    assert!(found.len() > 10);
    found
}

/// What somebody can do with tables directly, without functions.
async fn doors(db: &TestDatabase, before: &str, commands: &[&str]) -> Vec<String> {
    let mut conn = db.worker().await;
    let mut open = Vec::new();
    for (table, column) in tables(db).await {
        for command in commands {
            let sql = match *command {
                "select" => format!("select count(*) from duet.{table}"),
                "insert" => format!("insert into duet.{table} ({column}) values (null)"),
                "update" => format!("update duet.{table} set {column} = {column}"),
                "delete" => format!("delete from duet.{table}"),
                other => format!("{other} duet.{table}"),
            };
            if attempt(&mut conn, before, &sql).await.err().as_deref() != Some(REFUSED) {
                open.push(format!("{command} {table}"));
            }
        }
    }
    open
}

/// The server's login owns nothing and reads nothing, even after it has acted as somebody; a hole would be found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_login_touches_no_table() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    const ALL: &[&str] = &["select", "insert", "update", "delete", "truncate"];
    let was = format!("{}; reset role", become_caller(&world.owner, "authenticated"));
    for before in ["select 1", &was] {
        assert_eq!(doors(&db, before, ALL).await, Vec::<String>::new());
    }
    let hole = "grant usage on schema duet to duet_worker; grant select on duet.message to duet_worker";
    sqlx::raw_sql(hole).execute(&mut db.owner().await).await.unwrap();
    assert_eq!(doors(&db, "select 1", ALL).await, ["select message"]);
}

/// How many classes of memories a policy opens to a person who restricts themselves to this workspace.
async fn classes(db: &TestDatabase, caller: &Caller, only: &str) -> i64 {
    let mut conn = db.worker().await;
    let mut transaction = conn.begin().await.unwrap();
    let before = format!(
        "select set_config('duet.only_workspace', '{only}', true); {}",
        become_caller(caller, "authenticated")
    );
    sqlx::raw_sql(AssertSqlSafe(before)).execute(&mut *transaction).await.unwrap();
    let counted = sqlx::query_scalar("select count(*) from private.my_classes('read_memory')");
    counted.fetch_one(&mut *transaction).await.unwrap()
}

/// Naming a workspace narrows what a person sees to it, and opens nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_named_workspace_takes_away_only() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let second: WorkspaceId = world.env.id();
    world
        .stores
        .workspaces
        .create(world.owner.user, second, "Second", "Duet")
        .await
        .unwrap();
    let mut there = world.owner.clone();
    there.workspace = second;
    for caller in [&world.owner, &there] {
        world
            .stores
            .memories
            .remember(caller, fact(&world.env, "The key is under the mat"), None)
            .await
            .unwrap();
    }
    let first = world.owner.workspace.to_string();
    assert_eq!(classes(&db, &world.owner, "").await, 2, "of both workspaces");
    assert_eq!(classes(&db, &world.owner, &first).await, 1);
    assert_eq!(classes(&db, &world.member, "").await, 1);
    assert_eq!(
        classes(&db, &world.member, &second.to_string()).await,
        0,
        "they are not in it"
    );
    assert_eq!(classes(&db, &world.stranger, &first).await, 0);
    let hole = "create or replace function private.my_classes(capability text) returns setof bigint
        language sql stable security definer set search_path = '' as $$
            select c.key from duet.memory_class c
            where c.workspace_id = nullif(current_setting('duet.only_workspace', true), '')::uuid
        $$";
    sqlx::raw_sql(hole).execute(&mut db.owner().await).await.unwrap();
    assert_eq!(classes(&db, &world.stranger, &first).await, 1, "a hole is found");
}

/// People and agents change no table directly, except that a policy lets them add memories; functions do the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_and_agents_write_through_functions_alone() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    for role in ["authenticated", "duet_agent"] {
        let mut open = doors(
            &db,
            &become_caller(&world.owner, role),
            &["insert", "update", "delete", "truncate"],
        )
        .await;
        // Memories may be added under a policy.
        open.retain(|door| door != "insert memory");
        assert_eq!(open, Vec::<String>::new(), "{role}");
    }
}

/// People and agents can call neither the driver's functions nor internal ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_calls_what_is_not_theirs() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let functions: Vec<(String, String)> = sqlx::query_as(
        "select n.nspname::text, format('%I.%I(%s)', n.nspname, p.proname, (
             select string_agg(case when o = p.pronargs and p.provariadic <> 0 then 'variadic ' else '' end || format('null::%s', format_type(t, null)), ', ' order by o) from unnest(p.proargtypes) with ordinality as a (t, o)))
         from pg_proc p join pg_namespace n on n.oid = p.pronamespace
         where n.nspname in ('driver', 'private') and p.prokind = 'f' and p.prorettype <> 'trigger'::regtype
           and not has_function_privilege('authenticated', p.oid, 'execute')
           and not has_function_privilege('duet_agent', p.oid, 'execute')",
    )
    .fetch_all(&mut db.owner().await)
    .await
    .unwrap();
    let named = |name: &str| functions.iter().any(|(_, call)| call.contains(name));
    for name in [
        "driver.commit_run(",
        "driver.claim_run(",
        "driver.park_run(",
        "driver.audit_append(",
        "private.append_events(",
        "private.queue_run(",
        "private.made_event(",
        "private.audit(",
        "private.record_audit(",
        "private.make_workspace(",
        "private.park_run(",
    ] {
        assert!(named(name), "{name} is open");
    }
    let driver = functions.iter().filter(|(schema, _)| schema == "driver").count();
    let all: i64 = sqlx::query_scalar("select count(*) from pg_proc p where p.pronamespace = 'driver'::regnamespace")
        .fetch_one(&mut db.owner().await)
        .await
        .unwrap();
    assert_eq!(driver as i64, all, "all of `driver` is the server's");
    let mut conn = db.worker().await;
    for role in ["authenticated", "duet_agent"] {
        let before = become_caller(&world.owner, role);
        for (_, call) in &functions {
            let outcome = attempt(&mut conn, &before, &format!("select {call}")).await;
            assert_eq!(outcome, Err(REFUSED.to_owned()), "{role}: {call}");
        }
    }
    // Without acting as somebody, the server's login can call only `driver`.
    for (schema, call) in &functions {
        if schema == "private" {
            let outcome = attempt(&mut conn, "select 1", &format!("select {call}")).await;
            assert_eq!(outcome, Err(REFUSED.to_owned()), "{call}");
        }
    }
}

/// PUBLIC can execute nothing; security definer functions are out of the Data API's reach and do not use the caller's search path.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_are_closed_until_exposed() {
    let db = TestDatabase::fresh().await;
    let mut owner = db.owner().await;
    let open = "select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                where n.nspname in ('public', 'private', 'driver', 'duet') and (
                    p.proacl is null
                    or exists (select from aclexplode(p.proacl) a left join pg_roles r on r.oid = a.grantee
                               where a.grantee = 0 or r.rolname in ('anon', 'service_role', 'authenticator'))
                    or (p.prosecdef and n.nspname not in ('private', 'driver'))
                    or coalesce(array_to_string(p.proconfig, ';'), '') !~ 'search_path=\"\"')
                  and p.prokind = 'f' order by 1";
    let found: Vec<String> = sqlx::query_scalar(open).fetch_all(&mut owner).await.unwrap();
    assert_eq!(found, Vec::<String>::new());
    let holes = "create function private.a() returns int language sql set search_path = '' as 'select 1';
                 create function private.b() returns int language sql as 'select 1'; call private.expose('private', 'b');
                 create function duet.c() returns int language sql security definer set search_path = '' as 'select 1';
                 call private.expose('duet', 'c', 'authenticated')";
    sqlx::raw_sql(holes).execute(&mut owner).await.unwrap();
    let found: Vec<String> = sqlx::query_scalar(open).fetch_all(&mut owner).await.unwrap();
    assert_eq!(found, ["duet.c()", "private.a()", "private.b()"]);
}

/// Thousands of calls of many people and agents over four connections, many cut off at any point: each answer belongs to its caller.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_taken_for_anothers() {
    const TASKS: u64 = 12;
    const CALLS: u64 = 150;
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let mut people = Vec::new();
    for caller in [&world.owner, &world.member, &world.stranger] {
        let conversation = world.conversation(caller).await;
        people.push((caller.clone(), conversation.id));
        people.push((world.agent_of(caller).await, conversation.id));
    }
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let (stores, people) = (world.stores.clone(), people.clone());
        tasks.spawn(async move {
            let mut whole = 0;
            for number in 0..CALLS {
                let place = (task * 7 + number) as usize % people.len();
                let (caller, own) = &people[place];
                let look = async {
                    let listed = stores
                        .conversations
                        .list(caller, false, PageRequest::first(10))
                        .await
                        .unwrap();
                    let ids: Vec<_> = listed
                        .items
                        .iter()
                        .map(|conversation| (conversation.id, conversation.user_id))
                        .collect();
                    assert_eq!(ids, [(*own, caller.user)]);
                    let foreign = people[(place + 2) % people.len()].1;
                    assert!(stores.conversations.conversation(caller, foreign).await.unwrap().is_none());
                    // In between the server itself, without an identity.
                    assert!(
                        stores
                            .system
                            .claim_run(LeasePolicy::default(), EventKind::ALL)
                            .await
                            .unwrap()
                            .is_none()
                    );
                };
                // Some are abandoned at once, some half-way, some never.
                let patience = Duration::from_micros((task * 131 + number * 977) % 20_000);
                if number % 3 == 0 {
                    look.await;
                    whole += 1;
                } else if tokio::time::timeout(patience, look).await.is_ok() {
                    whole += 1;
                }
            }
            whole
        });
    }
    let whole: u64 = tasks.join_all().await.iter().sum();
    assert!(
        (TASKS * CALLS / 3..TASKS * CALLS).contains(&whole),
        "{whole} calls came to their end"
    );
}

/// Calls a function as a person and returns its answer.
async fn call(db: &TestDatabase, caller: &Caller, sql: &str) -> Result<Value, String> {
    let mut conn = db.worker().await;
    let mut transaction = conn.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(become_caller(caller, "authenticated")))
        .execute(&mut *transaction)
        .await
        .unwrap();
    let answer: Result<sqlx::types::Json<Value>, _> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *transaction).await;
    transaction.commit().await.ok();
    answer.map(|answer| answer.0).map_err(|error| error.to_string())
}

/// A person who calls the functions directly, with any arguments, gets no further than through the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_arguments_are_refused() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let conversation = world.conversation(&world.owner).await;
    let limits = json!(TurnLimits::default());
    let turn = |caller: &Caller, text: &str, limits: &Value| {
        let (message, run, reply) = (
            world.turn(conversation.id, "x").message_id,
            world.turn(conversation.id, "x").run_id,
            world.turn(conversation.id, "x").reply_id,
        );
        format!(
            "select public.run_start_turn('{}', '{}', '{message}', '{run}', '{reply}', '{text}', null, null, null, '{limits}')",
            caller.workspace, conversation.id
        )
    };
    let mut bad = vec![json!({}), json!(null), json!([]), json!("x")];
    for (field, value) in [
        ("max_steps", json!(1_000_000)),
        ("max_tokens", json!(-1)),
        ("max_tokens", json!(1e30)),
        ("max_attempts", json!("4")),
        ("max_output_tokens", json!(1.5)),
        ("max_output_tokens", Value::Null),
        ("max_reply_bytes", json!(2_000_000)),
        ("max_seconds", json!(1e9)),
    ] {
        let mut limits = limits.clone();
        limits[field] = value;
        bad.push(limits);
    }
    for limits in bad {
        let answer = call(&db, &world.owner, &turn(&world.owner, "Hello", &limits)).await.unwrap();
        assert_eq!(answer["refused"]["code"], "turn_limits", "{limits}: {answer}");
    }
    for (text, code) in [
        ("", "message_empty"),
        ("   ", "message_empty"),
        (&"x".repeat(65_537), "message_length"),
    ] {
        let answer = call(&db, &world.owner, &turn(&world.owner, text, &limits)).await.unwrap();
        assert_eq!(answer["refused"]["code"], code, "{} bytes: {answer}", text.len());
    }
    for other in [&world.member, &world.stranger] {
        let answer = call(&db, other, &turn(&world.owner, "Let me in", &limits)).await.unwrap();
        assert_eq!(answer["refused"]["code"], "not_found", "{answer}");
    }
    // Unknown fields of the limits never reach the log.
    let mut more = limits.clone();
    more["type"] = json!("finished");
    let answer = call(&db, &world.owner, &turn(&world.owner, "Hello", &more)).await.unwrap();
    let run = answer["ok"]["run_id"].as_str().unwrap().to_owned();
    let payload: String = sqlx::query_scalar("select payload from duet.run_event_payload where run_id = $1::uuid")
        .bind(run)
        .fetch_one(&mut db.owner().await)
        .await
        .unwrap();
    let payload: Value = serde_json::from_str(&payload).unwrap();
    assert_eq!((&payload["type"], &payload["limits"]), (&json!("started"), &limits));

    let agent = world.companion(&world.owner).await.id;
    let edit = |edit: Value| format!("select public.agent_edit('{}', '{agent}', 1, '{edit}')", world.workspace.id);
    for (wrong, edited) in [
        ("unknown field", json!({"id": agent})),
        ("no object", json!([])),
        ("capability", json!({"capabilities": ["root"]})),
        ("domain", json!({"memory_scopes": {"domains": ["all"], "private": true}})),
        ("scope", json!({"memory_scopes": {"domains": [], "private": true, "more": 1}})),
        ("model", json!({"model": "nowhere"})),
        ("long prompt", json!({"prompt": "x".repeat(32_769)})),
        ("long tool", json!({"tools": ["x".repeat(20_001)]})),
        ("name", json!({"name": " "})),
    ] {
        let answer = call(&db, &world.owner, &edit(edited)).await;
        assert!(
            answer.as_ref().map_or(true, |answer| answer.get("ok").is_none()),
            "{wrong}: {answer:?}"
        );
    }
    let unversioned = edit(json!({"prompt": "Mine"})).replace("', 1, '", "', null, '");
    assert_eq!(
        call(&db, &world.owner, &unversioned).await.unwrap()["refused"]["code"],
        "agent_changed"
    );
    let answer = call(&db, &world.member, &edit(json!({"prompt": "Mine"}))).await.unwrap();
    assert_eq!(answer["refused"]["code"], "owners_only");
    assert_eq!(world.companion(&world.owner).await.version, 1, "nothing of it was written");

    let key = |scopes: &str| {
        format!(
            "select public.key_create('{}', gen_random_uuid(), 'k', 'p', sha256('k'), {scopes}, null)",
            world.workspace.id
        )
    };
    for scopes in ["'{admin}'", "'{chat,admin}'", "'{}'", "null", "'{root}'"] {
        let answer = call(&db, &world.member, &key(scopes)).await;
        assert!(
            answer.as_ref().map_or(true, |answer| answer.get("ok").is_none()),
            "{scopes}: {answer:?}"
        );
    }
    assert!(
        call(&db, &world.stranger, &key("'{chat}'"))
            .await
            .unwrap()
            .get("refused")
            .is_some()
    );
}

/// A former member starts nothing and sees nothing, and the runs they had started are not driven.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_members_runs_end() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let conversation = world.conversation(&world.member).await;
    let turn = world.ask(&world.member, conversation.id, "Do something for me").await;
    let removed = sqlx::query("delete from duet.member where workspace_id = $1 and user_id = $2")
        .bind(world.workspace.id.uuid())
        .bind(world.member.user.uuid())
        .execute(&mut db.owner().await)
        .await
        .unwrap();
    assert_eq!(removed.rows_affected(), 1);
    assert!(world.claim().await.is_none());
    let (status, reason): (String, String) = sqlx::query_as("select status, reason from duet.run where id = $1")
        .bind(turn.run_id.uuid())
        .fetch_one(&mut db.owner().await)
        .await
        .unwrap();
    assert_eq!(status, RunStatus::Parked.as_str());
    assert!(reason.contains("no longer a member"));
    let stores = &world.stores;
    assert!(stores.runs.run(&world.member, turn.run_id).await.unwrap().is_none());
    assert!(
        stores
            .runs
            .events(&world.member, turn.run_id, LogRange::whole(0, 10))
            .await
            .is_err()
    );
    assert!(
        stores
            .runs
            .start_turn(&world.member, world.turn(conversation.id, "More"))
            .await
            .is_err()
    );
    assert!(stores.runs.cancel(&world.member, turn.run_id).await.is_err());
    let found = stores
        .conversations
        .search(&world.member, "something", PageRequest::first(10))
        .await
        .unwrap();
    assert!(found.items.is_empty());
    let listed = stores
        .conversations
        .list(&world.member, false, PageRequest::first(10))
        .await
        .unwrap();
    assert!(listed.items.is_empty());
}

/// The tables of which somebody sees rows, with their number.
async fn seen(db: &TestDatabase, before: &str) -> Vec<String> {
    let mut conn = db.worker().await;
    let mut seen = Vec::new();
    for (table, _) in tables(db).await {
        let mut transaction = conn.begin().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(before)).execute(&mut *transaction).await.unwrap();
        let count: Result<i64, _> = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from duet.{table}")))
            .fetch_one(&mut *transaction)
            .await;
        if count.is_ok_and(|count| count > 0) {
            seen.push(table);
        }
        transaction.rollback().await.unwrap();
    }
    seen
}

/// A deactivated agent sees no row of any table: no message, no address, no wrapped key. A policy that forgets to check is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_was_switched_off_sees_no_row() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let conversation = world.conversation(&world.owner).await;
    world.ask(&world.owner, conversation.id, "Ours alone").await;
    world
        .stores
        .memories
        .remember(&world.owner, fact(&world.env, "The key is under the mat"), None)
        .await
        .unwrap();
    let mut owner = db.owner().await;
    // An agent works in a run.
    let run: String = sqlx::query_scalar("update duet.run set status = 'running', lease_token = gen_random_uuid(), lease_until = 'infinity', lease_millis = 60000 returning id::text")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    sqlx::raw_sql("insert into duet.workspace_key select id, 1, decode(repeat('ab', 40), 'hex'), now() from duet.workspace")
        .execute(&mut owner)
        .await
        .unwrap();
    let companion = world.companion(&world.owner).await.id;
    let scopes = r#"{"capabilities": ["read_memory", "write_memory"], "memory_scopes": {"domains": ["episodic", "semantic", "working"], "private": true}}"#;
    let agent = format!(
        "select set_config('duet.agent_id', '{companion}', true), set_config('duet.agent_scopes', '{scopes}', true),
                set_config('duet.run_id', '{run}', true), set_config('duet.locality', 'local', true); {}",
        become_caller(&world.owner, "duet_agent")
    );
    let at_work = seen(&db, &agent).await;
    for table in [
        "message",
        "account",
        "member",
        "workspace_key",
        "memory",
        "conversation",
        "run",
        "soul_version",
    ] {
        assert!(at_work.iter().any(|seen| seen == table), "{table} of {at_work:?}");
    }
    let switched_off = "update duet.agent set active = false where kind = 'companion_primary'";
    sqlx::raw_sql(switched_off).execute(&mut owner).await.unwrap();
    assert_eq!(seen(&db, &agent).await, Vec::<String>::new());
    // Nor does an agent that does not exist, or whose person does not.
    let nobody = agent.replace(&companion.to_string(), &world.owner.user.to_string());
    assert_eq!(seen(&db, &nobody).await, Vec::<String>::new());
    let hole = "create policy forgetful on duet.workspace_key for select to duet_agent
                using (workspace_id = nullif((select current_setting('duet.workspace_id', true)), '')::uuid)";
    sqlx::raw_sql(hole).execute(&mut owner).await.unwrap();
    assert_eq!(seen(&db, &agent).await, ["workspace_key"]);
    let hole = "create policy forgetful on duet.account for select to duet_agent using (id = (select auth.uid()))";
    sqlx::raw_sql(hole).execute(&mut owner).await.unwrap();
    assert_eq!(seen(&db, &agent).await, ["account", "workspace_key"]);
}

/// Nobody becomes the owner without the setup token, even if none was printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_is_no_setup_token() {
    let db = duet_supabase::testing::TestDatabase::fresh().await;
    let create = |token: &str| {
        format!(
            "select driver.create_owner({token}, gen_random_uuid(), 'eve@example.org', 'Eve', '$argon2id$v=19$m=8', gen_random_uuid(), 'Mine',
                '{{\"agents\": [
                    {{\"id\": \"00000000-0000-7000-8000-00000000000a\", \"kind\": \"companion_primary\", \"name\": \"C\", \"prompt\": \"\",
                      \"capabilities\": [], \"memory_scopes\": {{\"domains\": [], \"private\": false}}, \"tools\": []}},
                    {{\"id\": \"00000000-0000-7000-8000-00000000000b\", \"kind\": \"executor_primary\", \"name\": \"E\", \"prompt\": \"\",
                      \"capabilities\": [], \"memory_scopes\": {{\"domains\": [], \"private\": false}}, \"tools\": []}}],
                  \"soul\": {{\"identity\": \"i\", \"personality\": \"p\", \"style\": \"s\", \"boundaries\": \"b\"}}, \"policy\": []}}')"
        )
    };
    let mut worker = db.worker().await;
    let mut printed = "";
    for _ in 0..2 {
        for token in ["null", "''::bytea", "sha256('guessed')"] {
            let answer: sqlx::types::Json<Value> = sqlx::query_scalar(AssertSqlSafe(create(token)))
                .fetch_one(&mut worker)
                .await
                .unwrap();
            assert_eq!(
                answer.0["refused"]["code"], "wrong_setup_token",
                "{token}{printed}: {}",
                answer.0
            );
        }
        let put = "select driver.put_setup_token(sha256('printed'))";
        sqlx::raw_sql(put).execute(&mut worker).await.unwrap();
        printed = ", while another is printed";
    }
    let answer: sqlx::types::Json<Value> = sqlx::query_scalar(AssertSqlSafe(create("sha256('printed')")))
        .fetch_one(&mut worker)
        .await
        .unwrap();
    assert!(answer.0["ok"]["user"].is_object(), "{}", answer.0);
}

/// Whatever a person passes when calling the function directly, a turn stays within the operator's limits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_stays_within_the_operators_bounds() {
    let db = TestDatabase::fresh().await;
    let world = World::new(&db).await;
    let greedy = json!(TurnLimits {
        max_steps: 900,
        max_identical_calls: 900,
        max_tokens: 90_000_000,
        max_attempts: 90,
        max_output_tokens: 9_000_000,
        max_reply_bytes: 900_000,
        max_argument_bytes: 900_000,
        max_calls_per_reply: 900,
        max_calls: 9_000,
        max_memories: 900,
        max_seconds: 86_000,
    });
    let bounds_of = async |asked: &Value| {
        let conversation = world.conversation(&world.owner).await;
        let ids = world.turn(conversation.id, "x");
        let sql = format!(
            "select public.run_start_turn('{}', '{}', '{}', '{}', '{}', 'Hello', null, null, null, '{asked}')",
            world.owner.workspace, conversation.id, ids.message_id, ids.run_id, ids.reply_id
        );
        let answer = call(&db, &world.owner, &sql).await.unwrap();
        assert!(answer["ok"].is_object(), "{answer}");
        let payload: String = sqlx::query_scalar("select payload from duet.run_event_payload where run_id = $1 and seq = 1")
            .bind(ids.run_id.uuid())
            .fetch_one(&mut db.owner().await)
            .await
            .unwrap();
        serde_json::from_str::<Value>(&payload).unwrap()["limits"].clone()
    };
    let defaults = json!(TurnLimits::default());
    assert_eq!(bounds_of(&greedy).await, defaults, "before anybody has said what is allowed");
    let operators = json!(TurnLimits {
        max_steps: 3,
        max_identical_calls: 1,
        max_tokens: 5_000,
        max_attempts: 2,
        max_output_tokens: 500,
        max_reply_bytes: 9_000,
        max_argument_bytes: 8_000,
        max_calls_per_reply: 5,
        max_calls: 9,
        max_memories: 4,
        max_seconds: 100,
    });
    let set = format!("select driver.set_turn_limits('{operators}')");
    sqlx::raw_sql(AssertSqlSafe(set))
        .execute(&mut db.worker().await)
        .await
        .unwrap();
    assert_eq!(bounds_of(&greedy).await, operators);
    let modest = json!(TurnLimits {
        max_steps: 2,
        max_identical_calls: 1,
        max_tokens: 1_000,
        max_attempts: 1,
        max_output_tokens: 100,
        max_reply_bytes: 5_000,
        max_argument_bytes: 4_000,
        max_calls_per_reply: 2,
        max_calls: 3,
        max_memories: 1,
        max_seconds: 50,
    });
    assert_eq!(bounds_of(&modest).await, modest, "less is given where less is asked for");
}
