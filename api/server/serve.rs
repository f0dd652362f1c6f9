//! `duet-api serve`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use clap::Args;
use duet_core::{policy::Policy, tools::ToolRegistry};
use duet_supabase::{
    check,
    rpc::{SqlxRpc, SqlxSettings},
    store::PostgresStore,
};
use serde_json::json;

use super::{Global, database, settings};
use crate::{
    command::{
        exit::{Exit, Failure, Outcome},
        listen,
        output::Output,
    },
    config::Config,
    machine,
    state::{AppParts, AppState},
};

/// Longest wait for a free connection.
const ACQUIRE: Duration = Duration::from_secs(10);

/// Options of `duet-api serve`.
#[derive(Debug, Args)]
#[command(
    after_help = "The HTTP API is served, without the web app: that is part of `duet`. The address goes to the standard output; logs go to the \
    standard error. Several of these processes may serve the same database. SIGTERM or Ctrl-C ends it in an orderly way with exit code 0."
)]
pub struct ServeArgs {
    /// Address and port to listen on (default: 127.0.0.1:7717, this machine only)
    #[arg(long, value_name = "ADDRESS:PORT")]
    bind: Option<SocketAddr>,
    /// The URL under which browsers reach Duet, when it is another one (a reverse proxy, a host name)
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
}

pub async fn run(global: &Global, output: Output, args: ServeArgs) -> Outcome {
    let stop = listen::stop_signal()?;
    let address = args.bind.map(|address| address.to_string());
    let flags = [("server.bind", address), ("server.public_url", args.public_url)]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect();
    let config = settings(global, flags)?;
    crate::observability::logging::install(&config.log);
    let databases = database::of_settings(&config.database)?;
    let master = database::master_key(&config.database)?;
    check::before_serving(&databases.ordinary).await.map_err(database::refusing)?;

    let env = machine::system();
    let rpc = SqlxRpc::new(
        SqlxSettings {
            connect: databases.ordinary.options(),
            connections: config.database.connections,
            statement_timeout: config.database.statement_timeout(),
            acquire_timeout: ACQUIRE,
        },
        env.clone(),
    );
    let rpc = Arc::new(rpc);
    let mut store = PostgresStore::new(rpc.clone(), rpc.clone(), env.clone()).listening(databases.direct.options());
    if let Some(master) = master {
        store = store.sealing_with(master);
    }
    let state = state(config, &store, env).await?;
    let listener = listen::bind("duet-api", state.config().server.bind).await?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::failed(format!("The address in use cannot be told: {error}.")))?;
    announce(output, &state, &listen::local_url(address), databases.ordinary.name()).await?;
    let router = crate::router::router(state.clone(), None);
    let served = crate::serve(listener, router, state, stop).await;
    drop(store);
    rpc.close().await;
    served.map_err(|error| Failure::failed(format!("The server ended: {error}.")))
}

async fn state(config: Config, store: &PostgresStore, env: duet_core::Env) -> Outcome<AppState> {
    let sentence = |error: &anyhow::Error| format!("{}.", format!("{error:#}").trim_end_matches('.'));
    let http = crate::http::client().map_err(|error| Failure::failed(sentence(&error)))?;
    let models =
        crate::models::Models::from_config(&config.models, http.clone()).map_err(|error| Failure::usage(sentence(&error)))?;
    let embedder = crate::embedders::from_config(&config.embedder, http).map_err(|error| Failure::usage(sentence(&error)))?;
    let signing_key = store
        .signing_key()
        .await
        .map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
    Ok(AppState::new(AppParts {
        config,
        env,
        stores: store.stores(),
        models: Arc::new(models),
        embedder: Some(embedder),
        tools: Arc::new(ToolRegistry::companion()),
        policy: Arc::new(Policy::starter()),
        signing_key,
    }))
}

/// Tells where Duet is: data to the standard output, the rest beside it.
async fn announce(output: Output, state: &AppState, bound: &str, database: &str) -> Outcome {
    let config = state.config();
    let url = config.server.public_url.as_deref().unwrap_or(bound).trim_end_matches('/');
    let open = state
        .stores()
        .accounts
        .needs_owner()
        .await
        .map_err(|error| Failure::unavailable(error.to_string()))?;
    if output.json {
        output.value(&json!({"url": url, "needs_owner": open, "pid": std::process::id()}))?;
    } else {
        output.line(&format!("Duet's API is at {url}"))?;
    }
    output.say(&format!("  data   Postgres at {database}"));
    output.say(&format!("  model  {}", state.models().default_model()));
    if open {
        output.say("  This Duet has no owner yet: `POST /v1/setup` takes the token that `duet-api migrate` printed.");
    }
    if !config.server.bind.ip().is_loopback() {
        output.say("  Others on the network can reach this address. Put TLS in front of it, and set `server.public_url`.");
    }
    Ok(())
}
