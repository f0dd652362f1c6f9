//! The package `supabase-auth` beside the client here, on the same answers: why Duet does not use it
//! (`docs/adr/0012-supabase-auth.md`). A test that fails after an update of the package says that a reason is gone.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use duet_supabase::{
    auth::{AuthClient, AuthError, AuthSettings, SignedUp, TokenPair},
    testing::{ServedDatabase, SupabaseProject},
};
use rcgen::{CertificateParams, KeyPair};
use reqwest::{Certificate, Client, Url, header::AUTHORIZATION};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use supabase_auth::{
    error::Error,
    models::{AuthClient as Package, EmailSignUpResult, LogoutScope},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

use crate::issuer::{KEY, USER, client, with};

const EMAIL: &str = "ana@example.org";
const PASSWORD: &str = "correct horse battery staple";
const ACCESS: &str = "the.access.token";
const REFRESH: &str = "the-refresh-token";
/// A header that means nothing.
const NOTHING: &str = "x-nothing: 0";

/// A server that gives the same answer to everything, and keeps what it was sent.
struct Scripted {
    url: String,
    sent: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    async fn answering(status: u16, body: Value) -> Self {
        Self::with_header(status, NOTHING, body).await
    }

    async fn with_header(status: u16, header: &str, body: Value) -> Self {
        Self::start(status, header, body, None).await
    }

    async fn start(status: u16, header: &str, body: Value, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let body = body.to_string();
        let answer = format!(
            "HTTP/1.1 {status} Told\r\ncontent-type: application/json\r\n{header}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let sent = Arc::new(Mutex::new(Vec::new()));
        let kept = sent.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                match &tls {
                    None => speak(connection, &answer, &kept).await,
                    // A client that does not trust the certificate hangs up.
                    Some(tls) => match tls.accept(connection).await {
                        Ok(connection) => speak(connection, &answer, &kept).await,
                        Err(_) => continue,
                    },
                }
            }
        });
        Self { url, sent }
    }

    fn ours(&self) -> AuthClient {
        self.ours_with(client())
    }

    fn ours_with(&self, client: Client) -> AuthClient {
        ours(&self.url.parse().unwrap(), KEY, client)
    }

    fn package(&self) -> Package {
        package(&self.url.parse().unwrap(), KEY)
    }

    fn sent(&self) -> Vec<String> {
        self.sent.lock().unwrap().clone()
    }
}

async fn speak(mut connection: impl AsyncRead + AsyncWrite + Unpin, answer: &str, sent: &Mutex<Vec<String>>) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !whole(&request) {
        match connection.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&buffer[..count]),
        }
    }
    sent.lock().unwrap().push(String::from_utf8(request).unwrap());
    let _ = connection.write_all(answer.as_bytes()).await;
    let _ = connection.shutdown().await;
}

fn whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

fn ours(url: &Url, publishable_key: &str, client: Client) -> AuthClient {
    AuthClient::new(AuthSettings {
        url: url.clone(),
        issuer: None,
        publishable_key: publishable_key.into(),
        timeout: Duration::from_secs(20),
        client,
    })
}

/// It takes the project's JWT secret as well, and uses it for nothing.
fn package(url: &Url, publishable_key: &str) -> Package {
    Package::new(url.as_str().trim_end_matches('/'), publishable_key, "")
}

fn password() -> SecretString {
    PASSWORD.into()
}

/// A person as Auth describes them (`internal/models/user.go`), with these `identities`.
fn person(identities: Value) -> Value {
    let at = "2026-11-20T10:00:00.000000Z";
    json!({
        "id": USER, "aud": "authenticated", "role": "authenticated", "email": EMAIL, "email_confirmed_at": at, "phone": "",
        "confirmed_at": at, "last_sign_in_at": at, "app_metadata": {"provider": "email", "providers": ["email"]},
        "user_metadata": {"email": EMAIL, "email_verified": true, "phone_verified": false, "sub": USER}, "identities": identities,
        "created_at": at, "updated_at": at, "is_anonymous": false
    })
}

