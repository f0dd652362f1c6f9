//! `duet serve`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use clap::Args;
use duet_api::{auth::setup, command::listen};
use duet_core::{ids::UserId, run::Advice};
use secrecy::ExposeSecret;
use serde_json::json;

use super::{
    Global,
    exit::{Failure, Outcome},
    inside::{self, Inside, SignIn, stored},
    output::Output,
    settings::{self, Settings},
};
use crate::runtime::{self, Runtime, RuntimeFile};

/// How often the commands' sign-in is checked.
const LOOK: Duration = Duration::from_secs(3);
/// The same while there is no owner yet.
const FIRST_LOOK: Duration = Duration::from_millis(250);

/// Options of `duet serve`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    duet serve\n  \
    duet serve --bind 127.0.0.1:0              any free port\n  \
    duet serve --bind 0.0.0.0:7717             reachable from the network\n\n\
    The address, and for a fresh installation the link with the one-time setup token, go to the standard output; logs go to \
    the standard error. SIGTERM or Ctrl-C ends it in an orderly way: with exit code 0, all changes are in the data file; with 5, the newest are still \
    in its log (`-wal`).")]
pub struct ServeArgs {
    /// Address and port to listen on (default: 127.0.0.1:7717, this machine only)
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = listen::parse_address)]
    bind: Option<SocketAddr>,
    /// The URL at which browsers reach Duet, if it differs from the address (a reverse proxy, a host name)
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
}

pub async fn run(global: &Global, output: Output, args: ServeArgs) -> Outcome {
    // Listen for the signal before announcing where Duet is: anyone who has been told may send it.
    let stop = listen::stop_signal()?;
    let address = args.bind.map(|address| address.to_string());
    let flags: Vec<(&str, String)> = [("server.bind", address), ("server.public_url", args.public_url)]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
    let settings = settings::read(global, &flags)?;
    duet_api::observability::logging::install(&settings.config.log);
    if let Some(running) = runtime::find(&settings.data) {
        return Err(Failure::unavailable(format!(
            "Duet serves the data file {} already, at {} (process {}). Use that one, stop it, or name another file with --data.",
            settings.data.display(),
            running.url,
            running.pid
        )));
    }
    let listener = listen::bind("duet", settings.config.server.bind).await?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::failed(format!("The address in use cannot be told: {error}.")))?;
    let opened = open(&settings).await?;
    let inside = Inside::start(&settings, opened, Advice::Logged).await?;
    let url = listen::local_url(address);
    let shown = settings.config.server.public_url.clone().unwrap_or_else(|| url.clone());
    let shown = shown.trim_end_matches('/').to_owned();

    let setup_token = setup_token(&inside).await?;
    let keeper = Keeper::start(&settings.data, &inside, url, setup_token.clone()).await?;
    let web = duet_api::web::WebAssets::embedded();
    let told = Announced {
        url: &shown,
        setup_token: setup_token.as_deref(),
        web: web.is_some(),
    };
    announce(output, &settings, &inside, &told)?;
    let router = duet_api::router::router(inside.state.clone(), web.map(duet_api::web::WebAssets::router));
    duet_api::serve(listener, router, inside.state.clone(), stop).await;
    keeper.stop(&inside).await;
    let store = inside.store();
    inside.close().await;
    stored(store.close().await)
}

