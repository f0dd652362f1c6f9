//! The pool of readers: threads with their own connections, which take jobs from one queue.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
};

use duet_core::{StoreError, StoreResult};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    acting,
    connect::{Access, Connector},
    error::{DbError, DbResult, take_spoilt},
    writer::Actor,
};

type Work = Box<dyn FnOnce(&mut Pair) + Send>;

/// A reader's two connections; each is opened when first needed.
struct Pair {
    connector: Arc<Connector>,
    person: Option<Connection>,
    agent: Option<Connection>,
}

impl Pair {
    fn slot(&mut self, actor: Actor) -> (&mut Option<Connection>, Access) {
        match actor {
            Actor::Person => (&mut self.person, Access::Read),
            Actor::Agent(_) => (&mut self.agent, Access::AgentRead),
        }
    }

    fn get(&mut self, actor: Actor) -> StoreResult<&Connection> {
        let connector = Arc::clone(&self.connector);
        let (slot, access) = self.slot(actor);
        match slot {
            Some(conn) => Ok(conn),
            None => {
                let conn = connector
                    .connect(access)
                    .map_err(|error| StoreError::unavailable(error.to_string()))?;
                Ok(slot.insert(conn))
            }
        }
    }
}

/// The handle to the readers.
#[derive(Clone)]
pub struct Readers {
    queue: mpsc::Sender<Work>,
}

impl Readers {
    /// Starts `count` threads. They end when the last `Readers` is gone.
    pub fn start(connector: &Arc<Connector>, count: usize) -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let (queue, jobs) = mpsc::channel::<Work>();
        let jobs = Arc::new(Mutex::new(jobs));
        let threads = (0..count)
            .map(|number| {
                let jobs = Arc::clone(&jobs);
                let mut pair = Pair {
                    connector: Arc::clone(connector),
                    person: None,
                    agent: None,
                };
                std::thread::Builder::new()
                    .name(format!("duet-reader-{number}"))
                    .spawn(move || {
                        loop {
                            // The lock is held while waiting: its holder takes the next job, the others queue for it.
                            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                            match job {
                                Ok(job) => job(&mut pair),
                                Err(_) => break,
                            }
                        }
                        for conn in [pair.person.take(), pair.agent.take()].into_iter().flatten() {
                            pair.connector.let_go(conn);
                        }
                    })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok((Self { queue }, threads))
    }

    /// Runs `job` on one snapshot of the data.
    pub async fn read<T, F>(&self, actor: Actor, job: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> DbResult<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let work: Work = Box::new(move |pair| {
            if reply.is_closed() {
                return;
            }
            let outcome = pair.get(actor).and_then(|conn| {
                let job = || acting::during(actor.acting(), || snapshot(conn, job));
                catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|_| Err(panicked()))
            });
            if take_spoilt() {
                *pair.slot(actor).0 = None;
            }
            // The caller may be gone.
            let _ = reply.send(outcome);
        });
        self.queue.send(work).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

/// A read transaction around the job, so that all its statements see the same state.
fn snapshot<T>(conn: &Connection, job: impl FnOnce(&Connection) -> DbResult<T>) -> StoreResult<T> {
    let transaction = conn.unchecked_transaction().map_err(DbError::from)?;
    Ok(job(&transaction)?)
}

fn panicked() -> StoreError {
    StoreError::unavailable("Something went wrong inside Duet while it was reading. The log says more.")
}

fn closed() -> StoreError {
    StoreError::unavailable("Duet is shutting down. Start it again, then repeat.")
}
