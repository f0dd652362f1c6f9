//! Who may sign up at Supabase Auth (the hook's decisions), who becomes the owner, and which sign-ins the database knows.

use std::sync::Arc;

use duet_core::{
    contract::Harness,
    ids::{Id, UserId},
};
use duet_supabase::testing::{ServedDatabase, TestDatabase};
use futures::future::join_all;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.expect(sql);
}

/// The hook's answer to Auth about a sign-up.
async fn asked(auth: &mut PgConnection, event: &Value) -> Value {
    sqlx::query_scalar("select private.before_user_created($1)")
        .bind(event)
        .fetch_one(auth)
        .await
        .expect("the hook answers")
}

async fn may_sign_up(auth: &mut PgConnection, email: &str) -> bool {
    let event = json!({
        "metadata": {"uuid": "x", "name": "before-user-created"},
        "user": {"id": "0199d6a0-0000-7000-8000-0000000000aa", "email": email, "phone": "", "is_anonymous": false,
                 "user_metadata": {"email": "ana@example.org", "invited": true}, "app_metadata": {"provider": "email"}},
    });
    let answer = asked(auth, &event).await;
    match answer.get("error") {
        None => {
            assert_eq!(answer, json!({}));
            true
        }
        Some(error) => {
            assert_eq!(error["http_code"], 403);
            assert!(
                error["message"]
                    .as_str()
                    .is_some_and(|message| message.contains("invitation")),
                "{error}"
            );
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_owner_only_invited_addresses_sign_up() {
    let database = TestDatabase::fresh().await;
    let mut auth = database.superuser().await;
    run(&mut auth, "set role supabase_auth_admin").await;
    assert!(may_sign_up(&mut auth, "anybody@example.org").await, "until there is an owner");

    let owner = database.account("owner@example.org").await;
    let mut setting = database.owner().await;
    run(
        &mut setting,
        &format!(
            "update duet.installation set owner_since = now();
             insert into duet.workspace values ('{owner}', 'Home', '{owner}', now());
             insert into duet.invitation
                 (workspace_id, id, email, role, token_hash, created_by, created_at, expires_at, accepted_at, accepted_by, revoked_at)
             select '{owner}', gen_random_uuid(), name || '@example.org', 'member', sha256(name::bytea), '{owner}',
                    now() - interval '2 days', now() + expires, case when accepted then now() end,
                    case when accepted then '{owner}'::uuid end, case when revoked then now() end
             from (values ('open', interval '1 day', false, false), ('late', interval '-1 hour', false, false),
                          ('used', interval '1 day', true, false), ('back', interval '1 day', false, true))
                 as t (name, expires, accepted, revoked)"
        ),
    )
    .await;
    for (email, may) in [
        ("open@example.org", true),
        ("Open@Example.ORG", true),
        (" open@example.org ", true),
        ("late@example.org", false),
        ("used@example.org", false),
        ("back@example.org", false),
        ("anybody@example.org", false),
        ("open@example.org.evil.example", false),
        ("open+1@example.org", false),
        ("open@example.org,anybody@example.org", false),
        ("%@example.org", false),
        ("owner@example.org", false),
    ] {
        assert_eq!(may_sign_up(&mut auth, email).await, may, "{email:?}");
    }
    for event in [
        json!({}),
        json!(null),
        json!([]),
        json!("open@example.org"),
        json!({"user": null}),
        json!({"user": {"email": null}}),
        json!({"user": {"email": ""}}),
        json!({"user": {"email": ["open@example.org"]}}),
        json!({"user": {"phone": "+1"}}),
        json!({"email": "open@example.org"}),
        json!({"user": {"email": "open@example.org", "is_anonymous": true}}),
        json!({"user": {"email": "open@example.org", "is_anonymous": "yes"}}),
    ] {
        let answer = asked(&mut auth, &event).await;
        assert_eq!(answer["error"]["http_code"], 403, "{event}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn auth_may_ask_the_hook_and_nothing_else_and_nobody_else_may() {
    let database = TestDatabase::fresh().await;
    let mut admin = database.superuser().await;
    let hook = "select private.before_user_created('{}')";
    for role in [
        "anon",
        "authenticated",
        "service_role",
        "duet_agent",
        "duet_worker",
        "authenticator",
    ] {
        run(&mut admin, &format!("set role {role}")).await;
        let refused = sqlx::raw_sql(hook).execute(&mut admin).await.expect_err(role);
        let code = refused.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("42501"), "{role}");
        run(&mut admin, "reset role").await;
    }
    let more: Vec<String> = sqlx::query_scalar(
        "select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
         where n.nspname in ('public', 'private', 'driver', 'duet') and p.proname <> 'before_user_created'
           and has_function_privilege('supabase_auth_admin', p.oid, 'execute')
           and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
         union all
         select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'duet' and c.relkind = 'r' and has_table_privilege('supabase_auth_admin', c.oid, 'select, insert, update, delete')",
    )
    .fetch_all(&mut admin)
    .await
    .expect("the catalogue");
    assert_eq!(more, Vec::<String>::new());
}

/// Claims the installation with a token over the Data API.
async fn claim(served: &ServedDatabase, person: &SecretString, arguments: Value) -> Value {
    rpc(served, person, "claim_installation", arguments).await
}

/// A function's answer to a person over the Data API.
async fn rpc(served: &ServedDatabase, person: &SecretString, function: &str, arguments: Value) -> Value {
    let url = format!("{}/rest/v1/rpc/{function}", served.project.url.as_str().trim_end_matches('/'));
    let settings = served.project.settings();
    let answer = settings
        .client
        .post(url)
        .header("apikey", &settings.publishable_key)
        .bearer_auth(person.expose_secret())
        .json(&arguments)
        .send()
        .await
        .expect("the Data API answers");
    let (status, text) = (answer.status(), answer.text().await.expect("a body"));
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{function} answered {status}: {text}"))
}

fn arguments(served: &ServedDatabase, token: &Value) -> Value {
    let env = served.env().env();
    let workspace: duet_core::ids::WorkspaceId = env.id();
    json!({
        "p_token_hash": token, "p_display_name": "Ana", "p_workspace": workspace, "p_workspace_name": "Home",
        "p_starter": duet_core::starter::Starter::new(&env, "Juno"),
    })
}

fn printed() -> Value {
    json!(format!("\\x{}", "07".repeat(32)))
}

/// The workspace of the owner that this token makes its person.
async fn claimed(served: &ServedDatabase, admin: &mut PgConnection, token: &SecretString) -> String {
    let hash = "07".repeat(32);
    let printed_last = format!("update duet.installation set setup_token_hash = decode('{hash}', 'hex')");
    run(admin, &printed_last).await;
    let claimed = claim(served, token, arguments(served, &printed())).await;
    claimed["ok"]["workspace"]["id"].as_str().expect("a workspace").to_owned()
}

#[track_caller]
fn refused(answer: &Value, code: &str) {
    assert_eq!(answer["refused"]["code"], code, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_with_the_token_and_a_confirmed_address_becomes_the_owner() {
    let served = ServedDatabase::fresh().await;
    let mut admin = served.database.superuser().await;
    let (ana, token) = served.project.sign_up("ana@example.org").await;
    // No token was printed yet: an absent one does not match.
    for nothing in [json!(null), json!("\\x"), printed()] {
        refused(
            &claim(&served, &token, arguments(&served, &nothing)).await,
            "wrong_setup_token",
        );
    }
    run(
        &mut admin,
        "update duet.installation set setup_token_hash = decode(repeat('07', 32), 'hex')",
    )
    .await;
    for wrong in [json!(null), json!("\\x"), json!(format!("\\x{}", "08".repeat(32)))] {
        refused(&claim(&served, &token, arguments(&served, &wrong)).await, "wrong_setup_token");
    }
    // What people say about themselves at Auth does not confirm an address.
    run(
        &mut admin,
        "update auth.users set email_confirmed_at = null, raw_user_meta_data = '{\"email_verified\": true, \"email\": \"boss@example.org\"}'",
    )
    .await;
    refused(
        &claim(&served, &token, arguments(&served, &printed())).await,
        "email_unconfirmed",
    );
    run(&mut admin, "update auth.users set email_confirmed_at = now()").await;
    for (argument, what) in [("p_display_name", "person"), ("p_workspace_name", "workspace")] {
        for name in [json!(null), json!("  ")] {
            let mut nameless = arguments(&served, &printed());
            nameless[argument] = name;
            let refused = claim(&served, &token, nameless).await;
            let expected = json!({"code": "name_length", "args": {"what": what}});
            assert_eq!(refused["refused"], expected, "{refused}");
        }
    }
    // Of twenty callers with the token, one wins; repeating one's own call gives the same answer.
    let others = join_all((0..20).map(|index| {
        let project = served.project.clone();
        async move { project.sign_up(&format!("p{index}@example.org")).await.1 }
    }))
    .await;
    let served = Arc::new(served);
    let answers = join_all(others.iter().map(|person| {
        let served = Arc::clone(&served);
        async move { claim(&served, person, arguments(&served, &printed())).await }
    }))
    .await;
    let won: Vec<&Value> = answers.iter().filter(|answer| answer.get("ok").is_some()).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    assert!(answers.iter().filter(|answer| answer["refused"]["code"] == "set_up").count() == 19);
    let late = claim(&served, &token, arguments(&served, &printed())).await;
    assert_eq!(late["refused"]["code"], "set_up", "{late}");
    let place = answers.iter().position(|answer| answer.get("ok").is_some()).expect("one");
    let mut again = arguments(&served, &printed());
    again["p_workspace"] = won[0]["ok"]["workspace"]["id"].clone();
    assert_eq!(
        claim(&served, &others[place], again.clone()).await,
        *won[0],
        "the same call again"
    );
    let stranger = claim(&served, &token, again).await;
    assert_eq!(stranger["refused"]["code"], "set_up", "{stranger}");
    assert_eq!(won[0]["ok"]["user"]["email"], format!("p{place}@example.org"));
    let accounts: i64 = sqlx::query_scalar("select count(*) from duet.account")
        .fetch_one(&mut admin)
        .await
        .expect("counted");
    assert_eq!(accounts, 1, "{ana} and the others got none");
}

/// The answer of `driver.signed_in` about a sign-in.
async fn known(worker: &mut PgConnection, user: UserId, session: uuid::Uuid) -> Value {
    let answer: Value = sqlx::query_scalar("select driver.signed_in($1, $2)")
        .bind(user.uuid())
        .bind(session)
        .fetch_one(worker)
        .await
        .expect("it answers");
    answer["ok"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_is_known_while_it_lives_and_its_person_is_let_in() {
    let served = ServedDatabase::fresh().await;
    let mut admin = served.database.superuser().await;
    let mut worker = served.database.worker().await;
    let (ana, _) = served.project.sign_up("ana@example.org").await;
    let (ben, _) = served.project.sign_up("ben@example.org").await;
    let session = async |admin: &mut PgConnection, user: UserId| -> uuid::Uuid {
        sqlx::query_scalar("select id from auth.sessions where user_id = $1")
            .bind(user.uuid())
            .fetch_one(admin)
            .await
            .expect("a session")
    };
    let (of_ana, of_ben) = (session(&mut admin, ana).await, session(&mut admin, ben).await);
    let here = known(&mut worker, ana, of_ana).await;
    assert_eq!((&here["email"], &here["account"]), (&json!("ana@example.org"), &Value::Null));
    assert_eq!(known(&mut worker, ana, of_ben).await, Value::Null, "another's sign-in");
    // An account follows the address at Auth, unless somebody else has it.
    run(
        &mut admin,
        &format!(
            "insert into duet.account values ('{ana}', 'ana@example.org', 'Ana', now()), ('{ben}', 'ben@example.org', 'Ben', now())"
        ),
    )
    .await;
    run(
        &mut admin,
        &format!("update auth.users set email = 'Ana.New@example.org' where id = '{ana}'"),
    )
    .await;
    let here = known(&mut worker, ana, of_ana).await;
    assert_eq!(here["account"]["email"], "ana.new@example.org");
    run(
        &mut admin,
        &format!(
            "update auth.users set email = 'other@example.org' where id = '{ben}';
             update auth.users set email = 'ben@example.org' where id = '{ana}'"
        ),
    )
    .await;
    let here = known(&mut worker, ana, of_ana).await;
    assert_eq!(here["account"]["email"], "ana.new@example.org", "Ben's account has that one");
    for (ends, goes_on) in [
        (
            "banned_until = now() + interval '1 hour'",
            "banned_until = now() - interval '1 hour'",
        ),
        ("deleted_at = now()", "deleted_at = null"),
        ("email_confirmed_at = null", "email_confirmed_at = now()"),
        ("is_anonymous = true", "is_anonymous = false"),
    ] {
        run(&mut admin, &format!("update auth.users set {ends} where id = '{ana}'")).await;
        assert_eq!(known(&mut worker, ana, of_ana).await, Value::Null, "{ends}");
        run(&mut admin, &format!("update auth.users set {goes_on} where id = '{ana}'")).await;
        assert_ne!(known(&mut worker, ana, of_ana).await, Value::Null, "{goes_on}");
    }
    run(
        &mut admin,
        &format!("update auth.sessions set not_after = now() - interval '1 hour' where id = '{of_ana}'"),
    )
    .await;
    assert_eq!(known(&mut worker, ana, of_ana).await, Value::Null, "its time is over");
    run(&mut admin, &format!("delete from auth.sessions where id = '{of_ben}'")).await;
    assert_eq!(known(&mut worker, ben, of_ben).await, Value::Null, "signed out");
    admin.close().await.expect("closed");
}

/// Creating a key takes a sign-in that has just begun, even without Duet's server: a token refreshed from an old one, or one that
/// names no sign-in or another's, creates none.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_recent_sign_in_makes_a_key_by_the_data_api() {
    let served = ServedDatabase::fresh().await;
    let mut admin = served.database.superuser().await;
    let (ana, token) = served.project.sign_up("ana@example.org").await;
    let (ben, _) = served.project.sign_up("ben@example.org").await;
    run(&mut admin, "update auth.users set email_confirmed_at = now()").await;
    let workspace = claimed(&served, &mut admin, &token).await;
    let mut number = 0_u8;
    let mut key = async |token: &SecretString| {
        number += 1;
        let id: duet_core::ids::ApiKeyId = served.env().env().id();
        let made = json!({
            "p_workspace": workspace, "p_id": id, "p_name": "mine", "p_prefix": "duet_x", "p_scopes": ["chat"], "p_expires_at": null,
            "p_secret_hash": format!("\\x{}", format!("{number:02x}").repeat(32)),
        });
        rpc(&served, token, "key_create", made).await
    };
    let made = key(&token).await;
    assert_eq!(made["ok"]["name"], "mine", "{made}");
    // A person's token with other claims: signed as the project signs, but not issued by Auth.
    let claims = |session: Value| json!({"sub": ana, "session_id": session, "role": "authenticated", "exp": 4_102_444_800_u64});
    let session = |of: UserId| format!("select id::text from auth.sessions where user_id = '{of}'");
    let mut of = Vec::new();
    for person in [ana, ben] {
        let id: String = sqlx::query_scalar(AssertSqlSafe(session(person)))
            .fetch_one(&mut admin)
            .await
            .expect("a session");
        of.push(id);
    }
    assert!(key(&served.project.forge(&claims(json!(of[0])))).await["ok"].is_object());
    for wrong in [json!(of[1]), json!(uuid::Uuid::nil())] {
        let refused = key(&served.project.forge(&claims(wrong.clone()))).await;
        assert_eq!(refused["refused"]["code"], "sign_in_again", "{wrong}: {refused}");
    }
    // What no gateway lets through, in the form PostgREST would pass it on.
    let mut worker = served.database.worker().await;
    for wrong in [json!(null), json!(""), json!("x"), json!({}), json!([of[0]]), json!(7)] {
        let mut transaction = worker.begin().await.expect("a transaction");
        let claims = json!({"sub": ana, "role": "authenticated", "session_id": wrong}).to_string();
        let asked = format!(
            "select set_config('request.jwt.claims', '{claims}', true), set_config('request.method', 'POST', true),
                    set_config('role', 'authenticated', true)"
        );
        run(&mut transaction, &asked).await;
        let refused: Value = sqlx::query_scalar(AssertSqlSafe(format!(
            "select public.key_create('{workspace}', gen_random_uuid(), 'mine', 'duet_x', sha256('k'), '{{chat}}', null)"
        )))
        .fetch_one(&mut *transaction)
        .await
        .expect("it answers");
        assert_eq!(refused["refused"]["code"], "sign_in_again", "{wrong}: {refused}");
        transaction.rollback().await.expect("rolled back");
    }
    run(
        &mut admin,
        "update auth.sessions set created_at = created_at - interval '16 minutes'",
    )
    .await;
    let refused = key(&token).await;
    assert_eq!(refused["refused"]["code"], "sign_in_again", "{refused}");
    let mut owner = served.database.owner().await;
    plant(&mut owner, "private.create_key", "not private.signed_in_recently()", "false").await;
    assert!(key(&token).await["ok"].is_object(), "a hole is found");
}

/// Nor can an older sign-in let others in: it creates no invitation, and no owner. Taking a role away needs no recent one.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_recent_sign_in_lets_others_in_by_the_data_api() {
    let served = ServedDatabase::fresh().await;
    let mut admin = served.database.superuser().await;
    let (_, token) = served.project.sign_up("ana@example.org").await;
    let (ben, bens) = served.project.sign_up("ben@example.org").await;
    run(&mut admin, "update auth.users set email_confirmed_at = now()").await;
    let workspace = claimed(&served, &mut admin, &token).await;
    let mut number = 0_u8;
    let mut invite = async |email: &str| {
        number += 1;
        let id: duet_core::ids::InvitationId = served.env().env().id();
        let made = json!({
            "p_workspace": workspace, "p_id": id, "p_email": email, "p_role": "member", "p_seconds": 86400,
            "p_token_hash": format!("\\x{}", format!("{number:02x}").repeat(32)),
        });
        rpc(&served, &token, "invitation_create", made).await
    };
    let role = async |role: &str| {
        let asked = json!({"p_workspace": workspace, "p_user": ben, "p_role": role});
        rpc(&served, &token, "workspace_change_role", asked).await
    };
    let invited = invite("ben@example.org").await;
    assert_eq!(invited["ok"]["status"], "open", "{invited}");
    let accept = json!({"p_token_hash": format!("\\x{}", "01".repeat(32)), "p_display_name": "Ben"});
    let accepted = rpc(&served, &bens, "invitation_accept", accept).await;
    assert_eq!(accepted["ok"]["role"], "member", "{accepted}");
    assert_eq!(role("owner").await["ok"]["role"], "owner");

    run(
        &mut admin,
        "update auth.sessions set created_at = created_at - interval '16 minutes'",
    )
    .await;
    assert_eq!(role("member").await["ok"]["role"], "member", "takes access away");
    for refused in [role("owner").await, invite("eve@example.org").await] {
        assert_eq!(refused["refused"]["code"], "sign_in_again", "{refused}");
    }
    let mut owner = served.database.owner().await;
    for function in ["private.invite", "private.change_role"] {
        plant(&mut owner, function, "not private.signed_in_recently()", "false").await;
    }
    assert!(invite("eve@example.org").await["ok"].is_object(), "a hole is found");
    assert_eq!(role("owner").await["ok"]["role"], "owner", "a hole is found");
}

/// Makes a hole in a function by replacing a piece of its text.
async fn plant(owner: &mut PgConnection, function: &str, sound: &str, hole: &str) {
    let definition: String = sqlx::query_scalar("select pg_get_functiondef($1::regproc)")
        .bind(function)
        .fetch_one(&mut *owner)
        .await
        .expect("the function");
    assert_eq!(definition.matches(sound).count(), 1, "{sound}");
    run(owner, &definition.replace(sound, hole)).await;
}

/// The same questions as above, with holes: they must be answered differently.
#[tokio::test(flavor = "multi_thread")]
async fn planted_holes_show() {
    let served = ServedDatabase::fresh().await;
    let mut owner = served.database.owner().await;
    let mut admin = served.database.superuser().await;
    let (ana, token) = served.project.sign_up("ana@example.org").await;
    run(&mut admin, "update auth.users set email_confirmed_at = null").await;
    plant(
        &mut owner,
        "private.confirmed_email",
        "and u.email_confirmed_at is not null",
        "",
    )
    .await;
    plant(
        &mut owner,
        "private.claim",
        "(here.setup_token_hash = presented) is not true",
        "here.setup_token_hash is distinct from presented",
    )
    .await;
    // No token was printed, none is presented, and the address is not confirmed: she is the owner.
    let claimed = claim(&served, &token, arguments(&served, &json!(null))).await;
    assert_eq!(claimed["ok"]["user"]["id"], json!(ana), "{claimed}");

    let mut auth = served.database.superuser().await;
    run(&mut auth, "set role supabase_auth_admin").await;
    assert!(!may_sign_up(&mut auth, "anybody@example.org").await);
    plant(
        &mut owner,
        "private.before_user_created",
        "owned and not exists",
        "not owned and not exists",
    )
    .await;
    assert!(may_sign_up(&mut auth, "anybody@example.org").await);

    let mut worker = served.database.worker().await;
    let nobody = uuid::Uuid::nil();
    assert_eq!(known(&mut worker, ana, nobody).await, Value::Null);
    plant(
        &mut owner,
        "driver.signed_in",
        "s.id = $1 and",
        "s.id is distinct from $1 and",
    )
    .await;
    assert_ne!(known(&mut worker, ana, nobody).await, Value::Null);
}