fn today() -> Value {
    let at = "2026-11-20T10:00:00.000000Z";
    json!([{
        "identity_id": USER, "id": USER, "user_id": USER, "provider": "email", "email": EMAIL, "last_sign_in_at": at, "created_at": at,
        "updated_at": at, "identity_data": {"email": EMAIL, "email_verified": true, "phone_verified": false, "sub": USER}
    }])
}

/// The identity that Auth's own migration `20230131181311_backfill_invite_identities` gave to people who had been invited.
fn backfilled() -> Value {
    let at = "2023-01-25T00:00:00Z";
    json!([{
        "identity_id": USER, "id": USER, "user_id": USER, "provider": "email", "email": EMAIL, "created_at": at, "updated_at": at,
        "identity_data": {"email": EMAIL, "sub": USER}
    }])
}

fn session(person: Value) -> Value {
    json!({
        "access_token": ACCESS, "token_type": "bearer", "expires_in": 3600, "expires_at": 1_790_003_600, "refresh_token": REFRESH,
        "user": person
    })
}

/// Auth's answer to a request without its newer API version, which the package does not ask for.
fn refusal(status: u16, code: &str, message: &str) -> Value {
    json!({"code": status, "error_code": code, "msg": message})
}

/// `/settings` of Auth, with every provider that the package asks for.
fn settings() -> Value {
    let mut external: Value = "apple azure bitbucket discord facebook figma fly github gitlab google kakao keycloak linkedin \
        linkedin_oidc notion phone slack slack_oidc spotify twitch twitter workos zoom anonymous_users"
        .split_whitespace()
        .map(|name| (name.to_owned(), json!(false)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    external["email"] = json!(true);
    json!({
        "external": external, "disable_signup": false, "mailer_autoconfirm": false, "phone_autoconfirm": false, "sms_provider": "twilio",
        "saml_enabled": false
    })
}

/// So that the failures below are not those of the answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ordinary_answers_are_understood_by_both() {
    let server = Scripted::answering(200, session(person(today()))).await;
    let (ours, package) = (server.ours(), server.package());
    assert!(ours.sign_in(EMAIL, &password()).await.is_ok());
    assert!(package.login_with_email(EMAIL, PASSWORD).await.is_ok());
    assert!(ours.refresh(&REFRESH.into()).await.is_ok());
    assert!(package.refresh_session(REFRESH).await.is_ok());
    assert!(matches!(ours.sign_up(EMAIL, &password()).await, Ok(SignedUp::In(_))));
    let signed_up = package.sign_up_with_email_and_password(EMAIL, PASSWORD, None).await;
    assert!(matches!(signed_up, Ok(EmailSignUpResult::SessionResult(_))), "{signed_up:?}");

    let to_confirm = with(&person(json!([])), "confirmation_sent_at", json!("2026-11-20T10:00:00Z"));
    let server = Scripted::answering(200, to_confirm).await;
    let signed_up = server.ours().sign_up(EMAIL, &password()).await;
    assert!(matches!(signed_up, Ok(SignedUp::ToConfirm)), "{signed_up:?}");
    let signed_up = server.package().sign_up_with_email_and_password(EMAIL, PASSWORD, None).await;
    assert!(
        matches!(signed_up, Ok(EmailSignUpResult::ConfirmationResult(_))),
        "{signed_up:?}"
    );

    let server = Scripted::answering(200, person(today())).await;
    assert_eq!(server.ours().user(&ACCESS.into()).await.unwrap().to_string(), USER);
    assert_eq!(server.package().get_user(ACCESS).await.unwrap().id.to_string(), USER);

    let server = Scripted::answering(200, settings()).await;
    assert!(server.ours().settings().await.unwrap().external.email);
    assert!(server.package().get_settings().await.unwrap().external.email);
}

/// `POST /token?grant_type=password`. The error of the package even contains both tokens, for whoever prints it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_in_fails_for_people_with_an_older_identity() {
    let server = Scripted::answering(200, session(person(backfilled()))).await;
    let tokens = server.ours().sign_in(EMAIL, &password()).await.unwrap();
    assert_eq!(tokens.access_token.expose_secret(), ACCESS);
    let error = server
        .package()
        .login_with_email(EMAIL, PASSWORD)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("200") && error.contains(ACCESS) && error.contains(REFRESH),
        "{error}"
    );
}

