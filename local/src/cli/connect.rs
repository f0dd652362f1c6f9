//! How a command reaches the data: through the server that holds the file, or by opening the file itself.

use std::time::Duration;

use duet_core::{
    domain::{Conversation, ListPage, Membership},
    ids::IdPrefix,
    run::Advice,
};
use serde::de::DeserializeOwned;

use super::{
    Global,
    client::Client,
    exit::{Failure, Outcome},
    ids,
    inside::{self, Inside},
    login,
    output::Output,
    settings::{self, Settings},
};
use duet_sqlite::LocalStore;

use crate::runtime;

/// How long a command waits for another one to release the file.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often, and how many times, a run left behind is checked.
const SETTLE_STEP: Duration = Duration::from_millis(50);
const SETTLE_STEPS: u32 = 200;

/// What to do while nobody owns the installation.
pub const NO_OWNER: &str =
    "Duet has no owner yet. Finish the set-up in the browser (`duet serve` prints the link), or use `duet init`.";

/// One command's access to the data.
pub struct Connection {
    /// The API, as the owner.
    pub client: Client,
    workspace: String,
    inside: Option<Inside>,
}

/// What a command does with the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Only reads: a read-only file will do.
    Read,
    /// It may write.
    Write,
}

/// Connects to the data and picks the workspace.
pub async fn connect(global: &Global, output: Output, purpose: Purpose) -> Outcome<Connection> {
    if let Some(url) = login::chosen(global)? {
        let client = login::signed_in(global, &url).await?;
        return Connection::new(client, None, global).await;
    }
    let mut settings = settings::read(global, &[])?;
    if !settings.data.exists() {
        LocalStore::check_place(&settings.data).map_err(inside::OpenFailure::from)?;
        return Err(Failure::not_found(format!(
            "There is no data file at {} yet. Set Duet up with `duet serve` (in the browser) or `duet init`{}.",
            settings.data.display(),
            match login::somewhere(global) {
                true => ", or name the server where you are signed in with --server",
                false => "",
            }
        )));
    }
    let (client, inside) = match server_or_file(&settings, output, purpose).await? {
        Reached::Server(runtime) => {
            let runtime = signed_in(&settings, runtime).await?;
            (Client::server(inside::http()?, &runtime.url, runtime.session), None)
        }
        Reached::File(opened) => {
            // Links handed out must lead to where the server will be.
            let server = &mut settings.config.server;
            server.public_url.get_or_insert_with(|| format!("http://{}", server.bind));
            let inside = Inside::start(&settings, opened, Advice::Told).await?;
            if !inside.has_owner() {
                inside.close().await;
                return Err(Failure::refused(NO_OWNER));
            }
            (inside.client(), Some(inside))
        }
    };
    Connection::new(client, inside, global).await
}

