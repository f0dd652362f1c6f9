//! What every process on Postgres is assembled from: the stores of the configured database, the models, the embedder. `duet-api
//! serve` and the functions differ only in what drives runs and in whether they listen for live hints.

use std::{sync::Arc, time::Duration};

use duet_core::{run::Advice, tools::ToolRegistry};
use duet_supabase::{
    check,
    rpc::{WireRpc, WireSettings},
    store::PostgresStore,
};

use reqwest::Client;

use super::{
    database,
    project::{self, People},
};
use crate::{
    auth::issuer::Issuer,
    command::exit::{Exit, Failure, Outcome},
    config::Config,
    machine,
    state::{AppParts, AppState, Mode},
};

/// Longest wait for a free connection.
const ACQUIRE: Duration = Duration::from_secs(10);

/// How a process learns what other processes append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hints {
    /// By notifications, over a direct connection of its own.
    Listening,
    /// Not at all: whoever follows a log checks it at intervals.
    Polling,
}

/// A process's state and its connections.
pub struct Deployment {
    /// What every handler and the driver can reach.
    pub state: AppState,
    /// Host, port and name of the database.
    pub database: String,
    store: PostgresStore,
    rpc: Arc<WireRpc>,
}

impl Deployment {
    /// Checks that the database fits this program, and connects to it as the settings say.
    pub async fn open(config: Config, hints: Hints) -> Outcome<Self> {
        let databases = database::of_settings(&config.database)?;
        let master = database::master_key(&config.database)?;
        check::before_serving(&databases.ordinary).await.map_err(database::refusing)?;

        let env = machine::system();
        let rpc = Arc::new(WireRpc::new(
            WireSettings {
                connect: databases.ordinary.options(),
                connections: config.database.connections,
                statement_timeout: config.database.statement_timeout(),
                acquire_timeout: ACQUIRE,
            },
            env.clone(),
        ));
        let http = http()?;
        let People { rpc: people, issuer } = project::people(&config, rpc.clone(), http.clone(), &env)?;
        let mut store = PostgresStore::new(people, rpc.clone(), env.clone());
        if hints == Hints::Listening {
            // A function starts because of a request that would show the same, and has no time for it.
            project::before_serving(&config, &databases.ordinary, &http).await?;
            store = store.listening(databases.direct.options());
        }
        if let Some(master) = master {
            store = store.sealing_with(master);
        }
        Ok(Self {
            state: state(config, &store, issuer, http, env).await?,
            database: databases.ordinary.name().to_owned(),
            store,
            rpc,
        })
    }

    /// Ends the live hints and closes the connections.
    pub async fn close(self) {
        drop((self.state, self.store));
        self.rpc.close().await;
    }
}

/// The process's one HTTP client.
pub(super) fn http() -> Outcome<Client> {
    crate::http::client().map_err(|error| Failure::failed(sentence(&error)))
}

fn sentence(error: &anyhow::Error) -> String {
    format!("{}.", format!("{error:#}").trim_end_matches('.'))
}

async fn state(
    config: Config,
    store: &PostgresStore,
    issuer: Option<Arc<dyn Issuer>>,
    http: Client,
    env: duet_core::Env,
) -> Outcome<AppState> {
    let models =
        crate::models::Models::from_config(&config.models, http.clone()).map_err(|error| Failure::usage(sentence(&error)))?;
    let embedder = crate::embedders::from_config(&config.embedder, http).map_err(|error| Failure::usage(sentence(&error)))?;
    let signing_key = store
        .signing_key()
        .await
        .map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
    store
        .set_turn_limits(&(&config.turn).into())
        .await
        .map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
    let parts = AppParts {
        mode: Mode::Server,
        config,
        env,
        stores: store.stores(),
        models: Arc::new(models),
        embedder: Some(embedder),
        tools: Arc::new(ToolRegistry::companion()),
        advice: Advice::Logged,
        signing_key,
    };
    Ok(match issuer {
        Some(issuer) => AppState::with_issuer(parts, issuer),
        None => AppState::new(parts),
    })
}
