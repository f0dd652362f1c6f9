//! Duet inside this process: the open file, the API's router over it, and a sign-in of its owner for the commands.

use std::{sync::Arc, time::Duration};

use axum::Router;
use duet_api::{
    auth::secret,
    hosting::Tasks,
    state::{AppParts, AppState, Mode},
};
use duet_core::{
    Env, StoreError,
    domain::Session,
    ids::{SessionId, UserId},
    ports::{Embedder, ModelDirectory},
    run::Advice,
    tools::ToolRegistry,
};
use duet_sqlite::{LocalStore, OpenError, OpenOptions};
use secrecy::{ExposeSecret, SecretString};

use super::{
    client::Client,
    exit::{Exit, Failure, Outcome},
    settings::Settings,
};
use crate::key_source::{self, Located};

/// A command's sign-in lasts at most this long, in case the command is killed before it signs out.
const SIGN_IN: Duration = Duration::from_secs(24 * 3600);
/// How long a reply in progress may continue once the command ends.
const GRACE: Duration = Duration::from_secs(3);

/// The open data file with the key that opened it.
pub struct Opened {
    /// The file.
    pub store: Arc<LocalStore>,
    /// Its key, and where the key was found.
    pub key: Located,
}

/// Why the data file was not opened.
pub enum OpenFailure {
    /// Another process has it.
    InUse(String),
    /// It can only be read.
    ReadOnly(Failure),
    /// Anything else.
    Other(Failure),
}

impl From<OpenFailure> for Failure {
    fn from(failure: OpenFailure) -> Self {
        match failure {
            OpenFailure::InUse(message) => Self::unavailable(message),
            OpenFailure::ReadOnly(failure) | OpenFailure::Other(failure) => failure,
        }
    }
}

/// Finds the key and opens the data file; creates both if they do not exist.
pub fn open(settings: &Settings) -> Result<Opened, OpenFailure> {
    let (options, key) = options(settings)?;
    let store = LocalStore::open(options)?;
    Ok(Opened {
        store: Arc::new(store),
        key,
    })
}

/// Opens a data file that [`open`] refused as read-only.
pub fn open_to_read(settings: &Settings) -> Result<Opened, OpenFailure> {
    let (options, key) = options(settings)?;
    let store = LocalStore::open_to_read(options)?;
    Ok(Opened {
        store: Arc::new(store),
        key,
    })
}

/// The options to open with, including the key. A key is made if there is no data file, unless the file's log exists.
pub fn options(settings: &Settings) -> Result<(OpenOptions, Located), OpenFailure> {
    LocalStore::check_place(&settings.data)?;
    let env = duet_api::machine::system();
    let key = key_source::locate(
        settings.config.data.key.as_deref(),
        &settings.data,
        settings.config_folder.as_deref(),
        &env,
    )
    .map_err(|error| OpenFailure::Other(Failure::refused(error.to_string())))?;
    let options = OpenOptions {
        path: settings.data.clone(),
        key: key.key.clone(),
        env,
        vector_cache_bytes: settings.config.data.vector_cache_bytes(),
    };
    Ok((options, key))
}

impl From<OpenError> for OpenFailure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::InUse { .. } => Self::InUse(error.to_string()),
            OpenError::ReadOnly { .. } => Self::ReadOnly(Failure::unavailable(error.to_string())),
            error => Self::Other(Failure::new(exit_of(&error), error.to_string())),
        }
    }
}

/// The exit code for a refusal to open.
fn exit_of(error: &OpenError) -> Exit {
    match error {
        OpenError::WrongKey(_) => Exit::Refused,
        OpenError::InUse { .. }
        | OpenError::NotWritable { .. }
        | OpenError::ReadOnly { .. }
        | OpenError::Behind { .. }
        | OpenError::OlderSchema { .. }
        | OpenError::DiskFull(_)
        | OpenError::Disk(_)
        | OpenError::Moved(_) => Exit::Unavailable,
        _ => Exit::Failed,
    }
}

/// The models of the settings.
pub fn models(settings: &Settings, http: &reqwest::Client) -> Outcome<Arc<dyn ModelDirectory>> {
    let models = duet_api::models::Models::from_config(&settings.config.models, http.clone())
        .map_err(|error| Failure::usage(sentence(&error)))?;
    Ok(Arc::new(models))
}

/// The embedder of the settings.
pub fn embedder(settings: &Settings, http: &reqwest::Client) -> Outcome<Arc<dyn Embedder>> {
    duet_api::embedders::from_config(&settings.config.embedder, http.clone()).map_err(|error| Failure::usage(sentence(&error)))
}

/// The HTTP client for all outgoing requests.
pub fn http() -> Outcome<reqwest::Client> {
    duet_api::http::client().map_err(|error| Failure::failed(sentence(&error)))
}

fn sentence(error: &anyhow::Error) -> String {
    format!("{}.", format!("{error:#}").trim_end_matches('.'))
}