/// The code of a refusal is lost, and with it what the person has to do: only Auth's English sentence is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_in_does_not_tell_why_it_was_refused() {
    for (code, message, means) in [
        ("invalid_credentials", "Invalid login credentials", AuthError::Credentials),
        ("email_not_confirmed", "Email not confirmed", AuthError::NotConfirmed),
    ] {
        let server = Scripted::answering(400, refusal(400, code, message)).await;
        assert_eq!(server.ours().sign_in(EMAIL, &password()).await.unwrap_err(), means);
        let error = server.package().login_with_email(EMAIL, PASSWORD).await.unwrap_err();
        without_code(&error, code, message);
    }
}

#[track_caller]
fn without_code(error: &Error, code: &str, message: &str) {
    assert!(matches!(error, Error::AuthError { .. }), "{error:?}");
    let told = format!("{error} {error:?}");
    assert!(told.contains(message) && !told.contains(code), "{told}");
}

/// `POST /token?grant_type=refresh_token`. By then Auth has replaced the refresh token, and the new one is not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_fails_for_people_with_an_older_identity() {
    let server = Scripted::answering(200, session(person(backfilled()))).await;
    let tokens = server.ours().refresh(&"used".into()).await.unwrap();
    assert_eq!(tokens.refresh_token.expose_secret(), REFRESH);
    let error = server.package().refresh_session("used").await.unwrap_err().to_string();
    assert!(
        error.contains("200") && error.contains(ACCESS) && error.contains(REFRESH),
        "{error}"
    );
}

/// `POST /signup`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_up_does_not_tell_why_it_was_refused() {
    for (status, code, message, means) in [
        (422, "user_already_exists", "User already registered", AuthError::MayNotSignUp),
        (
            422,
            "weak_password",
            "Password should be at least 8 characters.",
            AuthError::WeakPassword,
        ),
        (
            422,
            "signup_disabled",
            "Signups not allowed for this instance",
            AuthError::SignUpsOff,
        ),
        (
            400,
            "email_address_invalid",
            "Email address \"ana@example\" is invalid",
            AuthError::BadAddress,
        ),
    ] {
        let server = Scripted::answering(status, refusal(status, code, message)).await;
        assert_eq!(server.ours().sign_up(EMAIL, &password()).await.unwrap_err(), means);
        let signed_up = server.package().sign_up_with_email_and_password(EMAIL, PASSWORD, None).await;
        without_code(&signed_up.unwrap_err(), code, message);
    }
}

/// `POST /logout`. Auth reads the scope from the query and takes its absence as "everywhere" (`internal/api/logout.go`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_out_of_one_device_does_not_name_it() {
    let server = Scripted::answering(204, json!(null)).await;
    server.ours().sign_out(&ACCESS.into(), false).await.unwrap();
    server.package().logout(Some(LogoutScope::Local), ACCESS).await.unwrap();
    let [ours, package] = &server.sent()[..] else {
        panic!("two requests");
    };
    assert!(ours.starts_with("POST /auth/v1/logout?scope=local HTTP/1.1\r\n"), "{ours}");
    assert!(package.starts_with("POST /auth/v1/logout HTTP/1.1\r\n"), "{package}");
}

/// `GET /user`, which decides about tokens of the legacy secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_fails_for_people_with_an_older_identity() {
    let server = Scripted::answering(200, person(backfilled())).await;
    assert_eq!(server.ours().user(&ACCESS.into()).await.unwrap().to_string(), USER);
    let error = server.package().get_user(ACCESS).await.unwrap_err().to_string();
    assert!(error.contains("200") && error.contains(EMAIL), "{error}");
}

/// `GET /settings`, with which `duet-api check` finds a wrong `supabase.url`: the package reads the settings of wherever it is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_read_at_another_address() {
    let elsewhere = Scripted::answering(200, settings()).await;
    let location = format!("location: {}/auth/v1/settings", elsewhere.url);
    let server = Scripted::with_header(301, &location, json!(null)).await;
    assert!(server.ours().settings().await.is_err());
    assert_eq!(elsewhere.sent().len(), 0);
    assert!(server.package().get_settings().await.is_ok());
    assert_eq!(elsewhere.sent().len(), 1);
}

