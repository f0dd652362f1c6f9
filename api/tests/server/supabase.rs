//! The program over a Supabase project, by HTTP as a client has it: signing up, claiming the installation with the setup token, a
//! conversation, refreshing, signing out, and people and tokens that do not belong. The project is the stand-in of `supabase/testbed`.

use std::time::Duration;

use axum::http::Method;
use duet_supabase::testing::{ServedDatabase, SupabaseProject, TestDatabase};
use futures::StreamExt;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::{Program, Served};

const PASSWORD: &str = "correct horse battery";

fn url(database: &TestDatabase, login: &str) -> String {
    let options = database.worker_options();
    let name = options.get_database().unwrap();
    format!("postgres://{login}@{}:{}/{name}", options.get_host(), options.get_port())
}

/// The program with the settings of a project.
fn program(served: &ServedDatabase) -> Program {
    Program::default()
        .with("DUET_DATABASE_OWNER_URL", &url(&served.database, "postgres"))
        .with("DUET_DATABASE_URL", &url(&served.database, "duet_worker"))
        .with("DUET_BACKEND", "supabase")
        .with("DUET_SUPABASE_URL", served.project.url.as_str().trim_end_matches('/'))
        .with("DUET_SUPABASE_PUBLISHABLE_KEY", &served.project.publishable_key)
        .with("DUET_MODELS__OFFLINE__PAUSE_MS", "60")
        .with("DUET_LIMITS__SIGN_IN_PER_ADDRESS_PER_MINUTE", "1000")
}

/// Somebody with an access token, or nobody.
struct Person<'a> {
    server: &'a Served,
    http: reqwest::Client,
    token: Option<String>,
}

