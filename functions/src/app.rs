//! What an instance of a function keeps between events: created when the first event needs it, and retried by the next event if that
//! fails.

use std::sync::Arc;

use axum::Router;
use duet_api::{
    command::exit::Failure,
    config::Config,
    server::deployment::{Deployment, Hints},
    state::{AppState, Dispatch},
};
use tokio::sync::OnceCell;

use crate::invoke::WorkerFunction;

/// The function that an instance belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Answers requests.
    Api,
    /// Streams events, also those of the turns that AG-UI clients start.
    Stream,
    /// Drives runs.
    Worker,
}

/// An instance of a function.
pub struct App {
    config: Config,
    /// Its function.
    pub role: Role,
    ready: OnceCell<Ready>,
}

/// An instance with its connections.
pub struct Ready {
    /// What handlers and the driver can reach.
    pub state: AppState,
    /// The HTTP interface.
    pub router: Router,
    /// Invokes the worker for queued runs.
    pub worker: Arc<WorkerFunction>,
    /// Keeps the connections open.
    _deployment: Deployment,
}

impl App {
    /// With these settings; not connected yet.
    pub fn new(config: Config, role: Role) -> Self {
        Self {
            config,
            role,
            ready: OnceCell::new(),
        }
    }

    /// The instance, connected. The reason for a failure is for the log: it names the database.
    pub async fn ready(&self) -> Result<&Ready, Failure> {
        self.ready.get_or_try_init(|| self.open()).await
    }

    async fn open(&self) -> Result<Ready, Failure> {
        let worker = Arc::new(WorkerFunction::from_environment()?);
        let deployment = Deployment::open(self.config.clone(), Hints::Polling).await?;
        let state = deployment.state.clone();
        state.leave_runs_to(Arc::clone(&worker) as Arc<dyn Dispatch>);
        Ok(Ready {
            router: duet_api::router::router(state.clone(), None),
            state,
            worker,
            _deployment: deployment,
        })
    }
}
