//! `duet-api serve`.

use std::net::SocketAddr;

use clap::Args;
use serde_json::json;

use super::{
    Global,
    deployment::{Deployment, Hints},
    settings,
};
use crate::{
    command::{
        exit::{Failure, Outcome},
        listen,
        output::Output,
    },
    state::AppState,
    web::WebAssets,
};

/// Options of `duet-api serve`.
#[derive(Debug, Args)]
#[command(
    after_help = "The HTTP API is served, and the web app when the program was built with it (`web/dist`). The address goes to the standard output; logs go to the \
    standard error. Several of these processes may serve the same database. SIGTERM or Ctrl-C ends it in an orderly way with exit code 0."
)]
pub struct ServeArgs {
    /// Address and port to listen on (default: 127.0.0.1:7717, this machine only)
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = listen::parse_address)]
    bind: Option<SocketAddr>,
    /// The URL at which browsers reach Duet, if it differs from the address (a reverse proxy, a host name)
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
    let deployment = Deployment::open(config, Hints::Listening).await?;
    let state = deployment.state.clone();
    let listener = listen::bind("duet-api", state.config().server.bind).await?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::failed(format!("The address in use cannot be told: {error}.")))?;
    let web = WebAssets::embedded();
    announce(
        output,
        &state,
        &listen::local_url(address),
        &deployment.database,
        web.is_some(),
    )
    .await?;
    let web = web.map(|web| web.connecting_to(&origins(&state)).router());
    let router = crate::router::router(state.clone(), web);
    crate::serve(listener, router, state, stop).await;
    deployment.close().await;
    Ok(())
}

/// Where a browser connects besides this server: the project that signs people in, and its Realtime.
fn origins(state: &AppState) -> Vec<String> {
    let Some(issuer) = state.issuer() else {
        return Vec::new();
    };
    let Ok(url) = issuer.info().url.parse::<reqwest::Url>() else {
        return Vec::new();
    };
    let origin = url.origin().ascii_serialization();
    vec![origin.replacen("http", "ws", 1), origin]
}

/// Announces where Duet is: data to standard output, the rest to standard error.
async fn announce(output: Output, state: &AppState, bound: &str, database: &str, web: bool) -> Outcome {
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
        let place = if web {
            format!("Duet is at {url}")
        } else {
            format!("Duet's API is at {url}/v1")
        };
        output.line(&place)?;
    }
    if !web {
        output.say("  This build has no web app. Run `npm ci && npm run build` in `web/`, then build `duet-api` again.");
    }
    output.say(&format!("  data   Postgres at {database}"));
    output.say(&format!("  model  {}", state.models().default_model()));
    if open {
        let place = if web { "in a browser" } else { "over the API" };
        output.say(&format!(
            "  This Duet has no owner yet: set it up {place} with the setup token that `duet-api migrate` printed."
        ));
    }
    if !config.server.bind.ip().is_loopback() {
        output.say("  Others on the network can reach this address. Put TLS in front of it, and set `server.public_url`.");
    }
    Ok(())
}
