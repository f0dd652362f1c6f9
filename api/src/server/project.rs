//! The configured Supabase project: who signs people in, and how they reach the data.

use std::sync::Arc;

use duet_core::Env;
use duet_supabase::{
    auth::{AuthSettings, SignIns},
    check,
    connect::Database,
    rpc::{PostgrestRpc, PostgrestSettings, Rpc},
};

use reqwest::Client;

use super::{database, issuer::SupabaseIssuer};
use crate::{
    auth::issuer::Issuer,
    command::exit::{Failure, Outcome},
    config::{Backend, Config, SupabaseConfig},
};

/// How people reach the data, and who signs them in if that is not Duet itself.
pub struct People {
    /// The transport of their calls.
    pub rpc: Arc<dyn Rpc>,
    /// Who signs them in.
    pub issuer: Option<Arc<dyn Issuer>>,
}

/// Whether the configured project, if there is one, is fit to serve from; a failure says what to fix.
pub async fn before_serving(config: &Config, database: &Database, http: &Client) -> Outcome {
    if config.database.backend == Backend::Postgres {
        return Ok(());
    }
    check::project::before_serving(&settings(&config.supabase, http.clone())?, database)
        .await
        .map_err(database::refusing)
}

/// As configured: on a plain Postgres by the server's own transport, on Supabase with people's own tokens.
pub fn people(config: &Config, server: Arc<dyn Rpc>, http: Client, env: &Env) -> Outcome<People> {
    if config.database.backend == Backend::Postgres {
        return Ok(People {
            rpc: server,
            issuer: None,
        });
    }
    let settings = settings(&config.supabase, http)?;
    let rpc = PostgrestRpc::new(
        PostgrestSettings {
            url: settings.url.clone(),
            publishable_key: settings.publishable_key.clone(),
            timeout: settings.timeout,
            client: settings.client.clone(),
        },
        env.clone(),
    );
    let rpc: Arc<dyn Rpc> = Arc::new(rpc.map_err(|error| Failure::usage(error.to_string()))?);
    let sign_ins = SignIns::new(Arc::clone(&rpc), server, env.clone());
    let issuer = SupabaseIssuer::new(settings, sign_ins, env.clone());
    Ok(People {
        rpc,
        issuer: Some(Arc::new(issuer)),
    })
}

/// The settings of the project, which were checked when they were loaded.
pub fn settings(config: &SupabaseConfig, client: Client) -> Outcome<AuthSettings> {
    let missing = || Failure::usage("`supabase.url` and `supabase.publishable_key` have to be set.");
    let url = config.url.as_deref().ok_or_else(missing)?;
    Ok(AuthSettings {
        url: crate::http::base_url(url).map_err(|reason| Failure::usage(format!("`supabase.url`: {reason}.")))?,
        issuer: config.issuer.clone(),
        publishable_key: config.publishable_key.clone().ok_or_else(missing)?,
        timeout: config.timeout(),
        client,
    })
}