/// An answer, read whole.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    #[track_caller]
    fn ok(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// Its sentence.
    #[track_caller]
    fn problem(self, status: u16, code: &str) -> String {
        assert_eq!(
            (self.status, self.body["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.body
        );
        self.body["detail"].as_str().unwrap().to_owned()
    }
}

impl<'a> Person<'a> {
    fn nobody(server: &'a Served) -> Self {
        Self {
            server,
            http: duet_api::http::client().unwrap(),
            token: None,
        }
    }

    fn bearing(&self, token: &str) -> Self {
        Self {
            server: self.server,
            http: self.http.clone(),
            token: Some(token.to_owned()),
        }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.server.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn answer(request: reqwest::RequestBuilder) -> Answer {
        let answer = request.timeout(Duration::from_secs(180)).send().await.unwrap();
        Answer {
            status: answer.status().as_u16(),
            body: serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        Self::answer(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        Self::answer(self.request(Method::POST, path).json(body)).await
    }

    /// Signs up by way of Duet.
    async fn sign_up(server: &'a Served, email: &str) -> (Person<'a>, Value) {
        let nobody = Self::nobody(server);
        let body = json!({"email": email, "password": PASSWORD});
        let answer = nobody.post("/v1/auth/sign-up", &body).await.ok(201);
        let token = answer["tokens"]["access_token"].as_str().unwrap();
        (nobody.bearing(token), answer)
    }

    /// The whole stream of a run, as text.
    async fn stream(&self, workspace: &str, run: &str) -> String {
        let path = format!("/v1/workspaces/{workspace}/runs/{run}/events");
        let mut bytes = self.request(Method::GET, &path).send().await.unwrap().bytes_stream();
        let mut text = String::new();
        while let Some(Ok(bytes)) = bytes.next().await {
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
        text
    }

    /// Starts a conversation and says something; the run.
    async fn say(&self, workspace: &str, text: &str) -> String {
        let base = format!("/v1/workspaces/{workspace}/conversations");
        let talk = self.post(&base, &json!({})).await.ok(201);
        let path = format!("{base}/{}/messages", talk["id"].as_str().unwrap());
        let said = self.post(&path, &json!({"text": text})).await.ok(202);
        said["run_id"].as_str().unwrap().to_owned()
    }
}

fn setup(token: &str) -> Value {
    json!({"token": token, "display_name": "Ana", "workspace_name": "Home", "companion_name": "Juno"})
}

/// Ana as the owner, and her workspace.
async fn owner<'a>(server: &'a Served, token: &str) -> (Person<'a>, String) {
    let (ana, _) = Person::sign_up(server, "ana@example.org").await;
    let made = ana.post("/v1/setup", &setup(token)).await.ok(201);
    let workspace = made["workspaces"][0]["workspace"]["id"].as_str().unwrap().to_owned();
    (ana, workspace)
}

#[tokio::test(flavor = "multi_thread")]
async fn from_signing_up_to_a_conversation() {
    let served = ServedDatabase::fresh().await;
    let duet = program(&served);
    let token = duet.migrate();
    let told = duet.run(&["check", "--json"]).json();
    assert_eq!(told["healthy"], true, "{told}");
    let server = duet.serve();
    assert!(server.needs_owner);

    let nobody = Person::nobody(&server);
    let info = nobody.get("/v1/config").await.ok(200);
    assert_eq!((&info["mode"], &info["setup_needed"]), (&json!("server"), &json!(true)));
    assert_eq!(
        info["auth"],
        json!({
            "mode": "supabase", "url": served.project.url.as_str().trim_end_matches('/'),
            "publishable_key": served.project.publishable_key
        })
    );

    let (ana, signed_up) = Person::sign_up(&server, "Ana@Example.org").await;
    assert_eq!(signed_up["user"]["email"], "ana@example.org");
    assert_eq!(signed_up["workspaces"], json!([]), "signing up lets nobody in");
    ana.post("/v1/workspaces", &json!({"name": "Mine", "companion_name": "Juno"}))
        .await
        .problem(403, "not_granted");

    // Only who is signed in, only with the token, and no password here.
    nobody.post("/v1/setup", &setup(&token)).await.problem(401, "not_signed_in");
    ana.post("/v1/setup", &setup("0000-0000-0000-0000-0000"))
        .await
        .problem(403, "wrong_setup_token");
    let mut with_password = setup(&token);
    with_password["password"] = json!(PASSWORD);
    ana.post("/v1/setup", &with_password).await.problem(422, "invalid");
    let made = ana.post("/v1/setup", &setup(&token)).await.ok(201);
    assert_eq!(made["user"]["email"], "ana@example.org");
    assert_eq!(made["user"]["id"], signed_up["user"]["id"]);
    assert_eq!(made["workspaces"][0]["role"], "owner");
    let workspace = made["workspaces"][0]["workspace"]["id"].as_str().unwrap();
    ana.post("/v1/setup", &setup(&token)).await.problem(409, "set_up");
    assert_eq!(nobody.get("/v1/config").await.ok(200)["setup_needed"], false);

    // Nobody but Auth makes sessions, so no device is signed in by a code.
    for (path, body) in [
        ("/v1/device", json!({"client": "duet"})),
        ("/v1/device/token", json!({"device_code": "x"})),
        ("/v1/device/approve", json!({"user_code": "BCDF-GHJK"})),
    ] {
        let said = ana.post(path, &body).await.problem(409, "no_device_login");
        assert!(said.contains("email and password"), "{said}");
    }

    let run = ana.say(workspace, "My dog is called Rex.").await;
    let stream = ana.stream(workspace, &run).await;
    assert!(stream.contains("RUN_FINISHED"), "{stream}");
    let run = ana.say(workspace, "What is my dog's name?").await;
    let stream = ana.stream(workspace, &run).await;
    assert!(stream.contains("Rex"), "{stream}");

    let new_key = json!({"name": "cli", "scopes": ["chat"]});
    let key = ana.post(&format!("/v1/workspaces/{workspace}/keys"), &new_key).await.ok(201);
    let by_key = ana.bearing(key["secret"].as_str().unwrap());
    by_key.get(&format!("/v1/workspaces/{workspace}")).await.ok(200);
    by_key.get("/v1/auth/session").await.problem(403, "denied");
    let run = by_key.say(workspace, "hello").await;
    assert!(by_key.stream(workspace, &run).await.contains("RUN_FINISHED"));

    ana.post("/v1/auth/token", &json!({})).await.problem(409, "conflict");
    assert_eq!(server.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_is_refreshed_and_ended() {
    let served = ServedDatabase::fresh().await;
    let duet = program(&served);
    let token = duet.migrate();
    let server = duet.serve();
    let (ana, workspace) = owner(&server, &token).await;
    let nobody = Person::nobody(&server);

    let wrong = json!({"email": "ana@example.org", "password": "something else"});
    let unknown = json!({"email": "nobody@example.org", "password": PASSWORD});
    let said = nobody.post("/v1/auth/sign-in", &wrong).await.problem(401, "wrong_sign_in");
    assert_eq!(
        nobody.post("/v1/auth/sign-in", &unknown).await.problem(401, "wrong_sign_in"),
        said
    );
    let right = json!({"email": "ana@example.org", "password": PASSWORD});
    nobody.post("/v1/auth/sign-up", &right).await.problem(403, "denied");
    let weak = json!({"email": "new@example.org", "password": "short"});
    nobody.post("/v1/auth/sign-up", &weak).await.problem(422, "invalid");

    let signed_in = nobody.post("/v1/auth/sign-in", &right).await.ok(200);
    let tokens = &signed_in["tokens"];
    let second = nobody.bearing(tokens["access_token"].as_str().unwrap());
    assert_eq!(second.get("/v1/auth/session").await.ok(200)["workspaces"][0]["role"], "owner");
    let refresh = json!({"refresh_token": tokens["refresh_token"]});
    let refreshed = nobody.post("/v1/auth/refresh", &refresh).await.ok(200);
    let refreshed = nobody.bearing(refreshed["access_token"].as_str().unwrap());
    refreshed.get("/v1/auth/session").await.ok(200);
    for bad in ["", "wrong", &"x".repeat(2000)] {
        let refresh = json!({"refresh_token": bad});
        nobody.post("/v1/auth/refresh", &refresh).await.problem(401, "not_signed_in");
    }

    // One device: the other goes on.
    assert_eq!(refreshed.post("/v1/auth/sign-out", &json!({})).await.status, 204);
    refreshed.get("/v1/auth/session").await.problem(401, "not_signed_in");
    second.get("/v1/auth/session").await.problem(401, "not_signed_in");
    ana.get("/v1/auth/session").await.ok(200);

    // Everywhere, while she reads a reply: the stream ends by itself.
    let run = ana.say(&workspace, "count to 400").await;
    let reading = async {
        let text = tokio::time::timeout(Duration::from_secs(180), ana.stream(&workspace, &run)).await;
        text.expect("the stream ends with the sign-in")
    };
    let leaving = async {
        let path = format!("/v1/workspaces/{workspace}/runs/{run}");
        while ana.get(&path).await.ok(200)["last_seq"].as_u64() < Some(8) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let path = "/v1/auth/sign-out?everywhere=true";
        assert_eq!(ana.post(path, &json!({})).await.status, 204);
    };
    let (text, ()) = tokio::join!(reading, leaving);
    assert!(!text.contains("RUN_FINISHED") && text.contains("delta"), "{text}");
    ana.get(&format!("/v1/workspaces/{workspace}"))
        .await
        .problem(401, "not_signed_in");
}

/// Claims of somebody's token.
fn claims(project: &SupabaseProject, user: &str, session: &str, from: i64) -> Value {
    json!({
        "iss": format!("{}/auth/v1", project.url.as_str().trim_end_matches('/')), "sub": user, "aud": "authenticated",
        "role": "authenticated", "session_id": session, "iat": from, "exp": from + 3600,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn people_and_tokens_that_do_not_belong() {
    let served = ServedDatabase::fresh().await;
    let other = ServedDatabase::fresh().await;
    let duet = program(&served);
    let token = duet.migrate();
    let server = duet.serve();
    let (ana, workspace) = owner(&server, &token).await;
    let home = format!("/v1/workspaces/{workspace}");
    let session = ana.get("/v1/auth/session").await.ok(200);
    let user = session["user"]["id"].as_str().unwrap();
    let session = session["session"]["id"].as_str().unwrap();

    // A person of the same project whom nobody invited: signed in, and nothing else.
    let (_, bob) = served.project.sign_up("bob@example.org").await;
    let bob = ana.bearing(bob.expose_secret());
    assert_eq!(bob.get("/v1/auth/session").await.ok(200)["workspaces"], json!([]));
    bob.get(&home).await.problem(404, "not_found");
    bob.post(&format!("{home}/conversations"), &json!({}))
        .await
        .problem(404, "not_found");
    bob.post("/v1/workspaces", &json!({"name": "Mine", "companion_name": "J"}))
        .await
        .problem(403, "not_granted");

    // A person of another project, with the same address and a good token there.
    let (_, eve) = other.project.sign_up("ana@example.org").await;
    for path in ["/v1/auth/session", &home] {
        ana.bearing(eve.expose_secret()).get(path).await.problem(401, "not_signed_in");
    }

    // Signed with this project's own secret. The first is good, so that nothing but what is changed is wrong with the others.
    let now = duet_api::machine::system().now().millis() / 1000;
    let good = claims(&served.project, user, session, now);
    let forged = served.project.forge(&good);
    ana.bearing(forged.expose_secret()).get(&home).await.ok(200);
    let refused = async |claims: Value, words: &str| {
        let token = served.project.forge(&claims);
        let answer = ana.bearing(token.expose_secret()).get(&home).await;
        let said = answer.problem(401, "not_signed_in");
        assert!(said.contains(words), "{claims}: {said}");
    };
    refused(claims(&served.project, user, session, now - 4000), "expired").await;
    for (field, value) in [
        ("session_id", json!("0199d6a0-0000-7000-8000-0000000000bb")),
        ("session_id", json!(null)),
        ("role", json!("service_role")),
        ("role", json!("anon")),
        ("aud", json!("anon")),
        ("iss", json!("https://other.supabase.co/auth/v1")),
        ("sub", json!("0199d6a0-0000-7000-8000-0000000000aa")),
        ("exp", json!((now + 3600).to_string())),
    ] {
        let mut claims = good.clone();
        claims[field] = value;
        refused(claims, "").await;
    }

    // The publishable key is nobody's sign-in, nor is a cookie.
    ana.bearing(&served.project.publishable_key)
        .get(&home)
        .await
        .problem(401, "not_signed_in");
    let cookie = format!("duet_session={}", ana.token.as_deref().unwrap());
    let request = Person::nobody(&server).request(Method::GET, &home).header("cookie", cookie);
    Person::answer(request).await.problem(401, "not_signed_in");

    // Banned at Auth: over at once, although the token has an hour left.
    ana.get(&home).await.ok(200);
    served.ban("ana@example.org").await;
    ana.get(&home).await.problem(401, "not_signed_in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_does_not_start_with_the_wrong_project() {
    let served = ServedDatabase::fresh().await;
    let duet = program(&served);
    duet.migrate();
    let serve = ["serve", "--bind", "127.0.0.1:0"];
    let key = "DUET_SUPABASE_PUBLISHABLE_KEY";
    let strange = duet.clone().with(key, "sb_publishable_of_somebody_else");
    strange
        .run(&serve)
        .refused(1, &["refuses the publishable key", "supabase.publishable_key"]);
    duet.clone()
        .with(key, "sb_secret_canary")
        .run(&serve)
        .refused(2, &["secret key", "sb_publishable_"]);
    duet.clone()
        .with("DUET_SUPABASE_URL", "http://127.0.0.1:1")
        .run(&serve)
        .refused(5, &["cannot be reached", "supabase.url"]);
    duet.clone()
        .with("DUET_SUPABASE_URL", "http://abcd.supabase.co")
        .run(&serve)
        .refused(2, &["supabase.url", "https://"]);
    let plain = TestDatabase::fresh().await;
    duet.clone()
        .with("DUET_DATABASE_URL", &url(&plain, "duet_worker"))
        .run(&serve)
        .refused(1, &["auth.sessions", "database.backend"]);

    let told = strange.run(&["check", "--json"]);
    assert_eq!(told.code, 1, "{}", told.err);
    let told: Value = serde_json::from_str(&told.out).unwrap();
    let checks = told["checks"].as_array().unwrap();
    let problems: Vec<&Value> = checks.iter().filter(|check| check["verdict"] == "problem").collect();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let fix = problems[0]["fix"].as_str().unwrap();
    assert!(fix.contains("supabase.publishable_key"), "{fix}");
}
