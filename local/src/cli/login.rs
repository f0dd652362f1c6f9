//! `duet login` and `duet logout`: sign-ins at servers elsewhere.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};

use axum::http::Method;
use clap::Args;
use duet_core::{Timestamp, domain::DeviceLogin};
use secrecy::ExposeSecret;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Global,
    client::{Client, Refused},
    exit::{Exit, Failure, Outcome},
    inside,
    output::{Output, local_time, printable},
    password, paths,
};
use crate::logins::{self, Login, Logins, LoginsError, Secret};

/// How long one question to the server may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest time that a server can make this command wait between two questions, and for all of them.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 60);
/// An access token that ends within this time is renewed first.
const SPARE: Duration = Duration::from_secs(60);

/// Options of `duet login`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    duet login https://duet.example.org             sign in there\n  \
    duet --server https://duet.example.org inbox    then work there\n  \
    duet login https://duet.example.org --default   work there from now on, wherever no server is named\n  \
    duet login --no-default                         work on this machine's file again\n\n\
    It prints an address and a code. Open the address in a browser where you are signed in, or sign in there, and confirm the code. \
    The sign-in stays in this machine's keyring, or in a file that only you can read, until `duet logout`. With it you can decide what \
    waits in the Inbox; keys and invitations are made in the browser. Where Supabase Auth signs people in, there is no code: the command \
    asks for email and password. --json writes the code and, once signed in, where and as whom, as a value each.")]
pub struct LoginArgs {
    /// Address of the server; https, except on this machine
    #[arg(required_unless_present_any = ["list", "no_default"])]
    url: Option<String>,
    /// What this machine is called where you confirm the code (default: its name)
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Let commands work there when they name no server
    #[arg(long)]
    default: bool,
    /// Let commands that name no server work on this machine's file again
    #[arg(long, conflicts_with_all = ["url", "list", "default"])]
    no_default: bool,
    /// List where you are signed in
    #[arg(long, conflicts_with_all = ["url", "default"])]
    list: bool,
}

/// Options of `duet logout`.
#[derive(Debug, Args)]
pub struct LogoutArgs {
    /// Address of the server (default: the only one)
    url: Option<String>,
}

