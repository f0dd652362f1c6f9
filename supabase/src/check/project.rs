//! What has to hold for a Supabase project: its Auth, its Data API, and that database and project belong together.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use sqlx::{Connection, PgConnection};

use super::{Finding, Refusal, code, looked};
use crate::{
    auth::{AuthClient, AuthError, AuthSettings, ProjectSettings, Published},
    connect::Database,
};

/// Where to find a project's settings.
const WHERE: &str =
    "Set `supabase.url` and `supabase.publishable_key` to what the project's page shows under Project Settings, API Keys.";
/// A function that the Data API has to know and any signed-in person may call.
const KNOWN: &str = "workspace_memberships";
/// Schemas that the Data API must not serve.
const HIDDEN: [&str; 3] = ["duet", "private", "driver"];

/// Checks the project, and what the database needs for it.
pub async fn inspect(settings: &AuthSettings, database: &Database) -> Vec<Finding> {
    let client = AuthClient::new(settings.clone());
    let mut findings = Vec::new();
    match client.settings().await {
        Ok(told) => {
            findings.push(Finding::ok(
                "project",
                format!("{} answers, and takes the key", host(settings)),
            ));
            findings.push(sign_up(&told));
        }
        // All other checks need the same address and key.
        Err(error) => {
            findings.push(refused(settings, &error));
            return findings;
        }
    }
    findings.push(keys(&client).await);
    findings.push(data_api(settings).await);
    findings.push(schemas(settings).await);
    findings.push(same(settings, database));
    findings
}

/// Checks what the database needs for people who sign in at Auth.
pub async fn of_database(database: &Database, connection: &mut PgConnection) -> Vec<Finding> {
    vec![
        looked(database, "sign-ins", alone!(connection, inside => sign_ins(inside))),
        looked(database, "sign-up hook", alone!(connection, inside => hook(inside))),
    ]
}

/// Checks what must hold before a process serves; the sentence says what does not.
pub async fn before_serving(settings: &AuthSettings, database: &Database) -> Result<(), Refusal> {
    let told = AuthClient::new(settings.clone()).settings().await;
    if let Err(error) = told {
        let Finding { found, fix, .. } = refused(settings, &error);
        let sentence = format!("The Supabase project will not do: {found}. {}", fix.unwrap_or_default());
        return Err(match error {
            AuthError::Unavailable(_) | AuthError::TooMany(_) => Refusal::Unavailable(sentence),
            _ => Refusal::Unfit(sentence),
        });
    }
    let apart = same(settings, database);
    let mut connection = database.connect().await?;
    let sign_ins = alone!(connection, inside => sign_ins(inside)).map_err(|error| Refusal::Connect(database.explain(&error)))?;
    for finding in [apart, sign_ins] {
        if finding.verdict == super::Verdict::Problem {
            let fix = finding.fix.unwrap_or_default();
            return Err(Refusal::Unfit(format!(
                "The database at {} will not do: {}. {fix}",
                database.name(),
                finding.found
            )));
        }
    }
    Ok(())
}

fn host(settings: &AuthSettings) -> &str {
    settings.url.host_str().unwrap_or_default()
}

fn refused(settings: &AuthSettings, error: &AuthError) -> Finding {
    const NAME: &str = "project";
    let host = host(settings);
    match error {
        AuthError::BadKey | AuthError::SignedOut => Finding::problem(NAME, format!("{host} refuses the publishable key"), WHERE),
        AuthError::Unavailable(reason) => Finding::problem(
            NAME,
            format!("Supabase Auth at {host} cannot be reached or cannot answer: {reason}"),
            "Check `supabase.url`, and that the project is not paused.",
        ),
        AuthError::TooMany(seconds) => Finding::problem(
            NAME,
            format!("{host} has had too many requests"),
            format!("Try again in {seconds} seconds."),
        ),
        _ => Finding::problem(NAME, format!("there is no Supabase Auth at {host}"), WHERE),
    }
}

/// Whether invited people can sign up, and nobody can without an address.
fn sign_up(told: &ProjectSettings) -> Finding {
    const NAME: &str = "sign-up";
    if told.disable_signup || !told.external.email {
        return Finding::problem(
            NAME,
            "the project takes no sign-ups by email, so that invited people cannot come in",
            "Turn them on (Authentication, Sign In / Providers), together with the hook `private.before_user_created`, which lets invited \
             addresses in alone.",
        );
    }
    if told.external.anonymous_users {
        return Finding::warning(
            NAME,
            "the project lets people in without any sign-in; Duet refuses them",
            "Turn anonymous sign-ins off (Authentication, Sign In / Providers).",
        );
    }
    if told.mailer_autoconfirm {
        return Finding::warning(
            NAME,
            "addresses count as confirmed without proof: whoever has the link of an invitation can accept it under the invited address",
            "Turn `Confirm email` on (Authentication, Sign In / Providers).",
        );
    }
    Finding::ok(NAME, "by email, with proof of the address")
}