/// Every call: the package makes its own HTTP client, which follows redirects. A password goes along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_takes_the_password_to_another_server() {
    let elsewhere = Scripted::answering(200, session(person(today()))).await;
    let location = format!("location: {}/auth/v1/token?grant_type=password", elsewhere.url);
    let server = Scripted::with_header(307, &location, json!(null)).await;
    assert!(server.ours().sign_in(EMAIL, &password()).await.is_err());
    assert_eq!(elsewhere.sent().len(), 0);
    assert!(server.package().login_with_email(EMAIL, PASSWORD).await.is_ok());
    assert!(elsewhere.sent()[0].contains(PASSWORD));
}

/// Every call: the package trusts the certificates that are compiled into it and cannot be given others. Ours trusts the system's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "a client that trusts this server's certificate")]
async fn a_project_behind_its_own_certificate_is_out_of_reach() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let server = Scripted::start(200, NOTHING, settings(), Some(TlsAcceptor::from(Arc::new(tls)))).await;
    client();
    let trusting = Client::builder()
        .no_proxy()
        .tls_certs_only([Certificate::from_der(certificate.der()).unwrap()])
        .build()
        .unwrap();
    assert!(server.ours_with(trusting).settings().await.is_ok());
    let error = server.package().get_settings().await.unwrap_err();
    assert!(
        matches!(&error, Error::NetworkError(error) if error.is_connect()),
        "{error:?}"
    );
}

async fn two_sign_ins(ours: &AuthClient, email: &str) -> (TokenPair, TokenPair) {
    let one = ours.sign_in(email, &password()).await.unwrap();
    (one, ours.sign_in(email, &password()).await.unwrap())
}

/// The same against an Auth that is not of these tests' making: the project that the environment names, or the stand-in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_shows_the_same() {
    let served;
    let project = match SupabaseProject::named() {
        Some(project) => project,
        None => {
            served = ServedDatabase::fresh().await;
            served.project.clone()
        }
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "a real project keeps its people: each run needs others"
    )]
    let email = format!("duet-test-{}@example.org", Uuid::new_v4().simple());
    let (_, token) = project.sign_up(&email).await;
    let ours = ours(&project.url, &project.publishable_key, project.settings().client);
    let package = package(&project.url, &project.publishable_key);
    package.get_user(token.expose_secret()).await.unwrap();

    // Signing out of one device leaves the other signed in, signing out everywhere does not. With the package both do the same:
    // production ends every sign-in, the stand-in the one.
    let (mut by_ours, mut by_package) = (Vec::new(), Vec::new());
    for everywhere in [false, true] {
        let (one, other) = two_sign_ins(&ours, &email).await;
        ours.sign_out(&one.access_token, everywhere).await.unwrap();
        by_ours.push(ours.refresh(&other.refresh_token).await.is_ok());
        let (one, other) = two_sign_ins(&ours, &email).await;
        let scope = if everywhere { LogoutScope::Global } else { LogoutScope::Local };
        package.logout(Some(scope), one.access_token.expose_secret()).await.unwrap();
        by_package.push(ours.refresh(&other.refresh_token).await.is_ok());
    }
    assert_eq!(by_ours, [true, false]);
    assert_eq!(by_package[0], by_package[1]);

    // Everybody may write their own metadata. The package cannot read people whose name is not a string.
    let token = ours.sign_in(&email, &password()).await.unwrap().access_token;
    let described = project
        .settings()
        .client
        .put(format!("{}/auth/v1/user", project.url.as_str().trim_end_matches('/')))
        .header("apikey", &project.publishable_key)
        .header(AUTHORIZATION, format!("Bearer {}", token.expose_secret()))
        .json(&json!({"data": {"name": {"first": "Ana"}}}))
        .send()
        .await
        .unwrap();
    assert!(described.status().is_success(), "{described:?}");
    assert!(ours.user(&token).await.is_ok());
    assert!(package.get_user(token.expose_secret()).await.is_err());
    assert!(ours.sign_in(&email, &password()).await.is_ok());
    let error = package.login_with_email(&email, PASSWORD).await.unwrap_err().to_string();
    assert!(error.contains("access_token"), "{error}");
}
