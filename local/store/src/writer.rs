//! The one writer: a thread that owns both writing connections and commits jobs in groups.
//!
//! A commit costs a flush to the disk whether it holds one job or a hundred, so all jobs waiting when the writer comes round
//! share one. Each runs in its own savepoint: one that fails or panics rolls back only itself. Nobody gets an answer before the
//! commit has succeeded; if it fails, nobody's work is kept and all are told so. A connection that has met a damaged page is
//! replaced, so that it does not take later jobs down with it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use duet_core::{StoreError, StoreResult};
use rusqlite::{Connection, ffi, hooks::Action};
use tokio::sync::{mpsc as queue, oneshot};

use super::{
    acting::{self, Acting},
    connect::{self, Access, Connector},
    error::{DbError, DbResult, sqlite_error, take_spoilt},
    mark::{Mark, Record},
    signal::Signal,
};
use crate::files;

/// Most jobs that share one commit: bounds how long the first of them waits.
const GROUP: usize = 128;
/// Jobs that may wait; beyond that, callers wait to enqueue.
const QUEUE: usize = 1024;

/// On whose behalf a job runs, which decides between the two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A person, or the process itself.
    Person,
    /// An agent: the connection narrowed by [`super::authorizer`], which knows the agent while the job runs.
    Agent(Acting),
}

impl Actor {
    /// The agent, where one acts.
    pub fn acting(self) -> Option<Acting> {
        match self {
            Self::Person => None,
            Self::Agent(acting) => Some(acting),
        }
    }
}

/// A piece of work in two halves: the work, then the answer once the group's fate is known.
trait Job: Send {
    /// Which connection it needs.
    fn actor(&self) -> Actor;
    /// Does the work; returns whether to keep what it wrote.
    fn run(&mut self, conn: &Connection) -> bool;
    /// Answers the caller.
    fn answer(self: Box<Self>, fate: Result<(), &rusqlite::Error>);
}

struct Task<T, F> {
    actor: Actor,
    work: Option<F>,
    outcome: Option<StoreResult<T>>,
    reply: oneshot::Sender<StoreResult<T>>,
}

impl<T, F> Job for Task<T, F>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> DbResult<T> + Send + 'static,
{
    fn actor(&self) -> Actor {
        self.actor
    }

    fn run(&mut self, conn: &Connection) -> bool {
        let Some(work) = self.work.take() else { return false };
        let job = || acting::during(self.actor.acting(), || work(conn));
        let outcome = catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|_| {
            Err(DbError::Store(StoreError::unavailable(
                "Something went wrong inside Duet; nothing was written. The log says more.",
            )))
        });
        let keep = outcome.is_ok();
        self.outcome = Some(outcome.map_err(StoreError::from));
        keep
    }

    fn answer(self: Box<Self>, fate: Result<(), &rusqlite::Error>) {
        let outcome = match (fate, self.outcome) {
            (Ok(()), Some(outcome)) => outcome,
            (Err(_), Some(Err(own @ StoreError::Unavailable(_)))) => Err(own),
            (Err(error), _) => Err(not_committed(error)),
            (Ok(()), None) => Err(closed()),
        };
        // The caller may be gone; the work is done all the same.
        let _ = self.reply.send(outcome);
    }
}

fn not_committed(error: &rusqlite::Error) -> StoreError {
    match sqlite_error(error) {
        failed @ StoreError::Unavailable(_) => failed,
        _ => StoreError::unavailable("The transaction could not be completed; nothing was written. Try again."),
    }
}

fn closed() -> StoreError {
    StoreError::unavailable("Duet is shutting down; nothing was written. Start it again, then repeat.")
}

/// What the thread is told to do.
enum Order {
    Job(Box<dyn Job>),
    Close(oneshot::Sender<StoreResult<()>>),
}

/// The handle to the writer thread.
#[derive(Clone)]
pub struct Writer {
    queue: queue::Sender<Order>,
}