#[derive(Deserialize)]
struct Codes {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: String,
    expires_in: u64,
    interval: u64,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

#[derive(Deserialize)]
struct Issued {
    access_token: String,
    refresh_token: String,
    expires_in: u32,
}

/// The server that the command line or the environment names; `local` names none.
pub fn named(global: &Global) -> Outcome<Option<String>> {
    match global.server.as_deref() {
        None | Some("" | "local") => Ok(None),
        Some(_) if global.data.is_some() => Err(Failure::usage(
            "Name a server or a data file, not both. `--server local` takes back what DUET_SERVER says.",
        )),
        Some(url) => logins::origin(url).map(Some).map_err(Failure::usage),
    }
}

/// The server that this command works at; `None` for the file of this machine.
pub fn chosen(global: &Global) -> Outcome<Option<String>> {
    let unsaid = global.server.as_deref().is_none_or(str::is_empty) && global.data.is_none();
    if !unsaid {
        return named(global);
    }
    match somewhere(global) {
        true => Ok(open(global)?.default().map(str::to_owned)),
        false => Ok(None),
    }
}

/// Whether this person may be signed in somewhere.
pub fn somewhere(global: &Global) -> bool {
    folder(global).is_ok_and(|folder| Logins::any(&folder))
}

fn folder(global: &Global) -> Outcome<PathBuf> {
    paths::config_folder(global.config.as_deref())
        .ok_or_else(|| Failure::usage("There is no home folder to keep sign-ins in. Set HOME."))
}

fn open(global: &Global) -> Outcome<Logins> {
    Ok(Logins::open(&folder(global)?)?)
}

impl From<LoginsError> for Failure {
    fn from(error: LoginsError) -> Self {
        match error {
            LoginsError::File(..) => Self::failed(error.to_string()),
            LoginsError::Exposed(_) => Self::refused(error.to_string()),
            LoginsError::Keyring(_) => Self::unavailable(error.to_string()),
        }
    }
}

fn over(url: &str) -> Failure {
    Failure::refused(format!("You are not signed in at {url}. Run `duet login {url}`."))
}

fn token_of(secret: &Secret) -> &str {
    match secret {
        Secret::Device { token } => token,
        Secret::Issued { access_token, .. } => access_token,
    }
}

/// The API of a server elsewhere, signed in there.
pub async fn signed_in(global: &Global, url: &str) -> Outcome<Client> {
    let mut logins = open(global)?;
    let (login, secret) = logins.get(url)?.ok_or_else(|| over(url))?;
    // Other commands wait meanwhile: a refresh token works once.
    let secret = match &secret {
        Secret::Issued {
            refresh_token, until, ..
        } if now().plus(SPARE) >= *until => {
            let nobody = Client::elsewhere(inside::http()?, url, None);
            let body = json!({"refresh_token": refresh_token});
            let fresh = match ask::<Issued>(&nobody, Method::POST, "/v1/auth/refresh", Some(&body)).await? {
                Ok(fresh) => issued(fresh),
                Err(refused) if refused.code == "not_signed_in" => return Err(over(url)),
                Err(refused) => return Err(refused.failure),
            };
            logins.put(url, login, &fresh)?;
            fresh
        }
        _ => secret,
    };
    drop(logins);
    let client = Client::elsewhere(inside::http()?, url, Some(token_of(&secret)));
    match ask::<Value>(&client, Method::GET, "/v1/auth/session", None).await? {
        Ok(_) => Ok(client),
        Err(refused) if refused.code == "not_signed_in" => Err(over(url)),
        Err(refused) => Err(refused.failure),
    }
}

fn issued(tokens: Issued) -> Secret {
    Secret::Issued {
        until: now().plus(Duration::from_secs(tokens.expires_in.into())),
        access_token: tokens.access_token,
        refresh_token: tokens.refresh_token,
    }
}

fn now() -> Timestamp {
    duet_api::machine::system().now()
}

/// One question, which is given up after a while.
async fn ask<T: DeserializeOwned>(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Outcome<Result<T, Refused>> {
    let asked = async { client.send(method, path, body, &[]).await?.tried().await };
    timeout(PATIENCE, asked)
        .await
        .unwrap_or_else(|_| Err(Failure::unavailable("The server does not answer. Try again later.")))
}

pub async fn run(global: &Global, output: Output, args: LoginArgs) -> Outcome {
    let Some(url) = &args.url else {
        if args.no_default {
            open(global)?.set_default(None)?;
            output.say("Commands that name no server work on this machine's file.");
            return Ok(());
        }
        return list(global, output);
    };
    let url = logins::origin(url).map_err(Failure::usage)?;
    // A sign-in that could not be kept is not asked for.
    open(global)?;
    let there = match signed_in(global, &url).await {
        Ok(_) => {
            output.say(&format!("You are signed in at {url} already. `duet logout {url}` ends that."));
            true
        }
        Err(Failure::Say(Exit::Refused, _)) => false,
        Err(failure) => return Err(failure),
    };
    if !there {
        let nobody = Client::elsewhere(inside::http()?, &url, None);
        let config: Value = ask(&nobody, Method::GET, "/v1/config", None)
            .await?
            .map_err(|refused| refused.failure)?;
        let secret = match config["auth"]["mode"].as_str() {
            Some("supabase") => by_password(&nobody, output, &url).await?,
            Some(_) => by_code(&nobody, output, args.name.as_deref()).await?,
            None => {
                return Err(Failure::failed(format!(
                    "What answers at {url} is no Duet. Check the address."
                )));
            }
        };
        keep(global, output, &url, &secret).await?;
    }
    if args.default {
        open(global)?.set_default(Some(&url))?;
        output.say("Commands that name no server work there from now on. `duet login --no-default` takes that back.");
    }
    Ok(())
}

/// Stores a fresh sign-in; one that cannot be stored is ended.
async fn keep(global: &Global, output: Output, url: &str, secret: &Secret) -> Outcome {
    let client = Client::elsewhere(inside::http()?, url, Some(token_of(secret)));
    let attempt = async {
        let session: Value = client.get("/v1/auth/session").await?;
        let login = Login {
            email: session["user"]["email"].as_str().unwrap_or_default().to_owned(),
            since: now(),
            until: match secret {
                Secret::Device { .. } => serde_json::from_value(session["session"]["expires_at"].clone()).ok(),
                Secret::Issued { .. } => None,
            },
        };
        let place = open(global)?.put(url, login.clone(), secret)?;
        Ok((login, place))
    };
    let (login, place) = match attempt.await {
        Ok(kept) => kept,
        Err(failure) => {
            let _ = client.sign_out().await;
            return Err(failure);
        }
    };
    if output.json {
        return output.value(&json!({"server": url, "email": login.email, "until": login.until}));
    }
    let until = login
        .until
        .map(|until| format!(" until {}", local_time(until)))
        .unwrap_or_default();
    output.say(&format!(
        "Signed in at {url} as {}{until}. The sign-in is {place}.",
        printable(&login.email)
    ));
    output.say(&format!("Work there with `--server {url}`."));
    Ok(())
}

/// What this machine is called: only what the server takes in a name.
fn name_of_machine() -> String {
    let known = std::env::var("HOSTNAME")
        .ok()
        .or_else(|| std::fs::read_to_string("/etc/hostname").ok());
    let name: String = known
        .unwrap_or_default()
        .trim()
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || "-._".contains(*letter))
        .take(DeviceLogin::MAX_CLIENT - "duet on ".len())
        .collect();
    match name.as_str() {
        "" => "duet".into(),
        name => format!("duet on {name}"),
    }
}

/// Shows a code and waits until somebody confirms it.
async fn by_code(nobody: &Client, output: Output, name: Option<&str>) -> Outcome<Secret> {
    let client = name.map_or_else(name_of_machine, |name| name.trim().to_owned());
    let codes: Codes = ask(nobody, Method::POST, "/v1/device", Some(&json!({"client": client})))
        .await?
        .map_err(|refused| refused.failure)?;
    if output.json {
        output.value(&json!({
            "verification_uri": codes.verification_uri,
            "verification_uri_complete": codes.verification_uri_complete,
            "user_code": codes.user_code,
            "expires_in": codes.expires_in,
        }))?;
    } else {
        output.line(&format!("Open     {}", printable(&codes.verification_uri)))?;
        output.line(&format!("Code     {}", output.strong(&printable(&codes.user_code))))?;
        output.aside(&format!("or open  {}", printable(&codes.verification_uri_complete)));
        output.aside("Waiting until you confirm it there. Ctrl-C gives up.");
    }
    tokio::select! {
        confirmed = confirmed(nobody, &codes) => Ok(Secret::Device { token: confirmed? }),
        _ = tokio::signal::ctrl_c() => {
            output.say("Given up. You are not signed in; the code ends by itself.");
            Err(Failure::Silent(Exit::Interrupted))
        }
    }
}

/// Asks until the code is confirmed, refused, or over.
async fn confirmed(nobody: &Client, codes: &Codes) -> Outcome<String> {
    let question = json!({"device_code": codes.device_code});
    let mut interval = Duration::from_secs(codes.interval.max(1)).min(LONGEST_INTERVAL);
    let end = Instant::now() + Duration::from_secs(codes.expires_in).min(LONGEST_WAIT);
    loop {
        sleep(interval).await;
        match ask::<Token>(nobody, Method::POST, "/v1/device/token", Some(&question)).await {
            Ok(Ok(token)) => return Ok(token.access_token),
            Ok(Err(refused)) if refused.code == "authorization_pending" => {}
            // Slower also where the server or the network has trouble, as RFC 8628 asks.
            Ok(Err(refused)) if refused.code == "slow_down" => interval = slower(interval),
            Ok(Err(Refused {
                failure: Failure::Say(Exit::Unavailable, _),
                ..
            }))
            | Err(Failure::Say(Exit::Unavailable, _)) => interval = slower(interval),
            Ok(Err(refused)) => return Err(refused.failure),
            Err(failure) => return Err(failure),
        }
        let now = Instant::now();
        if now >= end {
            return Err(Failure::refused("Nobody confirmed the code in time. Run `duet login` again."));
        }
    }
}

fn slower(interval: Duration) -> Duration {
    (interval + DeviceLogin::INTERVAL).min(LONGEST_INTERVAL)
}

/// Signs in with email and password, where a code is not possible.
async fn by_password(nobody: &Client, output: Output, url: &str) -> Outcome<Secret> {
    output.say(&format!(
        "Supabase Auth signs people in at {url}, and signs in no device by a code: sign in with your email and password."
    ));
    if !io::stdin().is_terminal() {
        return Err(Failure::refused(
            "This takes an email address and a password, typed at a terminal; the standard input is none. Run the command yourself.",
        ));
    }
    let _ = write!(io::stderr(), "Email: ");
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::failed(format!("The address cannot be read from the terminal: {error}.")))?;
    let email = line.trim();
    let password = password::ask(email)?;
    let body = json!({"email": email, "password": password.expose_secret()});
    let mut answer: Value = ask(nobody, Method::POST, "/v1/auth/sign-in", Some(&body))
        .await?
        .map_err(|refused| refused.failure)?;
    let tokens: Issued = serde_json::from_value(answer["tokens"].take())
        .map_err(|_| Failure::failed("The server gave no tokens. Is it another version of Duet?"))?;
    Ok(issued(tokens))
}