async fn keys(client: &AuthClient) -> Finding {
    const NAME: &str = "token keys";
    match client.key_set().await.map(|keys| keys.published()) {
        Ok(Published::Keys(1)) => Finding::ok(NAME, "one public key, checked here"),
        Ok(Published::Keys(count)) => Finding::ok(NAME, format!("{count} public keys, checked here")),
        Ok(Published::Nothing) => Finding::warning(
            NAME,
            "none are published: tokens are of the legacy secret (HS256), and Auth is asked about each every ten seconds",
            "Move the project to asymmetric signing keys (Project Settings, JWT Keys).",
        ),
        Err(error) => Finding::problem(
            NAME,
            error.to_string(),
            "Check that `/auth/v1/.well-known/jwks.json` of the project can be read from here.",
        ),
    }
}

/// The Data API's answer to an anonymous caller.
async fn ask(settings: &AuthSettings, function: &str, schema: &str) -> Result<(StatusCode, String), AuthError> {
    let mut url = settings.url.clone();
    url.set_path(&format!("{}/rest/v1/rpc/{function}", url.path().trim_end_matches('/')));
    let response = settings
        .client
        .request(Method::POST, url)
        .timeout(settings.timeout)
        .header("apikey", &settings.publishable_key)
        .header("content-type", "application/json")
        .header("content-profile", schema)
        .body("{}")
        .send()
        .await
        .map_err(|_| AuthError::Unavailable("no answer"))?;
    let status = response.status();
    let text = response
        .bytes()
        .await
        .map_err(|_| AuthError::Unavailable("no whole answer"))?;
    let answer: Value = serde_json::from_slice(&text).unwrap_or_default();
    Ok((status, answer["code"].as_str().unwrap_or_default().to_owned()))
}

async fn data_api(settings: &AuthSettings) -> Finding {
    const NAME: &str = "data api";
    match ask(settings, KNOWN, "public").await {
        Ok((_, code)) if code == "42501" => Finding::ok(NAME, "knows Duet's functions, and refuses who is not signed in"),
        Ok((status, _)) if status.is_success() => Finding::problem(
            NAME,
            "somebody who is not signed in may call Duet's functions",
            "As the owner: `revoke execute on all functions in schema public from public, anon`.",
        ),
        Ok((_, code)) if code == "PGRST202" => Finding::problem(
            NAME,
            "the Data API does not know Duet's functions",
            "Run `duet-api migrate` against this project's database. If that was done just now, run `notify pgrst, 'reload schema'` there.",
        ),
        Ok((_, code)) if code == "PGRST106" => Finding::problem(
            NAME,
            "the Data API does not serve the schema `public`",
            "Add `public` to its schemas (Project Settings, Data API, Exposed schemas).",
        ),
        Ok((status, code)) => Finding::problem(
            NAME,
            format!("it answers with {} {code}", status.as_u16()),
            "Check that the Data API is on (Project Settings, Data API), and that the project is not paused.",
        ),
        Err(error) => Finding::problem(
            NAME,
            error.to_string(),
            "Check that `/rest/v1` of the project can be reached from here.",
        ),
    }
}

async fn schemas(settings: &AuthSettings) -> Finding {
    const NAME: &str = "schemas";
    let mut open = Vec::new();
    for schema in HIDDEN {
        match ask(settings, "nothing", schema).await {
            Ok((_, code)) if code == "PGRST106" => {}
            Ok(_) => open.push(format!("`{schema}`")),
            Err(error) => {
                return Finding::problem(
                    NAME,
                    error.to_string(),
                    "Check that `/rest/v1` of the project can be reached from here.",
                );
            }
        }
    }
    match open.len() {
        0 => Finding::ok(NAME, "`duet`, `private` and `driver` are not served"),
        _ => Finding::problem(
            NAME,
            format!("the Data API serves {}", open.join(", ")),
            "Take them out of its schemas (Project Settings, Data API, Exposed schemas); Duet needs `public` alone.",
        ),
    }
}

/// Whether database and project belong together, as far as their names tell. Where they do not, a wrong pair fails closed: the
/// database knows none of the sign-ins, so nobody gets in.
fn same(settings: &AuthSettings, database: &Database) -> Finding {
    const NAME: &str = "same project";
    let Some(project) = host(settings).strip_suffix(".supabase.co") else {
        return Finding::ok(
            NAME,
            "the names do not tell; sign-ins of another project are unknown to this database",
        );
    };
    let host = database.options.get_host();
    let of_host = host.strip_suffix(".supabase.co").and_then(|host| host.strip_prefix("db."));
    let of_user = host
        .ends_with(".pooler.supabase.com")
        .then(|| {
            database
                .options
                .get_username()
                .split_once('.')
                .map(|(_, reference)| reference)
        })
        .flatten();
    match of_host.or(of_user) {
        Some(reference) if reference == project => Finding::ok(NAME, format!("both are {project}")),
        Some(reference) => Finding::problem(
            NAME,
            format!("`supabase.url` is of project {project}, and the database is of project {reference}"),
            "Take `supabase.url`, `supabase.publishable_key` and the database's URL from the same project.",
        ),
        None => Finding::ok(
            NAME,
            "the database's name does not tell; sign-ins of another project are unknown to it",
        ),
    }
}