/// The server once it has a sign-in for commands; right after set-up it needs a moment to make one.
async fn signed_in(settings: &Settings, found: runtime::Runtime) -> Outcome<runtime::Runtime> {
    let mut found = Some(found);
    for _ in 0..20 {
        match found {
            Some(runtime) if runtime.session.is_some() => return Ok(runtime),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        found = runtime::find(&settings.data);
    }
    Err(Failure::refused(NO_OWNER))
}

/// What was found at the data file.
pub enum Reached {
    /// A server holds it.
    Server(runtime::Runtime),
    /// This process has opened it.
    File(inside::Opened),
}

/// Finds the server that holds the data file, or opens the file; waits a while for another command to release it.
pub async fn server_or_file(settings: &Settings, output: Output, purpose: Purpose) -> Outcome<Reached> {
    let step = Duration::from_millis(50);
    let mut waited = Duration::ZERO;
    loop {
        if let Some(runtime) = runtime::find(&settings.data) {
            return Ok(Reached::Server(runtime));
        }
        let opened = match inside::open(settings) {
            Err(inside::OpenFailure::ReadOnly(_)) if purpose == Purpose::Read => inside::open_to_read(settings),
            opened => opened,
        };
        match opened {
            Ok(opened) => return Ok(Reached::File(opened)),
            Err(inside::OpenFailure::InUse(_)) if waited < PATIENCE => {
                if waited == step * 20 {
                    output.say("Waiting for another command to be done with the data file …");
                }
                tokio::time::sleep(step).await;
                waited += step;
            }
            Err(failure) => return Err(failure.into()),
        }
    }
}

impl Connection {
    /// Picks the workspace.
    async fn new(client: Client, inside: Option<Inside>, global: &Global) -> Outcome<Self> {
        let mut connection = Self {
            client,
            workspace: String::new(),
            inside,
        };
        match Self::workspace_of(&connection.client, global).await {
            Ok(workspace) => {
                connection.workspace = workspace;
                Ok(connection)
            }
            Err(failure) => {
                connection.close().await;
                Err(failure)
            }
        }
    }

    /// Whether the person signed in for these commands, so that they may decide by it; the sign-in that a machine keeps may not.
    pub fn decides(&self) -> bool {
        self.client.is_by_login()
    }

    /// The named workspace, or the person's first.
    async fn workspace_of(client: &Client, global: &Global) -> Outcome<String> {
        let memberships: Vec<Membership> = client.list("/v1/workspaces").await?;
        let found = match &global.workspace {
            None => memberships.first(),
            Some(name) => match memberships.iter().find(|one| one.workspace.name == *name) {
                Some(named) => Some(named),
                None => {
                    let ids = memberships.iter().map(|one| one.workspace.id.to_string());
                    let begun = ids::begun(ids, name);
                    match begun[..] {
                        [] => None,
                        _ => {
                            let id = ids::only(begun, "workspaces", name)?;
                            memberships.iter().find(|one| one.workspace.id.to_string() == id)
                        }
                    }
                }
            },
        };
        match (found, &global.workspace) {
            (Some(membership), _) => Ok(membership.workspace.id.to_string()),
            (None, Some(name)) => Err(Failure::not_found(format!(
                "There is no workspace `{name}`. Yours are: {}.",
                memberships
                    .iter()
                    .map(|one| one.workspace.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            ))),
            (None, None) => Err(Failure::not_found("You are in no workspace. Make one in the web app.")),
        }
    }

    /// The workspace's id.
    pub fn workspace(&self) -> &str {
        &self.workspace
    }

    /// A path within the workspace.
    pub fn path(&self, rest: &str) -> String {
        format!("/v1/workspaces/{}{rest}", self.workspace)
    }

    /// Up to `limit` items of a list, page by page. `query` begins with `&` or is empty.
    pub async fn pages<T: DeserializeOwned>(&self, path: &str, query: &str, limit: usize) -> Outcome<Vec<T>> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        while items.len() < limit {
            let size = (limit - items.len()).min(200);
            let from = cursor
                .map(|cursor| format!("&cursor={}", super::client::encode(&cursor)))
                .unwrap_or_default();
            let page: ListPage<T> = self
                .client
                .get(&self.path(&format!("{path}?limit={size}{query}{from}")))
                .await?;
            items.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        Ok(items)
    }

    /// The full id of one of the `things` (`conversations`, `memories`), given in full or by a beginning that only one has.
    pub async fn whole_id(&self, things: &str, given: &str) -> Outcome<String> {
        if let Some(whole) = ids::whole(given) {
            return Ok(whole);
        }
        if given.parse::<IdPrefix>().is_err() {
            return ids::only(Vec::new(), things, given);
        }
        let path = self.path(&format!("/{things}/ids?prefix={}", super::client::encode(given)));
        ids::only(self.client.list(&path).await?, things, given)
    }

    /// The id of the named conversation: an id or its beginning, or `last`.
    pub async fn conversation(&self, name: &str) -> Outcome<String> {
        if name != "last" {
            let id = self.whole_id("conversations", name).await?;
            let path = self.path(&format!("/conversations/{id}"));
            return Ok(self.client.get::<Conversation>(&path).await?.id.to_string());
        }
        let latest: Vec<Conversation> = self.pages("/conversations", "", 1).await?;
        let latest = latest
            .first()
            .ok_or_else(|| Failure::not_found("There is no conversation yet. Begin one with `duet ask TEXT`."))?;
        Ok(latest.id.to_string())
    }

    /// Drives runs in this process when no server does.
    pub fn drive(&mut self) {
        if let Some(inside) = &mut self.inside {
            inside.drive();
        }
    }

    /// Waits for a run that an earlier process left unfinished in this conversation; the driver ends it at once. Through a server
    /// it may also be a reply that is still being written, which is not waited for.
    pub async fn settle(&self, conversation: &str) -> Outcome {
        let path = self.path(&format!("/conversations/{conversation}"));
        let steps = if self.inside.is_some() {
            SETTLE_STEPS
        } else {
            SETTLE_STEPS / 8
        };
        for _ in 0..steps {
            let found: Conversation = self.client.get(&path).await?;
            if found.active_run.is_none() {
                return Ok(());
            }
            tokio::time::sleep(SETTLE_STEP).await;
        }
        Ok(())
    }

    /// Releases the data file if this command opened it.
    pub async fn close(self) {
        if let Some(inside) = self.inside {
            inside.close().await;
        }
    }
}