fn list(global: &Global, output: Output) -> Outcome {
    let logins = open(global)?;
    let standard = |url: &str| logins.default() == Some(url);
    if output.json {
        let all: Vec<Value> = logins
            .list()
            .map(|(url, login)| json!({"server": url, "email": login.email, "since": login.since, "until": login.until, "default": standard(url)}))
            .collect();
        return output.value(&all);
    }
    let rows: Vec<_> = logins
        .list()
        .map(|(url, login)| {
            [
                url.to_owned(),
                printable(&login.email),
                local_time(login.since),
                login.until.map(local_time).unwrap_or_default(),
                if standard(url) { "yes".into() } else { String::new() },
            ]
        })
        .collect();
    let heading = ["SERVER", "ACCOUNT", "SINCE", "UNTIL", "DEFAULT"];
    output.table(heading, &rows, "You are signed in nowhere. `duet login URL` signs you in.")
}

/// Ends a sign-in there and forgets it here.
pub async fn log_out(global: &Global, output: Output, args: LogoutArgs) -> Outcome {
    let logins = open(global)?;
    let url = match args.url.as_deref().or(global.server.as_deref()) {
        Some(url) => logins::origin(url).map_err(Failure::usage)?,
        None => {
            let known: Vec<&str> = logins.list().map(|(url, _)| url).collect();
            match known[..] {
                [only] => only.to_owned(),
                [] => return Err(Failure::not_found("You are signed in nowhere.")),
                _ => {
                    return Err(Failure::usage(format!(
                        "You are signed in at several servers. Name one: {}.",
                        known.join(", ")
                    )));
                }
            }
        }
    };
    if !logins.list().any(|(known, _)| known == url) {
        return Err(Failure::not_found(format!("You are not signed in at {url}.")));
    }
    drop(logins);
    let ended = match signed_in(global, &url).await {
        Ok(client) => matches!(timeout(PATIENCE, client.sign_out()).await, Ok(Ok(()))),
        // It had ended there already.
        Err(Failure::Say(Exit::Refused, _)) => true,
        Err(_) => false,
    };
    open(global)?.remove(&url)?;
    match ended {
        true => output.say(&format!("Signed out of {url}.")),
        false => output.say(&format!(
            "The sign-in at {url} is forgotten here, but could not be ended there. It ends by itself, or with \u{201c}sign out everywhere\u{201d} in the browser."
        )),
    }
    Ok(())
}
