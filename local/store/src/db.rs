//! The handle through which all stores reach the file.

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use duet_core::{
    Caller, Env, StoreError, StoreResult,
    ids::{AgentId, UserId, WorkspaceId},
    refusal::Refusal,
};
use rusqlite::{Connection, params};

use super::{
    acting::Acting,
    error::DbResult,
    lock::FileLock,
    readers::Readers,
    rows::blob,
    run_log::Leases,
    signal::Signal,
    writer::{Actor, Writer},
};

/// Reads go to the pool of readers, each on one snapshot; writes go to the single writer and return once they are durable.
/// The closures run on other threads, so they own what they use, and they must not block on anything but the database.
#[derive(Clone)]
pub struct Db {
    parts: Arc<Parts>,
}

/// The threads and what they hold; dropping the last [`Db`] finishes queued work and closes the file.
pub struct Parts {
    /// The writer; `None` if the file can only be read.
    pub writer: Option<Writer>,
    /// The readers.
    pub readers: Option<Readers>,
    /// Wakes the relay.
    pub relay: mpsc::Sender<Signal>,
    /// All threads.
    pub threads: Vec<JoinHandle<()>>,
    /// Time and randomness.
    pub env: Env,
    /// Runs being worked on.
    pub leases: Leases,
    /// Keeps other processes out; released last.
    pub _lock: FileLock,
}

impl Drop for Parts {
    fn drop(&mut self) {
        // The relay may have ended already.
        let _ = self.relay.send(Signal::Stop);
        self.writer = None;
        self.readers = None;
        let own = std::thread::current().id();
        for thread in self.threads.drain(..) {
            if thread.thread().id() != own && thread.join().is_err() {
                tracing::error!("a thread of the data file ended in a panic");
            }
        }
    }
}

impl Db {
    /// Builds the handle from its threads.
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// Time and randomness.
    pub fn env(&self) -> &Env {
        &self.parts.env
    }

    /// Whether the file can be written to.
    pub fn can_write(&self) -> bool {
        self.parts.writer.is_some()
    }

    /// Runs being worked on.
    pub fn leases(&self) -> &Leases {
        &self.parts.leases
    }

    /// Reads as a person, or as the process.
    pub async fn read<T, F>(&self, job: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> DbResult<T> + Send + 'static,
    {
        self.readers()?.read(Actor::Person, job).await
    }

    /// Writes as a person, or as the process: in its own savepoint, which an `Err` rolls back.
    pub async fn write<T, F>(&self, job: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> DbResult<T> + Send + 'static,
    {
        self.writer()?.write(Actor::Person, job).await
    }

    /// [`Db::read`]; for an agent, on a connection that cannot see secrets, and only while the agent is active and its person is
    /// in the workspace.
    pub async fn read_for<T, F>(&self, caller: &Caller, job: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> DbResult<T> + Send + 'static,
    {
        let employment = Employment::of(caller);
        self.readers()?
            .read(actor(caller), move |conn| {
                require_at_work(conn, employment)?;
                job(conn)
            })
            .await
    }

    /// [`Db::write`]; for an agent, on a connection that can do only what [`super::authorizer`] lists.
    pub async fn write_for<T, F>(&self, caller: &Caller, job: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> DbResult<T> + Send + 'static,
    {
        let employment = Employment::of(caller);
        self.writer()?
            .write(actor(caller), move |conn| {
                require_at_work(conn, employment)?;
                job(conn)
            })
            .await
    }

    /// Puts the log into the file.
    pub async fn close(&self) -> StoreResult<()> {
        match &self.parts.writer {
            Some(writer) => writer.close().await,
            None => Ok(()),
        }
    }

    fn writer(&self) -> StoreResult<&Writer> {
        self.parts.writer.as_ref().ok_or_else(read_only)
    }

    fn readers(&self) -> StoreResult<&Readers> {
        self.parts.readers.as_ref().ok_or_else(closed)
    }
}

fn closed() -> StoreError {
    StoreError::unavailable("Duet is shutting down. Start it again, then repeat.")
}

fn read_only() -> StoreError {
    StoreError::unavailable("The data file is on a read-only medium, or may not be written: nothing can be stored.")
}

/// What an agent needs to be at work: to be active, with its person in the workspace.
#[derive(Clone, Copy)]
struct Employment {
    workspace: WorkspaceId,
    user: UserId,
    agent: AgentId,
}

impl Employment {
    fn of(caller: &Caller) -> Option<Self> {
        caller.agent.as_ref().map(|acting| Self {
            workspace: caller.workspace,
            user: caller.user,
            agent: acting.agent,
        })
    }
}

/// Refuses an agent that is inactive, or whose person has left.
fn require_at_work(conn: &Connection, employment: Option<Employment>) -> DbResult<()> {
    let Some(Employment { workspace, user, agent }) = employment else {
        return Ok(());
    };
    let at_work = conn
        .prepare_cached(
            "SELECT 1 FROM agent a JOIN member m ON m.workspace_id = a.workspace_id AND m.user_id = ?3
             WHERE a.workspace_id = ?1 AND a.id = ?2 AND a.active = 1",
        )?
        .exists(params![blob(workspace), blob(agent), blob(user)])?;
    match at_work {
        true => Ok(()),
        false => Err(Refusal::AgentOff.of("act as this agent").into()),
    }
}

fn actor(caller: &Caller) -> Actor {
    Acting::of(caller).map_or(Actor::Person, Actor::Agent)
}
