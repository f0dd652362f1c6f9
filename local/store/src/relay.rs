//! The outbox relay: hands hints to the live feed after each commit that put some into the outbox.
//!
//! Delivery first, removal after: while the process lives, a hint can come twice but is never lost. Rows are removed together, at
//! most every quarter of a second, so that hints cost no flush of their own.

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use duet_core::feed::Feed;
use rusqlite::Connection;

use super::{
    connect::{Access, Connector},
    hints,
    open::OpenError,
    signal::Signal,
    writer::Writer,
};

/// How long delivered rows may stay.
const LINGER: Duration = Duration::from_millis(250);
/// Hints read at a time.
const BATCH: usize = 1024;

/// Starts the relay's thread. It ends on [`Signal::Stop`].
pub fn start(
    connector: Arc<Connector>,
    signals: mpsc::Receiver<Signal>,
    feed: Arc<Feed>,
    writer: Writer,
) -> Result<JoinHandle<()>, OpenError> {
    let mut conn = connector.connect(Access::Read)?;
    let path = connector.path().to_owned();
    let started = std::thread::Builder::new().name("duet-relay".into()).spawn(move || {
        let mut delivered = 0;
        let mut removed = 0;
        loop {
            let signal = if delivered > removed {
                signals.recv_timeout(LINGER)
            } else {
                signals.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected)
            };
            match signal {
                Ok(Signal::Grown) => match deliver(&conn, &feed, delivered) {
                    Ok(last) => delivered = last,
                    Err(error) => {
                        tracing::warn!(%error, "the outbox could not be read; readers go by the log");
                        // After a damaged page the connection cannot read any more.
                        match connector.connect(Access::Read) {
                            Ok(fresh) => conn = fresh,
                            Err(error) => tracing::warn!(%error, "the relay's connection could not be replaced"),
                        }
                    }
                },
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    remove(&writer, delivered);
                    removed = delivered;
                }
                Ok(Signal::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => {
                    if delivered > removed {
                        remove(&writer, delivered);
                    }
                    feed.close();
                    break;
                }
            }
        }
        connector.let_go(conn);
    });
    started.map_err(|error| OpenError::from_io(&path, &error))
}

fn deliver(conn: &Connection, feed: &Feed, mut after: i64) -> rusqlite::Result<i64> {
    let mut statement = conn.prepare_cached("SELECT * FROM run_event_outbox WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    loop {
        let mut rows = statement.query((after, i64::try_from(BATCH).unwrap_or(i64::MAX)))?;
        let mut found = 0;
        while let Some(row) = rows.next()? {
            after = row.get("id")?;
            feed.send(hints::hint(row)?);
            found += 1;
        }
        if found < BATCH {
            return Ok(after);
        }
    }
}

fn remove(writer: &Writer, up_to: i64) {
    writer.send_blocking(move |tx| {
        tx.prepare_cached("DELETE FROM run_event_outbox WHERE id <= ?1")?
            .execute([up_to])?;
        Ok(())
    });
}
