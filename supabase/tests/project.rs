//! A Supabase project as a person reaches it without Duet's own program: the Data API with the person's token.
//!
//! The first test runs against a real project if the environment names one; the others forge tokens and look into the database, which
//! needs the stand-in.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use duet_core::{
    Caller, Env, StoreError, StoreResult,
    contract::{Harness, TestEnv, World, memories::fact},
    domain::{PageRequest, Role},
    ids::{Id, UserId},
};
use duet_supabase::{
    rpc::{self, Call, Identity, PostgrestRpc, PostgrestSettings},
    testing::{ServedDatabase, SupabaseProject},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

fn person(user: UserId, token: &SecretString) -> Identity {
    Identity::Person {
        user,
        access_token: Some(token.clone()),
    }
}

/// Different each time, even on a real project.
#[expect(
    clippy::disallowed_methods,
    reason = "a real project keeps its people: each run needs others"
)]
fn fresh_id() -> Uuid {
    Uuid::new_v4()
}

fn env() -> Env {
    TestEnv::new(1).env()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signed_up_and_was_not_let_in_gets_nothing() {
    let served;
    let project = match SupabaseProject::named() {
        Some(project) => project,
        None => {
            served = ServedDatabase::fresh().await;
            served.project.clone()
        }
    };
    let (user, token) = project
        .sign_up(&format!("duet-test-{}@example.org", fresh_id().simple()))
        .await;
    let rpc = project.rpc(env());
    let me = person(user, &token);
    async fn ask(rpc: &PostgrestRpc, who: &Identity, call: Call) -> StoreResult<Value> {
        rpc::ask(rpc, who, call).await
    }
    let memberships = || Call::repeatable("workspace_memberships").to("list workspaces");

    assert_eq!(ask(&rpc, &me, memberships()).await.unwrap(), json!([]));
    let agents = Call::repeatable("agent_list").arg("p_workspace", Uuid::from_u128(1));
    assert_eq!(ask(&rpc, &me, agents).await.unwrap(), json!([]));
    let refused = ask(
        &rpc,
        &me,
        Call::new("workspace_create")
            .to("make a workspace")
            .arg("p_id", fresh_id())
            .arg("p_name", "Mine")
            .arg("p_starter", json!({})),
    )
    .await;
    assert!(
        matches!(refused, Err(StoreError::Denied(..) | StoreError::Invalid(_))),
        "{refused:?}"
    );

    // The server's functions are out of reach; so are missing ones, and the sentence says what to run.
    for function in ["claim_run", "put_setup_token", "nothing_of_the_kind"] {
        let missing = ask(&rpc, &me, Call::new(function)).await.unwrap_err().to_string();
        assert!(missing.contains("duet-api migrate"), "{function}: {missing}");
    }

    // A token that was tampered with.
    let (signed, signature) = token.expose_secret().rsplit_once('.').unwrap();
    let other: String = signature.chars().rev().collect();
    let tampered = person(user, &format!("{signed}.{other}").into());
    let refused = ask(&rpc, &tampered, memberships()).await.unwrap_err().to_string();
    assert!(refused.contains("sign in again"), "{refused}");

    let wrong = PostgrestSettings {
        publishable_key: "sb_publishable_wrong".into(),
        ..project.settings()
    };
    let wrong = PostgrestRpc::new(wrong, env()).unwrap();
    let refused = ask(&wrong, &me, memberships()).await.unwrap_err().to_string();
    assert!(refused.contains("refuses its publishable key"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_that_ran_out_or_was_forged_is_over() {
    let served = ServedDatabase::fresh().await;
    let user = served.account("ada@example.org").await;
    let rpc = served.project.rpc(env());
    let claims = |exp: u64| json!({"sub": user, "role": "authenticated", "aud": "authenticated", "exp": exp});
    let call = || Call::repeatable("workspace_memberships").to("list workspaces");
    let good_token = served.project.forge(&claims(4_102_444_800));
    let good = person(user, &good_token);
    assert_eq!(rpc::ask::<Value>(&rpc, &good, call()).await.unwrap(), json!([]));

    let expired = served.project.forge(&claims(1_000_000_000));
    let (signed, _) = good_token.expose_secret().rsplit_once('.').unwrap();
    let foreign = format!("{signed}.{}", "A".repeat(43)).into();
    for token in [expired, foreign] {
        let refused = rpc::ask::<Value>(&rpc, &person(user, &token), call()).await;
        assert!(matches!(&refused, Err(StoreError::Denied(..))), "{refused:?}");
        assert!(refused.unwrap_err().to_string().contains("sign in again"));
    }
}

/// The holder of a token calls anything with anything. Nothing of others is changed or revealed, and nothing breaks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_change_and_tell_nothing_of_others() {
    let served = ServedDatabase::fresh().await;
    let (tried, found) = hostile(&served, "%").await;
    assert_eq!(found, Vec::<String>::new());
    assert!(tried > 500, "{tried}");
    println!("{tried} hostile requests");
}

/// Holes are found, so that the silence of the test above means something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_open_is_found() {
    let served = ServedDatabase::fresh().await;
    let holes = "
        create function public.hole_changes(p_workspace uuid) returns jsonb language sql volatile security definer set search_path = '' as $$
            update duet.workspace set name = 'Mine' where id = p_workspace returning private.ok('null') $$;
        create function public.hole_tells(p_workspace uuid) returns jsonb language sql stable security definer set search_path = '' as $$
            select jsonb_agg(m.text) from duet.memory m where m.workspace_id = p_workspace $$;
        create function public.hole_breaks(p_number bigint) returns jsonb language plpgsql set search_path = '' as $$
            begin raise exception 'oh' using errcode = 'internal_error'; end $$;
        grant execute on function public.hole_changes(uuid), public.hole_tells(uuid), public.hole_breaks(bigint) to authenticated;";
    sqlx::raw_sql(holes)
        .execute(&mut served.database.superuser().await)
        .await
        .unwrap();
    let (_, found) = hostile(&served, "hole%").await;
    for hole in ["hole_breaks {", "hole_changes changed", "hole_tells {"] {
        assert!(found.iter().any(|finding| finding.starts_with(hole)), "{hole}: {found:?}");
    }
}

/// Tries the functions with that name as a stranger; returns the number of requests, and the findings.
async fn hostile(served: &ServedDatabase, named: &str) -> (usize, Vec<String>) {
    let world = World::new(served).await;
    let victim = Victim::new(&world).await;
    let mut owner = served.database.owner().await;
    let functions: Vec<(String, Vec<String>, Vec<String>)> = sqlx::query_as(
        "select p.proname::text, coalesce(p.proargnames, '{}'), array(
             select format_type(t, null) from unnest(p.proargtypes) with ordinality a (t, o) order by o)
         from pg_proc p where p.pronamespace = 'public'::regnamespace and has_function_privilege('authenticated', p.oid, 'execute')
           and p.proname like $1
         order by 1",
    )
    .bind(named)
    .fetch_all(&mut owner)
    .await
    .unwrap();
    let attacker = Attacker::new(&served.project, world.stranger.user);
    let (mut tried, mut found) = (0, Vec::new());
    let mut before = victim.digest(&mut owner).await;
    for (function, names, kinds) in &functions {
        for attack in attacks(names, kinds, &victim) {
            let (status, body) = attacker.call(function, &attack).await;
            // The stand-in's driver cannot encode an object as a time or a number; the database was not called.
            let unsent = status == 500 && body.contains("TypeError");
            if !((200..500).contains(&status) || unsent) || body.contains(SECRET) {
                found.push(format!("{function} {} → {status} {body}", Value::Object(attack)));
            }
            tried += 1;
        }
        let after = victim.digest(&mut owner).await;
        if after != before {
            found.push(format!("{function} changed something of another workspace"));
            before = after;
        }
    }
    (tried, found)
}

const SECRET: &str = "quince";

/// A workspace with something of every kind.
struct Victim {
    caller: Caller,
    ids: Vec<(&'static str, Uuid)>,
}

impl Victim {
    async fn new(world: &World) -> Self {
        let owner = &world.owner;
        let conversation = world.conversation(owner).await;
        let turn = world.ask(owner, conversation.id, "The quince is ripe").await;
        let agent = world.companion(owner).await;
        let memory = fact(&world.env, "quince jelly");
        let memories = &world.stores.memories;
        memories.remember(owner, memory.clone(), None).await.unwrap();
        Self {
            caller: owner.clone(),
            ids: vec![
                ("workspace", owner.workspace.uuid()),
                ("user", owner.user.uuid()),
                ("conversation", conversation.id.uuid()),
                ("run", turn.run_id.uuid()),
                ("message", turn.message_id.uuid()),
                ("agent", agent.id.uuid()),
                ("id", memory.id.uuid()),
            ],
        }
    }

    fn id(&self, argument: &str) -> Uuid {
        let known = self.ids.iter().find(|(name, _)| argument.contains(name));
        known.map_or(Uuid::from_u128(9), |(_, id)| *id)
    }

    /// Everything in the workspace, as digests.
    async fn digest(&self, owner: &mut PgConnection) -> Vec<(String, String)> {
        let tables: Vec<(String, String)> = sqlx::query_as(
            "select c.relname::text, a.attname::text from pg_class c join pg_attribute a on a.attrelid = c.oid
             where c.relnamespace = 'duet'::regnamespace and c.relkind in ('r', 'p')
               and a.attname = case c.relname when 'workspace' then 'id' else 'workspace_id' end order by 1",
        )
        .fetch_all(&mut *owner)
        .await
        .unwrap();
        let mut digest = Vec::new();
        for (table, column) in tables {
            let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
                "select count(*) || ' ' || coalesce(md5(string_agg(md5(t::text), '' order by md5(t::text))), '')
                 from duet.{table} t where t.{column} = $1"
            )))
            .bind(self.caller.workspace.uuid())
            .fetch_one(&mut *owner)
            .await
            .unwrap();
            digest.push((table, rows));
        }
        assert!(digest.len() > 10 && digest.iter().filter(|(_, rows)| !rows.starts_with("0 ")).count() > 8);
        digest
    }
}

