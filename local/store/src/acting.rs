//! The agent whose job runs on a connection. The schema's triggers and views ask `duet_run()` and `duet_locality()` for it, so
//! the file itself decides what the agent may write and read, whatever the code above intends.

use std::cell::Cell;

use duet_core::{Caller, domain::Locality, ids::Id};
use rusqlite::{Connection, functions::FunctionFlags};

/// An agent at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acting {
    run: [u8; 16],
    locality: Locality,
}

impl Acting {
    /// The agent that is this caller, if it is one.
    pub fn of(caller: &Caller) -> Option<Self> {
        caller.agent.as_ref().map(|acting| Self {
            run: acting.run.uuid().into_bytes(),
            locality: acting.locality,
        })
    }
}

thread_local! {
    /// The agent whose job this thread runs. A job and all its statements run on one thread.
    static ACTING: Cell<Option<Acting>> = const { Cell::new(None) };
}

/// Runs a job as this agent, or as nobody.
pub fn during<T>(acting: Option<Acting>, work: impl FnOnce() -> T) -> T {
    struct Done;
    impl Drop for Done {
        fn drop(&mut self) {
            ACTING.set(None);
        }
    }
    ACTING.set(acting);
    let _done = Done;
    work()
}

/// Registers both functions on a connection. On an agents' connection, a job without an agent is in no run, and its model may be
/// anywhere. On the others no run acts, and text stays here.
pub fn register(conn: &Connection, agents: bool) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
    conn.create_scalar_function("duet_run", 0, flags, move |_| {
        Ok(match ACTING.get() {
            Some(acting) if agents => Some(acting.run.to_vec()),
            None if agents => Some(Vec::new()),
            _ => None,
        })
    })?;
    conn.create_scalar_function("duet_locality", 0, flags, move |_| {
        let acting = ACTING.get().map_or(Locality::Remote, |acting| acting.locality);
        Ok(if agents { acting } else { Locality::Local }.as_str())
    })
}