/// What the writer thread works with.
pub struct WriterParts {
    /// The connection of people and of the process.
    pub person: Connection,
    /// The narrowed connection of agents.
    pub agent: Connection,
    /// Makes others in their place.
    pub connector: Arc<Connector>,
    /// Counts the commits outside the log.
    pub mark: Mark,
    /// Gets a message after each commit that adds rows to the outbox.
    pub outbox: mpsc::Sender<Signal>,
}

impl Writer {
    /// Starts the thread. It ends, after finishing what is queued, when the last `Writer` is gone.
    pub fn start(parts: WriterParts) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (sender, receiver) = queue::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("duet-writer".into())
            .spawn(move || work(parts, receiver))?;
        Ok((Self { queue: sender }, thread))
    }

    /// Runs `job` in a transaction and returns once that is durable.
    pub async fn write<T, F>(&self, actor: Actor, job: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> DbResult<T> + Send + 'static,
    {
        let (job, answer) = prepare(actor, job);
        self.queue.send(Order::Job(job)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Puts the log into the file and marks it as closed, after the queued jobs.
    pub async fn close(&self) -> StoreResult<()> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Order::Close(reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Queues `job` from a thread that is not part of a runtime, and does not wait for it.
    pub fn send_blocking<F>(&self, job: F)
    where
        F: FnOnce(&Connection) -> DbResult<()> + Send + 'static,
    {
        let (job, _) = prepare(Actor::Person, job);
        if self.queue.blocking_send(Order::Job(job)).is_err() {
            tracing::debug!("the writer has ended; a clean-up was left out");
        }
    }
}

fn prepare<T, F>(actor: Actor, work: F) -> (Box<dyn Job>, oneshot::Receiver<StoreResult<T>>)
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> DbResult<T> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    let task = Task {
        actor,
        work: Some(work),
        outcome: None,
        reply,
    };
    (Box::new(task), answer)
}

fn work(mut parts: WriterParts, mut orders: queue::Receiver<Order>) {
    let hinted = Arc::new(AtomicBool::new(false));
    watch(&parts.person, &hinted);
    let mut carried = None;
    while let Some(first) = carried.take().or_else(|| orders.blocking_recv()) {
        let first = match first {
            Order::Job(job) => job,
            Order::Close(reply) => {
                // The caller may be gone.
                let _ = reply.send(close(&mut parts));
                continue;
            }
        };
        // The jobs of all agents share a connection, and so a commit.
        let actor = first.actor();
        let mut group = vec![first];
        while group.len() < GROUP {
            match orders.try_recv() {
                Ok(Order::Job(job)) if job.actor().acting().is_some() == actor.acting().is_some() => group.push(job),
                Ok(other) => {
                    carried = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        let mut waiting = group.into_iter();
        while waiting.len() > 0 {
            commit(&mut parts, actor, &mut waiting);
            if take_spoilt() {
                replace(&mut parts, actor, &hinted);
            }
        }
        if hinted.swap(false, Ordering::Relaxed) {
            // The relay may have ended already at shutdown; its rows stay in the outbox.
            let _ = parts.outbox.send(Signal::Grown);
        }
    }
    if let Err(error) = close(&mut parts) {
        tracing::warn!(%error, "the data file was not closed");
    }
    parts.connector.let_go(parts.person);
    parts.connector.let_go(parts.agent);
}

/// Marks the file as closed and puts the whole log into it, or says where the newest changes are.
fn close(parts: &mut WriterParts) -> StoreResult<()> {
    let _turn = parts.connector.turn();
    let path = parts.connector.path();
    let log = files::beside(path, "-wal");
    if !parts.connector.is_in_place() {
        return Err(StoreError::unavailable(format!(
            "The data file {} was moved away or replaced while Duet was using it. Its log {} was left as it is, with the newest changes: \
             put the file back beside it before Duet starts again.",
            path.display(),
            log.display()
        )));
    }
    let left = |reason: String| {
        StoreError::unavailable(format!(
            "The newest changes could not be put into the data file ({reason}). They are in {}, which belongs to the file: keep the two \
             together until Duet has started and stopped again.",
            log.display()
        ))
    };
    parts.mark.close(&parts.person).map_err(|error| left(error.to_string()))?;
    match connect::empty_log(&parts.person) {
        Ok(true) => Ok(()),
        Ok(false) => Err(left("somebody is reading it".to_owned())),
        Err(error) => Err(left(error.to_string())),
    }
}

/// Sets the flag when rows are added to the outbox.
fn watch(conn: &Connection, hinted: &Arc<AtomicBool>) {
    let flag = Arc::clone(hinted);
    let watch = move |action: Action, _: &str, table: &str, _: i64| {
        if action == Action::SQLITE_INSERT && table == "run_event_outbox" {
            flag.store(true, Ordering::Relaxed);
        }
    };
    if let Err(error) = conn.update_hook(Some(watch)) {
        tracing::error!(%error, "live hints are off: the update hook could not be set");
    }
}

/// Replaces a connection that a damaged page has spoilt.
fn replace(parts: &mut WriterParts, actor: Actor, hinted: &Arc<AtomicBool>) {
    let (old, access) = match actor {
        Actor::Person => (&mut parts.person, Access::Write),
        Actor::Agent(_) => (&mut parts.agent, Access::AgentWrite),
    };
    match parts.connector.connect(access) {
        Ok(fresh) => *old = fresh,
        Err(error) => return tracing::error!(%error, "a connection that met a damaged page could not be replaced"),
    }
    if actor == Actor::Person {
        watch(&parts.person, hinted);
    }
}

/// Runs jobs in one transaction and answers those that it ran.
fn commit(parts: &mut WriterParts, actor: Actor, waiting: &mut std::vec::IntoIter<Box<dyn Job>>) {
    let mut ran = Vec::with_capacity(waiting.len());
    let turn = parts.connector.turn();
    let conn = match actor {
        Actor::Person => &parts.person,
        Actor::Agent(_) => &parts.agent,
    };
    let fate = match parts.connector.is_in_place() {
        true => transaction(conn, &mut parts.mark, waiting, &mut ran),
        false => {
            ran.extend(waiting);
            Err(rusqlite::Error::SqliteFailure(
                ffi::Error::new(ffi::SQLITE_READONLY_DBMOVED),
                None,
            ))
        }
    };
    if fate.is_err() && !conn.is_autocommit() {
        // If even the rollback fails, it happens when the connection closes; until then the next BEGIN reports it.
        let _ = conn.execute_batch("ROLLBACK");
    }
    let fate = fate.map(|counted| {
        if let Some(record) = counted {
            parts.mark.set(record, &parts.person);
        }
    });
    drop(turn);
    for job in ran {
        job.answer(fate.as_ref().copied());
    }
}

/// Runs the waiting jobs and commits them; returns the commit's count if anything was written.
fn transaction(
    conn: &Connection,
    mark: &mut Mark,
    waiting: &mut std::vec::IntoIter<Box<dyn Job>>,
    ran: &mut Vec<Box<dyn Job>>,
) -> rusqlite::Result<Option<Record>> {
    if let Err(error) = conn.execute_batch("BEGIN IMMEDIATE") {
        ran.extend(waiting);
        return Err(error);
    }
    mark.look();
    let mut wrote = false;
    for mut job in waiting.by_ref() {
        let kept = in_savepoint(conn, job.as_mut());
        ran.push(job);
        wrote |= kept?;
    }
    let counted = wrote.then(|| mark.count(conn)).transpose()?;
    conn.execute_batch("COMMIT")?;
    Ok(counted)
}

/// Runs one job so that its failure rolls back only what it wrote; returns whether it wrote something that stays.
fn in_savepoint(conn: &Connection, job: &mut dyn Job) -> rusqlite::Result<bool> {
    conn.execute_batch("SAVEPOINT job")?;
    let before = conn.total_changes();
    let keep = job.run(conn);
    if conn.is_autocommit() {
        // A full or failing disk makes SQLite roll back the whole transaction: the jobs before this one are lost too and have to
        // be told.
        return Err(rusqlite::Error::SqliteFailure(
            ffi::Error::new(ffi::SQLITE_ABORT_ROLLBACK),
            None,
        ));
    }
    conn.execute_batch(if keep { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" })?;
    Ok(keep && conn.total_changes() > before)
}