/// A person of another workspace, with an HTTP client.
struct Attacker {
    settings: PostgrestSettings,
    token: SecretString,
}

impl Attacker {
    fn new(project: &SupabaseProject, user: UserId) -> Self {
        Self {
            settings: project.settings(),
            token: project.token(user),
        }
    }

    async fn call(&self, function: &str, arguments: &Map<String, Value>) -> (u16, String) {
        let answer = self
            .settings
            .client
            .post(format!("{}/rest/v1/rpc/{function}", self.settings.url))
            .header("apikey", &self.settings.publishable_key)
            .bearer_auth(self.token.expose_secret())
            .json(arguments)
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

/// The sensible call with the victim's ids; then each argument as unsuitable JSON, missing, and one too many.
fn attacks(names: &[String], kinds: &[String], victim: &Victim) -> Vec<Map<String, Value>> {
    let sensible: Map<String, Value> = names
        .iter()
        .zip(kinds)
        .map(|(name, kind)| (name.clone(), sensible(name, kind, victim)))
        .collect();
    let mut attacks = vec![sensible.clone()];
    for (name, kind) in names.iter().zip(kinds) {
        let mut without = sensible.clone();
        without.remove(name);
        attacks.push(without);
        let mut values = vec![
            Value::Null,
            json!({"x": [null]}),
            json!([[1]]),
            json!(-1),
            json!("\u{0}'; select 1 --"),
        ];
        if kind == "text" {
            values.push(json!("x".repeat(1 << 20)));
        }
        for value in values {
            let mut attack = sensible.clone();
            attack.insert(name.clone(), value);
            attacks.push(attack);
        }
    }
    let mut more = sensible;
    more.insert("p_actor".into(), json!(victim.caller.user));
    attacks.push(more);
    attacks
}

fn sensible(name: &str, kind: &str, victim: &Victim) -> Value {
    match kind {
        "uuid" => json!(victim.id(name)),
        "uuid[]" => json!([victim.id("id")]),
        "text[]" => json!(["chat"]),
        "integer" | "bigint" | "smallint" => json!(1),
        "boolean" => json!(true),
        "bytea" => json!(format!("\\x{}", "ab".repeat(32))),
        "timestamp with time zone" => Value::Null,
        "jsonb" => json!({}),
        _ => json!("quick"),
    }
}

/// The web app's way: a person with a token, whose workspaces and members come only over the Data API.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_with_tokens_keep_apart() {
    let served = ServedDatabase::fresh().await;
    let world = World::new(&served).await;
    let signed_in = |caller: &Caller| Caller {
        access_token: Some(served.project.token(caller.user)),
        ..caller.clone()
    };
    let (owner, stranger) = (signed_in(&world.owner), signed_in(&world.stranger));
    let members = |caller: Caller| {
        let workspaces = world.stores.workspaces.clone();
        async move { workspaces.members(&caller, PageRequest::first(10)).await }
    };
    assert_eq!(members(owner.clone()).await.unwrap().items.len(), 2);
    assert_eq!(members(stranger.clone()).await.unwrap().items.len(), 1);
    // Somebody else's workspace with one's own token, and vice versa.
    let elsewhere = Caller {
        workspace: owner.workspace,
        role: Role::Owner,
        ..stranger.clone()
    };
    let nothing = members(elsewhere).await;
    assert!(nothing.as_ref().map_or(true, |page| page.items.is_empty()), "{nothing:?}");
    let stolen = Caller {
        access_token: stranger.access_token.clone(),
        ..owner
    };
    assert!(matches!(members(stolen).await, Err(StoreError::Denied(..))));
}