/// Whether the database can see which sign-ins still exist.
async fn sign_ins(connection: &mut PgConnection) -> Result<Finding, sqlx::Error> {
    const NAME: &str = "sign-ins";
    let there: bool =
        sqlx::query_scalar("select to_regclass('auth.sessions') is not null and to_regclass('auth.users') is not null")
            .persistent(false)
            .fetch_one(&mut *connection)
            .await?;
    if !there {
        return Ok(Finding::problem(
            NAME,
            "the database has no auth.users and auth.sessions, so it is not that of a Supabase project",
            "Take the database's URL from the project, or set `database.backend` to `postgres`.",
        ));
    }
    let nobody = "select driver.signed_in('00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000')::text";
    match sqlx::query_scalar::<_, String>(nobody)
        .persistent(false)
        .fetch_one(connection)
        .await
    {
        Ok(_) => Ok(Finding::ok(NAME, "the database sees which of them live")),
        Err(error) if code(&error).as_deref() == Some("42501") => Ok(Finding::problem(
            NAME,
            "Duet's functions may not read auth.users and auth.sessions",
            "As a superuser or as supabase_auth_admin: `grant select on auth.users, auth.sessions to postgres`.",
        )),
        Err(error) => Err(error),
    }
}

/// Whether Auth may call the hook. Only the project's dashboard shows whether it does.
async fn hook(connection: &mut PgConnection) -> Result<Finding, sqlx::Error> {
    const NAME: &str = "sign-up hook";
    let may: Option<bool> = sqlx::query_scalar(
        "select has_function_privilege(r.oid, p.oid, 'execute') and has_schema_privilege(r.oid, n.oid, 'usage')
         from pg_catalog.pg_roles r, pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
         where r.rolname = 'supabase_auth_admin' and n.nspname = 'private' and p.proname = 'before_user_created'",
    )
    .persistent(false)
    .fetch_optional(connection)
    .await?;
    Ok(match may {
        Some(true) => Finding::ok(
            NAME,
            "Auth may call it; see that it is on (Authentication, Hooks, Before User Created: private.before_user_created)",
        ),
        _ => Finding::problem(
            NAME,
            "Supabase Auth may not call private.before_user_created, so that sign-ups fail or are open to everybody",
            "As the owner: `grant usage on schema private to supabase_auth_admin` and `grant execute on function \
             private.before_user_created(jsonb) to supabase_auth_admin`.",
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use secrecy::SecretString;

    use super::*;
    use crate::check::Verdict;

    #[expect(clippy::disallowed_methods, reason = "nothing is asked of it")]
    fn settings(url: &str) -> AuthSettings {
        AuthSettings {
            url: url.parse().unwrap(),
            issuer: None,
            publishable_key: "sb_publishable_x".into(),
            timeout: Duration::from_secs(1),
            client: {
                let _ = rustls::crypto::ring::default_provider().install_default();
                reqwest::Client::builder().tls_certs_only(std::iter::empty()).build().unwrap()
            },
        }
    }

    #[test]
    fn a_database_of_another_project_is_seen_by_its_name() {
        let database = |url: &str| Database::from_url("env:X", &SecretString::from(url)).unwrap();
        let project = settings("https://abcd.supabase.co");
        for (url, verdict) in [
            ("postgres://duet_worker:x@db.abcd.supabase.co:5432/postgres", Verdict::Ok),
            ("postgres://duet_worker:x@db.efgh.supabase.co:5432/postgres", Verdict::Problem),
            (
                "postgres://duet_worker.abcd:x@aws-0-eu-central-1.pooler.supabase.com:6543/postgres",
                Verdict::Ok,
            ),
            (
                "postgres://duet_worker.efgh:x@aws-0-eu-central-1.pooler.supabase.com:6543/postgres",
                Verdict::Problem,
            ),
            ("postgres://duet_worker:x@127.0.0.1:5432/postgres", Verdict::Ok),
        ] {
            assert_eq!(same(&project, &database(url)).verdict, verdict, "{url}");
        }
        let own = settings("http://127.0.0.1:54321");
        assert_eq!(
            same(&own, &database("postgres://a:b@db.efgh.supabase.co/postgres")).verdict,
            Verdict::Ok
        );
    }
}