/// Turns a store's refusal into a command's failure.
pub fn stored<T>(result: Result<T, StoreError>) -> Outcome<T> {
    result.map_err(|error| {
        let exit = match error {
            StoreError::NotFound(_) => Exit::NotFound,
            StoreError::Denied(..) => Exit::Refused,
            StoreError::Invalid(_) => Exit::Usage,
            StoreError::Unavailable(_) => Exit::Unavailable,
            StoreError::Conflict(_) | StoreError::Stale(_) => Exit::Failed,
        };
        Failure::new(exit, error.to_string())
    })
}

/// Duet inside this process.
pub struct Inside {
    /// The state that handlers share.
    pub state: AppState,
    /// The environment of this process.
    pub env: Env,
    opened: Opened,
    sign_in: Option<SignIn>,
    tasks: Option<Tasks>,
}

/// The owner's sign-in, made because this process holds the file's key.
pub struct SignIn {
    user: UserId,
    session: Session,
    /// The secret that proves it.
    pub secret: SecretString,
}

impl Inside {
    /// Assembles Duet over an open file and signs in its owner, if there is one.
    pub async fn start(settings: &Settings, opened: Opened, advice: Advice) -> Outcome<Self> {
        let env = duet_api::machine::system();
        let http = http()?;
        let state = AppState::new(AppParts {
            mode: Mode::Local,
            config: settings.config.clone(),
            env: env.clone(),
            stores: opened.store.stores(),
            models: models(settings, &http)?,
            embedder: Some(embedder(settings, &http)?),
            tools: Arc::new(ToolRegistry::companion()),
            advice,
            signing_key: opened.store.derived_key("access tokens"),
        });
        let mut inside = Self {
            state,
            env,
            opened,
            sign_in: None,
            tasks: None,
        };
        inside.sign_in = inside.sign_in().await?;
        if let Some(sign_in) = &inside.sign_in {
            inside.state.vouch_for(sign_in.id());
        }
        Ok(inside)
    }

    /// Where the file's key was found.
    pub fn key(&self) -> &Located {
        &self.opened.key
    }

    /// The open file.
    pub fn store(&self) -> Arc<LocalStore> {
        Arc::clone(&self.opened.store)
    }

    /// Whether someone owns the installation.
    pub fn has_owner(&self) -> bool {
        self.sign_in.is_some()
    }

    /// Signs in the owner; `None` while there is no owner.
    async fn sign_in(&self) -> Outcome<Option<SignIn>> {
        match stored(self.opened.store.owner().await)? {
            Some(user) => stored(sign_in(&self.state, user).await).map(Some),
            None => Ok(None),
        }
    }

    /// The API over the router in this process.
    pub fn client(&self) -> Client {
        let session = self.sign_in.as_ref().map(|sign_in| sign_in.secret.expose_secret().to_owned());
        Client::inside(self.router(), session)
    }

    fn router(&self) -> Router {
        duet_api::router::router(self.state.clone(), None)
    }

    /// Drives runs and embeds memories in this process.
    pub fn drive(&mut self) {
        if self.tasks.is_none() {
            self.tasks = Some(Tasks::start(&self.state, GRACE));
        }
    }

    /// Signs out, stops this process's tasks, and releases the file.
    pub async fn close(self) {
        match self.tasks {
            Some(tasks) => tasks.stop().await,
            // The heads of a read-only file have not moved, and may be those of an older copy.
            None if self.opened.store.can_write() => duet_api::anchors::once(&self.state).await,
            None => {}
        }
        if let Some(sign_in) = &self.sign_in {
            sign_in.end(&self.state).await;
        }
    }
}

/// Signs in this person.
pub async fn sign_in(state: &AppState, user: UserId) -> Result<SignIn, StoreError> {
    let env = state.env();
    let secret = secret::random(env);
    let now = env.now();
    let session = Session {
        id: env.id(),
        user_id: user,
        created_at: now,
        expires_at: now.plus(SIGN_IN),
        by_device: false,
        by_machine: true,
    };
    state
        .stores()
        .accounts
        .create_session(session.clone(), secret::hash(&secret))
        .await?;
    Ok(SignIn {
        user,
        session,
        secret: secret.into(),
    })
}

impl SignIn {
    /// Its id.
    pub fn id(&self) -> SessionId {
        self.session.id
    }

    /// Whether at least half of its lifetime is left.
    pub async fn is_good(&self, state: &AppState) -> bool {
        let fresh = self.session.expires_at.since(state.env().now()) > SIGN_IN / 2;
        let known = state
            .stores()
            .accounts
            .session(secret::hash(self.secret.expose_secret()))
            .await;
        fresh && matches!(known, Ok(Some(_)))
    }

    /// Ends it.
    pub async fn end(&self, state: &AppState) {
        if let Err(error) = state.stores().accounts.end_session(self.user, self.session.id).await {
            tracing::warn!(%error, "the commands' sign-in could not be ended; it expires within a day");
        }
    }
}