/// Opens the file; waits for a command that holds it briefly.
async fn open(settings: &Settings) -> Outcome<inside::Opened> {
    for _ in 0..40 {
        match inside::open(settings) {
            Err(inside::OpenFailure::InUse(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            other => return Ok(other?),
        }
    }
    Ok(inside::open(settings)?)
}

/// A fresh setup token while there is no owner.
async fn setup_token(inside: &Inside) -> Outcome<Option<String>> {
    if inside.has_owner() {
        return Ok(None);
    }
    let (token, hash) = setup::new_token(&inside.env);
    stored(inside.state.stores().accounts.put_setup_token(hash).await)?;
    Ok(Some(token))
}

/// What a started server says of itself.
struct Announced<'a> {
    url: &'a str,
    setup_token: Option<&'a str>,
    /// Whether this build has the web app.
    web: bool,
}

/// Announces where Duet is: data to standard output, the rest to standard error.
fn announce(output: Output, settings: &Settings, inside: &Inside, told: &Announced<'_>) -> Outcome {
    let Announced { url, setup_token, web } = *told;
    let setup_url = setup_token.filter(|_| web).map(|token| format!("{url}/setup#token={token}"));
    if output.json {
        output.value(&json!({"url": url, "setup_url": setup_url, "setup_token": setup_token, "pid": std::process::id()}))?;
    } else if web {
        output.line(&format!("Duet is at {url}"))?;
        if let Some(link) = &setup_url {
            output.line(&format!("Set it up: {link}"))?;
        }
    } else {
        output.line(&format!("Duet's API is at {url}/v1"))?;
        if let Some(token) = setup_token {
            output.line(&format!("Set it up with `duet init`, or over the API with the token {token}"))?;
        }
    }
    if !web {
        output.say("  This build has no web app. `cargo xtask run` builds and starts Duet with it.");
    }
    output.say(&format!("  data   {} (encrypted)", settings.data.display()));
    output.say(&format!("  key    {}", inside.key().notice));
    let model = inside.state.models().default_model();
    let note = match model.provider() {
        "offline" => " (no language model is configured: replies come from simple rules; set `models.default` for a real one)",
        _ => "",
    };
    output.say(&format!("  model  {model}{note}"));
    if !settings.config.server.bind.ip().is_loopback() {
        output.say("  Others on the network can reach this address. Put TLS in front of it, and set `server.public_url`.");
    }
    Ok(())
}

/// Keeps the runtime file current: a sign-in for the commands as soon as there is an owner, renewed before it expires and again
/// after "sign out everywhere".
struct Keeper {
    task: tokio::task::JoinHandle<()>,
    sign_in: Arc<tokio::sync::Mutex<Option<SignIn>>>,
    // Dropped last: removes the file.
    _file: Arc<RuntimeFile>,
}

impl Keeper {
    async fn start(data: &std::path::Path, inside: &Inside, url: String, setup_token: Option<String>) -> Outcome<Self> {
        let mut runtime = Runtime {
            url,
            pid: std::process::id(),
            session: None,
            setup_token,
        };
        let file = RuntimeFile::create(data, &runtime).map_err(|error| {
            Failure::unavailable(format!(
                "The runtime file for {} cannot be written: {error}. Check the folder's permissions and the disk's space.",
                data.display()
            ))
        })?;
        let file = Arc::new(file);
        let mut first = None;
        if let Some(user) = stored(inside.store().owner().await)? {
            // Before the announcement, so that commands get in at once.
            renew(&inside.state, user, &mut first, &file, &mut runtime).await;
        }
        let sign_in = Arc::new(tokio::sync::Mutex::new(first));
        let task = tokio::spawn({
            let (file, sign_in, state, store) = (Arc::clone(&file), Arc::clone(&sign_in), inside.state.clone(), inside.store());
            async move {
                loop {
                    let mut held = sign_in.lock().await;
                    let good = match held.as_ref() {
                        Some(sign_in) => sign_in.is_good(&state).await,
                        None => false,
                    };
                    if !good && let Ok(Some(user)) = store.owner().await {
                        renew(&state, user, &mut held, &file, &mut runtime).await;
                    }
                    let pause = if held.is_some() { LOOK } else { FIRST_LOOK };
                    drop(held);
                    tokio::time::sleep(pause).await;
                }
            }
        });
        Ok(Self {
            task,
            sign_in,
            _file: file,
        })
    }

    async fn stop(self, inside: &Inside) {
        self.task.abort();
        let _ = self.task.await;
        if let Some(sign_in) = self.sign_in.lock().await.as_ref() {
            sign_in.end(&inside.state).await;
        }
    }
}

/// Makes a new sign-in, hands it to the commands, and ends the previous one.
async fn renew(
    state: &duet_api::state::AppState,
    user: UserId,
    held: &mut Option<SignIn>,
    file: &RuntimeFile,
    runtime: &mut Runtime,
) {
    let fresh = match inside::sign_in(state, user).await {
        Ok(fresh) => fresh,
        Err(error) => return tracing::warn!(%error, "the commands could not be signed in; trying again"),
    };
    runtime.session = Some(fresh.secret.expose_secret().to_owned());
    runtime.setup_token = None;
    // Before anybody can read its secret: by this sign-in no request is decided.
    state.vouch_for(fresh.id());
    if let Err(error) = file.update(runtime) {
        tracing::warn!(%error, "the runtime file could not be written; trying again");
        fresh.end(state).await;
        if let Some(before) = held {
            state.vouch_for(before.id());
        }
        return;
    }
    if let Some(before) = held.replace(fresh) {
        before.end(state).await;
    }
}
